"""Which column of a file is what: by its name in the languages of the vocabulary, and by its cells."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from robin_etl.core import columns
from robin_etl.exceptions import ExportError
from robin_etl.exports import vocabulary
from robin_etl.exports.drafting import amount_styles, date_formats, flags
from robin_etl.exports.drafting import names as names_say
from robin_etl.exports.drafting.names import rate_name, simplify_name
from robin_etl.exports.drafting.questions import Ask, Question
from robin_etl.exports.json_objects import EACH
from robin_etl.exports.naming import name_columns
from robin_etl.exports.profiles import Profile
from robin_etl.exports.sampling import Sample

_DOTTED = r"\A[0-2]?\d\.[0-5]\d\Z"  # a time of day, in a column of that name
_ID = re.compile(r"\bids?\Z")
_NUMBERS = {"number", "nummer", "numero", "numer", "cislo", "order name"}
_OF_PAYMENT = re.compile(r"pa[iy]|financ|betaal|zahl|pag|betal|plat")
_OF_SHIPPING = re.compile(
    r"ship|deliver|fulfil|verz|versand|liefer|levering|livr|spediz|envio|env\u00edo"
)


@dataclass(frozen=True)
class Found:
    """The columns of a file by what they are; blank where there is none.

    `order_date` may be two, a date and a time; of contacts the likeliest comes first. `amounts` are by
    their meaning in the vocabulary, `totals` what may be an order's worth, `shares` discounts and taxes
    as so many of a hundred, `items` what only a row for each item has.
    """

    order_number: str = ""
    email_address: tuple[str, ...] = ()
    phone_number: tuple[str, ...] = ()
    order_date: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    paid_at: str = ""
    cancelled_at: str = ""
    currency: str = ""
    row_type: str = ""
    profit: str = ""
    amounts: Mapping[str, str] = field(default_factory=dict)
    totals: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    items: tuple[str, ...] = ()

    def join_dates(self, rows: pd.DataFrame) -> pd.Series:
        """The dates as a profile would join them."""
        first, *others = (rows[name] for name in self.order_date)
        for other in others:
            first = columns.trim(first.str.cat(other.fillna(""), sep=" "))
        return first


def drop_sums(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without sums of lists in JSON, but for those of refunds."""
    kept = [
        column
        for column in rows.columns
        if f".{EACH}." not in column or rate_name(simplify_name(column), "refunded")
    ]
    return rows[kept]


def find_columns(sample: Sample, ask: Ask) -> Found:
    """What each column is. Raises `ExportError` where none names a customer."""
    rows = sample.rows
    told = {flag.column for _, flag in flags.find_flags(rows)}
    names = [simplify_name(column) for column in rows.columns if column not in told]
    kinds = {column: _look_at(rows[column]) for column in rows.columns}

    def find(meaning: str, *kind: str) -> list[str]:
        ranked = sorted(
            ((rate_name(name, meaning), -at, name) for at, name in enumerate(names)),
            key=lambda one: one[:2],
            reverse=True,
        )
        return [
            name.column
            for rate, _, name in ranked
            if rate
            and (not kind or kinds[name.column] & set(kind))
            and (meaning == "refunded" or f".{EACH}." not in name.column)
        ]

    emails = _find_emails(rows, kinds, find("email_address", "email"))
    phones = tuple(one for one in find("phone_number", "phone") if not names_say.is_of_shop(one))[:3]
    _require_contact(emails, phones, sample)
    taken = {*emails, *phones}
    date = _find_date(rows, kinds, find, ask)
    amounts = {
        meaning: next((column for column in find(meaning, "amount") if column not in taken), "")
        for meaning in (
            *("refunded", "quantity", "unit_price", "line_total", "subtotal", "shipping"),
            *("shipping_tax", "tax", "discount"),
        )
    }
    totals = [
        column for column in find("revenue", "amount") if column not in {*taken, *amounts.values()}
    ]
    totals.sort(key=lambda column: simplify_name(column).is_net)
    return Found(
        order_number=_find_number(rows, kinds, find, {*taken, *date, *totals[:1]}, ask),
        email_address=emails[:2],
        phone_number=phones,
        order_date=date,
        status=_find_statuses(
            [one for one in find("status", "word", "digits") if not _is_place(rows, one)]
        ),
        paid_at=next((one for one in find("paid_at", "date") if one not in date), ""),
        cancelled_at=next((one for one in find("cancelled_at", "date", "blank") if one not in date), ""),
        currency=next(iter(find("currency", "code")), ""),
        row_type=next((one for one in find("row_type", "word")), ""),
        profit=next(iter(find("profit", "amount")), ""),
        amounts=amounts,
        totals=tuple(totals),
        shares=(*find("discount", "share")[:1], *find("tax", "share")[:1]),
        items=tuple(find("item")),
    )


def take_from(profile: Profile, rows: pd.DataFrame) -> Found:
    """The columns of a file as a profile names them."""
    status = profile.status
    dates = next(
        (names for names in profile.date_columns if set(names) <= set(rows.columns)),
        profile.date_columns[0],
    )
    names = [simplify_name(column) for column in rows.columns]
    items = [name.column for name in names if rate_name(name, "item") or rate_name(name, "quantity")]
    return Found(
        order_number=profile.columns.order_number,
        order_date=dates,
        status=status.column if status else (),
        items=tuple(items),
    )


