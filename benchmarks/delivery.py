"""How near delivery comes to a bare client that sends ready-made bytes, with ROBIN's limits lifted.

    python -m benchmarks.delivery [--size small|full]

The server is the sandbox in a process of its own, which answers at once or as from far away. The bare
client keeps nothing, logs nothing and knows no waves: threads that post one body after the other.
robin-etl logs every request before it leaves and acknowledges every answer in an SQLite ledger, each
commit synced to the disk, and makes the bodies too. It does so with a journal, as every run does, and
without one, to see what that costs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from threading import Event, local
from typing import Any

import numpy as np
import pandas as pd
import requests
from upath import UPath

from benchmarks import measuring
from robin_etl.core import columns, customers, limits, payload
from robin_etl.core.reconcile import reconcile
from robin_etl.delivery import ORDERS_PATH, Client, LedgerWriter, Pace, RetryPolicy, Sender
from robin_etl.ledger import Ledger

ORDERS = {"small": 5_000, "full": 100_000}
ROUNDS = {"small": 1, "full": 3}
LATENCIES = {"small": (0.0,), "full": (0.0, 0.01, 0.025, 0.05, 0.1)}
CHUNK, CONCURRENCY = 100, 4
KEY = SECRET = "benchmark"


@contextmanager
def sandbox(latency: float = 0.0) -> Iterator[str]:
    """The URL of a new sandbox without limits, in its own process."""
    command = [sys.executable, "-c", "from robin_etl.cli.main import main; main()", "sandbox"]
    options = ["--port", "0", "--key", KEY, "--secret", SECRET, "--no-limits", "--latency", f"{latency}"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip().partition("=")[2]
        finally:
            process.terminate()


def changes(count: int) -> pd.DataFrame:
    table = measuring.shop_orders(np.arange(count), customers=count * 6 // 10)
    table["revenue"] = (table["revenue"] * 100).round().astype("int64")
    rows = customers.add_digests(
        columns.conform(table.assign(day="2026-03-02"), columns.EXPORTED_DTYPES), key=b""
    )
    return reconcile(rows, columns.make_empty(columns.LEDGER_DTYPES)).changes


def with_robin_etl(url: str, told: pd.DataFrame, *, has_journal: bool = True) -> float:
    """Requests a second of the real sender, from changes to acknowledgements."""
    stopping = Event()
    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger.open(str(Path(folder) / "ledger.db")) as ledger,
        ledger.keeping_journal("benchmark", UPath(folder)) if has_journal else nullcontext(),
        Client(url, KEY, SECRET, timeout=30) as client,
        LedgerWriter(ledger, "benchmark") as writer,
    ):
        sender = Sender(
            client,
            Pace(limits.parse_limits("1000000/s"), sleep=stopping.wait),
            RetryPolicy(3, sleep=stopping.wait),
            writer,
            chunk_size=CHUNK,
            concurrency=CONCURRENCY,
            stopping=stopping,
        )
        began = time.perf_counter()
        frames = (told.iloc[at : at + 50_000] for at in range(0, len(told), 50_000))
        delivered = sender.deliver(frames, total=len(told))
        assert delivered.posted == len(told)
        return delivered.requests / (time.perf_counter() - began)


def bare(url: str, told: pd.DataFrame) -> float:
    """Requests a second of threads that post what was made before."""
    bodies = [
        payload.encode_body(chunk) for chunk in payload.slice_chunk(payload.encode_payloads(told), CHUNK)
    ]
    own = local()

    def post(body: bytes) -> int:
        if not hasattr(own, "session"):
            own.session = requests.Session()
            own.session.auth = (KEY, SECRET)
        answer: Any = own.session.post(url + ORDERS_PATH, data=body)
        return int(answer.status_code)

    began = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        assert set(pool.map(post, bodies)) == {201}
    return len(bodies) / (time.perf_counter() - began)


def main() -> None:
    """Measure both, in turn, and print the table."""
    given = measuring.arguments(__doc__).parse_args()
    told = changes(ORDERS[given.size])
    print(f"{len(told):,} orders, {CHUNK} in a request, {CONCURRENCY} in flight; requests/s, medians\n")
    print(
        f"{'answers after':<15}{'bare client':>12}{'robin-etl':>12}{'of bare':>9}"
        f"{'no journal':>12}{'it costs':>10}"
    )
    for latency in LATENCIES[given.size]:
        bare_rates, own_rates, other_rates = [], [], []
        for _ in range(ROUNDS[given.size]):
            with sandbox(latency) as url:
                bare_rates.append(bare(url, told))
            with sandbox(latency) as url:
                own_rates.append(with_robin_etl(url, told))
            with sandbox(latency) as url:
                other_rates.append(with_robin_etl(url, told, has_journal=False))
        usual, own, without = median(bare_rates), median(own_rates), median(other_rates)
        print(
            f"{latency * 1000:<4.0f}{'ms':<11}{usual:>12.0f}{own:>12.0f}{own / usual:>9.0%}"
            f"{without:>12.0f}{without / own - 1:>10.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
