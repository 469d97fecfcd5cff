"""Thirty days of exports to ROBIN in robin-etl, in dlt and in a plain script, on good and bad nights.

    python -m benchmarks.dlt_end_to_end [--size small|full]

dlt's job is `benchmarks/peers/dlt_orders.py`, the script `benchmarks/peers/plain_script.py`. Each meets
a sandbox of its own. Limits are lifted. The nights:

- quiet: nothing happens.
- bad: answers are lost, connections reset and servers fail (a tenth of the requests, always the same). A
  day that failed is run again up to five times, as an operator would.
- lost: every twentieth answer is lost after ROBIN has taken the orders, and a day that failed is not run
  again: the next night's run goes on.
- late: every fifth day's export comes after those of the four days behind it.
- twice: every day is run twice.
- refused, six of them: ROBIN refuses one order of the second day for good (400), and a failed day is run
  twice.

In the end what the sandbox holds is compared with what the exports say: orders that are missing or wrong
(their revenue, or whether they are first), that were sent twice, or with an `old_revenue` that ROBIN did
not hold.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import measuring

DAYS, ORDERS_A_DAY = {"small": 4, "full": 30}, {"small": 150, "full": 2_000}
FIRST = date(2026, 1, 1)
FOLDER = measuring.FOLDER / "end_to_end"
TRIES = {"quiet": 1, "bad": 5, "lost": 1, "late": 1, "twice": 1, "refused": 2}
SHARES = {"bad": 0.1, "lost": 0.05}
NIGHTS = {"small": ("quiet",), "full": tuple(TRIES)}
REFUSED_DAYS = 6  # dlt spends most of a day that it can't load on waiting to try again


def generate(size: str) -> None:
    """A csv a day: new orders, and a tenth as many of three days before whose revenue fell."""
    (FOLDER / "exports").mkdir(parents=True)
    count, days = ORDERS_A_DAY[size], DAYS[size]
    for at in range(days):
        numbers = np.arange(at * count, (at + 1) * count)
        rows = measuring.shop_orders(numbers, customers=count * days // 3)
        if at >= 3:
            changed = measuring.shop_orders(numbers[::10] - 3 * count, customers=count * days // 3)
            rows = pd.concat([rows, changed.assign(revenue=(changed["revenue"] / 2).round(2))])
        rows.to_csv(_file(at), index=False, float_format="%.2f")


def _file(at: int) -> Any:
    return FOLDER / "exports" / f"orders_{FIRST + timedelta(days=at)}.csv"


def order_days(nights: str, days: int) -> list[int]:
    """The days, numbered from 0, in the order that they are run in."""
    if nights == "twice":
        return [at for at in range(days) for _ in range(2)]
    if nights == "late":
        return sorted(range(days), key=lambda at: at + 4.5 * (at % 5 == 1))
    return list(range(days))


def run_each(
    days: Sequence[int], tries: int, run: Callable[[int], object], stop: type[Exception]
) -> int:
    """Run each day, again where it stops; the days that still did so at the last try."""
    failed = 0
    for at in days:
        for attempt in range(1, tries + 1):
            try:
                run(at)
                break
            except stop:
                failed += attempt == tries
    return failed


def robin_etl(days: Sequence[int], url: str, folder: Any, tries: int) -> int:
    """The days that failed for good."""
    from robin_etl import pipeline
    from robin_etl.core.guards import GUARDS
    from robin_etl.exceptions import RobinEtlError
    from robin_etl.settings import Settings
    from robin_etl.stages.records import Scope
    from robin_etl.stages.run import Run

    settings = Settings.read(
        base_url=url,
        api_key="benchmark",
        api_secret="benchmark",
        exports=str(FOLDER / "exports"),
        ledger=str(folder / "ledger.db"),
        runs=str(folder / "runs"),
        rate_limits="1000000/s",
        max_attempts=5,
        backoff=0.05,
    )

    def run(at: int) -> None:
        day = FIRST + timedelta(days=at)
        scope = Scope(command="run", first=day, last=day, allow=GUARDS)
        pipeline.run_all(settings, Run.start(settings.runs, scope))

    return run_each(days, tries, run, RobinEtlError)


def dlt(days: Sequence[int], url: str, folder: Any, tries: int) -> int:
    """Likewise."""
    import os

    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"}
    os.environ["LOAD__RAISE_ON_FAILED_JOBS"] = "true"
    from dlt.pipeline.exceptions import PipelineStepFailed

    from benchmarks.peers import dlt_orders

    return run_each(
        days, tries, lambda at: dlt_orders.run_day(_file(at), folder, url), PipelineStepFailed
    )


def plain_script(days: Sequence[int], url: str, folder: Any, tries: int) -> int:
    """Likewise."""
    import requests

    from benchmarks.peers import plain_script

    return run_each(
        days, tries, lambda at: plain_script.run_day(_file(at), folder, url), requests.RequestException
    )


VARIANTS = {"robin-etl": robin_etl, "dlt": dlt, "plain script": plain_script}


def expected(days: int, refused: str | None) -> pd.DataFrame:
    """What ROBIN should hold of what it does not refuse: each order's last revenue, and who is first."""
    rows = pd.concat(pd.read_csv(_file(at), dtype={"order_number": str}) for at in range(days))
    rows = rows[rows["order_number"] != refused]
    last = rows.drop_duplicates("order_number", keep="last").sort_values(["order_date", "order_number"])
    return last.assign(is_first_order=~last.duplicated("email_address")).set_index("order_number")


