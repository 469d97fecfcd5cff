"""How much of what ROBIN allows is used, with answers that take half a second.

    python -m benchmarks.rate_limits [--seconds 70] [--latency 0.5]

One order a request, sent for so long by the real sender to a sandbox that keeps ROBIN's limits. Beside
it, a client that sends one request after the other as fast as the answers come.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Event, Timer

import pandas as pd

from robin_etl.core import columns, customers, limits, payload
from robin_etl.core.reconcile import reconcile
from robin_etl.delivery import Client, LedgerWriter, Pace, RetryPolicy, Sender
from robin_etl.exceptions import InterruptedRunError
from robin_etl.ledger import Ledger
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox

KEY = SECRET = "benchmark"
ROBINS = "3/s,180/min,10000/h,100000/d"


def changes(count: int) -> pd.DataFrame:
    table = pd.DataFrame({"order_number": [f"{n:06}" for n in range(count)]})
    table = table.assign(
        day="2026-03-01",
        email_address="c" + table["order_number"] + "@x.nl",
        revenue=100,
        order_date="2026-03-01T10:00:00Z",
    )
    rows = customers.add_digests(columns.conform(table, columns.EXPORTED_DTYPES), key=b"")
    return reconcile(rows, columns.make_empty(columns.LEDGER_DTYPES)).changes


def with_robin_etl(client: Client, told: pd.DataFrame, stopping: Event) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger.open(str(Path(folder) / "l.db")) as ledger,
        LedgerWriter(ledger, "benchmark") as writer,
    ):
        sender = Sender(
            client,
            Pace(limits.parse_limits(ROBINS), sleep=stopping.wait),
            RetryPolicy(3, sleep=stopping.wait),
            writer,
            chunk_size=1,
            concurrency=4,
            stopping=stopping,
        )
        try:
            sender.deliver([told], total=len(told))
        except InterruptedRunError:
            return


def one_by_one(client: Client, told: pd.DataFrame, stopping: Event) -> None:
    for chunk in payload.slice_chunk(payload.encode_payloads(told), 1):
        if stopping.is_set():
            return
        client.post(payload.encode_body(chunk))


def main() -> None:
    """Measure both and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=70.0)
    parser.add_argument("--latency", type=float, default=0.5)
    given = parser.parse_args()
    told = changes(round(given.seconds * 10))
    allowed = 3 * given.seconds
    print(f"{given.seconds:g} s, answers after {given.latency:g} s, {ROBINS}\n")
    print(f"{'variant':<14}{'accepted':>10}{'of allowed':>12}{'over (429)':>12}")
    variants: dict[str, Callable[[Client, pd.DataFrame, Event], None]] = {
        "robin-etl": with_robin_etl,
        "one by one": one_by_one,
    }
    for name, send in variants.items():
        robin, stopping = Robin(KEY, SECRET), Event()
        with (
            Sandbox(robin, latency=given.latency) as sandbox,
            Client(sandbox.url, KEY, SECRET, timeout=30) as client,
        ):
            Timer(given.seconds, stopping.set).start()
            send(client, told, stopping)
        accepted = robin.statuses[201]
        print(f"{name:<14}{accepted:>10}{accepted / allowed:>12.1%}{robin.statuses[429]:>12}")


if __name__ == "__main__":
    main()
