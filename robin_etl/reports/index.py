"""The index of all runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from robin_etl.ledger import Totals
from robin_etl.reports import charts
from robin_etl.reports.page import State
from robin_etl.reports.rendering import render


@dataclass(frozen=True)
class RunLine:
    """A run in the index. `folder`: where its page is; empty where that is gone. `counts`: the rows
    exported and the changes of each kind, None where they are not known. `to_look_at`: why it is
    degraded.
    """

    days: tuple[str, ...]
    command: str
    state: State
    to_look_at: tuple[str, ...]
    folder: str
    counts: tuple[int, ...] | None
    set_aside: int
    started_at: str


def render_index(
    runs: Sequence[RunLine],
    totals: Totals,
    *,
    changes: pd.DataFrame,
    troubles: pd.DataFrame,
    page_name: str,
) -> str:
    """The index as HTML. `changes` and `troubles`: counts by day (the index) and name (the columns)."""
    return render(
        "index.html.j2",
        runs=runs,
        totals=totals,
        changes=charts.draw_bars(changes),
        troubles=charts.draw_bars(troubles),
        page_name=page_name,
    )
