"""The page of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from robin_etl.core.figures import KindTotal
from robin_etl.core.guards import TrippedGuard
from robin_etl.ledger import AnswerCount, RejectedOrder
from robin_etl.reports import charts
from robin_etl.reports.rendering import render

MOST_NAMED = 200
MOST_LINES = 8


@dataclass(frozen=True)
class State:
    """How a run ended: a `tone` of the page's style (good, degraded, bad, soft), and words."""

    tone: str
    words: str


@dataclass(frozen=True)
class Tile:
    """A number in large figures; its `tone` counts where it is not 0."""

    label: str
    count: int
    tone: str = ""


@dataclass(frozen=True)
class RuleLine:
    """How one rule of a suite fared over all that was checked."""

    rule: str
    severity: str
    is_row_rule: bool
    success: bool
    stops: bool
    broken: int
    failure: str | None


@dataclass(frozen=True)
class SuiteTable:
    """The rules of one suite, over so many rows."""

    title: str
    rows: int
    rules: tuple[RuleLine, ...]


@dataclass(frozen=True)
class QuarantineLine:
    """The rows that broke the same rules: how many, and in which file and lines the first are."""

    rules: str
    rows: int
    places: tuple[str, ...]


@dataclass(frozen=True)
class RunPage:
    """All that the page shows. `web_store`: of orders whose row names none; `kinds`: the changes by
    kind; `by_day`: by day (the index) and kind (the columns); `planned_requests` and
    `planned_seconds`: what posting them takes at least, once it is known.
    """

    title: str
    run: str
    command: str
    web_store: str
    is_final: bool
    state: State
    stopped: str | None
    tiles: tuple[Tile, ...]
    kinds: Mapping[str, KindTotal]
    guards: tuple[TrippedGuard, ...]
    planned_requests: int
    planned_seconds: float
    by_day: pd.DataFrame
    stale: int
    duplicates: int
    left_out: tuple[str, ...]
    without_customer: int
    without_contact: int
    answers: Sequence[AnswerCount]
    rejected: Sequence[RejectedOrder]
    rejected_count: int
    held_back: tuple[str, ...]
    in_doubt: tuple[str, ...]
    undecided: tuple[str, ...]
    erased: int
    remarked: int
    remarks: tuple[str, ...]
    quarantine: tuple[QuarantineLine, ...]
    suites: tuple[SuiteTable, ...]


def render_page(page: RunPage) -> str:
    """The page as HTML."""
    return render(
        "report.html.j2",
        page=page,
        chart=charts.draw_bars(page.by_day) if len(page.by_day) > 1 else None,
        most_named=MOST_NAMED,
        most_lines=MOST_LINES,
    )
