"""The amounts of a file, and how they lie within its orders."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from robin_etl.exports import expressions
from robin_etl.exports.amounts import AmountStyle, parse_amounts
from robin_etl.exports.drafting import amount_styles, names
from robin_etl.exports.drafting.column_names import Found

_STYLES = [
    (mark, separator) for mark in ".," for separator in ("", ",", ".", " ", "'") if mark != separator
]


class OrderAmounts:
    """The amounts of a file, and how they lie within its orders."""

    def __init__(
        self, rows: pd.DataFrame, found: Found, *, is_line: bool, is_continued: bool = False
    ) -> None:
        self.rows = rows
        self.found = found
        numbers = rows[found.order_number] if found.order_number in rows else pd.Series(rows.index)
        self.orders = numbers.ffill() if is_continued else numbers
        self.is_line = is_line

    def read(self, column: str) -> pd.Series:
        """A column's amounts as floats, which are only compared."""
        text = self.rows[column]
        signs = amount_styles.find_signs(text.dropna())
        best = max(
            (parse_amounts(text, AmountStyle(mark, separator, signs)) for mark, separator in _STYLES),
            key=lambda read: int(pc.sum(pc.is_valid(read)).as_py() or 0),
        )
        read: pd.Series = pc.cast(best, pa.float64()).to_pandas()
        return read.set_axis(text.index)

    def varies(self, column: str) -> bool:
        """Whether the rows of any order differ in a column."""
        of_orders = self.read(column).groupby(self.orders)
        return bool((of_orders.max() > of_orders.min()).any())

    def repeats(self, column: str) -> bool:
        """Whether several rows of any order have the same amount in a column, other than 0."""
        read = self.read(column)
        return bool((read[read.notna() & (read != 0)].groupby(self.orders).size() > 1).any())

    def name(self, column: str, *, optional: bool = False) -> str:
        named = f"{expressions.name_column(column)}{'?' if optional else ''}"
        return f"{named} * 0.01" if names.is_in_cents(column) else named

    def is_negative(self, column: str) -> bool:
        """Whether a column has amounts below 0, and none above."""
        read = self.read(column)
        return bool((read < 0).any() and not (read > 0).any())

    def place(self, column: str, *, is_summed: bool) -> str:
        """A column as an optional part of an expression."""
        part = self.name(column, optional=True)
        return f"sum({part})" if is_summed else part
