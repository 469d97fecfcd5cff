"""A baseline of a million orders, into SQLite and into PostgreSQL.

    python -m benchmarks.baseline [--size small|full]

Each stage's seconds, and orders a second of acknowledging (writing the ledger, which is what a database
decides) and of all of it, from the csv on. Beside it: the same rows by pandas' `to_sql`.
"""

from __future__ import annotations

import json
import shutil
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from benchmarks import measuring

ORDERS = {"small": 2_000, "full": 1_000_000}
DAY = "2026-03-02"
FOLDER = measuring.FOLDER / "baseline"


def robin_etl(ledger: str) -> dict[str, Any]:
    """The stages of a baseline, in seconds."""
    from robin_etl import pipeline
    from robin_etl.ledger import Ledger
    from robin_etl.settings import Settings
    from robin_etl.stages.records import Scope
    from robin_etl.stages.run import Run

    settings = Settings.read(
        exports=str(FOLDER),
        ledger=ledger,
        runs=str(FOLDER / "runs"),
        api_key="key",
        api_secret="secret",
    )
    day = date.fromisoformat(DAY)
    run = Run.start(settings.runs, Scope(command="baseline", first=day, last=day, final=True))
    seconds: dict[str, float] = {}
    with measuring.timed(seconds, "extract"):
        pipeline.extract(settings, run)
    for part in range(1, len(run.partitions) + 1):
        with measuring.timed(seconds, "classify"):
            pipeline.classify(settings, run, part)
    with measuring.timed(seconds, "acknowledge"):
        pipeline.acknowledge(settings, run)
    with Ledger.open(ledger) as opened:
        return {"seconds": seconds, "orders": opened.states.totals().orders}


def to_sql(ledger: str) -> dict[str, Any]:
    """The columns of the export by `to_sql`, a thousand rows a statement."""
    seconds: dict[str, float] = {}
    rows = pd.read_csv(FOLDER / f"orders_{DAY}.csv", dtype={"order_number": str})
    engine = sa.create_engine(ledger)
    with measuring.timed(seconds, "acknowledge"), engine.begin() as connection:
        rows.to_sql("plain", connection, index=False, chunksize=1000, method="multi")
    return {"seconds": seconds, "orders": len(rows)}


def main() -> None:
    """Measure both databases and print the table."""
    given = measuring.arguments(__doc__).parse_args()
    if given.task:
        task = json.loads(given.task)
        measuring.tell(**{"robin-etl": robin_etl, "to_sql": to_sql}[task["variant"]](task["ledger"]))
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    count = ORDERS[given.size]
    table = measuring.shop_orders(np.arange(count), customers=count * 6 // 10)
    table.to_csv(FOLDER / f"orders_{DAY}.csv", index=False, float_format="%.2f")
    print(f"A baseline of {count:,} orders\n")
    print(f"{'ledger':<14}{'variant':<12}{'acknowledge s':>14}{'orders/s':>10}{'whole s':>9}", end="")
    print(f"{'orders/s':>10}{'peak MB':>9}")
    with measuring.postgresql(FOLDER) as server:
        url = sa.make_url(server).set(drivername="postgresql+psycopg")
        places = {
            "SQLite": f"sqlite:///{FOLDER.absolute()}/ledger.db",
            "PostgreSQL": url.render_as_string(hide_password=False),
        }
        for name, ledger in places.items():
            for variant in ("robin-etl", "to_sql"):
                found = measuring.in_a_process(
                    "benchmarks.baseline", given.size, variant=variant, ledger=ledger
                )
                assert found["orders"] == count
                writing, whole = found["seconds"]["acknowledge"], sum(found["seconds"].values())
                print(f"{name:<14}{variant:<12}{writing:>14.1f}{count / writing:>10,.0f}", end="")
                shown = f"{whole:>9.1f}{count / whole:>10,.0f}" if variant == "robin-etl" else " " * 19
                print(f"{shown}{found['peak_mb']:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
