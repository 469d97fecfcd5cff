"""Peak memory and time of each task of a large run, in one part and in sixteen.

Every stage of every part runs in a process of its own, as an Airflow task does. A fifth of the orders
is in the ledger already, a fifth of those has changed. Posts go to a server that accepts everything.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import measuring

SIZES = {"full": 5_000_000, "small": 5_000}
SHARDS = {"full": (1, 16), "small": (1, 2)}
FOLDER = Path(".cache/benchmark/shards")
KNOWN, DAY = "2026-03-01", "2026-03-02"
STAGES = ("extract", "classify", "validate", "plan", "load", "report")


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


def stage(name: str, location: str, part: int, url: str, shards: int) -> dict[str, Any]:
    """One stage in this process; its seconds and peak in MB."""
    from robin_etl import pipeline
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
        rate_limits="100000/s",
        chunk_size=1000,
        shards=shards,
    )
    began = time.perf_counter()
    if name == "baseline":
        day = date.fromisoformat(KNOWN)
        run = Run.start(settings.runs, Scope(command="baseline", first=day, last=day, final=True))
        pipeline.baseline(settings, run)
    else:
        run = Run.open(location)
        numbered = {"partition": part} if name in ("classify", "validate") else {}
        getattr(pipeline, name)(settings, run, **numbered)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "peak_mb": measuring.peak_mb()}


def in_a_process(*arguments: str) -> dict[str, Any]:
    """One stage in a process of its own: the same arguments as text."""
    command = [sys.executable, "-m", "benchmarks.shards", "--stage", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def in_this_one(name: str, location: str, part: str, url: str, shards: str) -> dict[str, Any]:
    """The same where nothing is measured, since a process of its own costs seconds."""
    return stage(name, location, int(part), url, int(shards))


RUN: dict[str, Callable[..., dict[str, Any]]] = {"full": in_a_process, "small": in_this_one}


def measure(url: str, shards: int, size: str) -> dict[str, Any]:
    """All stages over fresh copies of the ledger: for each the seconds of all parts and the peak."""
    from robin_etl.core.guards import GUARDS
    from robin_etl.stages.records import Scope
    from robin_etl.stages.run import Run

    shutil.copy(FOLDER / "baseline.db", FOLDER / "ledger.db")
    shutil.rmtree(FOLDER / "runs")  # whose journals would say that the ledger is an older copy
    day = date.fromisoformat(DAY)
    run = Run.start(str(FOLDER / "runs"), Scope(command="run", first=day, last=day, allow=GUARDS))
    results = {}
    for name in STAGES:
        parts = range(1, shards + 1) if name in ("classify", "validate") else (1,)
        told = [RUN[size](name, run.location, str(part), url, str(shards)) for part in parts]
        results[name] = {
            "seconds": sum(one["seconds"] for one in told),
            "peak_mb": max(one["peak_mb"] for one in told),
        }
        print(f"{shards} {name} {results[name]}", file=sys.stderr)
    summary = json.loads((run.folder.path / "summary.json").read_text())
    counts = {kind: summary[kind] for kind in ("exported", "first", "repeat", "upsell", "posted")}
    (FOLDER / "ledger.db").unlink()
    return {"stages": results, "counts": counts}


def main() -> None:
    """Measure with each number of parts and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--stage", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        name, location, part, url, shards = given.stage
        print(json.dumps(stage(name, location, int(part), url, int(shards))))
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    orders = SIZES[given.size]
    generate(orders, FOLDER)
    few, many = SHARDS[given.size]
    with measuring.accepting_server() as url:
        RUN[given.size]("baseline", "", "1", url, "1")
        (FOLDER / "ledger.db").rename(FOLDER / "baseline.db")
        results = {shards: measure(url, shards, given.size) for shards in (few, many)}
    print(f"An export of {orders:,} orders; peak MB of the largest task, and seconds of all its parts\n")
    print(f"{'stage':<12}" + "".join(f"{f'{n} part(s)':>14}{'seconds':>10}" for n in results))
    for name in STAGES:
        told = [result["stages"][name] for result in results.values()]
        cells = "".join(f"{one['peak_mb']:>14.0f}{one['seconds']:>10.1f}" for one in told)
        print(f"{name:<12}{cells}")
    print(f"\n{results[few]['counts']}")
    if results[few]["counts"] != results[many]["counts"]:
        sys.exit(f"the numbers of parts disagree: {results}")


if __name__ == "__main__":
    main()
