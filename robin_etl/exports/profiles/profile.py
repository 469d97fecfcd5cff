"""A profile: where ROBIN's columns are in a file, and how its money, dates and statuses are written.

It is data alone: `mapping` applies it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from robin_etl.core import dates, nobodies
from robin_etl.exceptions import ConfigurationError
from robin_etl.exports import vocabulary
from robin_etl.exports.amounts import AmountStyle
from robin_etl.exports.expressions import Expression, parse_expression

if TYPE_CHECKING:
    from robin_etl.settings import Settings

_TABLE = ConfigDict(extra="forbid", frozen=True)


def _list_names(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _lower(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(value.strip().lower() for value in values)


def _check_encoding(name: str) -> str:
    try:
        "".encode(name)  # which codecs of something else than text refuse
        codecs.getincrementaldecoder(name)
    except LookupError:
        raise ValueError(f"there is no encoding {name!r} of text") from None
    return name


def _check_zone(name: str) -> str:
    try:
        return name if name in ("", "UTC") else ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}; it is a name like Europe/Amsterdam") from None


def _check_globs(globs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(nobodies.normalize_glob, globs))


def _check_dates(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name.startswith("[") and not _JOINED.fullmatch(name):
            raise ValueError(f"{name!r} can't be read; columns are joined as in [Date] [Time]")
    return names


def _check_footer(globs: tuple[str, ...]) -> tuple[str, ...]:
    if any(not glob.strip("*? ") for glob in globs):
        raise ValueError("a line of the footer must be told by more than * and ?")
    return globs


def _check_expression(text: str) -> str:
    parse_expression(text)
    return text


# Columns whose cells together are a date: [Date] [Time].
_JOINED = re.compile(r"\[[^\[\]]+\](?: +\[[^\[\]]+\])*")
_NAME = re.compile(r"\[([^\[\]]+)\]")

# One column, or several of which the first that is not blank tells.
Sources = Annotated[tuple[str, ...], BeforeValidator(_list_names)]
# The same, where one of them may be several columns joined.
Dates = Annotated[tuple[str, ...], BeforeValidator(_list_names), AfterValidator(_check_dates)]
# `[Total] - [Refunded Amount]?`; see `expressions`.
Money = Annotated[str, AfterValidator(_check_expression)]
Values = Annotated[tuple[str, ...], AfterValidator(_lower)]
Zone = Annotated[str, AfterValidator(_check_zone)]


class Columns(BaseModel):
    """Where ROBIN's columns are in the file."""

    model_config = _TABLE

    order_number: str = Field(description="Column of the order number.")
    email_address: Sources = Field(
        (), description="Column of the e-mail address; of several the first filled cell counts."
    )
    phone_number: Sources = Field((), description="Column of the phone number, likewise.")
    revenue: Money = Field(description="Expression of columns, such as `[Total] - [Refunded]?`.")
    profit: Money | None = Field(None, description="Expression of columns.")
    order_date: Dates = Field(
        description="Column of the date; of several the first filled cell counts. `[Date] [Time]` joins "
        "the cells of two."
    )
    webstore_url: Sources = Field((), description="Column of the shop's address.")

    @model_validator(mode="after")
    def _check_contact(self) -> Columns:
        if not (self.email_address or self.phone_number):
            raise ValueError("email_address or phone_number must say who the customer is")
        return self


class Status(BaseModel):
    """What an order's status means. Values are compared without regard to case."""

    model_config = _TABLE

    column: Sources = Field(
        (), description="Column of the status, or several: what one of them says of an order holds."
    )
    pending: Values = Field((), description="Values of what is not an order yet; its rows are left out.")
    cancelled: Values = Field(
        (), description="Values of what is no order after all: worth 0, and nobody's first order."
    )
    refunded: Values = Field((), description="Values of what was bought and paid back whole: worth 0.")
    cancelled_if_filled: str = Field(
        "",
        description="Column that is filled for cancelled orders only, such as the date; it counts "
        "whatever the status says.",
    )
    undecided: Values = Field(
        (), description="Values of which a draft does not know the meaning; a run takes none."
    )
    pending_if_blank: str = Field(
        "",
        description="Column that is blank for pending orders only, such as the date of the payment.",
    )

    @model_validator(mode="after")
    def _check_meanings(self) -> Status:
        if not (self.column or self.cancelled_if_filled or self.pending_if_blank):
            raise ValueError("column, cancelled_if_filled or pending_if_blank must say what is told")
        if self.undecided:
            raise ValueError(
                f"undecided has {', '.join(self.undecided)}: move each to pending, cancelled or "
                "refunded, or take it out where it is an order"
            )
        seen: set[str] = set()
        for values in (self.pending, self.cancelled, self.refunded):
            if twice := seen.intersection(values):
                raise ValueError(f"{min(twice)!r} is in two of pending, cancelled and refunded")
            seen.update(values)
        return self


