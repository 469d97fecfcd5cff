"""Runs that are faulted at random and killed at random, until they are through; is ROBIN right then?

    python -m tests.soak [--runs 200] [--ledger sqlite|postgresql] [--seed 0]

Each run starts with an empty ledger and an empty ROBIN that fails 30 % of its requests. The real
command is started over five days of orders, killed (SIGKILL) at a random moment as often as not, and
started again until it says that it is done. Then ROBIN has to hold what an undisturbed run tells it, and
every order that it was told twice has to have been reported in doubt.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from robin_etl.sandbox.faults import Faults
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from tests.postgresql import serve_postgresql

KEY, SECRET = "soak-key", "soak-secret"
DAYS = [f"2026-03-0{day}" for day in range(1, 6)]
FAULTED, KILLED = 0.3, 0.7
MOST_STARTS = 60

_processes = multiprocessing.get_context("forkserver")


def write_exports(folder: Path, seed: int) -> None:
    """Five days of orders that appear, repeat, shrink, grow, arrive late and change hands."""
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    orders: dict[str, list[Any]] = {}
    for at, day in enumerate(DAYS):
        changed = rng.sample(sorted(orders), k=min(len(orders), 12))
        for number in changed:
            orders[number][1] = rng.choice([0, 5, 10, 20, 40])
            if rng.random() < 0.1:
                orders[number][0] = f"customer{rng.randrange(15)}@x.nl"
        new = [f"{at}{n:03}" for n in range(25)]
        for number in new:
            placed = f"2026-02-{rng.randrange(1, 28):02}T10:00:{rng.randrange(60):02}Z"
            orders[number] = [f"customer{rng.randrange(15)}@x.nl", rng.choice([5, 10, 20]), placed]
        rows = [",".join([number, *map(str, orders[number])]) for number in [*changed, *new]]
        rng.shuffle(rows)
        header = "order_number,email_address,revenue,order_date"
        (folder / f"orders_{day}.csv").write_text("\n".join([header, *rows]) + "\n")


def command(environment: dict[str, str]) -> None:
    """The real command, in a process of its own."""
    os.environ.update(environment)
    sys.argv = ["robin-etl", "backfill", "--from", DAYS[0], "--to", DAYS[-1], "--json"]
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    from robin_etl.cli.main import main

    main()


def until_done(
    environment: dict[str, str], rng: random.Random, robin: Robin, *, killing: float
) -> Counter[str]:
    """Start the command until it ends well; how often it was started, killed, and stopped itself.

    Some kills come after a time, whatever the command is at; most while it posts.
    """
    seen: Counter[str] = Counter()
    while seen["started"] < MOST_STARTS:
        seen["started"] += 1
        process = _processes.Process(target=command, args=(environment,))
        process.start()
        if rng.random() < killing:
            if rng.random() < 0.2:
                process.join(rng.uniform(0.05, 1.5))
            else:
                last = robin.faults.requests + rng.randrange(1, 20)
                while process.is_alive() and robin.faults.requests < last:
                    process.join(0.001)
                process.join(rng.uniform(0, 0.01))
            if process.is_alive():
                os.kill(process.pid or 0, signal.SIGKILL)
                seen["killed"] += 1
        process.join()
        if process.exitcode == 0:
            return seen
        seen["stopped"] += process.exitcode == 1
        if process.exitcode not in (1, -signal.SIGKILL):
            raise AssertionError(f"the command ended with {process.exitcode}")
    raise AssertionError(f"not done after {MOST_STARTS} starts")


def reported_in_doubt(runs: Path) -> set[str]:
    """Every order that any run's summary names as in doubt."""
    summaries = [json.loads(path.read_text()) for path in runs.glob("*/summary.json")]
    return {order for summary in summaries for order in summary["orders_in_doubt"]}


