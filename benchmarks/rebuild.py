"""How long a ledger takes to be made anew from its journals, and to be verified against them; and how
long a snapshot takes to be written, and a ledger to be made from that alone.

    python -m benchmarks.rebuild [--size small|full]

The journals are those of a backfill of so many new orders, 100 in a request, as a delivery writes them:
each request is noted before it leaves, and each acknowledgement with the states that it moves.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pandas as pd
from upath import UPath

from benchmarks import measuring
from benchmarks.delivery import changes
from robin_etl.core import payload
from robin_etl.ledger import Binding, Ledger
from robin_etl.ledger.journal import Journals
from robin_etl.ledger.restore import rebuild
from robin_etl.ledger.verify import verify

ORDERS = {"small": 2_000, "full": 1_000_000}
CHUNK = 100
BINDING = Binding("https://api.example.com", "account", "none")
_AT_ONCE = 50_000


def write_journals(location: str, journals: UPath, told: pd.DataFrame) -> None:
    """A ledger with these orders, and the journal of how they were acknowledged."""
    with Ledger.open(location) as ledger:
        ledger.bindings.bind(BINDING)
        with ledger.posting("benchmark", journals):
            for at in range(0, len(told), _AT_ONCE):
                made = payload.make_changes(told.iloc[at : at + _AT_ONCE])
                for chunk in payload.slice_chunk(made, CHUNK):
                    request = ledger.deliveries.begin("benchmark", chunk)
                    ledger.acknowledge(request, chunk, status=201, words="")


def main() -> None:
    """Measure, and print the figures."""
    given = measuring.arguments(__doc__).parse_args()
    number = ORDERS[given.size]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        journals = UPath(folder / "journals")
        write_journals(str(folder / "ledger.db"), journals, changes(number))
        size = sum(path.stat().st_size for path in Path(journals).rglob("*.jsonl"))
        began = time.perf_counter()
        restored = rebuild(str(folder / "anew.db"), journals, BINDING)
        rebuilt = time.perf_counter() - began
        assert restored.orders == number
        began = time.perf_counter()
        with Ledger.open(str(folder / "anew.db")) as ledger:
            assert verify(ledger, journals).is_right
        verified = time.perf_counter() - began
        began = time.perf_counter()
        with Ledger.open(str(folder / "ledger.db")) as ledger:
            assert ledger.write_snapshot(journals, "benchmark") == number
        written = time.perf_counter() - began
        first, snapshot = Journals(journals, restored.ledger).list_files()
        first.unlink()
        began = time.perf_counter()
        assert rebuild(str(folder / "again.db"), journals, BINDING).orders == number
        made = time.perf_counter() - began
        snapshot_size = snapshot.stat().st_size
    print(f"{number:,} orders, {size / 1e6:,.0f} MB of journals ({size / number:.0f} bytes an order)")
    peak = measuring.peak_mb()
    print(
        f"a snapshot of {snapshot_size / 1e6:,.0f} MB written in {written:.1f} s, made anew from it in "
        f"{made:.1f} s"
    )
    print(f"made anew in {rebuilt:.1f} s, verified in {verified:.1f} s; {peak:.0f} MB at most")


if __name__ == "__main__":
    main()
