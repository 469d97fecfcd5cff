"""Commands that make a run: run, catch-up, retry, backfill, baseline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import date, timedelta
from typing import TYPE_CHECKING

import click

from robin_etl import observer
from robin_etl.cli import days
from robin_etl.cli.days import day_option
from robin_etl.cli.results import ExitCode, json_option, print_json
from robin_etl.cli.shops import read_settings
from robin_etl.core.guards import GUARDS
from robin_etl.core.words import count
from robin_etl.exceptions import GuardError, RobinEtlError

if TYPE_CHECKING:
    from robin_etl.settings import Settings
    from robin_etl.stages.catch_up import CatchUp
    from robin_etl.stages.records import Summary
    from robin_etl.stages.run import Run

_dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Post nothing and leave the ledger as it is."
)
_allow_option = click.option(
    "--allow",
    multiple=True,
    metavar="GUARD",
    type=click.Choice(GUARDS),
    help=f"Let a guard pass, once for each: {', '.join(GUARDS)}.",
)
_refresh_option = click.option(
    "--refresh", is_flag=True, help="Ask QUERY again for days that it has answered."
)


@click.command(short_help="Run one day.")
@day_option("--date", "day", help="The export's date; default: today less EXPORT_LAG_DAYS.")
@_dry_run_option
@_refresh_option
@_allow_option
@click.argument("file", required=False)
@json_option
def run(
    day: date | None,
    dry_run: bool,
    refresh: bool,
    allow: tuple[str, ...],
    file: str | None,
    as_json: bool,
) -> ExitCode:
    """Run all stages for one day: for that day's export, or for FILE.

    Example: robin-etl run --date 2026-11-01 --dry-run
    """
    from robin_etl.stages.records import Scope
    from robin_etl.stages.run import Run

    settings = read_settings()
    if file:
        day = days.parse_day(file, day)
    elif day is None:
        day = days.today() - timedelta(days=settings.export_lag_days)
    started = Run.start(
        settings.runs,
        Scope(
            command="run",
            first=day,
            last=day,
            dry_run=dry_run,
            allow=allow,
            refresh=refresh,
            exports=((day, file),) if file else (),
        ),
    )
    return _run_all(settings, started, as_json=as_json)


@click.command("catch-up", short_help="Run all outstanding days.")
@day_option("--until", help="The last day; default: today less EXPORT_LAG_DAYS.")
@_dry_run_option
@_refresh_option
@_allow_option
@json_option
def catch_up(
    until: date | None, dry_run: bool, refresh: bool, allow: tuple[str, ...], as_json: bool
) -> ExitCode:
    """Run every day whose export was never read by a finished run, or has changed since.

    They are run as one range, at most CATCH_UP_DAYS back. A scheduled DAG run does the same.

    Example: robin-etl catch-up
    """
    from robin_etl.ledger import Ledger
    from robin_etl.stages.catch_up import keep_findings, plan_catch_up
    from robin_etl.stages.run import Run

    settings = read_settings()
    until = until or days.today() - timedelta(days=settings.export_lag_days)
    with Ledger.open(settings.ledger, read_only=dry_run) as ledger:
        planned = plan_catch_up(settings, ledger, until)
        if not dry_run:
            keep_findings(ledger, planned)
    if planned.older:
        click.echo(
            f"{count(planned.older, 'day')} before the last {count(settings.catch_up_days, 'day')} "
            f"{'was' if planned.older == 1 else 'were'} never run: robin-etl backfill runs them.",
            err=True,
        )
    if not planned.days:
        return _show_nothing_outstanding(planned, as_json=as_json)
    click.echo(f"Catching up: {planned.describe()}.", err=True)
    scope = planned.make_scope("catch-up", dry_run=dry_run, allow=allow, refresh=refresh)
    return _run_all(settings, Run.start(settings.runs, scope), as_json=as_json)


@click.command(short_help="Run days again that left something aside.")
@_dry_run_option
@_refresh_option
@_allow_option
@json_option
def retry(dry_run: bool, refresh: bool, allow: tuple[str, ...], as_json: bool) -> ExitCode:
    """Run the days again of which rows are quarantined, rejected, held back or waiting.

    Mend their cause first: the export, the profile, or what ROBIN said.

    Example: robin-etl retry --dry-run
    """
    from robin_etl.ledger import Ledger
    from robin_etl.stages.calendar import find_days_to_retry
    from robin_etl.stages.records import Scope
    from robin_etl.stages.run import Run

    settings = read_settings()
    with Ledger.open(settings.ledger, read_only=True) as ledger:
        found = find_days_to_retry(ledger)
    if not found:
        if as_json:
            print_json({"outcome": "done", "days": []})
        else:
            click.echo("No day has anything set aside.")
        return ExitCode.DONE
    listed = ", ".join(f"{one.day} ({one.why})" for one in found)
    click.echo(f"Running again: {listed}.", err=True)
    scope = Scope(
        command="retry",
        first=found[0].day,
        last=found[-1].day,
        days=tuple(one.day for one in found),
        dry_run=dry_run,
        allow=allow,
        refresh=refresh,
    )
    return _run_all(settings, Run.start(settings.runs, scope), as_json=as_json)


@click.command(short_help="Run a range of days as one.")
@day_option("--from", "first", required=True, help="The first day.")
@day_option("--to", "last", required=True, help="The last day, included.")
@click.option("--final", is_flag=True, help="Send only the last version of each order.")
@_dry_run_option
@_refresh_option
@_allow_option
@json_option
def backfill(
    first: date,
    last: date,
    final: bool,
    dry_run: bool,
    refresh: bool,
    allow: tuple[str, ...],
    as_json: bool,
) -> ExitCode:
    """Run a range of days as one; a day without an export is skipped.

    Example: robin-etl backfill --from 2024-01-01 --to 2026-10-31 --dry-run
    """
    from robin_etl.stages.records import Scope
    from robin_etl.stages.run import Run

    settings = read_settings()
    days.check_range(first, last)
    started = Run.start(
        settings.runs,
        Scope(
            command="backfill",
            first=first,
            last=last,
            final=final,
            is_history=True,
            dry_run=dry_run,
            allow=allow,
            refresh=refresh,
        ),
    )
    return _run_all(settings, started, as_json=as_json)


@click.command(short_help="Acknowledge exports without posting.")
@day_option("--from", "first", help="The first day.")
@day_option("--to", "last", help="The last day, included.")
@day_option("--date", "day", help="The day of a FILE without a date in its name.")
@_refresh_option
@_allow_option
@click.argument("files", nargs=-1)
@json_option
def baseline(
    first: date | None,
    last: date | None,
    day: date | None,
    refresh: bool,
    allow: tuple[str, ...],
    files: tuple[str, ...],
    as_json: bool,
) -> ExitCode:
    """Acknowledge exports without posting.

    For orders that ROBIN has already, or that it should never show.

    Example: robin-etl baseline --from 2020-01-01 --to 2026-10-31
    """
    from robin_etl import pipeline
    from robin_etl.stages.records import Scope
    from robin_etl.stages.run import Run

    if bool(files) == bool(first or last) or bool(first) != bool(last):
        raise click.UsageError("Give either --from and --to, or the FILEs to acknowledge.")
    settings = read_settings()
    exports: tuple[tuple[date, str], ...] = ()
    if first and last:
        days.check_range(first, last)
    else:
        exports = _name_exports(files, day)
        first, last = exports[0][0], exports[-1][0]
    started = Run.start(
        settings.runs,
        Scope(
            command="baseline",
            first=first,
            last=last,
            final=True,
            allow=allow,
            refresh=refresh,
            is_history=True,
            exports=exports,
        ),
    )
    with _explaining_stop(started, as_json=as_json):
        summary = pipeline.baseline(settings, started)
    _show(summary, started, as_json=as_json)
    return ExitCode.of(summary.outcome)


def _name_exports(files: tuple[str, ...], day: date | None) -> tuple[tuple[date, str], ...]:
    """Each file with its day before it, in the order of the days."""
    exports = sorted((days.parse_day(file, day), file) for file in files)
    if len({of_day for of_day, _ in exports}) < len(exports):
        raise click.UsageError("Two FILEs are of one day; acknowledge them one by one.")
    return tuple(exports)


def _show_nothing_outstanding(planned: CatchUp, *, as_json: bool) -> ExitCode:
    outcome = "degraded" if planned.missing else "done"
    missing = [f"{day}" for day in planned.missing]
    if as_json:
        print_json({"outcome": outcome, "days": [], "missing": missing})
    else:
        click.echo(f"No day is outstanding until {planned.until}.")
        if missing:
            click.echo(f"Degraded: no export of {', '.join(missing)}.")
    return ExitCode.of(outcome)


def _run_all(settings: Settings, started: Run, *, as_json: bool) -> ExitCode:
    from robin_etl import pipeline
    from robin_etl.cli.progress import show_progress

    watching = nullcontext(observer.ignore) if as_json else show_progress()
    with _explaining_stop(started, as_json=as_json), watching as observe:
        summary = pipeline.run_all(settings, started, observe)
    _show(summary, started, as_json=as_json)
    return ExitCode.of(summary.outcome)


@contextmanager
def _explaining_stop(started: Run, *, as_json: bool) -> Iterator[None]:
    """Show the plan that a guard stops, and name the run's folder, since its files say more."""
    try:
        yield
    except RobinEtlError as error:
        if isinstance(error, GuardError) and not as_json:
            _show_plan(started)
        click.echo(f"The run's files are in {started.location}.", err=True)
        raise


def _show_plan(started: Run) -> None:
    from robin_etl.cli import tables
    from robin_etl.stages.plan import list_first_changes

    tables.show_plan(started.plan.read(), list_first_changes(started, tables.CHANGES_SHOWN))


def _show(summary: Summary, started: Run, *, as_json: bool) -> None:
    from robin_etl.cli import tables

    if started.scope.dry_run and not as_json:
        _show_plan(started)
    if as_json:
        print_json(summary.counts())
    else:
        tables.show_summary(summary, started.location, dry_run=started.scope.dry_run)