class Currency(BaseModel):
    """The one currency that the shop reports in: ROBIN knows none."""

    model_config = _TABLE

    column: str = Field(description="Column of the currency.")
    code: str = Field(
        "",
        description="The currency that is sent, such as EUR; blank if ROBIN_ETL_CURRENCY must state it.",
    )

    others: Literal["quarantine", "leave_out"] = Field(
        "quarantine",
        description="What becomes of an order in another currency: `quarantine`, or `leave_out` and "
        "count.",
    )


class Refunds(BaseModel):
    """Rows that are refunds: their amounts are taken off what the order's other rows add up to."""

    model_config = _TABLE

    column: str = Field(description="Column that tells a refund from a sale.")
    values: Values = Field(
        (), description="What it says of a refund; without any, a refund is where it is negative."
    )


class Profile(BaseModel):
    """How a shop's system writes its export."""

    model_config = _TABLE

    name: str = Field("", description="Name of the profile; the file's by default.")
    title: str = Field("", description="Shop system and export, in words.")
    delimiter: str = Field(
        ",", min_length=1, max_length=1, description="Character between the cells of a text."
    )
    encoding: Annotated[str, AfterValidator(_check_encoding)] = Field(
        "utf-8", description="Encoding of a text; a byte order mark is ignored."
    )
    lines_above: int = Field(
        0, ge=0, le=1000, description="How many lines stand above the header, blank ones among them."
    )
    footer: Annotated[tuple[str, ...], AfterValidator(_check_footer)] = Field(
        (),
        description="The lines that stand below the last row, as globs without regard to case: "
        '`["Total*", "* records"]`. A file that has rows and none of these lines is not whole.',
    )
    repeated_columns: Literal["refuse", "first"] = Field(
        "refuse",
        description="What becomes of a file that has a column of the profile's several times: `refuse`, "
        "or take the `first` of them.",
    )
    sheet: str = Field("", description="Sheet of a spreadsheet; blank for its first.")
    decimal_mark: Literal[".", ","] = Field(".", description="Character before the cents.")
    thousands_separator: Literal["", ".", ",", " ", "'"] = Field(
        "",
        description="Character between groups of three digits; blank for none. A space stands for every "
        "kind of space, an apostrophe for every kind of apostrophe.",
    )
    currency_signs: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description='Signs and codes before or behind amounts: `["€", "EUR"]`.'
    )
    date_formats: tuple[str, ...] = Field(
        (dates.ISO,),
        min_length=1,
        description="`iso`, `seconds` or `milliseconds` since 1970, `serial` for a spreadsheet's days, "
        "or formats of Python's strptime, tried in turn.",
    )
    date_language: str = Field(
        "",
        description="Language of the months in dates, such as `nl`; they are `%b` in `date_formats` "
        "then, and days of the week before them are ignored.",
    )
    timezone: Zone = Field(
        "UTC",
        description="Time zone of dates without an offset, whatever ROBIN_ETL_TIMEZONE says; blank if "
        "that must state it. A profile without this key leaves it to the setting, or else to UTC.",
    )
    grain: Literal["order", "line"] = Field(
        "order",
        description="What a row is: an order, or a line item. The lines with one number are one order: "
        "sum(…) adds them up, and of other columns the first filled cell counts.",
    )
    continued: bool = Field(
        default=False, description="Whether a line without a number belongs to the order above it."
    )
    columns: Columns
    webstore_url: str = Field(
        "",
        description="Web store of orders whose row names none; ROBIN_ETL_WEBSTORE_URL overrides it.",
    )
    order_prefix: str = Field(
        "",
        description="Put before each order number, which keeps shops on one ROBIN account apart; "
        "ROBIN_ETL_ORDER_PREFIX overrides it.",
    )
    strip: Mapping[str, str] = Field(
        {}, description='Text to remove from the front of a column\'s cells: `order_number = "#"`.'
    )
    nobodies: Annotated[tuple[str, ...], AfterValidator(_check_globs)] = Field(
        (),
        description="Addresses and phone numbers that stand for no customer, beside those known "
        'everywhere: `["pos@shop.example", "*@till.example", "+31000*"]`. They are read as blank cells.',
    )
    without_contact: Literal["quarantine", "leave_out"] = Field(
        "quarantine",
        description="What becomes of a row without a contact whose order nobody knows, such as a sale "
        "at a till: `quarantine`, or `leave_out` and count.",
    )
    leave_out: Mapping[str, Values] = Field(
        {},
        description='Rows that are no orders of the shop, by globs of a column: `Tags = ["*test*"]`. '
        "They are left out and counted.",
    )
    only: Mapping[str, Values] = Field(
        {},
        description='The same the other way round: `Channel = ["web"]` leaves out every row of '
        "another value.",
    )
    status: Status | None = None
    currency: Currency | None = None
    refunds: Refunds | None = None
    unusable: str = Field("", description="Why such a file can't be used, and what to do instead.")

    @model_validator(mode="after")
    def _check_whole(self) -> Profile:
        if self.decimal_mark == self.thousands_separator:
            raise ValueError("decimal_mark and thousands_separator can't be the same")
        if unknown := set(self.strip) - set(Columns.model_fields):
            raise ValueError(f"strip names {min(unknown)}, which is none of ROBIN's columns")
        amounts = [column for money in self.money.values() for column in money.columns]
        if self.grain == "order" and any(column.summed for column in amounts):
            raise ValueError('sum(…) needs grain = "line"')
        if self.refunds and self.grain == "order":
            raise ValueError('refunds needs grain = "line"')
        if self.date_language and self.date_language not in vocabulary.load_months():
            known = ", ".join(vocabulary.load_months())
            raise ValueError(f"date_language {self.date_language!r} is none of: {known}")
        return self

    @cached_property
    def amount_style(self) -> AmountStyle:
        """How its amounts are written."""
        return AmountStyle(self.decimal_mark, self.thousands_separator, self.currency_signs)

    @cached_property
    def date_columns(self) -> tuple[tuple[str, ...], ...]:
        """The columns of the date, in each those whose cells are joined; the first filled one counts."""
        return tuple(
            tuple(_NAME.findall(name)) if name.startswith("[") else (name,)
            for name in self.columns.order_date
        )

    @cached_property
    def money(self) -> dict[str, Expression]:
        """The expressions of revenue and, if there is one, of profit."""
        texts = {"revenue": self.columns.revenue, "profit": self.columns.profit}
        return {name: parse_expression(text) for name, text in texts.items() if text}

    @cached_property
    def sources(self) -> dict[str, str]:
        """The file's columns that the profile names, and what each tells: ROBIN's column of that name,
        or status or currency.
        """
        named = {
            name: field
            for field in ("order_number", "email_address", "phone_number", "webstore_url")
            for name in _list_names(getattr(self.columns, field))
        }
        named |= {name: "order_date" for names in self.date_columns for name in names}
        named |= {column.name: field for field, money in self.money.items() for column in money.columns}
        if status := self.status:
            also = (status.cancelled_if_filled, status.pending_if_blank)
            named |= {name: "status" for name in (*status.column, *also) if name}
        if self.currency:
            named[self.currency.column] = "currency"
        words = (*self.leave_out, *self.only, *([self.refunds.column] if self.refunds else []))
        # A column may say two things; what it is to ROBIN comes before what is asked of it.
        return dict.fromkeys(words, "word") | named

    def find_missing(self, columns: Iterable[str]) -> list[str]:
        """The columns that a file with these columns lacks; none if it can be read."""
        there = set(columns)
        contacts = self.columns.email_address or self.columns.phone_number
        either = [(self.columns.order_number,), contacts]
        either += [(column.name,) for column in self.money["revenue"].columns if not column.optional]
        if not any(there.issuperset(names) for names in self.date_columns):
            either += [(name,) for name in self.date_columns[0]]
        if self.status:
            either += [(name,) for name in (*self.status.column, self.status.pending_if_blank) if name]
        either += [(name,) for name in (*self.leave_out, *self.only)]
        if self.refunds:
            either.append((self.refunds.column,))
        return [" or ".join(names) for names in dict.fromkeys(either) if not there.intersection(names)]

    def complete(self, settings: Settings) -> Profile:
        """With what settings say of the time zone, the currency, the web store and the order prefix.

        Raises `ConfigurationError` where that is left to them and they don't.
        """
        is_stated = "timezone" in self.model_fields_set and self.timezone
        zone = self.timezone if is_stated else settings.timezone or self.timezone
        currency = self.currency
        missing = []
        if not zone:
            missing.append(
                "its dates have no offset: set ROBIN_ETL_TIMEZONE to the shop's time zone, such as "
                "Europe/Amsterdam"
            )
        if currency and not (settings.currency or currency.code):
            missing.append(
                "it may hold several currencies, of which ROBIN knows none: set ROBIN_ETL_CURRENCY "
                "to the one the shop reports in, such as EUR"
            )
        if missing:
            raise ConfigurationError(f"Of a file of the profile {self.name}, {'; and '.join(missing)}.")
        if currency:
            code = (settings.currency or currency.code).upper()
            currency = currency.model_copy(update={"code": code})
        webstore_url = settings.webstore_url or self.webstore_url
        completed = {
            "timezone": zone,
            "currency": currency,
            "webstore_url": webstore_url,
            "order_prefix": settings.order_prefix or self.order_prefix,
        }
        return self.model_copy(update=completed)
