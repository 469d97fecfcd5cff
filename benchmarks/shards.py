"""What a large run takes by stage, in one partition and in many, one partition at a time and two.

    python -m benchmarks.shards [--size small|full]

Every stage of every partition runs in a process of its own, as an Airflow task does: its processor
seconds, and its peak memory. A fifth of the orders is in the ledger already, a fifth of those has
changed. It is a dry run, which reads, compares, checks and encodes as any other and posts nothing:
posting is `benchmarks.delivery`.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import measuring

ORDERS = {"full": 10_000_000, "small": 5_000}
PARTITIONS = {"full": (1, 4, 16, 64), "small": (1, 2)}
FOLDER = measuring.FOLDER / "shards"
KNOWN, DAY = date(2026, 3, 1), date(2026, 3, 2)
STAGES = ("extract", "classify", "validate", "plan", "load", "report")
WORKERS = 2


def generate(orders: int, folder: Path) -> None:
    """The day before, with a fifth of the orders, and the day with all of them."""
    (folder / "exports").mkdir(parents=True)
    rng = np.random.default_rng(20260302)
    numbers = np.arange(orders)
    cents = rng.integers(100, 100_000, orders)
    customers = rng.integers(0, orders // 3, orders)
    moments = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 5_000_000, orders), "s")
    table = pd.DataFrame(
        {
            "order_number": pd.Series(numbers).map("{:09}".format),
            "email_address": pd.Series(customers).map("customer{}@shop.example.com".format),
            "revenue": cents / 100,
            "order_date": moments.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    )
    table.head(orders // 5).to_csv(folder / "exports" / f"orders_{KNOWN}.csv", index=False)
    table.loc[: orders // 25, "revenue"] += 1
    table.to_csv(folder / "exports" / f"orders_{DAY}.csv", index=False)


def do_task(stage: str, location: str, partition: int, partitions: int) -> None:
    """One stage in this process."""
    from robin_etl import pipeline
    from robin_etl.settings import Settings
    from robin_etl.stages.records import Scope
    from robin_etl.stages.run import Run

    settings = Settings.read(
        base_url="http://127.0.0.1:9",
        api_key="key",
        api_secret="secret",
        exports=str(FOLDER / "exports"),
        ledger=str(FOLDER / "ledger.db"),
        runs=str(FOLDER / "runs"),
        chunk_size=1000,
        shards=partitions,
    )
    if stage == "baseline":
        scope = Scope(command="baseline", first=KNOWN, last=KNOWN, final=True)
        pipeline.baseline(settings, Run.start(settings.runs, scope))
    else:
        measuring.do_stage(stage, settings, Run.open(location), partition)


def measure_task(size: str, **task: Any) -> dict[str, float]:
    began = time.perf_counter()
    told = measuring.in_a_process("benchmarks.shards", size, **task)
    return {**told, "wall": time.perf_counter() - began}


def measure_run(partitions: int, size: str) -> dict[str, int]:
    """Print a row for each stage; the counts of the run."""
    from robin_etl.core.guards import GUARDS
    from robin_etl.stages.records import Scope
    from robin_etl.stages.run import Run

    scope = Scope(command="run", first=DAY, last=DAY, allow=GUARDS, dry_run=True)
    run = Run.start(str(FOLDER / "runs"), scope)
    for stage in STAGES:
        numbers = range(1, partitions + 1) if stage in measuring.MAPPED else (1,)
        tasks = [
            {"stage": stage, "location": run.location, "partition": number, "partitions": partitions}
            for number in numbers
        ]
        began = time.perf_counter()
        with ThreadPoolExecutor(WORKERS if size == "full" else 1) as workers:
            told = list(workers.map(lambda task: measure_task(size, **task), tasks))
        print_row(partitions, stage, told, time.perf_counter() - began)
    summary = json.loads((run.folder.path / "summary.json").read_text())
    sizes = [path.stat().st_size for path in Path(run.location).rglob("*") if path.is_file()]
    print(f"The run's files take {sum(sizes) / 1e6:,.0f} MB.\n", flush=True)
    shutil.rmtree(run.location)
    counted = ("exported", "first", "repeat", "upsell", "would_post")
    return {kind: summary[kind] for kind in counted}


def print_row(partitions: int, stage: str, told: Sequence[dict[str, float]], at_once: float) -> None:
    cells = (
        *(f"{sum(one['cpu'] for one in told):>12.1f}", f"{max(one['wall'] for one in told):>12.1f}"),
        *(f"{at_once:>12.1f}", f"{max(one['peak_mb'] for one in told):>8.0f}"),
    )
    print(f"{partitions:>10} {stage:<10}" + "".join(cells), flush=True)


def main() -> None:
    """Measure with each number of partitions and print the table."""
    given = measuring.arguments(__doc__).parse_args()
    if given.task:
        do_task(**json.loads(given.task))
        measuring.tell(cpu=time.process_time())
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    orders = ORDERS[given.size]
    generate(orders, FOLDER)
    measure_task(given.size, stage="baseline", location="", partition=1, partitions=1)
    known = (FOLDER / "ledger.db").stat().st_size / (orders // 5)
    print(f"An export of {orders:,} orders; the ledger takes {known:.0f} bytes for each that it has.")
    heads = ("processor s", "longest s", "two at once")
    print(f"{'partitions':>10} {'stage':<10}" + "".join(f"{head:>12}" for head in heads) + f"{'MB':>8}")
    counts = [measure_run(partitions, given.size) for partitions in PARTITIONS[given.size]]
    print(counts[0])
    if any(one != counts[0] for one in counts):
        sys.exit(f"the numbers of partitions disagree: {counts}")


if __name__ == "__main__":
    main()