def one(seed: int, folder: Path, ledger: str) -> Counter[str]:
    """One run with its faults and kills; raises `AssertionError` where ROBIN is not right then."""
    rng = random.Random(seed)
    exports = folder / "exports"
    write_exports(exports, seed % 10)
    environment = {
        "ROBIN_ETL_API_KEY": KEY,
        "ROBIN_ETL_API_SECRET": SECRET,
        "ROBIN_ETL_EXPORTS": str(exports),
        "ROBIN_ETL_CHUNK_SIZE": "9",
        "ROBIN_ETL_CONCURRENCY": "3",
        "ROBIN_ETL_RATE_LIMITS": "100000/s",
        "ROBIN_ETL_MAX_ATTEMPTS": "4",
        "ROBIN_ETL_BACKOFF": "0.01",
        "ROBIN_ETL_TIMEOUT": "0.4",
    }
    calm = Robin(KEY, SECRET, limits=())
    with Sandbox(calm) as sandbox:
        there = {
            "ROBIN_ETL_BASE_URL": sandbox.url,
            "ROBIN_ETL_LEDGER": str(folder / "calm.db"),
            "ROBIN_ETL_RUNS": str(folder / "calm"),
            "ROBIN_ETL_TIMEOUT": "30",
        }
        until_done({**environment, **there}, rng, calm, killing=0)
    assert calm.read_state()["complaints"] == []
    stormy = Robin(KEY, SECRET, limits=(), faults=Faults(share=FAULTED, seed=seed, retry_after=0))
    with Sandbox(stormy) as sandbox:
        there = {
            "ROBIN_ETL_BASE_URL": sandbox.url,
            "ROBIN_ETL_LEDGER": ledger,
            "ROBIN_ETL_RUNS": str(folder / "stormy"),
            "ROBIN_ETL_SHARDS": f"{1 + seed % 4}",
        }
        seen = until_done({**environment, **there}, rng, stormy, killing=KILLED)
    held = stormy.read_state()
    wanted = calm.read_state()["orders"]
    doubted = reported_in_doubt(folder / "stormy")
    assert set(wanted) == set(held["orders"]), f"seed {seed}: orders lost"
    assert wanted == held["orders"], f"seed {seed}: another end state"
    unreported = set(held["repeats"]) - doubted
    assert not unreported, f"seed {seed}: repeats that were not reported: {sorted(unreported)}"
    others = [said for said in held["complaints"] if "told twice" not in said]
    assert not others, f"seed {seed}: {others[:3]}"
    seen.update(requests=stormy.faults.requests, faults=len(stormy.faults.played))
    seen.update(repeats=len(held["repeats"]), doubted=len(doubted))
    return seen


def soak(runs: int, seed: int, ledgers: Callable[[Path], str], base: Path) -> Counter[str]:
    """So many runs, and what befell them."""
    _processes.set_forkserver_preload(["robin_etl.cli.main", "robin_etl.pipeline", "great_expectations"])
    total: Counter[str] = Counter()
    for at in range(runs):
        folder = base / f"run-{at}"
        total += one(seed + at, folder, ledgers(folder))
        total["runs"] += 1
        shutil.rmtree(folder)
    return total


def in_file(folder: Path) -> str:
    """A new file for each run."""
    return str(folder / "ledger.db")


def postgresql_ledgers(url: str) -> Callable[[Path], str]:
    """A new database for each run."""
    import sqlalchemy as sa

    server = sa.make_url(url).set(drivername="postgresql+psycopg")

    def ledger(_: Path) -> str:
        name = f"soak_{uuid4().hex}"
        engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"create database {name}"))
        engine.dispose()
        there = server.set(database=name, drivername="postgresql")
        return there.render_as_string(hide_password=False)

    return ledger


def main() -> None:
    """Soak, and print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--ledger", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        if given.ledger == "sqlite":
            figures = soak(given.runs, given.seed, in_file, base)
        else:
            with serve_postgresql(base) as url:
                ledgers = postgresql_ledgers(url)
                figures = soak(given.runs, given.seed, ledgers, base)
    told = ", ".join(f"{count:,} {name}" for name, count in sorted(figures.items()))
    print(f"{given.ledger}: {told}; orders lost: 0; unreported repeats: 0", end="")
    print(f" ({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
