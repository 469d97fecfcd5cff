"""Ten years of daily exports as one range: 3,650 files, 2 million orders, posts going to a sink.

    python -m benchmarks.ten_years [--size small|full]

Beside its new orders each day holds a tenth as many of the week before that have changed. Shown are the
stages' seconds, what a day costs, and the peak memory of the process that runs them all.
"""

from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import measuring

DAYS = {"small": 30, "full": 3_650}
ORDERS_A_DAY = 548
FIRST = date(2016, 1, 1)
FOLDER = measuring.FOLDER / "ten_years"


def generate(days: int) -> None:
    """One csv a day."""
    (FOLDER / "exports").mkdir(parents=True)
    customers = days * ORDERS_A_DAY // 3
    for at in range(days):
        day = FIRST + timedelta(days=at)
        numbers = np.arange(at * ORDERS_A_DAY, (at + 1) * ORDERS_A_DAY)
        rows = measuring.shop_orders(numbers, customers=customers).assign(order_date=f"{day}T10:00:00Z")
        if at >= 7:
            changed = measuring.shop_orders(numbers[::10] - 7 * ORDERS_A_DAY, customers=customers)
            changed = changed.assign(
                revenue=changed["revenue"] / 2 + 0.01, order_date=f"{day - timedelta(days=7)}T10:00:00Z"
            )
            rows = pd.concat([rows, changed])
        name = f"orders_{day}.csv"
        rows.to_csv(FOLDER / "exports" / name, index=False, float_format="%.2f")


def run(days: int, url: str) -> dict[str, Any]:
    """The stages of the range, in seconds."""
    from robin_etl import pipeline
    from robin_etl.core.guards import GUARDS
    from robin_etl.settings import Settings
    from robin_etl.stages.records import Scope
    from robin_etl.stages.run import Run

    settings = Settings.read(
        base_url=url,
        api_key="key",
        api_secret="secret",
        exports=str(FOLDER / "exports"),
        ledger=str(FOLDER / "ledger.db"),
        runs=str(FOLDER / "runs"),
        rate_limits="1000000/s",
        chunk_size=1000,
    )
    last = FIRST + timedelta(days=days - 1)
    scope = Scope(command="backfill", first=FIRST, last=last, is_history=True, allow=GUARDS)
    started = Run.start(settings.runs, scope)
    seconds: dict[str, float] = {}
    with measuring.timed(seconds, "extract"):
        pipeline.extract(settings, started)
    for name in ("classify", "validate"):
        for part in range(1, len(started.partitions) + 1):
            with measuring.timed(seconds, name):
                getattr(pipeline, name)(settings, started, part)
    with measuring.timed(seconds, "plan"):
        pipeline.plan(settings, started)
    with measuring.timed(seconds, "load"):
        pipeline.load(settings, started)
    with measuring.timed(seconds, "report"):
        counts = pipeline.report(settings, started)
    delivered = counts.delivered
    return {"seconds": seconds, "posted": delivered.posted, "requests": delivered.requests}


def main() -> None:
    """Make the exports, run the range, and print the table."""
    given = measuring.arguments(__doc__).parse_args()
    days = DAYS[given.size]
    if given.task:
        measuring.tell(**run(days, json.loads(given.task)["url"]))
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    generate(days)
    with measuring.accepting_server() as url:
        found = measuring.in_a_process("benchmarks.ten_years", given.size, url=url)
    whole = sum(found["seconds"].values())
    print(f"{days:,} days, {days * ORDERS_A_DAY:,} orders, {found['posted']:,} changes posted", end=" ")
    print(f"in {found['requests']:,} requests\n")
    for name, seconds in found["seconds"].items():
        print(f"{name:<10}{seconds:>8.1f} s")
    print(
        f"{'whole':<10}{whole:>8.1f} s = {whole / days * 1000:.0f} ms a day; {found['peak_mb']:.0f} MB"
    )


if __name__ == "__main__":
    main()