def judged(state: dict[str, Any], truth: pd.DataFrame) -> dict[str, int]:
    """How many orders are missing or wrong, and what was told that should not have been."""
    held = pd.DataFrame.from_dict(state["orders"], orient="index")
    both = truth.join(held.add_suffix("_held"))
    missing = both["revenue_held"].isna()
    differs = both["revenue"] != both["revenue_held"]
    wrong = ~missing & (differs | (both["is_first_order"] != both["is_first_order_held"]))
    old = sum("old_revenue" in complaint for complaint in state["complaints"])
    return {
        "missing": int(missing.sum()),
        "wrong": int(wrong.sum()),
        "sent twice": len(state["repeats"]),
        "old_revenue wrong": old,
    }


def task(variant: str, nights: str, size: str) -> None:
    """One variant through all days, against a sandbox in this process."""
    from robin_etl.sandbox.faults import Fault, Faults
    from robin_etl.sandbox.robin import Robin
    from robin_etl.sandbox.server import Sandbox

    folder = FOLDER / f"{variant}-{nights}"
    folder.mkdir()
    after = (Fault.ERROR_AFTER, Fault.RESET_AFTER)
    kinds = after if nights == "lost" else (Fault.ERROR_BEFORE, Fault.RESET_BEFORE, *after)
    refused = f"{ORDERS_A_DAY[size] + 5:09}" if nights == "refused" else None
    faults = Faults(share=SHARES.get(nights, 0.0), kinds=kinds, seed=7, refused=refused)
    robin = Robin("benchmark", "benchmark", limits=(), faults=faults)
    seconds: dict[str, float] = {}
    days = min(DAYS[size], REFUSED_DAYS) if refused else DAYS[size]
    with Sandbox(robin) as sandbox, measuring.timed(seconds, "all"):
        failed = VARIANTS[variant](order_days(nights, days), sandbox.url, folder, TRIES[nights])
    found = judged(robin.read_state(), expected(days, refused))
    measuring.tell(seconds=seconds["all"], requests=faults.requests, failed=failed, **found)


def main() -> None:
    """Measure both through each kind of nights, and print the table."""
    given = measuring.arguments(__doc__).parse_args()
    if given.task:
        task(**json.loads(given.task), size=given.size)
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    generate(given.size)
    days, count = DAYS[given.size], ORDERS_A_DAY[given.size]
    print(f"{days} days, {count:,} new orders a day\n")
    told = ("missing", "wrong", "sent twice", "old_revenue wrong")
    columns = ("seconds", "requests", "peak_mb", "failed", *told)
    print(f"{'nights':<8}{'tool':<14}" + "".join(f"{name:>{max(9, len(name) + 2)}}" for name in columns))
    for nights in NIGHTS[given.size]:
        for variant in VARIANTS:
            found = measuring.in_a_process(
                "benchmarks.dlt_end_to_end", given.size, variant=variant, nights=nights
            )
            cells = "".join(f"{found[name]:>{max(9, len(name) + 2)}.0f}" for name in columns)
            print(f"{nights:<8}{variant:<14}{cells}", flush=True)
            if variant == "robin-etl":
                assert sum(found[name] for name in ("missing", "wrong", "old_revenue wrong")) == 0


if __name__ == "__main__":
    main()
