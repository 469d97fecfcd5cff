"""Which rows of a file are the shop's orders: not blank ones, nor what a profile leaves out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from robin_etl.core import columns
from robin_etl.exports.cells import FileCells

if TYPE_CHECKING:
    from robin_etl.exports.profiles import Profile

# Why an order is left out; others are named by the column that says so.
PENDING: Final = "pending"
OTHER_CURRENCY: Final = "other currency"


def choose_rows(
    cells: pd.DataFrame, lines: pd.Series, profile: Profile
) -> tuple[pd.DataFrame, pd.Series, Mapping[str, int]]:
    """The rows to go on with, refunds behind sales, and how many orders are left out, by reason."""
    is_blank = _find_blank_rows(cells, profile.columns.order_number)
    if is_blank is not None:
        cells, lines = _take(cells, lines, np.flatnonzero(~is_blank))
    left_out: Mapping[str, int] = {}
    if profile.leave_out or profile.only:
        cells, lines, left_out = _leave_out(cells, lines, profile)
    if profile.refunds:
        # The first filled cell of an order is to be its sale's, wherever in the file that is.
        are_refunds = FileCells(cells, profile).are_refunds.to_numpy(dtype=np.bool_)
        cells, lines = _take(cells, lines, np.argsort(are_refunds, kind="stable"))
    return cells, lines, left_out


def add_counts(counts: Iterable[Mapping[str, int]]) -> Mapping[str, int]:
    """Counts by reason of several files or batches, as one."""
    total: dict[str, int] = {}
    for one in counts:
        for reason, count in one.items():
            total[reason] = total.get(reason, 0) + count
    return total


def _take(
    cells: pd.DataFrame, lines: pd.Series, rows: npt.NDArray[np.intp]
) -> tuple[pd.DataFrame, pd.Series]:
    return cells.iloc[rows].reset_index(drop=True), lines.iloc[rows].reset_index(drop=True)


def _find_blank_rows(cells: pd.DataFrame, number: str) -> npt.NDArray[np.bool_] | None:
    """Which rows have nothing in any cell, such as the lines of delimiters below a spreadsheet's last
    row; None where there are none.
    """
    if number not in cells.columns or cells.empty:
        return None
    numbers = columns.to_strings(cells[number])
    is_empty = pc.fill_null(pc.equal(pc.binary_length(numbers), 0), fill_value=True)
    is_blank: npt.NDArray[np.bool_] = is_empty.to_numpy(zero_copy_only=False).copy()
    for name in cells.columns:
        if not is_blank.any():
            return None
        is_blank[is_blank] = columns.trim(cells[name][is_blank]).isna().to_numpy(dtype=np.bool_)
    return is_blank


def _leave_out(
    cells: pd.DataFrame, lines: pd.Series, profile: Profile
) -> tuple[pd.DataFrame, pd.Series, Mapping[str, int]]:
    file = FileCells(cells, profile)
    reasons = pd.Series(index=cells.index, dtype=columns.TEXT)
    for name, globs in profile.leave_out.items():
        reasons = reasons.mask(_match(file.find_words(name), globs) & reasons.isna(), name)
    for name, globs in profile.only.items():
        reasons = reasons.mask(~_match(file.find_words(name), globs) & reasons.isna(), name)
    is_left_out = reasons.notna().to_numpy(dtype=np.bool_)
    if not is_left_out.any():
        return cells, lines, {}
    numbers = file.numbers
    # Of an order of which rows remain, nothing is left out that would have to be counted.
    counted = pd.DataFrame({"number": numbers, "reason": reasons})[is_left_out]
    counted = counted[~counted["number"].isin(numbers[~is_left_out])]
    counted = counted[~counted["number"].duplicated() | counted["number"].isna()]
    if profile.continued:
        cells = cells.assign(**{profile.columns.order_number: numbers})
    cells, lines = _take(cells, lines, np.flatnonzero(~is_left_out))
    return cells, lines, {str(name): int(n) for name, n in counted["reason"].value_counts().items()}


def _match(words: pd.Series, globs: Iterable[str]) -> pd.Series:
    """Which of these match a glob; a blank one matches none."""
    either = "|".join(re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".") for glob in globs)
    found = pc.match_substring_regex(columns.to_strings(words), rf"(?s)\A(?:{either})\z")
    filled = pc.fill_null(found, fill_value=False)
    return pd.Series(filled.to_numpy(zero_copy_only=False), index=words.index)
