"""Plan: what all partitions are about to tell together, and the guards' look at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median

import pandas as pd

from robin_etl.core import limits, payload
from robin_etl.core.columns import TEXT
from robin_etl.core.figures import Figures
from robin_etl.exceptions import GuardError
from robin_etl.gate import Circumstances, find_tripped
from robin_etl.ledger import Ledger
from robin_etl.settings import Settings
from robin_etl.stages.records import Classified, Plan
from robin_etl.stages.run import Run

# The usual rows of a day are those of so many runs before.
_USUAL_DAYS = 7


def make_plan(settings: Settings, run: Run, ledger: Ledger) -> Plan:
    """Leave the plan of the run; raises `GuardError` where a guard trips that the run may not pass."""
    bases = [partition.basis.read() for partition in run.partitions]
    figures = Figures.add_up([basis.figures for basis in bases])
    classified = Classified.add_up([basis.classified for basis in bases])
    waves = {} if run.scope.is_baseline else classified.waves
    requests = sum(-(-changes // settings.chunk_size) for changes in waves.values())
    known = limits.parse_limits(settings.rate_limits)
    circumstances = _find_circumstances(run, ledger, classified)
    tripped = find_tripped(figures, circumstances, settings.guards)
    plan = Plan(
        changes=sum(classified.kinds.values()),
        requests=requests,
        seconds=limits.compute_least_duration(known, requests),
        kinds=figures.kinds,
        guards=tuple(replace(one, is_allowed=one.name in run.scope.allow) for one in tripped),
    )
    run.plan.write(plan)
    stop_unless_allowed(plan, run.title)
    return plan


def stop_unless_allowed(plan: Plan, title: str) -> None:
    """Raise `GuardError` where a guard trips that the run, whose days are `title`, may not pass."""
    if not (stopping := plan.stopping):
        return
    names = [guard.name for guard in stopping]
    said = " ".join(f"The guard {guard.name} stopped {title}: {guard.words}" for guard in stopping)
    options = " ".join(f"--allow {name}" for name in names)
    raise GuardError(
        f"{said} Nothing was posted. Look at the plan in the run's report. If it is meant, run again "
        f"with {options} (in Airflow with allow: {', '.join(names)}).",
        guards=tuple(names),
    )


@dataclass(frozen=True)
class PlannedChange:
    """A change as a person reads it: the order, the kind, and what ROBIN holds before and after."""

    order_number: str
    kind: str
    was: str
    will_be: str


def list_first_changes(run: Run, most: int) -> list[PlannedChange]:
    """The first changes of a run, in the order in which they are sent; `most` of them."""
    found: list[PlannedChange] = []
    for changes in read_changes(run):
        found += _describe_changes(changes.head(most - len(found)))
        if len(found) >= most:
            break
    return found


def read_changes(run: Run) -> Iterator[pd.DataFrame]:
    """The changes of all partitions, wave by wave, oldest first."""
    return payload.merge_partitions([partition.changes.read_batches() for partition in run.partitions])


def _describe_changes(changes: pd.DataFrame) -> list[PlannedChange]:
    is_known = changes["old_revenue"].notna()
    moved = is_known & changes["order_date"].ne(changes["old_order_date"])
    was, will_be = _format_cents(changes["old_revenue"]), _format_cents(changes["revenue"])
    is_earned = is_known & changes["profit"].fillna(0).ne(changes["old_profit"].fillna(0))
    for told, old, new in (
        (is_earned, _format_profit(changes["old_profit"]), _format_profit(changes["profit"])),
        (moved, *_format_moments(changes["old_order_date"], changes["order_date"])),
    ):
        was, will_be = was + old.where(told, "").fillna(""), will_be + new.where(told, "").fillna("")
    will_be += changes["is_other_customer"].map({True: ", another customer", False: ""}).astype(TEXT)
    was += changes["was_first_order"].map({True: ", first", False: ""}).astype(TEXT)
    will_be += changes["is_first_order"].map({True: ", first", False: ""}).astype(TEXT)
    lines = zip(changes["order_number"], changes["kind"], was, will_be, strict=True)
    return [PlannedChange(*line) for line in lines]


def _format_cents(cents: pd.Series) -> pd.Series:
    """As text with two decimals; nothing for null."""
    return cents.map(lambda value: f"{value / 100:,.2f}", na_action="ignore").astype(TEXT).fillna("")


def _format_moments(old: pd.Series, new: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The days of two moments or, on one day, their times."""
    is_one_day = old.str[:10] == new.str[:10]
    before, after = (", " + one.str[:10].where(~is_one_day, one.str[11:]) for one in (old, new))
    return before, after


def _format_profit(cents: pd.Series) -> pd.Series:
    return ", profit " + _format_cents(cents).replace("", "none")


def _find_circumstances(run: Run, ledger: Ledger, classified: Classified) -> Circumstances:
    extracted = run.extracted.read()
    usual = ledger.exports.row_counts(_USUAL_DAYS)
    read_by, earlier = extracted.read_by, ledger.runs.last_read_by()
    return Circumstances(
        rows_read=extracted.exported + extracted.left_out + extracted.without_customer,
        rows_compared=classified.rows,
        usual_rows=median(usual) if usual else None,
        is_history=run.scope.is_history,
        is_baseline=run.scope.is_baseline,
        holds_orders=ledger.states.has_any(),
        differing=read_by.compare(earlier) if read_by and earlier else (),
        is_renumbered=bool(
            read_by and earlier and read_by.order_prefix != earlier.get("order_prefix", "")
        ),
    )
