"""The command line: one door to the stages in `pipeline`; the DAG is the other.

Only what parses arguments is imported here; each command imports what it runs, so that `--help` is
quick.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from robin_etl import __version__, signals
from robin_etl.exceptions import ConfigurationError, RobinEtlError

if TYPE_CHECKING:
    from robin_etl.settings import Settings
    from robin_etl.stages.run import Run

DONE, STOPPED, USAGE, INCOMPLETE = 0, 1, 2, 3

Command = Callable[..., Any]

_day_option = partial(click.option, type=click.DateTime(formats=["%Y-%m-%d"]), metavar="YYYY-MM-DD")
_DAY_IN_NAME = re.compile(r"\d{4}-\d{2}-\d{2}")

_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")


def main() -> None:
    """Run the command line; errors end as one sentence on standard error."""
    debug = "--debug" in sys.argv[1:]
    try:
        with signals.interrupting():
            code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except click.Abort:
        click.echo("Interrupted. What ROBIN acknowledged is kept; run again to go on.", err=True)
        sys.exit(STOPPED)
    except RobinEtlError as error:
        if debug:
            raise
        click.echo(f"{error}", err=True)
        sys.exit(USAGE if isinstance(error, ConfigurationError) else STOPPED)
    except Exception as error:
        if debug:
            raise
        click.echo(
            f"robin-etl broke ({type(error).__name__}: {error}). This is a mistake of robin-etl's: "
            "please report it with what --debug prints. Running again is safe.",
            err=True,
        )
        sys.exit(STOPPED)
    sys.exit(code if isinstance(code, int) else DONE)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88})
@click.version_option(__version__, prog_name="robin-etl")
@click.option("--debug", is_flag=True, help="Show tracebacks and every log line.")
def cli(debug: bool) -> None:
    """Tell ROBIN every day exactly which orders are first, repeat, return and upsell.

    Settings come from the environment (ROBIN_ETL_BASE_URL, ROBIN_ETL_API_KEY, …) or from a TOML
    file that ROBIN_ETL_CONFIG names.

    Complete commands in the shell: eval "$(_ROBIN_ETL_COMPLETE=bash_source robin-etl)"

    Example: robin-etl run --date 2026-11-01 --dry-run
    """
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    if debug:
        # urllib3 and SQLAlchemy would log requests' headers and parameters.
        for chatty in ("urllib3", "sqlalchemy", "great_expectations", "fsspec", "asyncio"):
            logging.getLogger(chatty).setLevel(logging.INFO)


@cli.command(short_help="Run one day.")
@_day_option("--date", "day", help="The export's date; today less the lag by default.")
@click.option("--dry-run", is_flag=True, help="Everything but the posts and the ledger.")
@click.option("--allow-corrections", is_flag=True, help="Let corrections in masses pass.")
@click.argument("file", required=False)
@_as_json
def run(
    day: datetime | None, dry_run: bool, allow_corrections: bool, file: str | None, as_json: bool
) -> int:
    """Run one day, all stages: that day's export, or FILE.

    Example: robin-etl run --date 2026-11-01 --dry-run
    """
    from robin_etl.settings import Settings
    from robin_etl.stages.run import Run

    settings = Settings.read()
    if file:
        when = _day_of(file, _given(day))
    else:
        when = _given(day) or _today() - timedelta(days=settings.export_lag_days)
    started = Run.start(
        settings.runs,
        command="run",
        first=when,
        last=when,
        dry_run=dry_run,
        allow_corrections=allow_corrections,
        exports=((when.isoformat(), file),) if file else (),
    )
    return _run_all(settings, started, as_json=as_json)


@cli.command(short_help="Run a range of days as one.")
@_day_option("--from", "first", required=True, help="The first day.")
@_day_option("--to", "last", required=True, help="The last day, included.")
@click.option("--final", is_flag=True, help="Only the last version of each order.")
@click.option("--dry-run", is_flag=True, help="Everything but the posts and the ledger.")
@click.option("--allow-corrections", is_flag=True, help="Let corrections in masses pass.")
@_as_json
def backfill(
    first: datetime,
    last: datetime,
    final: bool,
    dry_run: bool,
    allow_corrections: bool,
    as_json: bool,
) -> int:
    """Run a range of days as one; a day without an export is passed over.

    Example: robin-etl backfill --from 2024-01-01 --to 2026-10-31 --dry-run
    """
    from robin_etl.settings import Settings
    from robin_etl.stages.run import Run

    settings = Settings.read()
    _check_range(first, last)
    started = Run.start(
        settings.runs,
        command="backfill",
        first=first.date(),
        last=last.date(),
        final=final,
        dry_run=dry_run,
        allow_corrections=allow_corrections,
    )
    return _run_all(settings, started, as_json=as_json)


@cli.command(short_help="Acknowledge exports without posting.")
@_day_option("--from", "first", help="The first day.")
@_day_option("--to", "last", help="The last day, included.")
@_day_option("--date", "day", help="The day of FILEs without a date in their name.")
@click.argument("files", nargs=-1)
@_as_json
def baseline(
    first: datetime | None,
    last: datetime | None,
    day: datetime | None,
    files: tuple[str, ...],
    as_json: bool,
) -> int:
    """Acknowledge exports without posting: ROBIN has these orders, or shall never celebrate them.

    Example: robin-etl baseline --from 2020-01-01 --to 2026-10-31
    """
    from robin_etl import pipeline
    from robin_etl.settings import Settings
    from robin_etl.stages.run import Run

    if bool(files) == bool(first or last) or bool(first) != bool(last):
        raise click.UsageError("Give either --from and --to, or the FILEs to acknowledge.")
    settings = Settings.read()
    named: tuple[tuple[str, str], ...] = ()
    if first and last:
        _check_range(first, last)
        days = [first.date(), last.date()]
    else:
        named = tuple((_day_of(file, _given(day)).isoformat(), file) for file in files)
        days = [date.fromisoformat(when) for when, _ in named]
        if len(set(days)) < len(days):
            raise click.UsageError("Two FILEs are of one day; acknowledge them one by one.")
    started = Run.start(
        settings.runs,
        command="baseline",
        first=min(days),
        last=max(days),
        final=True,
        allow_corrections=True,
        exports=named,
    )
    with _folder_told(started):
        summary = pipeline.baseline(settings, started)
    _tell(summary, started, as_json=as_json)
    return INCOMPLETE if summary["quarantined"] else DONE


@cli.command(short_help="Read and judge one export.")
@click.argument("file")
@_as_json
def check(file: str, as_json: bool) -> int:
    """Read, map and validate one export; post nothing and write nothing.

    Example: robin-etl check data/exports/orders_2026-11-01.csv
    """
    from robin_etl.cli import tables
    from robin_etl.settings import Settings
    from robin_etl.stages import check

    checked = check.check(Settings.read(), file, _day_of(file, _today()))
    if as_json:
        click.echo(json.dumps(checked.as_json()))
    else:
        tables.show_check(checked)
    if checked.stop:
        click.echo(checked.stop, err=True)
        return STOPPED
    return INCOMPLETE if checked.quarantined else DONE


@cli.group()
def profile() -> None:
    """Say how a shop's system writes its export."""


