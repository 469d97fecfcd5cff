"""Commands on what the ledger holds: status, history, rejected, and those of the group ledger."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import click

from robin_etl.cli import days
from robin_etl.cli.days import day_option
from robin_etl.cli.results import ExitCode, json_option, print_json
from robin_etl.cli.shops import read_settings
from robin_etl.core.words import count
from robin_etl.exceptions import RobinEtlError

if TYPE_CHECKING:
    from robin_etl.ledger import Ledger
    from robin_etl.ledger.restore import Restored
    from robin_etl.settings import Settings
    from robin_etl.stages.calendar import Calendar

_CALENDAR_DAYS = 34  # five weeks with the last one


@click.command(short_help="Show what the ledger holds.")
@click.option("--runs", "limit", default=10, show_default=True, help="How many runs to show.")
@click.option("--by", type=click.Choice(("month", "day")), help="Show what ROBIN was told by period.")
@json_option
def status(limit: int, by: str | None, as_json: bool) -> None:
    """Show what the ledger holds, which days are outstanding, what is in doubt, and the latest runs.

    With --by it shows orders, acquisition and retention, revenue and profit by the orders' dates,
    to be held against ROBIN's page and the shop's own.

    Example: robin-etl status --by month
    """
    from robin_etl.cli import tables
    from robin_etl.ledger import Ledger

    settings = read_settings()
    with Ledger.open(settings.ledger, read_only=True) as opened:
        if by:
            from robin_etl.stages.totals import total_by

            totals_by = total_by(settings, opened, by)
            if as_json:
                print_json([one.as_json() for one in totals_by])
            else:
                tables.show_totals(totals_by, by)
            return
        totals, runs = opened.states.totals(), opened.runs.latest(limit)
        binding, doubt = opened.bindings.read(), opened.doubts.describe_open()
        calendar, trouble = _draw_calendar(settings, opened)
    if as_json:
        print_json(
            {
                **totals.as_json(),
                "binding": binding.as_json() if binding else None,
                "in_doubt": doubt.as_json(),
                "outstanding": [f"{one.day}" for one in calendar.find("outstanding")],
                "missing": [f"{one.day}" for one in calendar.find("missing")],
                "days": [one.as_json() for one in calendar.days],
                "runs": [run.as_json() for run in runs],
            }
        )
    else:
        tables.show_status(totals, binding, doubt, runs)
        tables.show_calendar(calendar)
    if trouble:
        click.echo(f"Which days are outstanding is not known: {trouble}", err=True)


def _draw_calendar(settings: Settings, opened: Ledger) -> tuple[Calendar, str]:
    """The last weeks, or an empty calendar and why they are not known."""
    from robin_etl.stages.calendar import Calendar, draw_calendar

    until = days.today() - timedelta(days=settings.export_lag_days)
    try:
        return draw_calendar(settings, opened, until, days=_CALENDAR_DAYS), ""
    except RobinEtlError as error:
        return Calendar(), str(error)


@click.command(short_help="Show what happened to an order.")
@click.argument("order")
@json_option
def history(order: str, as_json: bool) -> None:
    """Show what happened to an order, request by request.

    Example: robin-etl history O1234
    """
    _show_deliveries(f"No request ever held order {order}.", order=order, as_json=as_json)


@click.command(short_help="Show what ROBIN rejected.")
@json_option
def rejected(as_json: bool) -> None:
    """Show the orders that ROBIN rejected and has not accepted since, with ROBIN's words.

    Remove the cause and run `robin-etl retry`: it runs the days of these orders again.

    Example: robin-etl rejected --json
    """
    _show_deliveries("No order stands rejected.", order=None, as_json=as_json)


@click.group(short_help="Verify, back up, restore and bind the ledger.")
def ledger() -> None:
    """Verify, back up and restore the ledger, take a baseline back, and bind it to its ROBIN."""


@ledger.command("verify")
@json_option
def verify_ledger(as_json: bool) -> ExitCode:
    """Check that the ledger's states follow from its delivery log and are those of its journals, and
    that its file is intact. A run may be posting meanwhile.

    Example: robin-etl ledger verify
    """
    from robin_etl.ledger import Ledger
    from robin_etl.ledger.verify import verify
    from robin_etl.stages.run import locate_journals

    settings = read_settings()
    with Ledger.open(settings.ledger, read_only=True) as opened:
        verification = verify(opened, locate_journals(settings.path(settings.runs)))
    if as_json:
        print_json(verification.as_json())
    else:
        for line in verification.describe():
            click.echo(line)
    return ExitCode.DONE if verification.is_right else ExitCode.STOPPED


@ledger.command("backup")
@click.argument("target")
@json_option
def backup_ledger(target: str, as_json: bool) -> None:
    """Copy a SQLite ledger to the file TARGET, consistent even while a run writes to it.

    Example: robin-etl ledger backup /backups/ledger-2026-11-01.db
    """
    from robin_etl.ledger.backup import backup

    size = backup(read_settings().ledger, target)
    if as_json:
        print_json({"target": target, "bytes": size})
    else:
        click.echo(f"Copied the ledger to {target}: {count(size, 'byte')}.")


@ledger.command("snapshot")
@json_option
def write_snapshot(as_json: bool) -> None:
    """Write all that the ledger holds into a new journal, from which on nothing before it is needed.

    For a ledger whose older journals are gone. A run does this by itself where a loss of power has cut
    off the last ones.

    Example: robin-etl ledger snapshot
    """
    from robin_etl.ledger import Ledger
    from robin_etl.stages.run import locate_journals

    settings = read_settings()
    journals = locate_journals(settings.path(settings.runs))
    with Ledger.open(settings.ledger) as opened:
        orders = opened.write_snapshot(journals, "ledger-snapshot")
    if as_json:
        print_json({"orders": orders})
    else:
        click.echo(f"Wrote a new journal of {count(orders, 'order')}.")


@ledger.command("restore")
@click.argument("backup", required=False)
@json_option
def restore_ledger(backup: str | None, as_json: bool) -> ExitCode:
    """Put BACKUP back and bring it up to the journals of what ROBIN acknowledged since.

    Without BACKUP it brings up the ledger that is there, such as one that PostgreSQL's own tool has
    restored. The file that was there before is kept beside it.

    Example: robin-etl ledger restore /backups/ledger-2026-11-01.db
    """
    from robin_etl.ledger import Binding
    from robin_etl.ledger.restore import bring_up, restore
    from robin_etl.stages.run import locate_journals

    settings = read_settings()
    settings.credentials(to="restore a ledger")
    journals, wanted = locate_journals(settings.path(settings.runs)), Binding.of(settings)
    if backup is None:
        return _show_restored(bring_up(settings.ledger, journals, wanted), as_json=as_json)
    restored = restore(settings.ledger, backup, journals, wanted)
    return _show_restored(restored, as_json=as_json)


@ledger.command("rebuild")
@click.option("--ledger", "name", metavar="NAME", help="Which, where journals of several are there.")
@json_option
def rebuild_ledger(name: str | None, as_json: bool) -> ExitCode:
    """Make the ledger anew from its journals alone, where there is no backup.

    The file that was there before is kept beside it; in PostgreSQL the schema has to be empty.

    Example: robin-etl ledger rebuild
    """
    from robin_etl.ledger import Binding
    from robin_etl.ledger.restore import rebuild
    from robin_etl.stages.run import locate_journals

    settings = read_settings()
    settings.credentials(to="make a ledger anew")
    journals, wanted = locate_journals(settings.path(settings.runs)), Binding.of(settings)
    restored = rebuild(settings.ledger, journals, wanted, name=name)
    return _show_restored(restored, as_json=as_json)


def _show_restored(restored: Restored, *, as_json: bool) -> ExitCode:
    if as_json:
        print_json(restored.as_json())
    else:
        for line in restored.describe():
            click.echo(line)
    return ExitCode.DEGRADED if restored.missing else ExitCode.DONE


@ledger.command("retract")
@day_option("--from", "first", required=True, help="The first day.")
@day_option("--to", "last", required=True, help="The last day, included.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@json_option
def retract_baseline(first: date, last: date, yes: bool, as_json: bool) -> None:
    """Take back what a baseline acknowledged of some days, shown by day first.

    Orders that ROBIN was told of stay; one that a baseline moved since goes back to what was told. With
    --json nothing is taken back unless --yes says so.

    Example: robin-etl ledger retract --from 2026-11-01 --to 2026-11-01
    """
    from robin_etl.ledger import Binding, Ledger
    from robin_etl.ledger.retract import plan_retraction, retract
    from robin_etl.stages.run import locate_journals

    days.check_range(first, last)
    settings = read_settings()
    settings.credentials(to="take a baseline back")
    journals = locate_journals(settings.path(settings.runs))
    with Ledger.open(settings.ledger) as opened:
        opened.bindings.check(Binding.of(settings))
        planned = plan_retraction(opened, journals, first, last)
        if as_json and not yes:
            print_json({**planned.as_json(), "is_done": False})
            return
        if not as_json:
            for line in planned.describe():
                click.echo(line)
        if planned.is_empty:
            is_done = False
        else:
            if not yes:
                click.confirm("Take that back?", abort=True)
            planned = retract(opened, journals, first, last)
            is_done = True
    if as_json:
        print_json({**planned.as_json(), "is_done": is_done})
    elif is_done:
        click.echo(
            "Taken back. These days are outstanding again: run them, or acknowledge less of them."
        )


@ledger.command("reseal")
@click.option("--remove", is_flag=True, help="Remove the sealed contacts instead.")
@json_option
def reseal_contacts(remove: bool, as_json: bool) -> None:
    """Seal the contacts in the ledger anew with the first key of ROBIN_ETL_CONTACT_KEY.

    To change the key, name the new one, a comma and the old one, run this, and drop the old one.

    Example: robin-etl ledger reseal
    """
    from robin_etl.ledger import Ledger

    settings = read_settings()
    with Ledger.open(settings.ledger) as opened, opened.lock.hold("ledger reseal"):
        contacts = opened.contacts
        number = contacts.remove_all() if remove else contacts.reseal(settings.require_sealer())
    if as_json:
        print_json({"removed" if remove else "resealed": number})
    else:
        click.echo(f"{'Removed' if remove else 'Sealed anew'}: {count(number, 'contact')}.")


@ledger.command("bind")
@click.option("--moved", is_flag=True, help="The same ROBIN has a new address.")
@json_option
def bind_ledger(moved: bool, as_json: bool) -> None:
    """Bind the ledger to the address and the API key of the settings, for a key that was renewed.

    The orders in the ledger must be those of that ROBIN; for another one use another ledger.

    Example: robin-etl ledger bind
    """
    from robin_etl.delivery import check_address
    from robin_etl.ledger import Binding, Ledger

    settings = read_settings()
    settings.credentials(to="bind a ledger")
    check_address(settings.base_url)
    now = Binding.of(settings)
    with Ledger.open(settings.ledger) as opened, opened.lock.hold("ledger bind"):
        before = opened.bindings.rebind(now, is_moved=moved)
        orders = opened.states.totals().orders
    if as_json:
        bound = before.as_json() if before else None
        print_json({"before": bound, "now": now.as_json(), "orders": orders})
        return
    click.echo(f"Until now: {before.describe()}." if before else "It was not bound until now.")
    click.echo(f"The ledger, with {count(orders, 'order')}, belongs to {now.describe()}.")


def _show_deliveries(nothing: str, *, order: str | None, as_json: bool) -> None:
    from robin_etl.cli import tables
    from robin_etl.ledger import Ledger

    with Ledger.open(read_settings().ledger, read_only=True) as opened:
        deliveries = opened.deliveries.rejected() if order is None else opened.deliveries.history(order)
    if as_json:
        print_json([delivery.as_json() for delivery in deliveries])
    elif deliveries:
        tables.show_deliveries(deliveries)
    else:
        click.echo(nothing)
