"""A day over ledgers of 20 thousand, 100 thousand, 1 million and 10 million orders.

    python -m benchmarks.ledger_growth [--size small|full]

First the look-up of a day of 50,000 rows: 40,000 new orders, half of them of customers known before,
and 10,000 that changed. Measured is the look-up plus reconciliation of robin-etl over SQLite and
PostgreSQL and, on the same data, DuckDB, polars and naive pandas joining the day with the whole snapshot
in Parquet. Every variant runs in a process of its own, three times in turn, and the best counts. All
have to find the same changes. Beside them a bare read of what the indexes have of the same orders and
customers, their keys sorted, as rows of the driver. Then once more over a PostgreSQL with 4 GB of
`shared_buffers`, since its default of 128 MB is little for so large a table.

Then whole days of 5,000 rows, `robin-etl run` from the shell to a server that accepts everything: 4,000
new orders and 1,000 changed ones, each day others.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import measuring

LEDGERS = {"small": (1_000,), "full": (20_000, 100_000, 1_000_000, 10_000_000)}
NEW, CHANGED = {"small": 800, "full": 40_000}, {"small": 200, "full": 10_000}
FOLDER = measuring.FOLDER / "growth"
KINDS = ("first", "repeat", "return", "upsell", "correction")
TIMES = {"small": 1, "full": 3}
DAY_NEW, DAY_CHANGED = {"small": 80, "full": 4_000}, {"small": 20, "full": 1_000}
# A quarter of memory is what PostgreSQL's documentation begins with; this is a sixth of 24 GB.
LARGE_BUFFERS = {"small": "256MB", "full": "4GB"}
USUAL_BUFFERS = "128MB"
WITH_LARGE_BUFFERS = " with large buffers"
_AT_ONCE = 500_000


def generate(orders: int, size: str, folder: Path) -> None:
    """The snapshot of a shop's orders, with who was first, and the day after it."""
    folder.mkdir(parents=True)
    customers = orders * 6 // 10
    seen = np.zeros(customers, dtype=bool)
    writer = None
    for start in range(0, orders, _AT_ONCE):
        table = measuring.shop_orders(
            np.arange(start, min(start + _AT_ONCE, orders)), customers=customers
        )
        who = table["email_address"].str.extract(r"(\d+)", expand=False).astype("int64").to_numpy()
        first = ~pd.Series(who).duplicated().to_numpy() & ~seen[who]
        seen[who] = True
        table = table.assign(is_first_order=first, revenue=_cents(table["revenue"]))
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        writer = writer or pq.ParquetWriter(folder / "snapshot.parquet", arrow.schema)
        writer.write_table(arrow)
    assert writer is not None
    writer.close()
    new = measuring.shop_orders(np.arange(orders, orders + NEW[size]), customers=customers)
    stranger = np.arange(len(new)) % 2 == 0
    new.loc[stranger, "email_address"] = "new" + new.loc[stranger, "email_address"]
    numbers = np.random.default_rng(1).choice(orders, CHANGED[size], replace=False)
    known = measuring.shop_orders(np.sort(numbers), customers=customers)
    known["revenue"] = known["revenue"] / 2 + 0.01
    day = pd.concat([new, known], ignore_index=True)
    day.assign(revenue=_cents(day["revenue"])).to_parquet(folder / "day.parquet", index=False)


def _cents(revenue: pd.Series) -> pd.Series:
    return (revenue * 100).round().astype("int64")


def fill(ledger: str, folder: Path) -> None:
    """Acknowledge the whole snapshot."""
    from robin_etl.core import columns, customers
    from robin_etl.ledger import Ledger

    with Ledger.open(ledger) as opened:
        for batch in pq.ParquetFile(folder / "snapshot.parquet").iter_batches(_AT_ONCE):
            table = batch.to_pandas()
            digest = customers.digest_contacts(table["email_address"], of="email", key=b"")
            rows = table.assign(
                day="2026-03-01",
                customer=digest,
                email=digest,
                email_day="2026-03-01",
                placed_at=table["order_date"],
                is_cancelled=False,
                is_told=True,
            )
            opened.states.baseline(columns.conform(rows, columns.LEDGER_DTYPES))


