"""What a person at a terminal sees of runs, exports and the ledger: tables that fit 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from robin_etl.core.columns import KINDS
from robin_etl.core.outcomes import DEGRADED, DONE, INTERRUPTED, STOPPED
from robin_etl.core.words import count, name_left_out, name_some
from robin_etl.ledger.exports import MISSING
from robin_etl.redaction import make_printable
from robin_etl.stages.calendar import OUTSTANDING

if TYPE_CHECKING:
    from robin_etl.ledger import Binding, DeliveryRecord, OpenDoubt, RunRecord, Totals
    from robin_etl.stages.calendar import Calendar
    from robin_etl.stages.check import Check
    from robin_etl.stages.plan import PlannedChange
    from robin_etl.stages.records import Extracted, Plan, Summary
    from robin_etl.stages.totals import PeriodTotal

CHANGES_SHOWN = 10  # of a plan
_DELIVERIES_SHOWN = 1_000
_NAMED = 10  # orders named in a line; the run's files have all
_NUMBERS = {
    *("revenue", "profit", "was", "will be", "difference"),
    *("changes", "status", "posted", "rejected", "rows"),
    *("orders", "first", "acquisition", "retention"),
}

# How the outcomes of runs are coloured.
_STYLES = {DONE: "green", DEGRADED: "yellow", STOPPED: "red", INTERRUPTED: "red"}
_DAY_STYLES = {DONE: "green", DEGRADED: "yellow", OUTSTANDING: "red", MISSING: "red"}
_MARKS = {DONE: "·", DEGRADED: "!", OUTSTANDING: "o", MISSING: "-"}
_COUNTED = ("exported", *KINDS, "unchanged", "stale")


def open_console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, or 80 columns where there is none."""
    # Much of what is shown is a stranger's text, which must not be read as markup.
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 80
    return console


def show_summary(summary: Summary, folder: str, *, dry_run: bool) -> None:
    """The counts of a run, what needs somebody's attention, and where the files are."""
    console = open_console()
    counts = summary.counts()
    days = _name_days(f"{summary.first}", f"{summary.last}", "to")
    table = Table(title=f"{days}{', dry run' if dry_run else ''}", title_justify="left", box=None)
    for name in _COUNTED:
        table.add_column(name, justify="right")
    table.add_row(*(f"{counts[name]:,}" for name in _COUNTED))
    console.print(table)
    for line, style in _describe_outcome(summary):
        console.print(line, style=style)
    _print_degraded(console, summary.to_look_at)
    for line in () if dry_run else _advise(summary):
        console.print(line, soft_wrap=True)
    console.print(f"Report: {folder}/report.html", soft_wrap=True)


def show_plan(plan: Plan, first: Sequence[PlannedChange]) -> None:
    """What a run is about to tell: the first changes, money by kind, and the guards that trip."""
    console = open_console()
    if first:
        changes = _make_table("order", "kind", "was", "will be")
        for one in first:
            changes.add_row(make_printable(one.order_number), one.kind, one.was, one.will_be)
        console.print(changes)
        if plan.changes > len(first):
            console.print(f"… and {count(plan.changes - len(first), 'more change')}.")
    kinds = _make_table("kind", "changes", "revenue", "was", "difference")
    for kind, total in plan.kinds.items():
        money = (f"{cents / 100:,.2f}" for cents in (total.revenue, total.before, total.difference))
        kinds.add_row(kind, f"{total.changes:,}", *money)
    console.print(kinds)
    for guard in plan.guards:
        words = "is allowed" if guard.is_allowed else "trips"
        console.print(f"The guard {guard.name} {words}: {guard.words}", style="yellow")


