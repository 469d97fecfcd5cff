"""A profile as text: each line with the reason for it beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from robin_etl.exports import expressions
from robin_etl.exports.drafting import flags
from robin_etl.exports.drafting.column_names import Found
from robin_etl.exports.drafting.flags import Flag
from robin_etl.exports.profiles import Profile
from robin_etl.exports.sampling import Sample

if TYPE_CHECKING:
    from robin_etl.exports.drafting.amount_styles import FoundStyle
    from robin_etl.exports.drafting.date_formats import FoundFormats
    from robin_etl.exports.drafting.grain import Grain
    from robin_etl.exports.drafting.refunds import Refunds
    from robin_etl.exports.drafting.revenue import Worth

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_WIDTH = 105


@dataclass(frozen=True)
class Line:
    """A line of a TOML file: a key and its value, the head of a table in `key`, or a remark alone."""

    key: str = ""
    value: object = None
    remark: str = ""


def write_lines(lines: Iterable[Line]) -> str:
    """The text of a profile."""
    return "\n".join(_write_line(line) for line in lines) + "\n"


def _write_line(line: Line) -> str:
    remark = " ".join("".join(one if one.isprintable() else " " for one in line.remark).split())
    if not line.key:
        return f"# {remark}" if remark else ""
    if line.key.startswith("["):
        return line.key
    key = line.key if _BARE.match(line.key) else _to_toml(line.key)
    text = f"{key} = {_to_toml(line.value)}"
    if not remark:
        return text
    beside = f"{text}  # {remark}"
    return beside if len(beside) <= _WIDTH else f"# {remark}\n{text}"


def _to_toml(value: object) -> str:
    # JSON's strings, lists and booleans are TOML's, but for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def name_columns(names: Sequence[str], most: int) -> str:
    """The names of columns for a remark."""
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(map(str, names[:most]))}{more}"


def write_layout(sample: Sample, fitting: Profile | None) -> Iterator[Line]:
    """How the file is laid out, as far as a fitting profile does not say the same."""
    layout = sample.layout
    if sample.is_text:
        if fitting is None or fitting.delimiter != layout.delimiter:
            yield Line("delimiter", layout.delimiter)
        if fitting is None or fitting.encoding != layout.encoding:
            yield Line("encoding", layout.encoding)
    if sample.repeated:
        remark = f"these are there several times: {', '.join(sorted(sample.repeated))}"
        yield Line("repeated_columns", "first", remark)
    if layout.sheet:
        yield Line("sheet", layout.sheet, "the sheet with most rows")
    if layout.lines_above != (fitting.lines_above if fitting else 0):
        yield Line("lines_above", layout.lines_above, "lines above the header")
    if layout.footer != (fitting.footer if fitting else ()):
        yield Line("footer", list(layout.footer), "the lines below the last row; * is any text")


def write_grain(grain: Grain) -> Iterator[Line]:
    """What a row is."""
    if not grain.is_open:
        yield Line("grain", grain.name, grain.why)
        return
    yield Line(
        remark=f'QUESTION: {grain.why}. Is grain "line", of items that add up, or "order", of which the '
        "last row counts?"
    )
    yield Line("grain", "?")


def write_style(found: FoundStyle, fitting: Profile | None) -> Iterator[Line]:
    """How amounts are written."""
    style = found.style
    if fitting and style == fitting.amount_style:
        return
    if not found.is_decided:
        yield Line(
            remark=f"QUESTION: how are amounts written? Say decimal_mark, and the currency_signs "
            f"of the shop's currency; {found.why}"
        )
        # Neither is right before somebody has said it, and a profile without it would take the point.
        yield Line("decimal_mark", "?")
        return
    yield Line("decimal_mark", style.mark, found.why)
    yield Line("thousands_separator", style.separator)
    if style.signs or (fitting and fitting.currency_signs):
        yield Line("currency_signs", list(style.signs))


def write_dates(found: FoundFormats, fitting: Profile | None) -> Iterator[Line]:
    """How dates are written, and in which time zone."""
    if fitting and (found.formats, found.language) == (fitting.date_formats, fitting.date_language):
        if found.is_local and not fitting.timezone:
            yield Line(remark="Its dates have no offset: ROBIN_ETL_TIMEZONE says where the shop is.")
        return
    if not found.formats:
        yield Line(remark=f"QUESTION: how are the dates written? {found.why}")
    yield Line("date_formats", list(found.formats), found.why)
    if found.language or (fitting and fitting.date_language):
        yield Line("date_language", found.language, "of the months' names")
    if found.is_utc:
        yield Line("timezone", "UTC", "the column's name says so")
    elif found.is_local:
        remark = "dates have no offset: ROBIN_ETL_TIMEZONE says where the shop is"
        yield Line("timezone", "", remark)
    else:
        yield Line("timezone", "UTC", "each date says its own offset")


def write_columns(found: Found, worth: Worth) -> Iterator[Line]:
    """ROBIN's columns."""
    yield from _write_column("order_number", found.order_number)
    for field in ("email_address", "phone_number"):
        names: tuple[str, ...] = getattr(found, field)
        if names:
            remark = "the first that is filled counts" if len(names) > 1 else ""
            yield Line(field, list(names) if len(names) > 1 else names[0], remark)
    if worth.expression:
        yield Line("revenue", worth.expression, worth.why)
    else:
        yield Line(remark=f"QUESTION: what is an order worth? Say revenue; {worth.why}")
    if found.profit:
        yield Line("profit", expressions.name_column(found.profit))
    if len(found.order_date) > 1:
        joined = " ".join(f"[{name}]" for name in found.order_date)
        yield Line("order_date", joined, "date and time are two columns")
    else:
        yield from _write_column("order_date", next(iter(found.order_date), ""))


