"""A day of a million orders, read, reconciled and validated in one process, beside its peers.

    python -m benchmarks.million_order_day [--size small|full]

The day holds new orders and changed ones of a shop whose ledger already has half as many. Each
variant runs in a process of its own: robin-etl with its gate; and reading plus the same comparison
alone in robin-etl, in naive pandas, in DuckDB and in polars. All have to find the same number of
changes of each kind. Figures are seconds, peak resident memory, and the ratio to robin-etl without
the gate, which does the same as the peers do.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SIZES = {"small": 20_000, "full": 1_000_000}
FOLDER = Path(".cache/benchmark")
DAY = "2026-03-02"
KINDS = ("first", "repeat", "return", "upsell", "correction")

Kinds = dict[str, int]


def generate(orders: int, folder: Path) -> None:
    """Write the day's csv, and the snapshot of the half of its orders that were told before."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20260302)
    customers = pd.Series(rng.integers(0, orders * 6 // 10, orders)).astype(str)
    placed = pd.Series(rng.integers(1_700_000_000, 1_770_000_000, orders)).astype("datetime64[s]")
    day = pd.DataFrame(
        {
            "order_number": "O" + pd.Series(np.arange(orders)).astype(str).str.zfill(8),
            "email_address": "customer" + customers + "@shop.example.com",
            "revenue": rng.integers(100, 50_000, orders) / 100,
            "order_date": placed.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    )
    known = day.iloc[: orders // 2].copy()
    fate = rng.random(len(known))
    factor = np.select([fate < 0.3, fate < 0.4], [0.5, 1.5], default=1.0)
    known["revenue"] = (known["revenue"] * factor).round(2)
    known["is_first_order"] = _is_first(known)
    day.to_csv(folder / f"orders_{DAY}.csv", index=False, float_format="%.2f")
    known.to_parquet(folder / "snapshot.parquet", index=False)


def _is_first(orders: pd.DataFrame) -> pd.Series:
    ordered = orders.sort_values(["email_address", "order_date", "order_number"])
    return ~ordered.duplicated("email_address").reindex(orders.index)


@contextmanager
def timed(stages: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    stages[name] = time.perf_counter() - started


def robin_etl(folder: Path, stages: dict[str, float], *, with_gate: bool = False) -> Kinds:
    from datetime import date

    from upath import UPath

    from robin_etl.core import columns, customers
    from robin_etl.core.reconcile import reconcile
    from robin_etl.exports import files, profiles
    from robin_etl.gate import CHANGES_SUITE, EXPORT_SUITE, check_frame, load_suite
    from robin_etl.stages.extract import compute_most

    suites = UPath("expectations")
    with timed(stages, "prepare the ledger's rows (not counted)"):
        known = _ledger_rows(folder)
    with timed(stages, "read"):
        path = UPath(folder / f"orders_{DAY}.csv")
        rows = files.read_export(
            path, profiles.load_profile("robin"), date.fromisoformat(DAY)
        ).orders.rows
    if with_gate:
        with timed(stages, "gate: export"):
            suite = load_suite(suites / EXPORT_SUITE)
            parameters = {"fewest_rows": 0, "most_revenue": compute_most(suite, rows["revenue"])}
            verdict, _ = check_frame(rows, suite, parameters)
            verdict.stop_unless_passed("the day")
    with timed(stages, "identify"):
        exported = customers.add_digests(columns.conform(rows, columns.EXPORTED_DTYPES), key=b"")
    with timed(stages, "reconcile"):
        changes = reconcile(exported, known).changes
    if with_gate:
        with timed(stages, "gate: changes"):
            verdict, _ = check_frame(changes, load_suite(suites / CHANGES_SUITE))
            verdict.stop_unless_passed("the changes")
    return {kind: int((changes["kind"] == kind).sum()) for kind in KINDS}


def _ledger_rows(folder: Path) -> pd.DataFrame:
    from robin_etl.core import columns, customers

    snapshot = pd.read_parquet(folder / "snapshot.parquet")
    snapshot["revenue"] = (snapshot["revenue"] * 100).round().astype("int64")
    digest = customers.digest_contacts(snapshot["email_address"].astype("str"), of="email", key=b"")
    return columns.conform(
        snapshot.assign(
            day="2026-03-01",
            customer=digest,
            email=digest,
            email_day="2026-03-01",
            placed_at=snapshot["order_date"],
        ),
        columns.LEDGER_DTYPES,
    )


def naive_pandas(folder: Path, stages: dict[str, float]) -> Kinds:
    with timed(stages, "read"):
        day = pd.read_csv(folder / f"orders_{DAY}.csv", dtype={"order_number": str})
        snapshot = pd.read_parquet(folder / "snapshot.parquet")
    with timed(stages, "compare"):
        both = day.merge(snapshot, on="order_number", how="outer", suffixes=("", "_old"))
        both["email_address"] = both["email_address"].fillna(both["email_address_old"])
        both["order_date"] = both["order_date"].fillna(both["order_date_old"])
        both["now_first"] = _is_first(both)
        before, now = both["revenue_old"], both["revenue"]
        kind = np.select(
            [
                before.isna() & both["now_first"],
                before.isna(),
                now < before,
                now > before,
                both["now_first"] != both["is_first_order"],
            ],
            KINDS,
            default="",
        )
    return {name: int((kind == name).sum()) for name in KINDS}


def duckdb(folder: Path, stages: dict[str, float]) -> Kinds:
    import duckdb as engine

    with timed(stages, "read and compare"):
        connection = engine.connect()
        query = f"""
            with day as (
                select order_number, email_address, order_date,
                       cast(revenue as decimal(18, 2)) as revenue
                from read_csv('{folder}/orders_{DAY}.csv', all_varchar = true)
            ), snapshot as (
                select * replace (cast(revenue as decimal(18, 2)) as revenue)
                from read_parquet('{folder}/snapshot.parquet')
            ), together as (
                select coalesce(d.revenue, s.revenue) as revenue, s.revenue as old_revenue,
                       s.is_first_order as was_first,
                       row_number() over (
                           partition by coalesce(d.email_address, s.email_address)
                           order by coalesce(d.order_date, s.order_date), order_number
                       ) = 1 as now_first
                from day as d full join snapshot as s using (order_number)
            )
            select case when old_revenue is null and now_first then 'first'
                        when old_revenue is null then 'repeat'
                        when revenue < old_revenue then 'return'
                        when revenue > old_revenue then 'upsell'
                        when now_first <> was_first then 'correction' end as kind,
                   count(*)
            from together group by 1 having kind is not null
        """
        found = dict(connection.execute(query).fetchall())
    return {name: found.get(name, 0) for name in KINDS}


def polars(folder: Path, stages: dict[str, float]) -> Kinds:
    import polars as pl

    with timed(stages, "read and compare"):
        cents = (pl.col("revenue").cast(pl.Float64) * 100).round().cast(pl.Int64)
        day = pl.scan_csv(folder / f"orders_{DAY}.csv", infer_schema=False).with_columns(cents)
        snapshot = pl.scan_parquet(folder / "snapshot.parquet").with_columns(cents)
        by_date = ["order_date", "order_number"]
        together = day.join(
            snapshot, on="order_number", how="full", coalesce=True, suffix="_old"
        ).with_columns(
            pl.coalesce("email_address", "email_address_old"),
            pl.coalesce("order_date", "order_date_old"),
            pl.coalesce("revenue", "revenue_old"),
        )
        first = (
            together.sort(by_date)
            .group_by("email_address")
            .agg(pl.first("order_number").alias("first_number"))
        )
        now_first = pl.col("order_number") == pl.col("first_number")
        new = pl.col("revenue_old").is_null()
        kind = (
            pl.when(new & now_first)
            .then(pl.lit("first"))
            .when(new)
            .then(pl.lit("repeat"))
            .when(pl.col("revenue") < pl.col("revenue_old"))
            .then(pl.lit("return"))
            .when(pl.col("revenue") > pl.col("revenue_old"))
            .then(pl.lit("upsell"))
            .when(now_first != pl.col("is_first_order"))
            .then(pl.lit("correction"))
        )
        counted = together.join(first, on="email_address").group_by(kind.alias("kind")).len().collect()
        found = dict(counted.iter_rows())
    return {name: found.get(name, 0) for name in KINDS}


def robin_etl_with_gate(folder: Path, stages: dict[str, float]) -> Kinds:
    return robin_etl(folder, stages, with_gate=True)


VARIANTS: dict[str, Callable[[Path, dict[str, float]], Kinds]] = {
    "robin-etl, with the gate": robin_etl_with_gate,
    "robin-etl": robin_etl,
    "naive pandas": naive_pandas,
    "DuckDB": duckdb,
    "polars": polars,
}


def measure(variant: str, folder: Path) -> dict[str, Any]:
    """One variant in this process: its stages in seconds, its peak in MB, what it found."""
    stages: dict[str, float] = {}
    kinds = VARIANTS[variant](folder, stages)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"stages": stages, "peak_mb": round(peak), "kinds": kinds}


def main() -> None:
    """Measure every variant in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    folder = FOLDER / given.size
    if given.variant:
        print(json.dumps(measure(given.variant, folder)))
        return
    generate(SIZES[given.size], folder)
    results = {}
    for variant in VARIANTS:
        if given.size == "small":  # then nothing is measured, and each process costs seconds
            results[variant] = measure(variant, folder)
            continue
        command = [sys.executable, "-m", "benchmarks.million_order_day", "--size", given.size]
        done = subprocess.run(
            [*command, "--variant", variant], stdout=subprocess.PIPE, text=True, check=True
        )
        results[variant] = json.loads(done.stdout.splitlines()[-1])
    show(SIZES[given.size], results)


def show(orders: int, results: dict[str, Any]) -> None:
    """The table; ends the process with an error where variants disagree."""
    ours = _seconds(results["robin-etl"])
    print(f"A day of {orders:,} orders over a ledger with half of them\n")
    print(f"{'variant':<26}{'seconds':>9}{'ratio':>8}{'peak MB':>9}")
    for variant, result in results.items():
        seconds = _seconds(result)
        print(f"{variant:<26}{seconds:>9.2f}{seconds / ours:>8.2f}{result['peak_mb']:>9}")
    print("\nrobin-etl with the gate, by stage, in seconds:")
    for stage, seconds in results["robin-etl, with the gate"]["stages"].items():
        print(f"  {stage:<42}{seconds:>7.2f}")
    print(f"\nchanges: {results['robin-etl']['kinds']}")
    if len({json.dumps(result["kinds"]) for result in results.values()}) > 1:
        sys.exit(f"the variants disagree: { {name: one['kinds'] for name, one in results.items()} }")


def _seconds(result: dict[str, Any]) -> float:
    stages: dict[str, float] = result["stages"]
    return sum(seconds for stage, seconds in stages.items() if "not counted" not in stage)


if __name__ == "__main__":
    main()
