"""A demonstration: a sandbox, a few generated days with every kind of change, and the runs over them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import click
import pandas as pd
from rich.console import Console
from rich.table import Table

import robin_etl
from robin_etl import pipeline
from robin_etl.core.words import count
from robin_etl.exceptions import GuardError, StoppedError
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import PREFIX, Settings
from robin_etl.stages.plan import stop_unless_allowed
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run

KEY, SECRET = "demo-key", "demo-secret"  # of the sandbox, which dies with the demonstration
SITUATIONS = ("first", "repeat", "return", "upsell", "correction")
_NOT_RECEIVED = ("quarantined", "unchanged", "untold")

_COLUMNS = ("order_number", "email_address", "revenue", "profit", "order_date", "status")
_ANN, _BOB, _DAN, _EVE, _JOE = (
    f"{name}@shop.example.com" for name in ("ann", "bob", "dan", "eve", "joe")
)
_GOOD = [
    ("2026-11-02", "01001", _ANN, "120.00", "36.00", "2026-11-02T09:12:00Z", "paid"),
    ("2026-11-02", "01002", _BOB, "59.95", "18.00", "2026-11-02T11:30:00Z", "paid"),
    ("2026-11-02", "01003", f" {_ANN.upper()} ", "20.00", "6.00", "2026-11-02T16:45:00Z", "paid"),
    # Ann returns a part of her first order, Bob adds to his, and Eve is new.
    ("2026-11-03", "01001", _ANN, "70.00", "21.00", "2026-11-02T09:12:00Z", "paid"),
    ("2026-11-03", "01002", _BOB, "89.95", "27.00", "2026-11-02T11:30:00Z", "paid"),
    ("2026-11-03", "01004", _EVE, "45.50", "13.65", "2026-11-03T10:05:00Z", "paid"),
    # Order 01003 is exported again as it was; Eve orders again; Joe's payment is awaited.
    ("2026-11-04", "01003", _ANN, "20.00", "6.00", "2026-11-02T16:45:00Z", "paid"),
    ("2026-11-04", "01005", _JOE, "64.00", "19.20", "2026-11-04T07:30:00Z", "on-hold"),
    ("2026-11-04", "01006", _EVE, "12.99", "3.90", "2026-11-04T08:20:00Z", "paid"),
    # An order of Bob's that a till was late to report turns out to be his first.
    ("2026-11-05", "01000", _BOB, "15.00", "4.50", "2026-11-01T17:55:00Z", "paid"),
    # Eve cancels her first order, so that her next one becomes it; ROBIN never hears of Joe's.
    ("2026-11-05", "01004", _EVE, "45.50", "13.65", "2026-11-03T10:05:00Z", "cancelled"),
    ("2026-11-05", "01005", _JOE, "64.00", "19.20", "2026-11-04T07:30:00Z", "cancelled"),
    # So this one is Joe's first.
    ("2026-11-06", "01032", _JOE, "25.00", "7.50", "2026-11-06T08:15:00Z", "paid"),
]
# One row of that day has no contact at all; the other rows are orders of Dan's, to keep it rare.
_BROKEN = ("2026-11-05", "01007", "", "33.00", "9.90", "2026-11-05T12:00:00Z", "paid")
_DANS = [
    ("2026-11-05", f"{number:05}", _DAN, f"{number - 1000}.50", "5.00", "2026-11-05T13:00:00Z", "paid")
    for number in range(1010, 1032)
]
# Somebody adds what a market stall's till took in September to the export: history, which a guard stops.
_STALL = [
    ("2026-11-06", "01033", _EVE, "18.00", "5.40", "2026-11-06T09:40:00Z", "paid"),
    *(
        (
            "2026-11-06",
            f"S{number}",
            f"guest{number % 9}@shop.example.com",
            f"{number - 90}.00",
            "3.00",
            f"2026-09-{number - 96:02}T15:00:00Z",
            "paid",
        )
        for number in range(101, 125)
    ),
]
PROFILE = """\
# ROBIN's own columns, and what each status means.
extends = "robin"

