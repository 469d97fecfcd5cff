"""Whether a text that ends within a line was cut off, or is of a system that always writes so."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from robin_etl.core import columns
from robin_etl.exports.files import Export
from robin_etl.exports.mapping import CUT_OFF
from robin_etl.ledger import Ledger

_COMPARED = 7


class LineEnds:
    """How the last exports ended, those in the ledger and those of the run that were read before."""

    def __init__(self, ledger: Ledger) -> None:
        self._within = ledger.exports.line_ends(_COMPARED)

    def judge(self, export: Export) -> Export:
        """The export; its last row is no longer marked as cut off where most others end so too."""
        if export.ending is None or export.ending.is_within_line is None:
            return export
        is_usual = sum(self._within) * 2 > len(self._within)
        self._within = [export.ending.is_within_line, *self._within][:_COMPARED]
        if not (export.ending.is_within_line and is_usual):
            return export
        nothing = pd.Series(pd.NA, index=export.orders.rows.index, dtype=columns.TEXT)
        rows = export.orders.rows.assign(**{CUT_OFF: nothing})
        return replace(export, orders=replace(export.orders, rows=rows), is_cut_off=False)
