"""What a day costs by task, each in a process of its own, as Airflow runs them.

    python -m benchmarks.tasks [--size small|full]

Days of 0, 100, 5,000 and 50,000 new orders, in processor seconds, the best of three: what a task
imports (Great Expectations, where the gate needs it, by itself), and what it does then. Airflow's own
share is not in it. Posts go to a server that accepts everything.
"""

from __future__ import annotations

import json
import shutil
import time
from datetime import date
from typing import Any

import numpy as np

from benchmarks import measuring

ORDERS = {"small": (0, 10), "full": (0, 100, 5_000, 50_000)}
TIMES = {"small": 1, "full": 3}
FOLDER = measuring.FOLDER / "tasks"
DAY = date(2026, 3, 2)
STAGES = ("extract", "classify", "validate", "plan", "load", "report")
GATES = ("extract", "validate")


def do_stage(stage: str, orders: int, location: str, url: str) -> dict[str, Any]:
    """One stage in this process."""
    marks = [0.0]  # of the process: the interpreter's own start is in it, some hundredths of a second
    from robin_etl import pipeline  # noqa: F401
    from robin_etl.core.guards import GUARDS
    from robin_etl.settings import Settings
    from robin_etl.stages.records import Scope
    from robin_etl.stages.run import Run

    marks.append(time.process_time())
    if stage in GATES:
        from robin_etl.gate.importing import import_great_expectations

        import_great_expectations()
        from great_expectations.validator.validator import Validator  # noqa: F401
    marks.append(time.process_time())
    folder = FOLDER / f"{orders}"
    settings = Settings.read(
        base_url=url,
        api_key="key",
        api_secret="secret",
        exports=str(folder),
        ledger=str(folder / "ledger.db"),
        runs=str(folder / "runs"),
        rate_limits="1000000/s",
    )
    if location:
        run = Run.open(location)
    else:
        scope = Scope(command="run", first=DAY, last=DAY, allow=GUARDS)
        run = Run.start(settings.runs, scope)
    measuring.do_stage(stage, settings, run)
    marks.append(time.process_time())
    imports, gate, work = np.diff(marks).tolist()
    return {"imports": imports, "gate": gate, "work": work, "location": run.location}


def measure_day(orders: int, url: str, size: str) -> dict[str, dict[str, float]]:
    """The figures of each stage of a day, the best of several runs into an empty ledger."""
    folder = FOLDER / f"{orders}"
    folder.mkdir()
    rows = measuring.shop_orders(np.arange(orders), customers=max(1, orders * 6 // 10))
    rows.to_csv(folder / f"orders_{DAY}.csv", index=False, float_format="%.2f")
    best: dict[str, dict[str, float]] = {}
    for _ in range(TIMES[size]):
        for old in folder.glob("ledger.db*"):
            old.unlink()
        shutil.rmtree(folder / "runs", ignore_errors=True)
        location = ""
        for stage in STAGES:
            task = {"stage": stage, "orders": orders, "location": location, "url": url}
            found = measuring.in_a_process("benchmarks.tasks", size, **task)
            location = found.pop("location")
            known = best.setdefault(stage, found)
            best[stage] = {name: min(value, known[name]) for name, value in found.items()}
    return best


def main() -> None:
    """Measure every stage of every day, and print a table for each."""
    given = measuring.arguments(__doc__).parse_args()
    if given.task:
        measuring.tell(**do_stage(**json.loads(given.task)))
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    columns = ("imports", "gate", "work", "peak_mb")
    heads = ("imports", "the gate's", "work", "MB")
    with measuring.accepting_server() as url:
        for orders in ORDERS[given.size]:
            found = measure_day(orders, url, given.size)
            print(f"{orders:,} orders\n\n{'task':<10}" + "".join(f"{head:>12}" for head in heads))
            for stage, figures in found.items():
                cells = (f"{figures[name]:>12.{0 if name == 'peak_mb' else 2}f}" for name in columns)
                print(f"{stage:<10}" + "".join(cells))
            sums = (sum(one[name] for one in found.values()) for name in columns[:-1])
            print(f"{'together':<10}" + "".join(f"{one:>12.2f}" for one in sums) + "\n", flush=True)


if __name__ == "__main__":
    main()