def _describe_outcome(summary: Summary) -> Iterator[tuple[str, str]]:
    """What came of a run, line by line, each with its style."""
    extracted, delivered = summary.extracted, summary.delivered
    yield _describe_posting(summary), "" if summary.is_degraded else _STYLES[DONE]
    yield from ((f"Left out {aside}.", "") for aside in _count_left_out(extracted))
    if extracted.quarantined:
        yield f"Quarantined {count(extracted.quarantined, 'row')}; see quarantine.csv.", "yellow"
    if untold := summary.classified.untold:
        yield f"Not told: {count(untold, 'cancelled order')} that ROBIN never knew.", ""
    if waiting := summary.classified.without_contact:
        changes = count(waiting, "change")
        yield f"Waiting until their customers are exported again: {changes}.", "yellow"
    orders_to_name = (
        ("ROBIN rejected", delivered.rejected, "red"),
        ("Held back behind a rejected change", delivered.held_back, "red"),
        ("In doubt, ROBIN may have seen twice", delivered.in_doubt, "yellow"),
        ("ROBIN may hold as before or as sent", delivered.undecided, "red"),
        ("In doubt, would be sent again first", summary.loaded.would_settle, "yellow"),
    )
    for words, orders, style in orders_to_name:
        if orders:
            yield f"{words}: {_name_orders(orders)}.", style
    if erased := summary.loaded.erased:
        yield f"In doubt, but not settled, since the customer was erased: {count(erased, 'order')}.", ""
    if delivered.remarked:
        yield f"ROBIN took {count(delivered.remarked, 'change')} and spoke of errors:", "yellow"
        for words in delivered.remarks:
            yield f"  {words}", "yellow"
    for rule in summary.warnings:
        yield f"Warning: the rule {rule} failed.", "yellow"


def _advise(summary: Summary) -> Iterator[str]:
    """How to go on after a run, in sentences."""
    if any(summary.set_aside.values()):
        yield "Once the cause is mended, robin-etl retry runs these days again."
    if summary.outstanding:
        yield f"Outstanding: {name_some(summary.outstanding)}. robin-etl catch-up runs them."


def _count_left_out(read: Extracted | Check) -> Iterator[str]:
    yield from name_left_out(read.left_out_by)
    if read.without_customer:
        yield count(read.without_customer, "order without a customer", "orders without a customer")


def _print_degraded(console: Console, to_look_at: Sequence[str]) -> None:
    if to_look_at:
        words = f"Degraded: {', '.join(to_look_at)}."
        console.print(words, style=_STYLES[DEGRADED], soft_wrap=True)


def _describe_posting(summary: Summary) -> str:
    loaded, delivered = summary.loaded, summary.delivered
    if loaded.would_post is not None:
        changes = count(loaded.would_post, "change")
        return f"Would post {changes} in {count(loaded.would_request or 0, 'request')} (requests.jsonl)."
    if loaded.acknowledged is not None:
        return f"Acknowledged {count(loaded.acknowledged, 'order')} without posting."
    changes = count(delivered.posted, "change")
    return f"Posted {changes} in {count(delivered.requests, 'request')}."


def show_check(check: Check) -> None:
    """What a file holds: the first rows as ROBIN would get them, and the rules they break."""
    console = open_console()
    asides = " and ".join(_count_left_out(check))
    left_out = f"; left out {asides}" if asides else ""
    console.print(
        f"{check.file}, read as the profile {check.profile}: {count(check.rows, 'row')}, "
        f"{check.quarantined:,} of them to quarantine, {count(check.duplicates, 'duplicate')}"
        f"{left_out}.",
        soft_wrap=True,
    )
    if check.to_set:
        console.print("A run reads it so with")
    for name, value in check.to_set.items():
        remark = "    # was assumed; say where the shop is" if name.endswith("TIMEZONE") else ""
        console.print(f"  export {name}={value}{remark}", soft_wrap=True)
    if check.first_rows:
        rows = _make_table("order_number", "revenue", "profit", "order_date", "contact")
        for row in check.first_rows:
            rows.add_row(*map(make_printable, row))
        console.print(rows)
    if any(check.rules.values()):
        rules = _make_table("rule", "rows")
        for rule, broken in check.rules.items():
            if broken:
                rules.add_row(rule, f"{broken:,}")
        console.print(rules)
    if not check.stop:
        _print_degraded(console, check.to_look_at)


