"""Profiles: how a shop's system writes its export, as TOML beside this file or of one's own.

A profile says where ROBIN's columns are in a file, and how its money, dates and statuses are written.
It is data alone: `mapping` applies it.
"""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from upath import UPath

from robin_etl.core import dates
from robin_etl.exceptions import ConfigurationError
from robin_etl.exports import expressions
from robin_etl.exports.expressions import Expression

if TYPE_CHECKING:
    from robin_etl.settings import Settings

SUFFIX = ".toml"


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _lowered(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(value.strip().lower() for value in values)


def _known_encoding(name: str) -> str:
    try:
        "".encode(name)  # which codecs of something else than text refuse
        codecs.getincrementaldecoder(name)
    except LookupError:
        raise ValueError(f"there is no encoding {name!r} of text") from None
    return name


def _known_zone(name: str) -> str:
    try:
        return name if name in ("", "UTC") else ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}; it is a name like Europe/Amsterdam") from None


def _parsable(text: str) -> str:
    expressions.parse_expression(text)
    return text


# One column, or several of which the first that is not blank tells.
Sources = Annotated[tuple[str, ...], BeforeValidator(_listed)]
# `[Total] - [Refunded Amount]?`; see `expressions`.
Money = Annotated[str, AfterValidator(_parsable)]
Values = Annotated[tuple[str, ...], AfterValidator(_lowered)]
Zone = Annotated[str, AfterValidator(_known_zone)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(_Table):
    """Where ROBIN's columns are in the file."""

    order_number: str = Field(description="Column of the order number.")
    email_address: Sources = Field(
        (), description="Column of the e-mail address; of several the first filled cell counts."
    )
    phone_number: Sources = Field((), description="Column of the phone number, likewise.")
    revenue: Money = Field(description="Expression of columns, such as `[Total] - [Refunded]?`.")
    profit: Money | None = Field(None, description="Expression of columns.")
    order_date: Sources = Field(
        description="Column of the date; of several the first filled cell counts."
    )
    webstore_url: Sources = Field((), description="Column of the shop's address.")

    @model_validator(mode="after")
    def _names_customers(self) -> Columns:
        if not (self.email_address or self.phone_number):
            raise ValueError("email_address or phone_number must say who the customer is")
        return self


class Status(_Table):
    """What an order's status means. Values are compared without regard to case."""

    column: str = Field(description="Column of the status.")
    pending: Values = Field((), description="Values of what is not an order yet; its rows are left out.")
    cancelled: Values = Field((), description="Values of what is no longer an order.")
    cancelled_if_filled: str = Field(
        "", description="Column that is filled for cancelled orders only, such as the date."
    )
    cancelled_revenue: Literal["zero", "kept"] = Field(
        "zero", description="Whether a cancelled order is worth nothing, or what the file says."
    )


class Currency(_Table):
    """The one currency that the shop reports in: ROBIN knows none."""

    column: str = Field(description="Column of the currency.")
    code: str = Field(
        "",
        description="The currency that is sent, such as EUR; blank if ROBIN_ETL_CURRENCY must state it.",
    )


class Profile(_Table):
    """How a shop's system writes its export."""

    name: str = Field("", description="Name of the profile; the file's by default.")
    title: str = Field("", description="Shop system and export, in words.")
    delimiter: str = Field(
        ",", min_length=1, max_length=1, description="Character between the cells of a CSV file."
    )
    encoding: Annotated[str, AfterValidator(_known_encoding)] = Field(
        "utf-8", description="Encoding of a CSV file; a byte order mark is ignored."
    )
    decimal_mark: Literal[".", ","] = Field(".", description="Character before the cents.")
    thousands_separator: Literal["", ".", ",", " ", "'"] = Field(
        "", description="Character between groups of three digits; blank for none."
    )
    date_formats: tuple[str, ...] = Field(
        (dates.ISO,),
        min_length=1,
        description="`iso`, or formats of Python's strptime, tried in turn.",
    )
    timezone: Zone = Field(
        "UTC",
        description="Time zone of dates without an offset; blank if ROBIN_ETL_TIMEZONE must state it.",
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
    strip: Mapping[str, str] = Field(
        {}, description='Text to remove from the front of a column\'s cells: `order_number = "#"`.'
    )
    status: Status | None = None
    currency: Currency | None = None
    unusable: str = Field("", description="Why such a file can't be used, and what to do instead.")

    @model_validator(mode="after")
    def _holds_together(self) -> Profile:
        if self.decimal_mark == self.thousands_separator:
            raise ValueError("decimal_mark and thousands_separator can't be the same")
        if unknown := set(self.strip) - set(Columns.model_fields):
            raise ValueError(f"strip names {min(unknown)}, which is none of ROBIN's columns")
        amounts = [column for money in self.money.values() for column in money.columns]
        if self.grain == "order" and any(column.summed for column in amounts):
            raise ValueError('sum(…) needs grain = "line"')
        return self

    @cached_property
    def money(self) -> dict[str, Expression]:
        """The expressions of revenue and, if there is one, profit."""
        texts = {"revenue": self.columns.revenue, "profit": self.columns.profit}
        return {name: expressions.parse_expression(text) for name, text in texts.items() if text}

    @cached_property
    def sources(self) -> dict[str, str]:
        """The file's columns that the profile names, and what each tells: ROBIN's column of that name,
        or status or currency.
        """
        named = {
            name: field
            for field in ("order_number", "email_address", "phone_number", "order_date", "webstore_url")
            for name in _listed(getattr(self.columns, field))
        }
        named |= {column.name: field for field, money in self.money.items() for column in money.columns}
        if self.status:
            named[self.status.column] = "status"
            if self.status.cancelled_if_filled:
                named[self.status.cancelled_if_filled] = "status"
        if self.currency:
            named[self.currency.column] = "currency"
        return named

    def find_missing(self, columns: Iterable[str]) -> str | None:
        """The first column that a file with these columns lacks; None if it can be read."""
        there = set(columns)
        contacts = self.columns.email_address or self.columns.phone_number
        either = [(self.columns.order_number,), contacts, self.columns.order_date]
        either += [(column.name,) for column in self.money["revenue"].columns if not column.optional]
        if self.status:
            either.append((self.status.column,))
        return next((" or ".join(names) for names in either if not there.intersection(names)), None)

    def complete(self, settings: Settings) -> Profile:
        """With what settings say of the time zone and the currency.

        Raises `ConfigurationError` where that is left to them and they don't.
        """
        zone = settings.timezone or self.timezone
        if not zone:
            raise ConfigurationError(
                f"Dates in a file of the profile {self.name} have no offset; set ROBIN_ETL_TIMEZONE to "
                "the shop's time zone, such as Europe/Amsterdam."
            )
        currency = self.currency
        if currency and not (settings.currency or currency.code):
            raise ConfigurationError(
                f"ROBIN knows no currency, and a file of the profile {self.name} may hold several; set "
                "ROBIN_ETL_CURRENCY to the one the shop reports in, such as EUR."
            )
        if currency:
            code = (settings.currency or currency.code).upper()
            currency = currency.model_copy(update={"code": code})
        return self.model_copy(update={"timezone": zone, "currency": currency})


def list_shipped() -> Iterator[Profile]:
    """The profiles that come with robin-etl, by name."""
    files = resources.files(__package__).iterdir()
    for name in sorted(file.name for file in files if file.name.endswith(SUFFIX)):
        yield load_profile(name.removesuffix(SUFFIX))


def load_profile(name: str) -> Profile:
    """The profile of that name, or of that TOML file; raises `ConfigurationError`."""
    return _made(name, _read(name))


def load_configured(settings: Settings) -> Profile:
    """The profile that settings name, whole; raises `ConfigurationError`."""
    profile = load_profile(settings.profile)
    if profile.unusable:
        raise ConfigurationError(profile.unusable)
    return profile.complete(settings)


def find_fitting(columns: Iterable[str]) -> Profile | None:
    """The shipped profile that a file with these columns fits best, if any does."""
    there = set(columns)
    fit = [profile for profile in list_shipped() if profile.find_missing(there) is None]
    return max(fit, key=lambda profile: len(there & set(profile.sources)), default=None)


def _read(name: str, *below: str) -> dict[str, Any]:
    """A profile's table, laid over that of the profile it extends."""
    if name in below:
        raise ConfigurationError(f"The profile {name} extends itself; name another one in extends.")
    table = _table(name)
    if not isinstance(extends := table.pop("extends", None), str | None):
        raise ConfigurationError(f"The profile {name}: extends must be a profile's name or file.")
    return _laid_over(_read(extends, name, *below), table) if extends else table


def read_text(name: str) -> str:
    """A profile's TOML; raises `ConfigurationError` where there is none."""
    is_file = name.endswith(SUFFIX)
    file = UPath(name) if is_file else resources.files(__package__) / f"{name}{SUFFIX}"
    try:
        return str(file.read_bytes().decode())
    except (FileNotFoundError, IsADirectoryError):
        known = ", ".join(profile.name for profile in list_shipped())
        raise ConfigurationError(
            f"There is no profile {name!r}; set ROBIN_ETL_PROFILE to a TOML file or to one of: {known}."
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The profile {name} can't be read: {error}.") from None


def _table(name: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(read_text(name))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"The profile {name} is no TOML: {error}.") from None
    return {"name": name.rsplit("/", 1)[-1].removesuffix(SUFFIX), **table}


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {**below, **above}
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            both[key] = {**below[key], **value}
    return both


def _made(name: str, table: dict[str, Any]) -> Profile:
    try:
        return Profile(**table)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors(include_url=False)
        )
        raise ConfigurationError(f"The profile {name} can't be used: {problems}.") from None
