"""What the pages of a run and of all runs show, gathered from its files and the ledger."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import fields

import numpy as np
import pandas as pd

from robin_etl.core.columns import KINDS
from robin_etl.core.figures import Figures, KindTotal
from robin_etl.core.outcomes import DEGRADED, DONE, RUNNING
from robin_etl.core.words import name_left_out
from robin_etl.gate import RuleVerdict, Verdict
from robin_etl.ledger import Ledger, RunRecord
from robin_etl.ledger.exports import MISSING
from robin_etl.reports import page as run_page
from robin_etl.reports.charts import TROUBLES
from robin_etl.reports.index import DayCell, RunLine, draw_weeks, render_index
from robin_etl.reports.page import QuarantineLine, RuleLine, RunPage, State, SuiteTable, Tile
from robin_etl.stages.calendar import OUTSTANDING, Calendar, DayState
from robin_etl.stages.files import PageFile
from robin_etl.stages.records import Summary
from robin_etl.stages.run import Run

INDEX = "index.html"

_MOST_DAYS = 62  # drawn one by one; more are drawn by the month
_MOST_RUNS = 500

_GOOD, _WARN, _BAD, _DEGRADED, _SOFT = "good", "warn", "bad", "degraded", "soft"
# In the index; any other outcome is bad.
_TONES = {DONE: _GOOD, DEGRADED: _DEGRADED, RUNNING: _SOFT}
_DAY_TONES = {DONE: _GOOD, DEGRADED: _DEGRADED, OUTSTANDING: _BAD, MISSING: _WARN}


def write_page(run: Run, ledger: Ledger, summary: Summary, *, stopped: str | None = None) -> None:
    """Write the run's page; `stopped` is why it stopped, if it did. Raises `UnavailableError`."""
    plan, read_by = run.plan.find(), summary.extracted.read_by
    page = RunPage(
        title=run.title,
        run=run.id,
        command=run.scope.command,
        web_store=read_by.webstore_url if read_by else "",
        is_final=run.scope.final,
        state=_describe_state(summary, stopped, dry_run=run.scope.dry_run),
        stopped=stopped,
        tiles=tuple(_choose_tiles(run, summary)),
        kinds=_total_kinds(run),
        guards=plan.guards if plan else (),
        planned_requests=plan.requests if plan else 0,
        planned_seconds=plan.seconds if plan else 0,
        by_day=_count_changes(run),
        stale=summary.classified.stale,
        duplicates=summary.classified.duplicates,
        left_out=tuple(name_left_out(summary.extracted.left_out_by)),
        without_customer=summary.extracted.without_customer,
        without_contact=summary.classified.without_contact,
        answers=ledger.deliveries.answers_of(run.id),
        rejected=ledger.deliveries.rejected_by(run.id, run_page.MOST_NAMED),
        rejected_count=len(summary.delivered.rejected),
        held_back=summary.delivered.held_back,
        in_doubt=summary.delivered.in_doubt,
        undecided=summary.delivered.undecided,
        erased=summary.loaded.erased or 0,
        remarked=summary.delivered.remarked,
        remarks=summary.delivered.remarks,
        quarantine=tuple(_describe_quarantine(run)),
        suites=tuple(_describe_suites(run)),
    )
    run.page.write(run_page.render_page(page))


def write_index(run: Run, ledger: Ledger, calendar: Calendar) -> None:
    """Write the index of the runs beside the run's folder; raises `UnavailableError`."""
    folder = run.all_runs
    there = {path.name for path in folder.path.iterdir()}
    runs = [(one, Summary.parse(one.counts)) for one in ledger.runs.latest(_MOST_RUNS)]
    text = render_index(
        [_describe_run(record, summary, there) for record, summary in runs],
        ledger.states.totals(),
        calendar=draw_weeks([_describe_day(one, there) for one in calendar.days]),
        older=calendar.older,
        changes=_count_acknowledged(ledger),
        troubles=_count_set_aside(ledger),
        page_name=Run.page.name,
    )
    PageFile(folder, INDEX).write(text)


def _describe_state(summary: Summary, stopped: str | None, *, dry_run: bool) -> State:
    if stopped:
        return State(_BAD, "stopped")
    nothing_posted = "dry run: nothing was posted"
    if summary.is_degraded:
        words = f"degraded: {', '.join(summary.to_look_at)}"
        return State(_DEGRADED, f"{words}; {nothing_posted}" if dry_run else words)
    return State(_GOOD, nothing_posted if dry_run else "done")


def _choose_tiles(run: Run, summary: Summary) -> Iterator[Tile]:
    delivered, loaded = summary.delivered, summary.loaded
    yield Tile("Rows in the export", summary.extracted.exported)
    if run.scope.dry_run:
        yield Tile("Changes to post", loaded.would_post or 0)
    elif loaded.acknowledged is not None:
        yield Tile("Acknowledged, not posted", loaded.acknowledged)
    else:
        yield Tile("Changes ROBIN took", delivered.posted)
    yield Tile("Unchanged", summary.classified.unchanged)
    yield Tile("Quarantined", summary.extracted.quarantined, _WARN)
    yield Tile("Rejected by ROBIN", len(delivered.rejected), _BAD)
    yield Tile("In doubt", len(delivered.in_doubt), _WARN)