def robin_etl(folder: Path, ledger: str) -> dict[str, Any]:
    from robin_etl.core import columns, customers
    from robin_etl.ledger import Ledger
    from robin_etl.stages.classify import reconcile_with

    table = pd.read_parquet(folder / "day.parquet").assign(day="2026-03-02")
    exported = customers.add_digests(columns.conform(table, columns.EXPORTED_DTYPES), key=b"")
    seconds: dict[str, float] = {}
    with Ledger.open(ledger) as opened, measuring.timed(seconds, "all"):
        changes = reconcile_with(exported, opened).changes
    return {"seconds": seconds["all"], "kinds": _counted(changes["kind"].value_counts().to_dict())}


def bare_read(folder: Path, ledger: str) -> dict[str, Any]:
    from robin_etl.core import columns, customers
    from robin_etl.ledger import Ledger
    from robin_etl.ledger.schema import ORDERS

    day = pd.read_parquet(folder / "day.parquet").assign(day="2026-03-02")
    rows = customers.add_digests(columns.conform(day, columns.EXPORTED_DTYPES), key=b"")
    of_customers = (
        ORDERS.c[name] for name in ("customer", "is_first_order", "placed_at", "order_number")
    )
    seconds: dict[str, float] = {}
    with Ledger.open(ledger) as opened, opened.engine.read() as connection:
        import sqlalchemy as sa

        orders = opened.engine.dialect.is_among(ORDERS.c.order_number, rows["order_number"])
        own = opened.engine.dialect.is_among(ORDERS.c.customer, rows["email"])
        with measuring.timed(seconds, "all"):
            connection.execute(sa.select(ORDERS).where(orders)).all()
            connection.execute(sa.select(*of_customers).where(own)).all()
    return {"seconds": seconds["all"], "kinds": None}


def look_up(folder: Path, ledger: str) -> dict[str, Any]:
    from robin_etl.core import columns, customers
    from robin_etl.ledger import Ledger

    day = pd.read_parquet(folder / "day.parquet").assign(day="2026-03-02")
    rows = customers.add_digests(columns.conform(day, columns.EXPORTED_DTYPES), key=b"")
    seconds: dict[str, float] = {}
    with Ledger.open(ledger) as opened, measuring.timed(seconds, "all"):
        opened.states.look_up(rows["order_number"], rows["email"])
    return {"seconds": seconds["all"], "kinds": None}


def duckdb(folder: Path, _: str) -> dict[str, Any]:
    import duckdb as engine

    query = f"""
        with day as (from read_parquet('{folder}/day.parquet')),
        snapshot as (from read_parquet('{folder}/snapshot.parquet')),
        candidates as (
            select email_address, order_date, order_number from day
            union all
            select email_address, order_date, order_number from snapshot as s
            where email_address in (select email_address from day)
              and order_number not in (select order_number from day)
        ), firsts as (
            select email_address, arg_min(order_number, (order_date, order_number)) as first_number
            from candidates group by 1
        )
        select case when s.order_number is null and d.order_number = f.first_number then 'first'
                    when s.order_number is null then 'repeat'
                    when d.revenue < s.revenue then 'return'
                    when d.revenue > s.revenue then 'upsell' end as kind, count(*)
        from day as d join firsts as f using (email_address) left join snapshot as s using (order_number)
        group by 1 having kind is not null
    """
    seconds: dict[str, float] = {}
    with measuring.timed(seconds, "all"):
        found = dict(engine.connect().execute(query).fetchall())
    return {"seconds": seconds["all"], "kinds": _counted(found)}


def polars(folder: Path, _: str) -> dict[str, Any]:
    import polars as pl

    seconds: dict[str, float] = {}
    with measuring.timed(seconds, "all"):
        day = pl.scan_parquet(folder / "day.parquet")
        snapshot = pl.scan_parquet(folder / "snapshot.parquet")
        named = ("email_address", "order_date", "order_number")
        others = (
            snapshot.select(named)
            .join(day, on="email_address", how="semi")
            .join(day, on="order_number", how="anti")
        )
        firsts = (
            pl.concat([day.select(named), others])
            .group_by("email_address")
            .agg(pl.col("order_number").sort_by("order_date", "order_number").first().alias("first"))
        )
        both = day.join(firsts, on="email_address").join(
            snapshot.select("order_number", pl.col("revenue").alias("old")),
            on="order_number",
            how="left",
        )
        new = pl.col("old").is_null()
        kind = (
            pl.when(new & (pl.col("order_number") == pl.col("first")))
            .then(pl.lit("first"))
            .when(new)
            .then(pl.lit("repeat"))
            .when(pl.col("revenue") < pl.col("old"))
            .then(pl.lit("return"))
            .when(pl.col("revenue") > pl.col("old"))
            .then(pl.lit("upsell"))
        )
        counted = both.group_by(kind.alias("kind")).len().collect()
    return {"seconds": seconds["all"], "kinds": _counted(dict(counted.drop_nulls().iter_rows()))}


