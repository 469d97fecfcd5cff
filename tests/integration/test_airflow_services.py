"""Three days through Airflow's real scheduler, api-server, triggerer and LocalExecutor."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests.airflow_services import DAGS, Airflow, NotYetError
from tests.conftest import KEY, SECRET, run_days

# A DAG of somebody else's, that wants to know what ROBIN was sent.
FOLLOWER = """
from airflow.sdk import Asset, dag, get_current_context, task

@dag(schedule=[Asset("robin_orders")], catchup=False)
def follower():
    @task
    def counts():
        events = get_current_context()["triggering_asset_events"]
        extras = [event.extra for of_asset in events.values() for event in of_asset]
        return [[extra["run"], extra["posted"]] for extra in extras]
    @task
    def found_imported():
        import sys
        return {"pandas", "great_expectations", "robin_etl.pipeline"} <= set(sys.modules)
    counts()
    found_imported()

follower()
"""

FIRST, LAST = "2026-03-02", "2026-03-04"
CLOSED = "2026-03-03"

# Seconds that a machine five times slower needs for the longest part of it.
FINISHED = 900.0


def row(day: int, number: int, revenue: int) -> str:
    customer = day * number % 11
    return f"{day}-{number},c{customer}@x.nl,{revenue},2026-03-0{day}T{number:02}:00:00Z"


def write_days(folder: Path) -> None:
    """First and repeat orders, returns, upsells, a late first order, and one day without a file."""
    folder.mkdir()
    for day in range(2, 5):
        rows = [row(day, number, 10 + number) for number in range(9)]
        if day == 4:
            rows += [row(2, number, revenue) for number, revenue in ((1, 1), (2, 2), (3, 99))]
            rows += ["late,c3@x.nl,5,2026-02-01T00:00:00Z"]
        path = folder / f"orders_2026-03-0{day}.csv"
        if path.stem != f"orders_{CLOSED}":
            path.write_text("\n".join(["order_number,email_address,revenue,order_date", *rows]) + "\n")


def from_the_command_line(folder: Path, exports: Path) -> dict[str, Any]:
    """What ROBIN holds after the same days one by one without Airflow."""
    with Sandbox(Robin(KEY, SECRET, limits=())) as sandbox:
        settings = Settings.read(
            base_url=sandbox.url,
            api_key=KEY,
            api_secret=SECRET,
            exports=str(exports),
            ledger=str(folder / "ledger.db"),
            runs=str(folder / "runs"),
            rate_limits="100000/s",
        )
        for path in sorted(exports.glob("*.csv")):
            run_days(settings, path.stem.removeprefix("orders_"))
        return sandbox.robin.read_state()


def environment(folder: Path, exports: Path, url: str) -> dict[str, str]:
    connection = {"conn_type": "robin", "host": url, "login": KEY, "password": SECRET}
    return {
        "AIRFLOW_CONN_ROBIN_DEFAULT": json.dumps(connection),
        "ROBIN_ETL_EXPORT_SETTLE": "0",
        "ROBIN_ETL_EXPORTS": str(exports),
        "ROBIN_ETL_LEDGER": str(folder / "airflow-ledger.db"),
        "ROBIN_ETL_RUNS": str(folder / "airflow-runs"),
        "ROBIN_ETL_RATE_LIMITS": "100000/s",
        "ROBIN_ETL_EXPORT_ABSENT": "skip",
        # Of a day these would stop its first run, and the last for its late order.
        "ROBIN_ETL_GUARDS": json.dumps({"no_history": 0, "old_orders": 0, "old_orders_share": 0}),
        "ROBIN_ETL_EXPORT_WAIT": "0",
    }


@pytest.mark.timeout(3000)
def test_days_backfilled_by_the_real_scheduler_ends_as_on_the_command_line(tmp_path: Path) -> None:
    exports = tmp_path / "exports"
    write_days(exports)
    expected = from_the_command_line(tmp_path, exports)
    dags = shutil.copytree(DAGS, tmp_path / "dags")
    (dags / "follower.py").write_text(FOLLOWER)
    with (
        Sandbox(Robin(KEY, SECRET, limits=())) as sandbox,
        Airflow(
            tmp_path / "airflow",
            # Without its schedule, Airflow would start no run for an asset's event either.
            {
                **environment(tmp_path, exports, sandbox.url),
                "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
            },
            dags=dags,
        ) as airflow,
    ):
        airflow.backfill(FIRST, LAST)
        airflow.serve_all()
        assert airflow.finished(3, seconds=FINISHED) == {"success": 3}
        assert sandbox.robin.read_state() == expected
        closed = airflow.get(
            f"/dags/robin_orders/dagRuns?logical_date_gte={CLOSED}T00:00:00Z&limit=1&order_by=logical_date"
        )
        states = {task["state"] for task in airflow.tasks(closed["dag_runs"][0]["dag_run_id"])}
        assert states == {"skipped"}

        # Whoever is scheduled on the asset hears of each run (of some by two events).
        def posted_by_run() -> dict[str, int]:
            posted: dict[str, int] = {}
            for run in airflow.runs("follower"):
                if run["state"] == "success":
                    of_run = f"/dags/follower/dagRuns/{run['dag_run_id']}/taskInstances/counts"
                    posted |= dict(airflow.get(f"{of_run}/xcomEntries/return_value")["value"])
            if len(posted) < 2:
                raise NotYetError(f"heard of {len(posted)} runs of 2")
            return posted

        posted = airflow.until(posted_by_run, seconds=FINISHED)
        # A task finds imported what the scheduler, of which it is a copy, has imported.
        run = next(run for run in airflow.runs("follower") if run["state"] == "success")
        of_run = f"/dags/follower/dagRuns/{run['dag_run_id']}/taskInstances/found_imported"
        assert airflow.get(f"{of_run}/xcomEntries/return_value")["value"] is True
        assert sum(posted.values()) == sum(expected["situations"].values())

        # All of it again as one manual run over the range, in partitions: nothing is left to post.
        before = sandbox.robin.read_state()["requests"]
        airflow.trigger("again", from_date=FIRST, to_date=LAST, shards=2)
        assert airflow.finished(4, seconds=FINISHED) == {"success": 4}
        assert sandbox.robin.read_state()["requests"] == before
        labels = {task["rendered_map_index"] for task in airflow.tasks("again")} - {None}
        assert labels == {"partition 1 of 2", "partition 2 of 2"}
    for log in (tmp_path / "airflow").rglob("*.log"):
        assert SECRET not in log.read_text(errors="replace"), log
