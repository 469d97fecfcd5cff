"""Reports: one page for each run and an index of them all, HTML that opens without a network.

They name no address. What an export or ROBIN said is escaped, so that nothing of it is markup.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from robin_etl import __version__
from robin_etl.core import columns
from robin_etl.ledger import Ledger, RunRecord
from robin_etl.ledger.runs import DONE, RUNNING
from robin_etl.reports import charts
from robin_etl.stages.extract import parts
from robin_etl.stages.run import Folder, Run

PAGE = "report.html"
INDEX = "index.html"

_MOST_DAYS = 62  # drawn one by one; more are drawn by the month
_MOST_RUNS = 500
_MOST_NAMED = 200
_MOST_LINES = 8


def write(run: Run, ledger: Ledger, summary: Mapping[str, Any], *, stopped: str | None = None) -> None:
    """Write the run's page into its folder; `stopped` is why it stopped, if it did.

    Raises `UnavailableError` where that can't be written.
    """
    kinds, by_day = _changes(parts(run))
    page = _rendered(
        "report.html.j2",
        run=run,
        summary=summary,
        stopped=stopped,
        state=_state(summary, stopped, dry_run=run.dry_run),
        kinds=kinds,
        chart=charts.by_label(by_day) if len(by_day) > 1 else None,
        suites=_suites(run),
        quarantine=_quarantine(run.files),
        answers=ledger.deliveries.answers_of(run.id),
        rejected=ledger.deliveries.rejected_by(run.id, _MOST_NAMED),
    )
    run.files.write_text(PAGE, page)


def write_index(run: Run, ledger: Ledger) -> None:
    """Write the index of the runs beside the run's folder; raises `UnavailableError`."""
    there = {path.name for path in run.files.path.parent.iterdir()}
    runs = [_line(one, there) for one in ledger.runs.latest(_MOST_RUNS)]
    page = _rendered(
        "index.html.j2",
        runs=runs,
        totals=ledger.states.totals(),
        told=charts.by_label(_by_day(runs)),
        troubles=charts.by_label(_by_day(runs, charts.TROUBLES)),
    )
    Folder(run.files.path.parent).write_text(INDEX, page)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("robin_etl.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": "{:,}".format, "money": _money}
    return environment


def _rendered(template: str, **facts: Any) -> str:
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return (
        _environment()
        .get_template(template)
        .render(
            now=now,
            version=__version__,
            page=PAGE,
            most_named=_MOST_NAMED,
            most_lines=_MOST_LINES,
            **facts,
        )
    )


def _money(cents: float) -> str:
    return f"{cents / 100:,.2f}"


def _state(summary: Mapping[str, Any], stopped: str | None, *, dry_run: bool) -> tuple[str, str]:
    """How a run ended: a class of the page's style, and words."""
    if stopped:
        return "bad", "stopped"
    if any(summary.get(name) for name in ("rejected", "held_back", "without_contact")):
        return "warn", "done, with orders that ROBIN does not have"
    if summary.get("quarantined"):
        return "warn", "done, with quarantined rows"
    return "good", "dry run: nothing was posted" if dry_run else "done"


def _changes(folders: Iterable[Folder]) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """By kind how many changes there were and what they are worth; and how many by day and kind."""
    names = ["day", "kind", "revenue", "old_revenue"]
    sums = [pd.DataFrame(columns=[*names, "changes"])]
    for folder in folders:
        if folder.has("changes.parquet"):
            for frame in folder.reading_frames("changes", names):
                told = frame.assign(changes=1).astype({"revenue": "float", "old_revenue": "float"})
                sums.append(told.groupby(["day", "kind"], as_index=False).sum())
    table = pd.concat(sums[1:] or sums)
    totals = table.groupby("kind")[[*names[2:], "changes"]].sum().reindex(columns.KINDS, fill_value=0)
    kinds = [
        {"kind": kind, "changes": int(changes), "revenue": now, "before": old, "difference": now - old}
        for kind, now, old, changes in totals.itertuples(name=None)
    ]
    by_day = table.pivot_table(index="day", columns="kind", values="changes", aggfunc="sum")
    if len(by_day) > _MOST_DAYS:
        by_day = by_day.groupby(by_day.index.str[:7]).sum()
    return kinds, by_day.reindex(columns=columns.KINDS).fillna(0).astype(np.int64)


def _suites(run: Run) -> list[dict[str, Any]]:
    """The verdicts of both suites; that on the changes over all parts."""
    export = run.files.read_json("verdict_export")
    changes = [verdict for part in parts(run) if (verdict := part.read_json("verdict_changes"))]
    suites = [("The export", export)] if export else []
    if changes:
        rules = [
            {
                **same[0],
                "success": all(rule["success"] for rule in same),
                "broken": sum(rule["broken"] for rule in same),
            }
            for same in zip(*(verdict["rules"] for verdict in changes), strict=True)
        ]
        rows = sum(verdict["rows"] for verdict in changes)
        suites.append(("What was about to be sent", {**changes[0], "rows": rows, "rules": rules}))
    return [{"title": title, **verdict} for title, verdict in suites]


def _quarantine(files: Folder) -> list[dict[str, Any]]:
    """By the rules that rows broke: how many did, and where the first of them are."""
    if not files.has("quarantine.csv"):
        return []
    rows = files.read_csv("quarantine", ["file", "line", "rules"])
    counts = rows.groupby("rules", sort=False).size().sort_values(ascending=False, kind="stable")
    first = rows.groupby("rules", sort=False).head(_MOST_LINES)
    lines = first.groupby(["rules", "file"], sort=False)["line"].agg(", ".join)
    return [
        {
            "rules": rules,
            "rows": int(count),
            "where": [f"{file}: line {those}" for file, those in lines.loc[rules].items()],
        }
        for rules, count in zip(counts.index, counts, strict=True)
    ]


def _line(run: RunRecord, there: Container[str]) -> dict[str, Any]:
    """A run, as the index shows it."""
    counts = run.counts
    if run.outcome == RUNNING:
        state = ("warn", "under way")
    elif run.outcome != DONE:
        state = ("bad", run.outcome)
    else:
        how, _ = _state(counts, None, dry_run=False)
        state = (how, "done" if how == "good" else "incomplete")
    days = list(dict.fromkeys((run.from_day, run.to_day)))
    folder = run.run if run.run in there else ""
    return {**run.as_json(), "days": days, "state": state, "folder": folder}


def _by_day(runs: Iterable[Mapping[str, Any]], names: tuple[str, ...] = columns.KINDS) -> pd.DataFrame:
    """The counts of the runs over a single day, by day; oldest first, the latest 62."""
    rows = [
        {"day": run["from_day"], **{name: run["counts"].get(name, 0) for name in names}}
        for run in runs
        if run["from_day"] == run["to_day"]
    ]
    table = pd.DataFrame(rows, columns=["day", *names]).groupby("day")[list(names)].sum()
    return table.astype(np.int64).tail(_MOST_DAYS)