def show_draft(check: Check) -> None:
    """On standard error, what would be told of a file by the profile drafted from it."""
    console = open_console(stderr=True)
    console.print("By this draft a first run would tell ROBIN:")
    if check.first_rows:
        rows = _make_table("order_number", "revenue", "order_date", "contact")
        for number, revenue, _, placed, contact in check.first_rows:
            rows.add_row(Text(number), revenue, placed, contact)
        console.print(rows)
    orders = count(check.orders, "order")
    console.print(
        f"{orders}, revenue {check.revenue / 100:,.2f} together. Compare it with the shop's page."
    )
    asides = list(_count_left_out(check))
    if check.cancelled:
        asides.append(count(check.cancelled, "cancelled order"))
    if asides:
        console.print(f"Not told: {', '.join(asides)}.", markup=False)
    if check.quarantined:
        rules = ", ".join(f"{rule} {broken:,}" for rule, broken in check.rules.items() if broken)
        console.print(f"Quarantined: {count(check.quarantined, 'row')} ({rules}).", style="yellow")
    for name, value in check.to_set.items():
        console.print(f"Set {name}; {value} was assumed here.", markup=False)
    if check.stop:
        console.print(check.stop, markup=False, style="red", soft_wrap=True)


def show_status(
    totals: Totals, binding: Binding | None, doubt: OpenDoubt, runs: Sequence[RunRecord]
) -> None:
    """What the ledger holds, which ROBIN it belongs to, what is in doubt, and its latest runs, newest
    first.
    """
    console = open_console()
    if not totals.orders and not runs:
        console.print("The ledger is empty: no run has been made yet.")
        return
    console.print(
        f"{count(totals.orders, 'order')}, {totals.first_orders:,} of them first orders; revenue "
        f"{totals.revenue / 100:,.2f}; newest export {totals.newest_day}."
    )
    console.print(
        f"It belongs to {binding.describe()}."
        if binding
        else "It is not bound to a ROBIN yet: the next run or baseline binds it.",
        soft_wrap=True,
    )
    for words in _describe_doubt(doubt):
        console.print(words, style="yellow", soft_wrap=True)
    table = _make_table("started", "days", "command", "outcome", "posted", "rejected")
    for run in runs:
        counts = run.counts
        table.add_row(
            run.started_at[:16].replace("T", " "),
            _name_days(run.from_day, run.to_day, "…"),
            run.command,
            Text(run.outcome, _STYLES.get(run.outcome, "")),
            *(f"{counts[name]:,}" if name in counts else "" for name in ("posted", "rejected")),
        )
    console.print(table)
    if runs:
        _describe_last(console, runs[0])


def _describe_doubt(doubt: OpenDoubt) -> Iterator[str]:
    if doubt.since is not None:
        orders = count(len(doubt.orders), "order")
        yield (
            f"In doubt since {_name_minute(doubt.since)}: {orders} ({_name_orders(doubt.orders)}). The "
            "next run sends again first what was sent."
        )
    if doubt.under_way_since is not None:
        orders = count(len(doubt.under_way), "order")
        yield (
            f"Under way since {_name_minute(doubt.under_way_since)}: {orders} "
            f"({_name_orders(doubt.under_way)}). If the run that sent them died, they are in doubt."
        )
    if doubt.erased:
        yield (
            f"In doubt, but never to be settled, since the customer was erased: "
            f"{count(doubt.erased, 'order')}."
        )