def naive_pandas(folder: Path, _: str) -> dict[str, Any]:
    seconds: dict[str, float] = {}
    with measuring.timed(seconds, "all"):
        day = pd.read_parquet(folder / "day.parquet")
        snapshot = pd.read_parquet(folder / "snapshot.parquet")
        both = day.merge(snapshot, on="order_number", how="left", suffixes=("", "_old"))
        known = snapshot["email_address"].isin(day["email_address"])
        everything = pd.concat([day, snapshot[known]]).drop_duplicates("order_number")
        first = everything.sort_values(["order_date", "order_number"]).drop_duplicates("email_address")
        is_first = both["order_number"].isin(first["order_number"])
        old, now = both["revenue_old"], both["revenue"]
        kind = np.select(
            [old.isna() & is_first, old.isna(), now < old, now > old], KINDS[:4], default=""
        )
    found = pd.Series(kind).value_counts().to_dict()
    return {"seconds": seconds["all"], "kinds": _counted(found)}


VARIANTS: dict[str, Callable[[Path, str], dict[str, Any]]] = {
    "robin-etl, SQLite": robin_etl,
    "robin-etl, PostgreSQL": robin_etl,
    "look-up alone, SQLite": look_up,
    "bare read, SQLite": bare_read,
    "look-up alone, PostgreSQL": look_up,
    "bare read, PostgreSQL": bare_read,
    "DuckDB on Parquet": duckdb,
    "polars on Parquet": polars,
    "naive pandas": naive_pandas,
}


def _counted(found: dict[Any, Any]) -> dict[str, int]:
    return {kind: int(found.get(kind, 0)) for kind in KINDS}


def main() -> None:
    """Make the ledgers, measure every variant over each, and print the table."""
    given = measuring.arguments(__doc__).parse_args()
    if given.task:
        task = json.loads(given.task)
        measuring.tell(**VARIANTS[task["variant"]](Path(task["folder"]), task["ledger"]))
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    results: dict[str, list[Measured]] = {}
    days: dict[str, list[float]] = {}
    for orders in LEDGERS[given.size]:
        folder = FOLDER / f"{orders}"
        generate(orders, given.size, folder)
        sqlite = f"sqlite:///{folder.absolute()}/ledger.db"
        fill(sqlite, folder)
        with measuring.postgresql(folder) as server:
            postgresql = _name_driver(server)
            fill(postgresql, folder)
            _vacuum(postgresql)
            ledgers = {"SQLite": sqlite, "PostgreSQL": postgresql}
            measured = measure(given.size, folder, VARIANTS, ledgers)
            kinds = {found.kinds for found in measured.values()}
        with measuring.postgresql(folder, shared_buffers=LARGE_BUFFERS[given.size]) as server:
            ledgers["PostgreSQL"] = _name_driver(server)
            again = [name for name in VARIANTS if name.endswith("PostgreSQL")]
            for name, found in measure(given.size, folder, again, ledgers).items():
                measured[name + WITH_LARGE_BUFFERS] = found
                kinds.add(found.kinds)
        assert len(kinds - {None}) == 1, f"the variants disagree: {kinds}"
        if orders in (LEDGERS[given.size][0], LEDGERS[given.size][-1]):
            with measuring.postgresql(folder, shared_buffers=USUAL_BUFFERS) as server:
                ledgers["PostgreSQL"] = _name_driver(server)
                for name, ledger in ledgers.items():
                    days.setdefault(name, []).append(run_days(given.size, orders, folder, ledger))
        for name, found in measured.items():
            results.setdefault(name, []).append(found)
    _show(given.size, results)
    _show_days(given.size, days)


