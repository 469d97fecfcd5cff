"""Mapping: the cells of a file, as a profile says they are written, to ROBIN's columns. Pure.

No cell is dropped for being wrong: what can't be read becomes null beside its raw text, for the gate's
rules to catch. Left out are only the orders that are none yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from robin_etl.core import columns, customers, dates, money
from robin_etl.exports import expressions
from robin_etl.exports.expressions import Column

if TYPE_CHECKING:
    from robin_etl.exports.profiles import Profile, Status

SURPLUS = "surplus_cells"

# Control characters, and those that turn the direction of text or have no width: a database may refuse
# the first, and no person sees the others.
_UNPRINTABLE = r"[\x00-\x1f\x7f-\x9f\x{200b}-\x{200f}\x{2028}-\x{202e}\x{2060}-\x{206f}\x{feff}]"
_LONGEST = 1_000

_PADDING = r"[\x{00a0}\x{202f}]"


@dataclass(frozen=True)
class Mapped:
    """Orders, as ROBIN's columns (`columns.EXPORTED_DTYPES`), with what the gate asks beside them.

    That is `revenue_text`, `profit_text` and `order_date_text`, as they were; `other_currency`, where an
    order is in one that the shop doesn't report in; `unsendable`, the column that holds control
    characters or far too much; and `surplus_cells`, what stood beyond the header's last column.
    `cells` and `lines` are those of each order's first row. All three have one index. `left_out`: how
    many orders are none yet.
    """

    cells: pd.DataFrame
    lines: pd.Series
    rows: pd.DataFrame
    left_out: int


def map_cells(cells: pd.DataFrame, lines: pd.Series, profile: Profile, day: date) -> Mapped:
    """Read these cells as the profile says. `lines`: the line each row starts on.

    Of a profile whose rows are line items, all rows of an order have to be among these.
    """
    file = _File(cells, profile)
    rows = _rows(file, profile, day)
    if profile.grain == "line":
        cells = cells.iloc[file.first].reset_index(drop=True)
        lines = lines.iloc[file.first].reset_index(drop=True)
    if profile.status is None:
        return Mapped(cells, lines, rows, 0)

    status = file.text(profile.status.column).str.lower()
    rows = _without_cancelled(rows, status, file, profile.status)
    keep = ~status.isin(profile.status.pending).to_numpy(dtype=np.bool_)
    if keep.all():
        return Mapped(cells, lines, rows, 0)
    cells, rows = (frame[keep].reset_index(drop=True) for frame in (cells, rows))
    return Mapped(cells, lines[keep].reset_index(drop=True), rows, int((~keep).sum()))


class _File:
    """The columns of a file by their own names, for each order: of its lines the first filled cell."""

    def __init__(self, cells: pd.DataFrame, profile: Profile) -> None:
        self._cells = cells
        self._profile = profile

    @cached_property
    def _order(self) -> npt.NDArray[np.intp]:
        """For each row the order it is of, counted as they appear; one without a number is its own."""
        numbers = self._trimmed(self._profile.columns.order_number)
        if self._profile.continued:
            numbers = numbers.ffill()
        nobody = numbers.isna().to_numpy(dtype=np.bool_)
        codes, distinct = pd.factorize(numbers)
        codes[nobody] = len(distinct) + np.arange(nobody.sum())
        return pd.factorize(codes)[0]

    @cached_property
    def first(self) -> npt.NDArray[np.intp]:
        """The position of each order's first row."""
        return np.unique(self._order, return_index=True)[1]

    def text(self, *names: str) -> pd.Series:
        """The cells of a column, trimmed, blank as null; of several columns the first that is filled."""
        found = self._of_orders(names[0]) if names else self._nothing()
        for name in names[1:]:
            found = found.fillna(self._of_orders(name))
        return found

    def total(self, items: pa.Array) -> pa.Array:
        """The sum over each order's lines; null where one of them is."""
        table = pa.table({"order": self._order, "item": items})
        exact = pc.ScalarAggregateOptions(skip_nulls=False)
        sums = table.group_by("order", use_threads=False).aggregate([("item", "sum", exact)])
        return sums["item_sum"].combine_chunks()

    def numbers(self, column: Column) -> pa.Array:
        """A column's decimals, null where it has none: a line item's if it is `summed`."""
        text = self._trimmed(column.name) if column.summed else self._of_orders(column.name)
        readable = money.parse_numbers(_plainly(text, self._profile))
        decimals = expressions.to_decimals(readable)
        if not column.optional:
            return decimals
        # A blank counts as nothing, but text that is no number must not.
        blank = pa.array(text.isna())
        return pc.if_else(blank, expressions.ZERO, decimals)

    def says_all(self, columns: Iterable[Column]) -> pd.Series:
        """Whether each order's cells are filled in all of these columns that need to be."""
        filled = pd.Series(data=True, index=self._nothing().index)
        for column in columns:
            if column.optional:
                continue
            there = self._trimmed(column.name).notna()
            if column.summed:
                filled &= there.groupby(self._order).all()
            else:
                filled &= self._of_orders(column.name).notna()
        return filled

    def _of_orders(self, name: str) -> pd.Series:
        text = self._trimmed(name)
        return text if self._profile.grain == "order" else text.groupby(self._order).first()

    def _trimmed(self, name: str) -> pd.Series:
        if name not in self._cells.columns:
            return pd.Series(index=self._cells.index, dtype=columns.TEXT)
        text = columns.trim(self._cells[name])
        field = self._profile.sources.get(name, "")
        if prefix := self._profile.strip.get(field):
            text = columns.trim(text.str.removeprefix(prefix))
        return text

    def _nothing(self) -> pd.Series:
        index = self._cells.index if self._profile.grain == "order" else pd.RangeIndex(len(self.first))
        return pd.Series(index=index, dtype=columns.TEXT)