@profile.command("list")
@_as_json
def list_profiles(as_json: bool) -> None:
    """Show the profiles that come with robin-etl.

    Example: robin-etl profile list --json
    """
    from robin_etl.exports import profiles

    known = {one.name: one.title for one in profiles.list_shipped() if not one.unusable}
    if as_json:
        click.echo(json.dumps(known))
        return
    for name, title in known.items():
        click.echo(f"{name:26}{title}")


@profile.command("show")
@click.argument("name")
def show_profile(name: str) -> None:
    """Print a shipped profile, as a file to start from.

    Example: robin-etl profile show shopify > my-shop.toml
    """
    from robin_etl.exports import profiles

    click.echo(profiles.read_text(name), nl=False)


@profile.command("new")
@click.argument("file")
def new_profile(file: str) -> None:
    """Print a starting profile for FILE, from its header and first rows.

    Example: robin-etl profile new orders.csv > my-shop.toml
    """
    from robin_etl.exports import sampling
    from robin_etl.exports.profiles import drafting
    from robin_etl.settings import Settings

    click.echo(drafting.draft_profile(sampling.take_sample(Settings.read().path(file))), nl=False)


@cli.command(short_help="Show what the ledger knows.")
@click.option("--runs", "shown", default=10, show_default=True, help="How many runs to show.")
@_as_json
def status(shown: int, as_json: bool) -> None:
    """Show what the ledger knows: its orders and its latest runs.

    Example: robin-etl status --runs 30
    """
    from robin_etl.cli import tables
    from robin_etl.ledger import Ledger
    from robin_etl.settings import Settings

    settings = Settings.read()
    with Ledger.open(settings.ledger, read_only=True) as ledger:
        totals, runs = ledger.states.totals(), ledger.runs.latest(shown)
    if as_json:
        click.echo(json.dumps({**totals.as_json(), "runs": [run.as_json() for run in runs]}))
    else:
        tables.show_status(totals, runs)


