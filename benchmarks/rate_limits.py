"""How much of what ROBIN allows is used, and how often it is more.

    python -m benchmarks.rate_limits [--size small|full] [--seconds 70] [--latency 0.5]

First a simulated day of 100,000 requests (`benchmarks.simulated_robin`), against ROBINs that count in
four ways; beside it the same with each request counted when its slot is taken, however long the
ledger's commit and the connection then take. The best is what no sender can beat: one without any
latency.

Then, in real time, one order a request, by the real sender to a sandbox that keeps ROBIN's limits and
answers after `latency` seconds; beside it a client that sends one request after the other as fast as the
answers come.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Event, Timer

import pandas as pd

from benchmarks import measuring
from benchmarks.simulated_robin import COUNTING, Network, compute_best, simulate
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


def show_simulated(requests: int) -> None:
    known = limits.parse_limits(ROBINS)
    best = compute_best(known, requests)
    print(f"{requests:,} requests, simulated, {ROBINS}\n")
    print(f"{'ROBIN counts':<20}{'counted':<12}{'over (429)':>12}{'of the best':>13}{'hours':>8}")
    for counting in COUNTING:
        for counted in ("leaving", "taken"):
            seen = simulate(
                known,
                requests,
                counting=counting,
                network=Network(),
                is_counted_when_taken=counted == "taken",
            )
            used = f"{best / seen.seconds:.1%}"
            hours = seen.seconds / 3600
            print(f"{counting:<20}{counted:<12}{seen.answers[429]:>12,}{used:>13}{hours:>8.1f}")
    print(f"\nBy arrival, {min(requests, 9_000):,} requests whose way is more uneven than the margin:\n")
    print(f"{'way, up to s':<20}{'over (429)':>12}{'of the best':>13}")
    best = compute_best(known, min(requests, 9_000))
    for uneven in (0.025, 0.05, 0.1, 0.2, 0.4):
        network = Network(way=(0.02, uneven))
        seen = simulate(known, min(requests, 9_000), counting="by arrival", network=network)
        print(f"{uneven:<20}{seen.answers[429]:>12,}{best / seen.seconds:>13.1%}")


def show_real(seconds: float, latency: float) -> None:
    told = changes(round(seconds * 10))
    allowed = 3 * seconds
    print(f"\n{seconds:g} s, answers after {latency:g} s, {ROBINS}\n")
    print(f"{'variant':<14}{'accepted':>10}{'of allowed':>12}{'over (429)':>12}")
    variants: dict[str, Callable[[Client, pd.DataFrame, Event], None]] = {
        "robin-etl": with_robin_etl,
        "one by one": one_by_one,
    }
    for name, send in variants.items():
        robin, stopping = Robin(KEY, SECRET), Event()
        with (
            Sandbox(robin, latency=latency) as sandbox,
            Client(sandbox.url, KEY, SECRET, timeout=30) as client,
        ):
            Timer(seconds, stopping.set).start()
            send(client, told, stopping)
        accepted = robin.statuses[201]
        print(f"{name:<14}{accepted:>10}{accepted / allowed:>12.1%}{robin.statuses[429]:>12}")


def main() -> None:
    """Simulate, measure and print the tables."""
    parser = measuring.arguments(__doc__)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--latency", type=float, default=0.5)
    given = parser.parse_args()
    is_small = given.size == "small"
    show_simulated(2_000 if is_small else 100_000)
    show_real(given.seconds or (0.5 if is_small else 70.0), 0.01 if is_small else given.latency)


if __name__ == "__main__":
    main()
