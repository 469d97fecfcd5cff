"""The index of all runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

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


@dataclass(frozen=True)
class DayCell:
    """A day in the calendar: its state, `why` in words, and the `folder` of the run that had to do with
    it last; empty where that is gone.
    """

    day: date
    state: State
    why: str
    folder: str


# Seven days from a Monday on; None where the calendar does not reach.
Week = tuple[DayCell | None, ...]


def draw_weeks(days: Sequence[DayCell]) -> tuple[Week, ...]:
    """Consecutive days as weeks, oldest first."""
    if not days:
        return ()
    cells = [None] * days[0].day.weekday() + list(days)
    cells += [None] * (-len(cells) % 7)
    return tuple(tuple(cells[start : start + 7]) for start in range(0, len(cells), 7))


def render_index(
    runs: Sequence[RunLine],
    totals: Totals,
    *,
    calendar: Sequence[Week],
    older: int,
    changes: pd.DataFrame,
    troubles: pd.DataFrame,
    page_name: str,
) -> str:
    """The index as HTML. `older`: how many days before the calendar were never run. `changes` and
    `troubles`: counts by day (the index) and name (the columns).
    """
    return render(
        "index.html.j2",
        runs=runs,
        totals=totals,
        calendar=calendar,
        older=older,
        changes=charts.draw_bars(changes),
        troubles=charts.draw_bars(troubles),
        page_name=page_name,
    )
