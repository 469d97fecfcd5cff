"""The cells of a file by its own columns, as a profile says they are written, for each order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from robin_etl.core import columns, customers, money, nobodies
from robin_etl.exports import damage, expressions, vocabulary
from robin_etl.exports.amounts import parse_amounts
from robin_etl.exports.expressions import Column

if TYPE_CHECKING:
    from robin_etl.exports.profiles import Profile

# What is made of trimmed cells before it is seen which of them are filled.
Clean = Callable[[pd.Series], pd.Series]


_WRAPPED = r'\A="([^"]*)"\z'


class FileCells:
    """The columns of a file by their own names, for each order: of its lines the first filled cell."""

    def __init__(self, cells: pd.DataFrame, profile: Profile) -> None:
        self._cells = cells
        self._profile = profile

    @cached_property
    def numbers(self) -> pd.Series:
        """The number of each row's order; null where it has none."""
        numbers = self._trim(self._profile.columns.order_number)
        return numbers.ffill() if self._profile.continued else numbers

    @cached_property
    def _order(self) -> npt.NDArray[np.intp]:
        """For each row the order it is of, counted as they appear; one without a number is its own, and
        so is one whose number a spreadsheet rounded: it may be another's too.
        """
        numbers = self.numbers
        nobody = (numbers.isna() | damage.find_damaged_numbers(numbers)).to_numpy(dtype=np.bool_)
        codes, distinct = pd.factorize(numbers)
        codes[nobody] = len(distinct) + np.arange(nobody.sum())
        return pd.factorize(codes)[0]

    @cached_property
    def first_rows(self) -> npt.NDArray[np.intp]:
        """The position of each order's first row."""
        return np.unique(self._order, return_index=True)[1]

    def find_texts(self, *names: str) -> pd.Series:
        """The cells of a column, trimmed, blank as null; of several columns the first that is filled."""
        return self._find_filled(names, lambda cells: cells)

    def find_addresses(self, *names: str) -> pd.Series:
        """The same of e-mail addresses, in their one form; a nobody's is a blank cell."""

        def clean(cells: pd.Series) -> pd.Series:
            formed = customers.normalize_addresses(cells)
            return nobodies.blank_addresses(formed, self._profile.nobodies)

        return self._find_filled(names, clean)

    def find_numbers(self, *names: str) -> pd.Series:
        """The same of phone numbers; a nobody's, or one that a spreadsheet rounded, is a blank cell."""

        def clean(cells: pd.Series) -> pd.Series:
            known = nobodies.blank_numbers(cells, self._profile.nobodies)
            return known.mask(damage.find_damaged_numbers(known))

        return self._find_filled(names, clean)

    def find_dates(self) -> pd.Series:
        """The dates as they are written, joined where a date is in several columns, with the names of
        months in English.
        """
        read = (self._join(names) for names in self._profile.date_columns)
        found = next(read)
        for other in read:
            found = found.fillna(other)
        language = self._profile.date_language
        return vocabulary.translate_months(found, language) if language else found

    def _join(self, names: tuple[str, ...]) -> pd.Series:
        first, *others = (self._find_first(name) for name in names)
        for other in others:
            first = columns.trim(first.str.cat(other.fillna(""), sep=" "))
        return first

    def find_cents(self, field: str) -> tuple[pd.Series, pd.Series]:
        """The cents of revenue or profit, and the text that says whether there should be any."""
        expression = self._profile.money.get(field)
        if expression is None:
            nothing = self._make_blanks()
            return nothing.astype(columns.CENTS), nothing
        text = self._find_first(expression.columns[0].name)
        if expression.is_column:
            return money.to_cents(parse_amounts(text, self._profile.amount_style), text.index), text
        exact = expression.evaluate(self._find_decimals, self._sum_lines)
        cents = money.round_to_cents(exact, self._make_blanks().index)
        return cents, text.fillna(expression.text).where(self._are_filled(expression.columns))

    def _sum_lines(self, items: pa.Array) -> pa.Array:
        """The sum over each order's lines, less those that are refunds; null where one of them is."""
        if self._profile.refunds:
            refunded = pc.negate(pc.abs(items))
            items = pc.if_else(columns.to_arrow(self.are_refunds), refunded, items)
        table = pa.table({"order": self._order, "item": items})
        exact = pc.ScalarAggregateOptions(skip_nulls=False)
        sums = table.group_by("order", use_threads=False).aggregate([("item", "sum", exact)])
        return sums["item_sum"].combine_chunks()

    @cached_property
    def are_refunds(self) -> pd.Series:
        """Which rows are refunds."""
        refunds = self._profile.refunds
        if refunds is None:
            return pd.Series(data=False, index=self._cells.index)
        text = self._trim(refunds.column)
        if refunds.values:
            return text.str.lower().isin(refunds.values)
        amounts = parse_amounts(text, self._profile.amount_style)
        is_negative = pc.fill_null(pc.starts_with(amounts, "-"), fill_value=False)
        return pd.Series(is_negative.to_numpy(zero_copy_only=False), index=self._cells.index)

    def find_words(self, name: str) -> pd.Series:
        """What a column says of each row, in lower case: of a row where it is blank, what it says of the
        order.
        """
        text = self._trim(name)
        if self._profile.grain == "line":
            text = text.fillna(text.groupby(self._order).transform("first"))
        return text.str.lower()

    def _find_decimals(self, column: Column) -> pa.Array:
        """A column's decimals, null where it has none: a line item's if it is `summed`."""
        text = self._trim(column.name) if column.summed else self._find_first(column.name)
        decimals = expressions.to_decimals(parse_amounts(text, self._profile.amount_style))
        if not column.optional:
            return decimals
        # A blank counts as nothing, but text that is no number must not.
        blank = pa.array(text.isna())
        return pc.if_else(blank, expressions.ZERO, decimals)

    def _are_filled(self, columns: Iterable[Column]) -> pd.Series:
        """Whether each order's cells are filled in all of these columns that need to be."""
        filled = pd.Series(data=True, index=self._make_blanks().index)
        for column in columns:
            if column.optional:
                continue
            there = self._trim(column.name).notna()
            if column.summed:
                filled &= there.groupby(self._order).all()
            else:
                filled &= self._find_first(column.name).notna()
        return filled

    def _find_filled(self, names: tuple[str, ...], clean: Clean) -> pd.Series:
        found = self._find_first(names[0], clean) if names else self._make_blanks()
        for name in names[1:]:
            found = found.fillna(self._find_first(name, clean))
        return found

    def _find_first(self, name: str, clean: Clean = lambda cells: cells) -> pd.Series:
        text = clean(self._trim(name))
        return text if self._profile.grain == "order" else text.groupby(self._order).first()

    def _trim(self, name: str) -> pd.Series:
        if name not in self._cells.columns:
            return pd.Series(index=self._cells.index, dtype=columns.TEXT)
        text = _unwrap(columns.trim(self._cells[name]))
        field = self._profile.sources.get(name, "")
        if prefix := self._profile.strip.get(field):
            text = columns.trim(text.str.removeprefix(prefix))
        return text

    def _make_blanks(self) -> pd.Series:
        by_order = self._profile.grain == "order"
        index = self._cells.index if by_order else pd.RangeIndex(len(self.first_rows))
        return pd.Series(index=index, dtype=columns.TEXT)


def _unwrap(text: pd.Series) -> pd.Series:
    """Cells without what keeps a spreadsheet from taking them for numbers: `="00123"` is 00123."""
    strings = columns.to_strings(text)
    if not pc.any(pc.starts_with(strings, '="')).as_py():
        return text
    return columns.to_series(pc.replace_substring_regex(strings, _WRAPPED, r"\1"), text.index)