def _rows(file: _File, profile: Profile, day: date) -> pd.DataFrame:
    named = profile.columns
    number = file.text(named.order_number)
    money = {
        name: value
        for field in ("revenue", "profit")
        for name, value in zip((field, f"{field}_text"), _money(file, profile, field), strict=True)
    }
    placed = file.text(*named.order_date)
    rows = pd.DataFrame(
        {
            "order_number": number,
            "day": pd.Series(day.isoformat(), index=number.index, dtype=columns.TEXT),
            "email_address": customers.normalize_addresses(file.text(*named.email_address)),
            "phone_number": file.text(*named.phone_number),
            "revenue": money["revenue"],
            "profit": money["profit"],
            "order_date": dates.parse_moments(placed, profile.timezone, profile.date_formats),
            "webstore_url": file.text(*named.webstore_url),
            "revenue_text": money["revenue_text"],
            "profit_text": money["profit_text"],
            "order_date_text": placed,
            "other_currency": _other_currency(file, profile),
            SURPLUS: file.text(SURPLUS),
        }
    )
    return rows.assign(unsendable=_unsendable(rows))


def _unsendable(rows: pd.DataFrame) -> pd.Series:
    """Which column of an order holds what no order number, phone number or address of a shop does."""
    found = pd.Series(index=rows.index, dtype=columns.TEXT)
    for name in ("order_number", "phone_number", "webstore_url"):
        strings = columns.to_arrow(rows[name], pa.string())
        bad = pc.or_(
            pc.match_substring_regex(strings, _UNPRINTABLE),
            pc.greater(pc.utf8_length(strings), _LONGEST),
        )
        if pc.any(bad).as_py():
            found = found.mask(pd.Series(pc.fill_null(bad, fill_value=False), index=found.index), name)
    return found


def _money(file: _File, profile: Profile, field: str) -> tuple[pd.Series, pd.Series]:
    """The cents of revenue or profit, and the text that says whether there should be any."""
    expression = profile.money.get(field)
    if expression is None:
        nothing = file.text()
        return nothing.astype(columns.CENTS), nothing
    if expression.is_column:
        text = file.text(expression.columns[0].name)
        return money.parse_cents(_plainly(text, profile)), text
    cents = money.round_to_cents(expression.value(file.numbers, file.total), file.text().index)
    text = file.text(expression.columns[0].name).fillna(expression.text)
    return cents, text.where(file.says_all(expression.columns))


def _plainly(text: pd.Series, profile: Profile) -> pd.Series:
    """Numbers with a point and no separators; what is not written as the profile says is no number."""
    mark, separator = profile.decimal_mark, profile.thousands_separator
    if (mark, separator) == (".", ""):
        return text
    strings = pc.replace_substring_regex(columns.to_arrow(text, pa.string()), _PADDING, " ")
    groups = rf"\d{{1,3}}({re.escape(separator)}\d{{3}})+|" if separator else ""
    written = rf"\A[+-]?({groups}\d*)({re.escape(mark)}\d*)?\z"
    # Something that is no number, since null would be a blank.
    strings = pc.if_else(pc.match_substring_regex(strings, written), strings, "?")
    if separator:
        strings = pc.replace_substring(strings, separator, "")
    plain = pc.replace_substring(strings, mark, ".")
    return pd.Series(plain.to_pandas(), index=text.index, dtype=columns.TEXT)


def _other_currency(file: _File, profile: Profile) -> pd.Series:
    if profile.currency is None:
        return file.text()
    said = file.text(profile.currency.column)
    return said.where(said.str.upper() != profile.currency.code)


def _without_cancelled(
    rows: pd.DataFrame, status: pd.Series, file: _File, meaning: Status
) -> pd.DataFrame:
    """Cancelled orders are worth nothing, whatever their row still says."""
    if meaning.cancelled_revenue == "kept":
        return rows
    cancelled = status.isin(meaning.cancelled)
    if meaning.cancelled_if_filled:
        cancelled |= file.text(meaning.cancelled_if_filled).notna()
    had_profit = cancelled & rows["profit_text"].notna()
    return rows.assign(
        revenue=rows["revenue"].mask(cancelled, 0),
        revenue_text=rows["revenue_text"].mask(cancelled, "0"),
        profit=rows["profit"].mask(had_profit, 0),
    )
