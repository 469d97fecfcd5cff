"""Rows without a contact: whose they are, going by the ledger and by what the run has read before them.

An order keeps its customer when the shop erases or redacts them. What nobody knows a customer of is left
to the gate or, where the profile says so, left out and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from robin_etl.core.partition import Keys, hash_keys
from robin_etl.exports.files import Export
from robin_etl.exports.mapping import CUT_OFF, SURPLUS

# What `customer_from` says of a row that does not name its customer.
FROM_RUN = "run"
FROM_LEDGER = "ledger"

Mask = npt.NDArray[np.bool_]


class CustomerFinder:
    """Finds whose the rows without a contact are, export by export, in the order they are read.

    `find_known` gives those of some order numbers that the ledger knows; it is asked of few.
    `leave_out`: whether the rows of orders without a customer are left out.
    """

    def __init__(self, find_known: Callable[[pd.Series], pd.Series], *, leave_out: bool) -> None:
        self._find_known = find_known
        self._leave_out = leave_out
        self._named = _NumberSet()

    def settle(self, export: Export) -> tuple[Export, int]:
        """The export with `customer_from` filled where it can be, and how many orders it has no more."""
        rows = export.orders.rows
        is_named = rows["customer_from"].notna()
        if is_named.all():
            self._named.add(rows["order_number"])
            return export, 0
        source = self._find_sources(rows, is_named)
        self._named.add(rows["order_number"][is_named])
        orders = replace(export.orders, rows=rows.assign(customer_from=source))
        if not self._leave_out:
            return replace(export, orders=orders), 0
        # A damaged row is not left out: a cell too many may have moved its address, an end cut it off.
        is_sound = rows["order_number"].notna() & rows[SURPLUS].isna() & rows[CUT_OFF].isna()
        is_till_sale = source.isna() & is_sound
        kept = ~is_till_sale.to_numpy(dtype=np.bool_)
        return replace(export, orders=orders.keep(kept)), int((~kept).sum())

    def _find_sources(self, rows: pd.DataFrame, is_named: pd.Series) -> pd.Series:
        numbers = rows["order_number"][~is_named].dropna()
        from_run = self._named.find(numbers) | _are_named_before(rows, is_named, numbers)
        from_ledger = numbers.isin(self._find_known(numbers)).to_numpy(dtype=np.bool_)
        source = rows["customer_from"].copy()
        source[numbers.index[from_ledger]] = FROM_LEDGER
        source[numbers.index[from_run]] = FROM_RUN
        return source


def find_settled(rows: pd.DataFrame, find_known: Callable[[pd.Series], pd.Series]) -> pd.Series:
    """Which rows with digests have a customer: they or an earlier row of their order name one, or the
    ledger knows the order. `rows`: one for each order and day, oldest first.
    """
    is_named = rows["email"].notna() | rows["phone"].notna()
    if is_named.all():
        return is_named
    numbers = rows["order_number"][~is_named]
    known = numbers.isin(find_known(numbers)).to_numpy(dtype=np.bool_)
    settled = is_named.copy()
    settled[numbers.index[known | _are_named_before(rows, is_named, numbers)]] = True
    return settled


def _are_named_before(rows: pd.DataFrame, is_named: pd.Series, numbers: pd.Series) -> Mask:
    """Whether a row before each of these, of the same order, names its customer."""
    concerned = rows["order_number"].isin(numbers)
    named = is_named[concerned].groupby(rows["order_number"][concerned]).cummax()
    before: Mask = named.loc[numbers.index].to_numpy(dtype=np.bool_)
    return before


class _NumberSet:
    """Order numbers, of which only keys are held once one is looked for; until then, nothing is done."""

    def __init__(self) -> None:
        self._unread: list[pd.Series] = []
        self._sorted: list[Keys] = []

    def add(self, numbers: pd.Series) -> None:
        self._unread.append(numbers)

    def find(self, numbers: pd.Series) -> Mask:
        """Which of these have been added."""
        self._sorted += [np.sort(hash_keys(texts.dropna())) for texts in self._unread]
        self._unread.clear()
        keys = hash_keys(numbers)
        found = np.zeros(len(keys), dtype=np.bool_)
        for known in self._sorted:
            if len(known):
                found |= known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] == keys
        return found
