"""A large run on one Celery worker and on two, each with one task at a time, in a real Airflow.

    python -m benchmarks.celery_workers [--size small|full]

A dry run over new orders in 1, 4 and 16 partitions: how long its partitions' tasks took from the
first to the last, how long each of them by itself, and all tasks of the run.
"""

from __future__ import annotations

import shutil
from datetime import datetime
from typing import Any

import numpy as np

from benchmarks import measuring
from robin_etl.core.guards import GUARDS
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from tests.airflow_services import Airflow
from tests.celery_services import celery_airflow, serve_worker
from tests.conftest import KEY, SECRET
from tests.integration.test_airflow_services import environment

ORDERS = {"small": 1_000, "full": 2_000_000}
PARTITIONS = {"small": (2,), "full": (1, 4, 16)}
WORKERS = (1, 2)
DAY = "2026-03-02"
FOLDER = measuring.FOLDER / "celery_workers"
FINISHED = 1800.0


def seconds_of(tasks: list[dict[str, Any]]) -> tuple[float, float]:
    """From the start of the first of these tasks to the end of the last; and each of them, added up."""
    began = [datetime.fromisoformat(task["start_date"]) for task in tasks]
    ended = [datetime.fromisoformat(task["end_date"]) for task in tasks]
    each = (end - begin for begin, end in zip(began, ended, strict=True))
    return (max(ended) - min(began)).total_seconds(), sum(one.total_seconds() for one in each)


def measure_run(airflow: Airflow, workers: int, partitions: int, runs: int) -> None:
    """Start a run, the `runs`-th, and print its row once it is through."""
    name = f"{workers}-{partitions}"
    airflow.trigger(
        name, from_date=DAY, to_date=DAY, shards=partitions, dry_run=True, allow=list(GUARDS)
    )
    assert airflow.finished(runs, seconds=FINISHED) == {"success": runs}
    tasks = [task for task in airflow.tasks(name) if task["state"] == "success"]
    mapped = [task for task in tasks if task["task_id"].startswith("partitions.")]
    at_once, each = seconds_of(mapped)
    whole, _ = seconds_of(tasks)
    print(f"{partitions:>10}{workers:>9}{at_once:>16.1f}{each:>12.1f}{whole:>12.1f}", flush=True)


def main() -> None:
    """Measure each number of partitions with one worker, then with two, and print the table."""
    given = measuring.arguments(__doc__).parse_args()
    folder = FOLDER.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    exports = folder / "exports"
    exports.mkdir(parents=True)
    count = ORDERS[given.size]
    orders = measuring.shop_orders(np.arange(count), customers=count * 6 // 10)
    orders.to_csv(exports / f"orders_{DAY}.csv", index=False, float_format="%.2f")
    with (
        Sandbox(Robin(KEY, SECRET, limits=())) as sandbox,
        celery_airflow(folder, environment(folder, exports, sandbox.url)) as airflow,
    ):
        airflow.serve_all()
        print(f"{'partitions':>10}{'workers':>9}{'their tasks, s':>16}{'added up':>12}{'whole run':>12}")
        runs = 0
        for workers in WORKERS:
            serve_worker(airflow, f"{workers}", concurrency=1)
            for partitions in PARTITIONS[given.size]:
                runs += 1
                measure_run(airflow, workers, partitions, runs)


if __name__ == "__main__":
    main()