@dataclass(frozen=True)
class Measured:
    """The best of several times, with the memory of that one and, where a variant finds changes, how
    many of each kind.
    """

    seconds: float
    peak_mb: float
    kinds: str | None


def measure(
    size: str, folder: Path, names: Iterable[str], ledgers: dict[str, str]
) -> dict[str, Measured]:
    """The best time of each of these variants, taken in turn."""
    best: dict[str, Measured] = {}
    for name in list(names) * TIMES[size]:
        ledger = ledgers.get(name.split(", ")[-1], "")
        task = {"variant": name, "folder": str(folder), "ledger": ledger}
        found = measuring.in_a_process("benchmarks.ledger_growth", size, **task)
        kinds = json.dumps(found["kinds"]) if found["kinds"] is not None else None
        measured = Measured(found["seconds"], found["peak_mb"], kinds)
        best[name] = min(measured, best.get(name, measured), key=lambda one: one.seconds)
    return best


def _name_driver(url: str) -> str:
    import sqlalchemy as sa

    named = sa.make_url(url).set(drivername="postgresql+psycopg")
    return named.render_as_string(hide_password=False)


def _vacuum(url: str) -> None:
    """As autovacuum leaves a ledger that has grown over years."""
    import sqlalchemy as sa

    with sa.create_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sa.text("vacuum analyze"))


def run_days(size: str, orders: int, folder: Path, ledger: str) -> float:
    """The seconds of the quickest of several days, from the shell."""
    exports = folder / "exports"
    shutil.rmtree(exports, ignore_errors=True)
    exports.mkdir()
    customers, best = orders * 6 // 10, float("inf")
    with measuring.accepting_server() as server:
        settings = {"BASE_URL": server, "API_KEY": "k", "API_SECRET": "s", "EXPORTS": str(exports)}
        settings |= {"LEDGER": ledger, "RUNS": str(folder / "runs"), "RATE_LIMITS": "1000000/s"}
        environment = os.environ | {f"ROBIN_ETL_{name}": value for name, value in settings.items()}
        for at in range(TIMES[size]):
            new = np.arange(DAY_NEW[size]) + orders + NEW[size] + at * DAY_NEW[size]
            # Spread over the whole ledger, each day others.
            changed = np.arange(DAY_CHANGED[size]) * (orders // DAY_CHANGED[size]) + at
            rows = measuring.shop_orders(np.concatenate([new, changed]), customers=customers)
            rows.loc[len(new) :, "revenue"] += 1
            day = f"2026-03-{10 + at}"
            rows.to_csv(exports / f"orders_{day}.csv", index=False, float_format="%.2f")
            command = [sys.executable, "-c", "from robin_etl.cli.main import main; main()"]
            began = time.perf_counter()
            done = subprocess.run(
                [*command, "run", "--date", day, "--json", *measuring.allow_all()],
                env=environment,
                capture_output=True,
                check=False,
                text=True,
            )
            best = min(best, time.perf_counter() - began)
            assert json.loads(done.stdout.splitlines()[-1])["posted"] >= len(rows), done.stdout
    return best


def _show_days(size: str, days: dict[str, list[float]]) -> None:
    first, last = LEDGERS[size][0], LEDGERS[size][-1]
    print(f"\nA whole day of {DAY_NEW[size] + DAY_CHANGED[size]:,} rows from the shell, seconds\n")
    print(f"{'ledger':<23}{first:>16,}{last:>16,}{'growth':>9}")
    for name, found in days.items():
        print(f"{name:<23}{found[0]:>16.2f}{found[-1]:>16.2f}{found[-1] / found[0]:>9.2f}")


def _show(size: str, results: dict[str, list[Measured]]) -> None:
    ledgers = LEDGERS[size]
    print(f"A day of {NEW[size]:,} new and {CHANGED[size]:,} changed orders; seconds / peak MB\n")
    print(f"{'variant':<46}" + "".join(f"{orders:>16,}" for orders in ledgers) + f"{'growth':>9}")
    for name, found in results.items():
        cells = "".join(f"{f'{one.seconds:.2f} / {one.peak_mb:.0f}':>16}" for one in found)
        print(f"{name:<46}{cells}{found[-1].seconds / found[0].seconds:>9.2f}")


if __name__ == "__main__":
    main()