def _name_minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def show_calendar(calendar: Calendar) -> None:
    """The last weeks, a mark for each day, and what there is to say of those that are not done."""
    if not calendar.days:
        return
    console = open_console()
    table = Table(box=None, pad_edge=False)
    table.add_column("week of")
    for name in ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"):
        table.add_column(name, justify="center")
    by_week: dict[date, list[Text]] = {}
    for one in calendar.days:
        monday = one.day - timedelta(days=one.day.weekday())
        cells = by_week.setdefault(monday, [Text("") for _ in range(7)])
        cells[one.day.weekday()] = Text(_MARKS[one.state], _DAY_STYLES[one.state])
    for monday, cells in by_week.items():
        table.add_row(f"{monday}", *cells)
    console.print(table)
    console.print(", ".join(f"{mark} {state}" for state, mark in _MARKS.items()))
    for one in calendar.days:
        if one.why:
            run = f" (run {one.run})" if one.run else ""
            words = f"{one.day} {one.state}: {one.why}{run}"
            console.print(words, style=_DAY_STYLES[one.state], soft_wrap=True)
    if outstanding := calendar.find(OUTSTANDING):
        verb = "runs it" if len(outstanding) == 1 else "runs them"
        console.print(f"{count(len(outstanding), 'day')} outstanding: robin-etl catch-up {verb}.")
    if calendar.older:
        console.print(
            f"Before these weeks, {count(calendar.older, 'day')} with an export "
            f"{'was' if calendar.older == 1 else 'were'} never run: robin-etl backfill."
        )


def show_totals(totals: Sequence[PeriodTotal], by: str) -> None:
    """What ROBIN was told, a line for each period."""
    console = open_console()
    table = _make_table(by, "orders", "first", "acquisition", "retention", "revenue", "profit")
    for one in totals:
        money = (one.acquisition, one.retention, one.revenue, one.profit)
        table.add_row(
            one.period,
            f"{one.orders:,}",
            f"{one.acquired:,}",
            *(f"{cents / 100:,.2f}" for cents in money),
        )
    console.print(table)


def _describe_last(console: Console, run: RunRecord) -> None:
    style = _STYLES.get(run.outcome, "")
    if run.words:
        console.print(f"The last run stopped: {run.words}", style=style)
    elif run.outcome == DEGRADED:
        to_look_at = ", ".join(run.counts.get("to_look_at", ()))
        console.print(
            f"The last run is degraded: {to_look_at}. See report.html in its folder, {run.run}.",
            style=style,
            soft_wrap=True,
        )


def show_deliveries(deliveries: Sequence[DeliveryRecord]) -> None:
    """Deliveries, a line each, with ROBIN's words under those that it did not accept, or accepted and
    spoke of errors; of very many the first.
    """
    console = open_console()
    more, deliveries = len(deliveries) - _DELIVERIES_SHOWN, deliveries[:_DELIVERIES_SHOWN]
    table = _make_table(
        *("sent", "order", "day", "kind", "revenue", "was", "outcome", "status"), is_wide=True
    )
    for delivery in deliveries:
        money = [delivery.payload.get(name) for name in ("revenue", "old_revenue")]
        table.add_row(
            delivery.sent_at[:16].replace("T", " "),
            make_printable(delivery.order_number),
            delivery.day or "",
            delivery.kind,
            *("" if value is None else f"{value:.2f}" for value in money),
            delivery.outcome,
            str(delivery.status or ""),
        )
    console.print(table)
    telling = (one.words for one in deliveries if one.outcome != "accepted" or one.speaks_of_errors)
    for words in dict.fromkeys(filter(None, telling)):
        console.print(f"ROBIN: {words}")
    if more > 0:
        console.print(f"And {more:,} more; --json has all of them.")


def _make_table(*names: str, is_wide: bool = False) -> Table:
    table = Table(box=None, pad_edge=not is_wide, collapse_padding=is_wide)
    for name in names:
        table.add_column(name, justify="right" if name in _NUMBERS else "left")
    return table


def _name_days(first: str, last: str, between: str) -> str:
    return first if first == last else f"{first} {between} {last}"


def _name_orders(orders: Sequence[str]) -> str:
    more = f" and {len(orders) - _NAMED:,} more" if len(orders) > _NAMED else ""
    return make_printable(", ".join(orders[:_NAMED])) + more
