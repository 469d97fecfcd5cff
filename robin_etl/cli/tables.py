"""What a person at a terminal sees: tables that fit 80 columns, and a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from robin_etl.core.columns import KINDS
from robin_etl.core.limits import compute_least_duration, parse_limits

if TYPE_CHECKING:
    from robin_etl.ledger import DeliveryRecord, RunRecord, Totals
    from robin_etl.stages.check import Check
    from robin_etl.stages.classify import Plan

_NAMED = 10  # orders named in a line; the run's files have all


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=80)


@contextmanager
def progress(rate_limits: str, plan: Plan) -> Iterator[Callable[[int], Any]]:
    """A bar over the changes to post, on standard error."""
    console = _console(stderr=True)
    least = timedelta(seconds=compute_least_duration(parse_limits(rate_limits), plan.requests))
    console.print(
        f"{plan.changes:,} changes in {plan.requests:,} requests: at least {least} under ROBIN's limits."
    )
    columns = (
        TextColumn("posting"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("posting", total=plan.changes)
        yield lambda done: bar.advance(task, done)


def show_summary(summary: Mapping[str, Any], folder: str, *, dry_run: bool) -> None:
    """The counts of a run, what needs somebody's attention, and where the files are."""
    console = _console()
    days = (
        summary["from"]
        if summary["from"] == summary["to"]
        else (f"{summary['from']} to {summary['to']}")
    )
    table = Table(title=f"{days}{', dry run' if dry_run else ''}", title_justify="left", box=None)
    table.add_column("exported", justify="right")
    for kind in (*KINDS, "unchanged", "stale"):
        table.add_column(kind, justify="right")
    row = [summary["exported"], *(summary[kind] for kind in (*KINDS, "unchanged", "stale"))]
    table.add_row(*(f"{count:,}" for count in row))
    console.print(table)
    for line, style in _outcome(summary, dry_run=dry_run):
        console.print(line, markup=False, style=style)
    console.print(f"Report: {folder}/report.html", markup=False, soft_wrap=True)


def _outcome(summary: Mapping[str, Any], *, dry_run: bool) -> Iterator[tuple[str, str]]:
    """What came of a run, line by line, each with its style."""
    if dry_run:
        posted = (
            f"Would post {summary['would_post']:,} changes in {summary['would_request']:,} requests "
            "(requests.jsonl)."
        )
    elif "acknowledged" in summary:
        posted = f"Acknowledged {summary['acknowledged']:,} orders without posting."
    else:
        posted = f"Posted {summary['posted']:,} changes in {summary['requests']:,} requests."
    yield posted, "green"
    if left_out := summary["left_out"]:
        yield f"Left out {left_out:,} orders whose status says that they are none yet.", ""
    if quarantined := summary["quarantined"]:
        yield f"Quarantined {quarantined:,} rows; see quarantine.csv.", "yellow"
    if waiting := summary["without_contact"]:
        yield f"{waiting:,} corrections wait until their customers are exported again.", "yellow"
    named = (
        ("rejected", "ROBIN rejected", "orders_rejected", "red"),
        ("held_back", "Held back behind a rejected change", "orders_held_back", "red"),
        ("in_doubt", "In doubt, ROBIN may have seen twice", "orders_in_doubt", "yellow"),
    )
    for count, words, orders, style in named:
        if summary[count]:
            yield f"{words}: {_names(summary[orders])}.", style
    for rule in summary.get("warnings", ()):
        yield f"Warning: the rule {rule} failed.", "yellow"


def show_check(check: Check) -> None:
    """What a file holds: the first rows as ROBIN would be told them, and the rules they break."""
    console = _console()
    console.print(
        f"{check.file}, read as the profile {check.profile}: {check.rows:,} rows, "
        f"{check.quarantined:,} of them to quarantine, {check.duplicates:,} duplicates"
        + (f"; {check.left_out:,} orders more are none yet." if check.left_out else "."),
        markup=False,
        soft_wrap=True,
    )
    if check.to_set:
        console.print("A run reads it so with")
        for name, value in check.to_set.items():
            said = "    # was assumed; say where the shop is" if name.endswith("TIMEZONE") else ""
            console.print(f"  export {name}={value}{said}", markup=False, soft_wrap=True)
    if check.first_rows:
        table = Table(box=None)
        for name in ("order_number", "revenue", "profit", "order_date", "contact"):
            table.add_column(name, justify="right" if name in ("revenue", "profit") else "left")
        for row in check.first_rows:
            table.add_row(*row)
        console.print(table)
    broken = [(rule, count) for rule, count in check.rules.items() if count]
    if broken:
        rules = Table(box=None)
        rules.add_column("rule")
        rules.add_column("rows", justify="right")
        for rule, count in broken:
            rules.add_row(rule, f"{count:,}")
        console.print(rules)


def show_status(totals: Totals, runs: Sequence[RunRecord]) -> None:
    """What the ledger holds, and its latest runs."""
    console = _console()
    if not totals.orders and not runs:
        console.print("The ledger is empty: no run has been made yet.")
        return
    console.print(
        f"{totals.orders:,} orders, {totals.first_orders:,} of them first orders; revenue "
        f"{totals.revenue / 100:,.2f}; newest export {totals.newest_day}."
    )
    table = Table(box=None)
    for name in ("started", "days", "command", "outcome"):
        table.add_column(name)
    for name in ("posted", "rejected"):
        table.add_column(name, justify="right")
    for run in runs:
        is_one_day = run.from_day == run.to_day
        counts = run.counts
        table.add_row(
            run.started_at[:16].replace("T", " "),
            run.from_day if is_one_day else f"{run.from_day} … {run.to_day}",
            run.command,
            run.outcome,
            *(f"{counts[name]:,}" if name in counts else "" for name in ("posted", "rejected")),
        )
    console.print(table)
    for run in runs[:1]:
        if run.words:
            console.print(f"The last run stopped: {run.words}", markup=False)


def show_deliveries(deliveries: Sequence[DeliveryRecord]) -> None:
    """Deliveries, a line each, with ROBIN's words under those that it did not accept."""
    console = _console()
    table = Table(box=None, pad_edge=False)
    for name in ("sent", "order", "kind", "revenue", "was", "outcome", "status"):
        table.add_column(name, justify="right" if name in ("revenue", "was", "status") else "left")
    for one in deliveries:
        money = [one.payload.get(name) for name in ("revenue", "old_revenue")]
        table.add_row(
            one.sent_at[:19].replace("T", " "),
            Text(one.order_number),
            one.kind,
            *("" if value is None else f"{value:.2f}" for value in money),
            one.outcome,
            str(one.status or ""),
        )
    console.print(table)
    for words in dict.fromkeys(one.words for one in deliveries if one.outcome != "accepted"):
        if words:
            console.print(f"ROBIN: {words}", markup=False)


def _names(orders: Sequence[str]) -> str:
    more = f" and {len(orders) - _NAMED:,} more" if len(orders) > _NAMED else ""
    return ", ".join(orders[:_NAMED]) + more