def _look_at(text: pd.Series) -> frozenset[str]:
    """What the cells of a column could be."""
    filled = text.dropna()
    if filled.empty:
        return frozenset({"blank"})
    some = filled.head(2000)
    kinds = set()
    if some.str.contains("@", regex=False).mean() > 0.5:
        return frozenset({"email"})
    if some.str.replace(r"\D", "", regex=True).str.len().between(6, 16).mean() > 0.5:
        kinds.add("phone")
    if some.str.fullmatch(r"[A-Za-z]{3}").mean() > 0.9:
        kinds.add("code")
    kinds |= _look_at_numbers(some, f"{text.name}")
    if not kinds & {"share", "amount", "date", "time"} and filled.nunique() <= 60:
        kinds.add("word")
    return frozenset(kinds)


def _look_at_numbers(some: pd.Series, name: str) -> set[str]:
    """The same of numbers and dates. What says so many of a hundred is no amount."""
    kinds = set()
    if some.nunique() <= 20 and some.str.fullmatch(r"\d{1,3}").all():
        kinds.add("digits")
    if date_formats.are_times(some):
        kinds.add("time")
    elif date_formats.are_dates(some):
        kinds.add("date")
    if names_say.is_share(name) or some.str.contains("%", regex=False).mean() > 0.5:
        kinds.add("share")
    elif "time" not in kinds and amount_styles.are_amounts(some):
        kinds.add("amount")
    return kinds


def _find_emails(
    rows: pd.DataFrame, kinds: Mapping[str, frozenset[str]], named: list[str]
) -> tuple[str, ...]:
    """The columns of addresses, by name or, without one, the fullest by its cells."""
    named = [column for column in named if not names_say.is_of_shop(column)]
    if named:
        return tuple(named)
    others = [
        column
        for column in rows.columns
        if "email" in kinds[column] and not names_say.is_of_shop(column)
    ]
    return tuple(sorted(others, key=lambda column: -rows[column].notna().sum())[:1])


def _require_contact(emails: tuple[str, ...], phones: tuple[str, ...], sample: Sample) -> None:
    if emails or phones:
        return
    raise ExportError(
        f"No column of {sample.path} holds e-mail addresses or phone numbers, so ROBIN could not be "
        "told whose an order is. Have the shop system write the customer's e-mail address beside each "
        "order: most let you choose the columns of an export, or have one of orders with customers. "
        f"Here {name_columns(sample.columns, ())}.",
        path=sample.path,
    )


def _find_date(
    rows: pd.DataFrame,
    kinds: Mapping[str, frozenset[str]],
    find: Callable[..., list[str]],
    ask: Ask,
) -> tuple[str, ...]:
    """The column of the order's date, and of its time where that is another."""
    named = find("order_date", "date")
    if not named and not any("date" in kind for kind in kinds.values()):
        # Dates in a form that nobody knows are asked about as such.
        named = find("order_date")
    if not named:
        named = [column for column in rows.columns if "date" in kinds[column]]
        if len(named) != 1:
            answer = ask(
                Question(
                    "columns.order_date",
                    "which column is the date of the order? No name says it.",
                    tuple(named) or tuple(rows.columns[:20]),
                )
            )
            return (answer,) if answer else ()
    date = named[0]
    has_time = rows[date].dropna().str.contains(r"\d[:hT]\d|\d{10}|\d\.\d{3,}", regex=True).any()
    dotted = [one for one in find("time", "amount") if rows[one].dropna().str.match(_DOTTED).all()]
    times = (
        find("time", "time") or dotted or [column for column in rows.columns if "time" in kinds[column]]
    )
    if has_time or not times:
        return (date,)
    return (date, times[0])


def _find_number(
    rows: pd.DataFrame,
    kinds: Mapping[str, frozenset[str]],
    find: Callable[..., list[str]],
    taken: set[str],
    ask: Ask,
) -> str:
    named = [
        column
        for column in find("order_number")
        if column not in taken and rows[column].notna().any() and "email" not in kinds[column]
    ]
    # A word for many things is taken only where most of its cells differ.
    named = [column for column in named if len(rows) < 3 or len(rows[column].drop_duplicates()) > 1]
    unique = [
        column
        for column in rows.columns
        if column not in taken and rows[column].notna().all() and rows[column].is_unique
    ]
    if named:
        # What a system counts by itself is an id; what customers are told stands beside it.
        told = [one for one in named[1:] if vocabulary.simplify(one) in _NUMBERS and one in unique]
        return told[0] if told and _ID.search(vocabulary.simplify(named[0])) else named[0]
    answer = ask(
        Question(
            "columns.order_number",
            "which column is the number of the order? No name says it.",
            tuple(unique) or tuple(rows.columns[:20]),
        )
    )
    return answer or ""


def _is_place(rows: pd.DataFrame, column: str) -> bool:
    """Whether a column of states is one of a country's, such as NY."""
    cells = rows[column].dropna()
    return vocabulary.simplify(column) == "state" and bool(cells.str.fullmatch(r"[A-Za-z]{2}").all())


def _find_statuses(named: list[str]) -> tuple[str, ...]:
    """The column of the order's status, and that of its payment's where that is another."""
    payment = [column for column in named if _OF_PAYMENT.search(vocabulary.simplify(column))]
    others = [column for column in named if column not in payment]
    order = [column for column in others if not _OF_SHIPPING.search(vocabulary.simplify(column))]
    return (*order[:1], *payment[:1])