def write_strip(rows: pd.DataFrame, found: Found) -> Iterator[Line]:
    """The apostrophe by which a spreadsheet takes a number for text, where all cells have it."""
    columns = {"order_number": found.order_number, "phone_number": next(iter(found.phone_number), "")}
    marked = [
        field
        for field, name in columns.items()
        if name in rows and rows[name].notna().any() and rows[name].dropna().str.startswith("'").all()
    ]
    if marked:
        yield Line()
        yield Line("[strip]")
    for field in marked:
        yield Line(field, "'", "before what a spreadsheet is to take for text")


def _write_column(field: str, name: str) -> Iterator[Line]:
    if name:
        yield Line(field, name)
    else:
        yield Line(remark=f"QUESTION: which column is {field}?")


def write_currency(rows: pd.DataFrame, column: str) -> Iterator[Line]:
    """The column of the currency, and which one the shop reports in where there is one alone."""
    if not column:
        return
    codes = rows[column].dropna().str.upper().value_counts()
    shown = ", ".join(f"{code} ({count:,})" for code, count in codes.head(8).items())
    yield Line()
    yield Line("[currency]")
    yield Line("column", column)
    if len(codes) == 1:
        yield Line("code", str(codes.index[0]), "the only one in this file")
        return
    yield Line("code", "", f"ROBIN_ETL_CURRENCY says which: {shown}")
    yield Line("others", "leave_out", "orders in another are left out and counted")


def write_refunds(refunds: Refunds) -> Iterator[Line]:
    """How refunds as rows are told."""
    yield Line()
    yield Line("[refunds]")
    yield Line("column", refunds.column, "" if refunds.values else "a refund is where it is negative")
    if refunds.values:
        yield Line("values", list(refunds.values), "rows of refunds, taken off the order's others")


def write_left_out(rows: pd.DataFrame, unpaid: Sequence[Flag]) -> Iterator[Line]:
    """The table that leaves out test orders, where a column tells them, and unpaid ones."""
    tests = [flag for meaning, flag in flags.find_flags(rows) if meaning == "test"]
    if tests or unpaid:
        yield Line()
        yield Line("[leave_out]")
    for flag in tests:
        yield Line(flag.column, list(flag.yes), "test orders are none")
    for flag in unpaid:
        yield Line(flag.column, list(flag.no), "not paid yet")


def suggest_leaving_out(rows: pd.DataFrame, found: Found) -> Iterator[Line]:
    """A remark on columns by which a shop may have rows left out."""
    words = (
        "channel",
        "source",
        "kanaal",
        "kanal",
        "canal",
        "test",
        "tags",
        "store",
        "shop",
        "marketplace",
    )
    for column in rows.columns:
        if not any(word in column.lower() for word in words) or column in found.status:
            continue
        if flags.find_flag(rows, column):
            continue
        values = rows[column].dropna().value_counts()
        if 1 < len(values) <= 12:
            shown = ", ".join(f"{value} ({count:,})" for value, count in values.items())
            yield Line()
            yield Line(
                remark=f"{column} is one of: {shown}. A table [leave_out] or [only] with a line such as"
            )
            key = column if _BARE.match(column) else _to_toml(column)
            yield Line(remark=f"{key} = [{_to_toml(str(values.index[-1]))}] leaves rows out by it.")