@cli.command(short_help="Show what happened to an order.")
@click.argument("order")
@_as_json
def history(order: str, as_json: bool) -> int:
    """Show what happened to an order, request by request.

    Example: robin-etl history O1234
    """
    return _show_deliveries(f"No request ever held order {order}.", order=order, as_json=as_json)


@cli.command(short_help="Show what ROBIN rejected.")
@_as_json
def rejected(as_json: bool) -> int:
    """Show the orders that ROBIN rejected and has not accepted since, with ROBIN's words.

    Once the cause is mended, running their day again posts them again.

    Example: robin-etl rejected --json
    """
    return _show_deliveries("No order stands rejected.", order=None, as_json=as_json)


@cli.command(short_help="Erase a customer.")
@click.argument("address")
@click.option("--all", "everything", is_flag=True, help="The state of their orders as well.")
@_as_json
def forget(address: str, everything: bool, as_json: bool) -> None:
    """Erase what is kept of one customer: ADDRESS is an e-mail address or a phone number.

    The state of their orders stays, under a keyed digest, so that ROBIN is not told of their next order
    as a first one. The shop's own exports are the shop's to mend.

    Example: robin-etl forget ann@example.com
    """
    from robin_etl.settings import Settings
    from robin_etl.upkeep import forget

    erased = forget.forget(Settings.read(), address, everything=everything)
    if as_json:
        click.echo(json.dumps(vars(erased)))
        return
    click.echo(
        f"Blanked {erased.deliveries:,} deliveries, and took {erased.rows:,} rows out of "
        f"{erased.files:,} files of runs."
    )
    if erased.removed:
        click.echo(f"Removed {erased.orders:,} orders from the ledger; their next one is a first one.")
    else:
        click.echo(f"{erased.orders:,} orders stay in the ledger under a digest; --all removes them.")


@cli.group("ledger", short_help="Look after the ledger.")
def ledger_group() -> None:
    """Look after the ledger: see whether it is right, and copy it."""


@ledger_group.command("verify")
@_as_json
def verify_ledger(as_json: bool) -> int:
    """See whether the ledger's state follows from its delivery log, and whether its file is whole.

    Example: robin-etl ledger verify
    """
    from robin_etl.ledger import Ledger
    from robin_etl.ledger.verify import verify
    from robin_etl.settings import Settings

    with Ledger.open(Settings.read().ledger, read_only=True) as ledger:
        verification = verify(ledger)
    if as_json:
        click.echo(json.dumps(verification.as_json()))
    else:
        for line in verification.describe():
            click.echo(line)
    return DONE if verification.is_right else STOPPED


@ledger_group.command("backup")
@click.argument("target")
@_as_json
def backup_ledger(target: str, as_json: bool) -> None:
    """Copy a ledger in SQLite to the file TARGET, whole even while a run writes to it.

    Example: robin-etl ledger backup /backups/ledger-2026-11-01.db
    """
    from robin_etl.ledger.backup import backup
    from robin_etl.settings import Settings

    size = backup(Settings.read().ledger, target)
    told = f"Copied the ledger to {target}: {size:,} bytes."
    click.echo(json.dumps({"target": target, "bytes": size}) if as_json else told)


@cli.command(short_help="Clear away old run files.")
@click.option("--older-than", type=click.IntRange(1), required=True, metavar="DAYS", help="In days.")
@_as_json
def prune(older_than: int, as_json: bool) -> None:
    """Remove the files of runs that were last written so many days ago; the ledger keeps all.

    Example: robin-etl prune --older-than 90
    """
    from robin_etl.settings import Settings
    from robin_etl.upkeep import forget

    removed = forget.prune(Settings.read(), timedelta(days=older_than))
    told = f"Removed the files of {removed:,} runs."
    click.echo(json.dumps({"removed": removed}) if as_json else told)