def _total_kinds(run: Run) -> Mapping[str, KindTotal]:
    """By kind how many changes there are and what they are worth, as far as they were compared."""
    bases = [basis for partition in run.partitions if (basis := partition.basis.find())]
    return Figures.add_up([basis.figures for basis in bases]).kinds


def _count_changes(run: Run) -> pd.DataFrame:
    """How many changes there are by day and kind."""
    counts = [pd.DataFrame(columns=["day", "kind", "changes"])]
    for partition in run.partitions:
        if partition.changes.exists():
            counts += [
                frame.value_counts().rename("changes").reset_index()
                for frame in partition.changes.read_batches(["day", "kind"])
            ]
    table = pd.concat(counts[1:] or counts)
    by_day = table.pivot_table(index="day", columns="kind", values="changes", aggfunc="sum")
    if len(by_day) > _MOST_DAYS:
        by_day = by_day.groupby(by_day.index.str[:7]).sum()
    return by_day.reindex(columns=KINDS).fillna(0).astype(np.int64)


def _describe_suites(run: Run) -> Iterator[SuiteTable]:
    """The verdicts of both suites; that on the changes over all partitions."""
    if content := run.export_verdict.find():
        export = Verdict.from_json(content)
        yield SuiteTable("The export", export.rows, tuple(map(_describe_rule, export.rules)))
    found = (partition.verdict.find() for partition in run.partitions)
    if changes := [Verdict.from_json(content) for content in found if content]:
        rules = tuple(
            RuleLine(
                same[0].rule,
                same[0].severity,
                same[0].is_row_rule,
                all(rule.success for rule in same),
                any(rule.stops for rule in same),
                sum(rule.broken for rule in same),
                same[0].failure,
            )
            for same in zip(*(verdict.rules for verdict in changes), strict=True)
        )
        yield SuiteTable("What was about to be sent", sum(one.rows for one in changes), rules)


def _describe_quarantine(run: Run) -> Iterator[QuarantineLine]:
    if not run.quarantine.exists():
        return
    rows = run.quarantine.read()
    counts = rows.groupby("rules", sort=False).size().sort_values(ascending=False, kind="stable")
    first = rows.groupby("rules", sort=False).head(run_page.MOST_LINES)
    lines = first.groupby(["rules", "file"], sort=False)["line"].agg(", ".join)
    for rules, count in zip(counts.index, counts, strict=True):
        places = tuple(f"{file}: line {those}" for file, those in lines.loc[rules].items())
        yield QuarantineLine(str(rules), int(count), places)


def _describe_run(record: RunRecord, summary: Summary | None, there: Container[str]) -> RunLine:
    words = "under way" if record.outcome == RUNNING else record.outcome
    return RunLine(
        days=tuple(dict.fromkeys((record.from_day, record.to_day))),
        command=record.command,
        state=State(_TONES.get(record.outcome, _BAD), words),
        to_look_at=summary.to_look_at if summary and record.outcome == DEGRADED else (),
        folder=record.run if record.run in there else "",
        counts=_list_counts(summary) if summary else None,
        set_aside=sum(summary.set_aside.values()) if summary else 0,
        started_at=record.started_at,
    )


def _describe_day(state: DayState, there: Container[str]) -> DayCell:
    return DayCell(
        day=state.day,
        state=State(_DAY_TONES[state.state], state.state),
        why=state.why,
        folder=state.run if state.run and state.run in there else "",
    )


def _count_acknowledged(ledger: Ledger) -> pd.DataFrame:
    """How many changes ROBIN acknowledged by day and kind; oldest first, the latest 62 days."""
    counted = ledger.exports.acknowledged(_MOST_DAYS)
    table = counted.pivot_table(index="day", columns="kind", values="changes", aggfunc="sum")
    return table.reindex(columns=KINDS).fillna(0).astype(np.int64)


def _list_counts(summary: Summary) -> tuple[int, ...]:
    return (summary.extracted.exported, *(summary.classified.kinds[kind] for kind in KINDS))


def _count_set_aside(ledger: Ledger) -> pd.DataFrame:
    """What is set aside still, by the day of the export; oldest first, the latest 62 days."""
    rejected = ledger.deliveries.rejected_days()
    records = [
        {"day": f"{one.day}", "quarantined": one.quarantined, "waiting": one.waiting}
        for one in ledger.exports.set_aside()
    ]
    orders = [{"day": day, "rejected": number} for day, number in rejected.items()]
    table = pd.DataFrame([*records, *orders], columns=["day", *TROUBLES])
    by_day = table.groupby("day")[list(TROUBLES)].sum().astype(np.int64)
    # What stands rejected was left waiting by its run.
    by_day["waiting"] = (by_day["waiting"] - by_day["rejected"]).clip(lower=0)
    return by_day.tail(_MOST_DAYS)


def _describe_rule(rule: RuleVerdict) -> RuleLine:
    names = [field.name for field in fields(RuleLine)]
    return RuleLine(**{name: getattr(rule, name) for name in names})
