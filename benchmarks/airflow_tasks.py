"""What the tasks of a quiet day take in a real Airflow, where each of them imports and where the
scheduler has imported once what they need.

    python -m benchmarks.airflow_tasks [--size small|full]

A hundred orders of which none changed, on a LocalExecutor; for each task its processor seconds from
Airflow's word that it runs to its word that it succeeded, and the memory that it shares with no other
process, the best of several days. Airflow's own start of a task is beside them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import measuring
from robin_etl.core.guards import GUARDS
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from tests.airflow_services import Airflow
from tests.conftest import KEY, SECRET
from tests.integration.test_airflow_services import environment

DAYS = {"small": 1, "full": 6}
DAY = "2026-03-02"
FOLDER = measuring.FOLDER / "airflow_tasks"
VARIANTS = {"each imports": False, "imported once": True}
FINISHED = 600.0

# Airflow's own way to hear of its tasks; it is asked within their processes.
LISTENER = """
import json, os, sys, time
from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

class Listener:
    @hookimpl
    def on_task_instance_running(self, previous_state, task_instance):
        self.began = time.process_time()

    @hookimpl
    def on_task_instance_success(self, previous_state, task_instance):
        ended = time.process_time()
        lines = open("/proc/self/smaps_rollup").read().splitlines()[1:]
        rolled_up = dict(line.split(":", 1) for line in lines)
        own_kb = sum(int(rolled_up[name].split()[0]) for name in ("Private_Clean", "Private_Dirty"))
        found = {
            "task": task_instance.task_id.rpartition(".")[2],
            "start": self.began,
            "own": ended - self.began,
            "own_mb": own_kb / 1024,
        }
        with open(os.environ["MEASURED"], "a") as measured:
            measured.write(json.dumps(found) + "\\n")

class Measuring(AirflowPlugin):
    name = "measuring"
    listeners = [Listener()]
"""


def measure_days(folder: Path, days: int, *, imports_once: bool) -> pd.DataFrame:
    """The least of each figure of each task."""
    exports = folder / "exports"
    exports.mkdir(parents=True)
    orders = measuring.shop_orders(np.arange(100), customers=60)
    orders.to_csv(exports / f"orders_{DAY}.csv", index=False, float_format="%.2f")
    measured = folder / "measured.jsonl"
    plugins = folder / "airflow" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "measuring.py").write_text(LISTENER)
    with (
        Sandbox(Robin(KEY, SECRET, limits=())) as sandbox,
        Airflow(
            folder / "airflow",
            {**environment(folder, exports, sandbox.url), "MEASURED": str(measured)},
            imports_once=imports_once,
        ) as airflow,
    ):
        airflow.serve_all()
        for day in range(days + 1):
            if day == 1:  # the first has posted the orders
                measured.unlink()
            airflow.trigger(f"day-{day}", from_date=DAY, to_date=DAY, allow=list(GUARDS))
            assert airflow.finished(day + 1, seconds=FINISHED) == {"success": day + 1}
    found = pd.read_json(measured, lines=True)
    return found.groupby("task", sort=False).min()


def main() -> None:
    """Measure both, and print the table."""
    given = measuring.arguments(__doc__).parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    found = {
        name: measure_days((FOLDER / f"{once}").absolute(), DAYS[given.size], imports_once=once)
        for name, once in VARIANTS.items()
    }
    print(f"{'task':<10}" + "".join(f"{name:>16}{'MB':>6}" for name in found))
    (each, once) = found.values()
    for task in each.index:
        cells = (f"{one['own'][task]:>16.2f}{one['own_mb'][task]:>6.0f}" for one in (each, once))
        print(f"{task:<10}" + "".join(cells))
    sums = [one["own"].sum() for one in (each, once)]
    print(f"{'together':<10}" + "".join(f"{one:>16.2f}{'':>6}" for one in sums))
    print(f"\nAirflow's own start of each task: {each['start'].mean():.2f} s.")
    print(f"With imports made once, the tasks of a day take {sums[1] / sums[0]:.2f} times as long.")


if __name__ == "__main__":
    main()