@cli.command(short_help="Serve a local ROBIN.")
@click.option("--port", default=8765, show_default=True, help="0 takes a free one.")
@click.option("--key", default="sandbox", show_default=True, help="The API key it accepts.")
@click.option("--secret", default="sandbox", show_default=True, help="The secret it accepts.")
@click.option("--no-limits", is_flag=True, help="Without ROBIN's rate limits.")
@click.option(
    "--latency",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="How long each answer takes.",
)
@click.option(
    "--faults", "share", type=click.FloatRange(0, 1), default=0.0, help="Share of requests to fail."
)
@click.option("--seed", default=0, show_default=True, help="Which ones, and how.")
@click.option("--fault", "script", multiple=True, help="One by its number, such as 3=hang-before.")
@click.option("--most-orders", type=click.IntRange(1), help="413 for more in a request.")
@click.option("--refuse", help="400 for orders whose number matches this pattern.")
def sandbox(
    port: int,
    key: str,
    secret: str,
    no_limits: bool,
    latency: float,
    share: float,
    seed: int,
    script: tuple[str, ...],
    most_orders: int | None,
    refuse: str | None,
) -> None:
    """Serve a local ROBIN that keeps strictly to its documentation, until interrupted.

    Example: robin-etl sandbox --faults 0.3 --seed 7 --fault 1=reset-after --refuse '^X'
    """
    from robin_etl.sandbox.faults import Fault, Faults
    from robin_etl.sandbox.robin import LIMITS, Robin
    from robin_etl.sandbox.server import STATE_PATH, Sandbox

    try:
        played = {int(at): Fault(name) for at, _, name in (one.partition("=") for one in script)}
        faults = Faults(script=played, share=share, seed=seed, most_orders=most_orders, refused=refuse)
    except (ValueError, re.error) as error:
        raise click.UsageError(f"{error}. A fault is a number and one of: {', '.join(Fault)}.") from None
    robin = Robin(key, secret, limits=() if no_limits else LIMITS, faults=faults)
    try:
        server = Sandbox(robin, port=port, latency=latency)
    except OSError as error:
        raise click.UsageError(f"Port {port} can't be listened on ({error}); try another.") from None
    with server:
        try:
            click.echo(f"ROBIN_ETL_BASE_URL={server.url}")
            click.echo(f"What it was told: {server.url}/ (as JSON: {server.url}{STATE_PATH})")
            server.wait()
        except KeyboardInterrupt:
            click.echo(f"It was told {len(robin.orders)} orders.")


@cli.command(short_help="Show it all at work.")
@click.option("--airflow", is_flag=True, help="Run the days through Airflow's DAG.")
@click.option("--folder", default="data/demo", show_default=True, help="Where its files go.")
@_as_json
def demo(airflow: bool, folder: str, as_json: bool) -> None:
    """Generate a few days of orders, run them against a sandbox, and show what ROBIN was told.

    Example: robin-etl demo --folder /tmp/demo
    """
    from robin_etl.sandbox import demo as show

    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        state = show.play(folder, through_airflow=airflow)
    if as_json:
        click.echo(json.dumps(state))


def _show_deliveries(none: str, *, order: str | None, as_json: bool) -> int:
    from robin_etl.cli import tables
    from robin_etl.ledger import Ledger
    from robin_etl.settings import Settings

    with Ledger.open(Settings.read().ledger, read_only=True) as ledger:
        deliveries = ledger.deliveries.rejected() if order is None else ledger.deliveries.history(order)
    if as_json:
        click.echo(json.dumps([one.as_json() for one in deliveries]))
    elif deliveries:
        tables.show_deliveries(deliveries)
    else:
        click.echo(none)
    return DONE


def _run_all(settings: Settings, started: Run, *, as_json: bool) -> int:
    from robin_etl import pipeline
    from robin_etl.cli import tables

    watching = {} if as_json else {"watched": partial(tables.progress, settings.rate_limits)}
    with _folder_told(started):
        summary = pipeline.run_all(settings, started, **watching)
    _tell(summary, started, as_json=as_json)
    incomplete = ("quarantined", "rejected", "held_back", "without_contact")
    return INCOMPLETE if any(summary[name] for name in incomplete) else DONE


@contextmanager
def _folder_told(started: Run) -> Iterator[None]:
    """Names the run's folder beside an error, since its files say more."""
    try:
        yield
    except RobinEtlError:
        click.echo(f"The run's files are in {started.location}.", err=True)
        raise


def _tell(summary: dict[str, Any], started: Run, *, as_json: bool) -> None:
    from robin_etl.cli import tables

    if as_json:
        click.echo(json.dumps(summary))
    else:
        tables.show_summary(summary, started.location, dry_run=started.dry_run)


def _given(day: datetime | None) -> date | None:
    return day.date() if day else None


def _today() -> date:
    return datetime.now().astimezone().date()


def _check_range(first: datetime, last: datetime) -> None:
    if last < first:
        raise click.UsageError(f"The range ends ({last:%Y-%m-%d}) before it begins ({first:%Y-%m-%d}).")


def _day_of(file: str, otherwise: date | None) -> date:
    """The date in a file's name, or else the one given."""
    name = file.rsplit("/", 1)[-1]
    found = _DAY_IN_NAME.search(name)
    try:
        day = date.fromisoformat(found[0]) if found else otherwise
    except ValueError:
        day = otherwise
    if day is None:
        raise click.UsageError(f"{name} has no date in its name; say which day it is with --date.")
    return day