[status]
column = "status"
pending = ["on-hold"]
cancelled = ["cancelled"]
refunded = ["refunded"]
"""

RunDay = Callable[[date, tuple[str, ...]], dict[str, Any]]  # with the guards that it may pass


def play(folder: str, *, through_airflow: bool) -> dict[str, Any]:
    """Generate, run day by day, and show; everything lies in `folder`, which is made anew.

    A day that a guard stops is run again with that guard allowed. What ROBIN holds in the end.
    """
    home = Path(folder).absolute()
    shutil.rmtree(home, ignore_errors=True)
    days = generate(home / "exports")
    profile = home / "demo.toml"
    profile.write_text(PROFILE, encoding="utf-8")
    robin = Robin(KEY, SECRET)
    table = Table(
        title="What ROBIN received", title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for name in ("day", *SITUATIONS, *_NOT_RECEIVED):
        table.add_column(name, justify="left" if name == "day" else "right")
    with Sandbox(robin) as sandbox:
        settings = {
            "base_url": sandbox.url,
            "exports": str(home / "exports"),
            "profile": str(profile),
            "ledger": str(home / "ledger.db"),
            "runs": str(home / "runs"),
        }
        run_day = _through_airflow(settings, home) if through_airflow else _directly(settings)
        for day in days:
            before = robin.read_state()["situations"]
            click.echo(f"{day}: {_name_command((), through_airflow=through_airflow)}")
            try:
                summary = run_day(day, ())
            except GuardError as error:
                what_it_is, _, _ = str(error).partition(". ")
                click.echo(f"{what_it_is}.")
                click.echo(f"{day}: {_name_command(error.guards, through_airflow=through_airflow)}")
                summary = run_day(day, error.guards)
            after = robin.read_state()["situations"]
            counts = [after.get(name, 0) - before.get(name, 0) for name in SITUATIONS]
            shown = [*counts, *(summary[name] for name in _NOT_RECEIVED)]
            table.add_row(f"{day}", *map(str, shown))
        state = robin.read_state()
    (home / "robin.json").write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    Console(width=80).print(table)
    click.echo(
        f"ROBIN holds {count(len(state['orders']), 'order')} worth {state['revenue']:.2f} and has "
        f"{count(len(state['complaints']), 'complaint')}.\n"
    )
    click.echo(_where_to_look(home, through_airflow=through_airflow))
    return state


def generate(folder: Path) -> list[date]:
    """Write the demonstration's exports into `folder`; the days."""
    folder.mkdir(parents=True)
    rows = pd.DataFrame([*_GOOD, _BROKEN, *_DANS, *_STALL], columns=["day", *_COLUMNS])
    for day, export in rows.groupby("day"):
        export[list(_COLUMNS)].to_csv(folder / f"orders_{day}.csv", index=False)
    return [date.fromisoformat(day) for day in sorted(rows["day"].unique())]


def _name_command(allow: tuple[str, ...], *, through_airflow: bool) -> str:
    """How a day is run by hand, with the guards that it may pass."""
    if not through_airflow:
        return " ".join(["run", *(f"--allow {guard}" for guard in allow)])
    conf = f" --conf '{json.dumps({'allow': allow})}'" if allow else ""
    return f"airflow dags test robin_orders{conf}"


def _directly(settings: dict[str, str]) -> RunDay:
    read = Settings.read(**settings, api_key=KEY, api_secret=SECRET)

    def run_day(day: date, allow: tuple[str, ...]) -> dict[str, Any]:
        started = Run.start(read.runs, Scope(command="run", first=day, last=day, allow=allow))
        return pipeline.run_all(read, started).counts()

    return run_day


def _through_airflow(settings: dict[str, str], home: Path) -> RunDay:
    """Each day as `airflow dags test` in a process of its own, with an Airflow home in `home`."""
    connection = {"conn_type": "robin", "login": KEY, "password": SECRET}
    environment = {
        **os.environ,
        **{f"{PREFIX}{name.upper()}": value for name, value in settings.items()},
        f"{PREFIX}ON_GUARD": "fail",  # nobody is there to ask
        f"{PREFIX}EXPORT_SETTLE": "0",  # its days are written whole before they are run
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(_dags_folder()),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_ROBIN_DEFAULT": json.dumps(connection),
    }

    def airflow(*arguments: str) -> None:
        log = home / "airflow.log"
        with log.open("ab") as output:
            done = subprocess.run(
                [sys.executable, "-m", "airflow", *arguments],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise StoppedError(f"airflow {' '.join(arguments)} failed; {log} says why.")

    airflow("db", "migrate")

    def run_day(day: date, allow: tuple[str, ...]) -> dict[str, Any]:
        try:
            airflow("dags", "test", "robin_orders", f"{day}", "--conf", json.dumps({"allow": allow}))
        except StoppedError:
            _explain_stop(home / "runs", day)
            raise
        newest = max((home / "runs").glob(f"{day}.*/summary.json"))
        summary: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))
        return summary

    return run_day


def _explain_stop(runs: Path, day: date) -> None:
    """Raise `GuardError` where it is a guard that the day's newest run was stopped by."""
    newest = max(runs.glob(f"{day}.*"), default=None)
    if newest and (stopped := Run.open(str(newest))).plan.find():
        stop_unless_allowed(stopped.plan.read(), stopped.title)


def _dags_folder() -> Path:
    """The folder of the DAGs: inside the package when installed, next to it in a checkout."""
    package = Path(robin_etl.__file__).parent
    inside = package / "dags"
    return inside if inside.is_dir() else package.parent / "dags"


def _where_to_look(home: Path, *, through_airflow: bool) -> str:
    shown = _from_here(home)
    command = _from_here(Path(sys.executable).parent / "robin-etl")
    lines = [
        "Where to look next:",
        f"  {shown}/exports/     the exports, one a day",
        f"  {shown}/demo.toml    the profile that reads them, with what each status means",
        f"  {shown}/robin.json   every order as ROBIN holds it",
        f"  {shown}/runs/        index.html, and each run's report.html, quarantine.csv, verdicts",
        f"  ROBIN_ETL_LEDGER={shown}/ledger.db {command} status",
    ]
    if through_airflow:
        lines.append(f"  {shown}/airflow.log  what Airflow's tasks logged")
    return "\n".join(lines)


def _from_here(path: Path) -> Path:
    """A path as it is typed from the current folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
