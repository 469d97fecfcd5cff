"""A day of a million new orders as a dry run: from csv to the requests' bodies, gate included.

    python -m benchmarks.million_new_orders [--size small|full]

All stages run in one process, as on the command line; their seconds and its peak memory are shown.
Beside it, as the ratio of the times: reading the same csv with pandas and writing its rows as JSON.
"""

from __future__ import annotations

import json
import shutil
from datetime import date

import numpy as np
import pandas as pd

from benchmarks import measuring

ORDERS = {"small": 20_000, "full": 1_000_000}
DAY = "2026-03-02"
MODULE = "benchmarks.million_new_orders"


def robin_etl() -> dict[str, float]:
    """The stages of a dry run, in seconds."""
    from robin_etl import pipeline
    from robin_etl.core.guards import GUARDS
    from robin_etl.settings import Settings
    from robin_etl.stages.records import Scope
    from robin_etl.stages.run import Run

    folder = measuring.FOLDER / "new"
    settings = Settings.read(
        exports=str(folder), ledger=str(folder / "ledger.db"), runs=str(folder / "runs")
    )
    day = date.fromisoformat(DAY)
    scope = Scope(command="run", first=day, last=day, dry_run=True, allow=GUARDS)
    run = Run.start(settings.runs, scope)
    seconds: dict[str, float] = {}
    with measuring.timed(seconds, "extract"):
        pipeline.extract(settings, run)
    for name in ("classify", "validate"):
        for part in range(1, len(run.partitions) + 1):
            with measuring.timed(seconds, name):
                getattr(pipeline, name)(settings, run, part)
    with measuring.timed(seconds, "plan"):
        pipeline.plan(settings, run)
    with measuring.timed(seconds, "load"):
        counts = pipeline.load(settings, run)
    with measuring.timed(seconds, "report"):
        pipeline.report(settings, run)
    return {**seconds, "orders": counts.counts()["would_post"]}


def plain() -> dict[str, float]:
    """Reading and writing alone."""
    folder = measuring.FOLDER / "new"
    seconds: dict[str, float] = {}
    with measuring.timed(seconds, "read and write"):
        rows = pd.read_csv(folder / f"orders_{DAY}.csv", dtype={"order_number": str})
        with (folder / "plain.jsonl").open("w") as file:
            for start in range(0, len(rows), 100):
                file.write(json.dumps({"orders": rows[start : start + 100].to_dict("records")}) + "\n")
    return {**seconds, "orders": len(rows)}


def main() -> None:
    """Measure both and print the table."""
    given = measuring.arguments(__doc__).parse_args()
    if given.task:
        variant = json.loads(given.task)["variant"]
        measuring.tell(seconds=robin_etl() if variant == "robin-etl" else plain())
        return
    folder = measuring.FOLDER / "new"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    orders = ORDERS[given.size]
    table = measuring.shop_orders(np.arange(orders), customers=orders * 6 // 10)
    table.to_csv(folder / f"orders_{DAY}.csv", index=False, float_format="%.2f")
    print(f"A dry run over {orders:,} new orders\n")
    print(f"{'variant':<34}{'seconds':>9}{'peak MB':>9}")
    totals = []
    for variant in ("robin-etl", "read and write"):
        found = measuring.in_a_process(MODULE, given.size, variant=variant)
        seconds = found["seconds"]
        assert seconds.pop("orders") == orders
        totals.append(sum(seconds.values()))
        print(f"{variant:<34}{totals[-1]:>9.1f}{found['peak_mb']:>9.0f}")
        if variant == "robin-etl":
            for name, one in seconds.items():
                print(f"  {name:<32}{one:>9.1f}")
    print(f"\nrobin-etl takes {totals[0] / totals[1]:.1f} times as long as reading and writing alone.")


if __name__ == "__main__":
    main()
