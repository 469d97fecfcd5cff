"""The long ones: a shop's days through a whole Airflow, day by day and as one range.

    python -m tests.airflow_backfill                            95 days of a real shop, LocalExecutor
    python -m tests.airflow_backfill --executor CeleryExecutor  three days on two Celery workers

Each ends with what ROBIN holds, compared with what it holds after the same days on the command line.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests.airflow_services import Airflow
from tests.celery_services import celery_airflow, serve_worker
from tests.conftest import KEY, REAL_SHOP, SECRET, run_days
from tests.integration.test_airflow_services import FIRST, LAST, environment, write_days

REAL_DAYS = ("2010-12-01", "2011-03-31")


def expected(folder: Path, exports: Path, first: str, last: str) -> object:
    """What ROBIN holds after one range run on the command line's stages."""
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
        began = time.monotonic()
        run_days(settings, first, last)
        print(f"command line, one range: {time.monotonic() - began:.0f} s")
        return sandbox.robin.read_state()["orders"]


def compare(what: str, sandbox: Sandbox, orders: object, began: float) -> None:
    """Say how it went; end the process where ROBIN holds anything else."""
    state = sandbox.robin.read_state()
    same = state["orders"] == orders
    print(
        f"{what}: {time.monotonic() - began:.0f} s, {len(state['orders'])} orders, "
        f"{state['requests']} requests, {len(state['complaints'])} complaints, "
        f"{len(state['repeats'])} seen twice, end state {'the same' if same else 'DIFFERENT'}",
        flush=True,
    )
    if not same or state["complaints"]:
        sys.exit(1)


def locally(folder: Path) -> None:
    first, last = REAL_DAYS
    orders = expected(folder, REAL_SHOP, first, last)
    for name in ("backfill", "range"):
        own = folder / name
        own.mkdir()
        with (
            Sandbox(Robin(KEY, SECRET, limits=())) as sandbox,
            Airflow(own / "airflow", environment(own, REAL_SHOP, sandbox.url)) as airflow,
        ):
            began = time.monotonic()
            if name == "backfill":
                airflow.backfill(first, last)
            airflow.serve_all()
            if name == "range":
                airflow.trigger("range", from_date=first, to_date=last, shards=4)
            runs = 121 if name == "backfill" else 1
            states = airflow.finished(runs, seconds=5400)
            compare(f"airflow, {name}, {dict(states)}", sandbox, orders, began)


def on_celery(folder: Path) -> None:
    exports = folder / "exports"
    write_days(exports)
    orders = expected(folder, exports, FIRST, LAST)
    with (
        Sandbox(Robin(KEY, SECRET, limits=())) as sandbox,
        celery_airflow(folder, environment(folder, exports, sandbox.url)) as airflow,
    ):
        airflow.backfill(FIRST, LAST, shards=2)
        began = time.monotonic()
        airflow.serve_all()
        for worker in ("one", "two"):
            serve_worker(airflow, worker, concurrency=2)
        states = airflow.finished(3, seconds=900)
        compare(f"celery, backfill in 2 partitions, {dict(states)}", sandbox, orders, began)
        print(f"tasks by worker: {dict(tasks_by_worker(folder / 'airflow'))}")


def tasks_by_worker(home: Path) -> Counter[str]:
    """How many tasks each worker ran to their end."""
    return Counter(
        {
            log.stem: log.read_text(errors="replace").count("succeeded in")
            for log in home.glob("worker-*.log")
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--executor", choices=("LocalExecutor", "CeleryExecutor"), default="LocalExecutor"
    )
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        (locally if given.executor == "LocalExecutor" else on_celery)(Path(folder))


if __name__ == "__main__":
    main()
