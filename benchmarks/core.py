"""Reconciling a million rows that are in memory, beside the same in DuckDB and in polars.

    python -m benchmarks.core [--size small|full]

Half of the orders are in the ledger, four tenths of those have changed. All three are given the same
exported and ledger rows, each as its own tables, and give the whole change set: kind, wave, the state
to send, what ROBIN held, the earliest date, the customer's first order. The peers are written for this
one day: they know no stale rows, no blank values, no second wave and no confirmed days. Each runs three
times in a process of its own, the best counts, and all have to give the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import measuring

ROWS = {"small": 20_000, "full": 1_000_000}
TIMES = 3
COMPARED = ["order_number", "kind", "revenue", "old_revenue", "is_first_order", "placed_at", "customer"]

Frames = tuple[pd.DataFrame, pd.DataFrame]


def generate(rows: int) -> Frames:
    """Exported rows, and the ledger's of half of them."""
    from robin_etl.core import columns, customers

    table = measuring.shop_orders(np.arange(rows), customers=rows * 6 // 10).assign(day="2026-03-02")
    table["revenue"] = (table["revenue"] * 100).round().astype("int64")
    exported = customers.add_digests(columns.conform(table, columns.EXPORTED_DTYPES), key=b"")
    known = exported.iloc[::2]
    fate = np.arange(len(known)) % 10
    changed = known["revenue"] + np.select([fate < 3, fate < 4], [5_000, -50], default=0)
    known = known.assign(
        day="2026-03-01",
        customer=known["email"],
        email_day="2026-03-01",
        placed_at=known["order_date"],
        revenue=changed,
        is_first_order=~known.duplicated("email"),
    )
    ledger = columns.conform(known, columns.LEDGER_DTYPES)
    return exported.sample(frac=1, random_state=1).reset_index(drop=True), ledger


def robin_etl(frames: Frames) -> Callable[[], pd.DataFrame]:
    from robin_etl.core.reconcile import reconcile

    return lambda: reconcile(*frames).changes


def duckdb(frames: Frames) -> Callable[[], pd.DataFrame]:
    import duckdb as engine

    connection = engine.connect()
    for name, frame in zip(("exported", "ledger"), frames, strict=True):
        connection.register("given", frame)
        connection.execute(f"create table {name} as from given")
    query = """
        with candidates as (
            select email, order_date as placed_at, order_number from exported
            union all
            select email, placed_at, order_number from ledger
        ), firsts as (
            select email, arg_min(order_number, (placed_at, order_number)) as first_number
            from candidates group by email
        ), both_ as (
            select e.*, e.email as customer, l.revenue as old_revenue, l.profit as old_profit,
                   least(e.order_date, l.placed_at) as placed_at, l.is_first_order as was_first,
                   e.order_number = f.first_number as is_first_order, l.order_number is null as new,
                   l.order_date is distinct from e.order_date as moved
            from exported as e join firsts as f using (email) left join ledger as l using (order_number)
        ), kinds as (
            select *, case when new and is_first_order then 'first'
                           when new then 'repeat'
                           when revenue < old_revenue then 'return'
                           when revenue > old_revenue then 'upsell'
                           when moved or is_first_order <> was_first then 'correction' end as kind
            from both_
        )
        select order_number, day, customer, email, phone, email_address, phone_number, revenue, profit,
               order_date, placed_at, webstore_url, is_first_order, kind, 0 as wave, old_revenue,
               old_profit
        from kinds where kind is not null order by order_date
    """
    return lambda: connection.execute(query).df()


def polars(frames: Frames) -> Callable[[], pd.DataFrame]:
    import polars as pl

    exported, ledger = (pl.from_pandas(frame) for frame in frames)

    def changes() -> pd.DataFrame:
        named = ("email", "placed_at", "order_number")
        candidates = pl.concat(
            [
                exported.lazy().rename({"order_date": "placed_at"}).select(named),
                ledger.lazy().select(named),
            ]
        )
        firsts = candidates.group_by("email").agg(
            pl.col("order_number").sort_by("placed_at", "order_number").first().alias("first_number")
        )
        held = ledger.lazy().select(
            "order_number",
            pl.col("revenue").alias("old_revenue"),
            pl.col("profit").alias("old_profit"),
            pl.col("order_date").alias("old_date"),
            pl.col("placed_at").alias("old_placed_at"),
            pl.col("is_first_order").alias("was_first"),
        )
        both = exported.lazy().join(firsts, on="email").join(held, on="order_number", how="left")
        new, first = pl.col("was_first").is_null(), pl.col("order_number") == pl.col("first_number")
        kind = (
            pl.when(new & first)
            .then(pl.lit("first"))
            .when(new)
            .then(pl.lit("repeat"))
            .when(pl.col("revenue") < pl.col("old_revenue"))
            .then(pl.lit("return"))
            .when(pl.col("revenue") > pl.col("old_revenue"))
            .then(pl.lit("upsell"))
            .when((pl.col("old_date") != pl.col("order_date")) | (first != pl.col("was_first")))
            .then(pl.lit("correction"))
        )
        changed = both.with_columns(
            kind.alias("kind"),
            first.alias("is_first_order"),
            pl.col("email").alias("customer"),
            pl.min_horizontal("order_date", "old_placed_at").alias("placed_at"),
            pl.lit(0).alias("wave"),
        )
        found = changed.filter(pl.col("kind").is_not_null()).sort("order_date").collect()
        frame: pd.DataFrame = found.to_pandas()
        return frame

    return changes


VARIANTS = {"robin-etl": robin_etl, "DuckDB": duckdb, "polars": polars}


def measure(variant: str, rows: int) -> dict[str, Any]:
    """The best of three times, and a digest of what was found."""
    make = VARIANTS[variant](generate(rows))
    best = float("inf")
    for _ in range(TIMES):
        seconds: dict[str, float] = {}
        with measuring.timed(seconds, "one"):
            changes = make()
        best = min(best, seconds["one"])
    found = changes[COMPARED].sort_values("order_number", ignore_index=True)
    found = found.astype(dict.fromkeys(COMPARED, "str")).fillna("")
    found["old_revenue"] = found["old_revenue"].str.removesuffix(".0")
    found = found.replace({"<NA>": "", "nan": ""})
    return {"seconds": best, "rows": len(found), "found": int(pd.util.hash_pandas_object(found).sum())}


def main() -> None:
    """Measure every variant and print the table."""
    given = measuring.arguments(__doc__).parse_args()
    rows = ROWS[given.size]
    if given.task:
        measuring.tell(**measure(json.loads(given.task)["variant"], rows))
        return
    found = {
        name: measuring.in_a_process("benchmarks.core", given.size, variant=name) for name in VARIANTS
    }
    ours = found["robin-etl"]["seconds"]
    changes = found["robin-etl"]["rows"]
    print(f"{rows:,} exported rows, {rows // 2:,} in the ledger, {changes:,} changes\n")
    print(f"{'variant':<12}{'seconds':>9}{'of ours':>9}{'peak MB':>9}")
    for name, one in found.items():
        print(f"{name:<12}{one['seconds']:>9.2f}{one['seconds'] / ours:>9.2f}{one['peak_mb']:>9.0f}")
    assert len({(one["rows"], one["found"]) for one in found.values()}) == 1, f"they disagree: {found}"


if __name__ == "__main__":
    main()
