"""Care of the ledger: whether its state follows from its delivery log, and backups."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.json as pajson

from robin_etl.core import columns
from robin_etl.exceptions import ConfigurationError, LedgerError
from robin_etl.ledger import Ledger
from robin_etl.ledger.engine import file_of

_NAMED = 100
_BATCH = 20_000

# What a delivery says of an order, and how pyarrow reads it from JSON.
_PAYLOAD = pa.schema(
    {
        "order_number": pa.string(),
        "revenue": pa.float64(),
        "profit": pa.float64(),
        "order_date": pa.string(),
        "webstore_url": pa.string(),
        "is_first_order": pa.bool_(),
    }
)
_MONEY = ("revenue", "profit")


@dataclass(frozen=True)
class Verified:
    """What came of it: `orders` in the ledger, of which `delivered` were told to ROBIN and not only
    acknowledged by a baseline. `missing`: told, but not in the ledger; `differing`: in it otherwise
    than ROBIN was told last. The first hundred of each by name. `baselines`: whether there were any,
    which may have moved orders without a delivery.
    """

    orders: int
    delivered: int
    missing: tuple[str, ...]
    differing: tuple[str, ...]
    baselines: bool


def verify(ledger: Ledger) -> Verified:
    """Compare each order's state with what ROBIN accepted of it last. Raises `LedgerError`."""
    ledger.check_integrity()
    delivered = 0
    missing: list[str] = []
    differing: list[str] = []
    for batch in ledger.last_accepted(_BATCH):
        delivered += len(batch)
        told = _told(batch["payload"])
        is_known = batch["day"].notna()
        missing += batch["order_number"][~is_known].tolist()
        differs = pd.Series(data=False, index=batch.index)
        for name in _PAYLOAD.names[1:]:
            now, then = batch[name], told[name]
            differs |= then.notna() & ~(now == then).fillna(value=False).astype(bool)
        differing += batch["order_number"][is_known & differs].tolist()
    return Verified(
        orders=ledger.totals()["orders"],
        delivered=delivered,
        missing=tuple(missing[:_NAMED]),
        differing=tuple(differing[:_NAMED]),
        baselines=ledger.has_run("baseline"),
    )


def _told(payloads: pd.Series) -> pd.DataFrame:
    """Payloads as columns of the ledger's types."""
    lines = pa.BufferReader("\n".join(payloads).encode())
    options = pajson.ParseOptions(explicit_schema=_PAYLOAD, unexpected_field_behavior="ignore")
    table: pd.DataFrame = pajson.read_json(lines, parse_options=options).to_pandas()
    for name in _MONEY:
        table[name] = (table[name] * 100).round().astype(columns.CENTS)
    return table.astype({"is_first_order": columns.FLAG})


def backup(location: str, target: str) -> int:
    """Copy a ledger in SQLite, whole even while a run writes to it; how many bytes that takes.

    Raises `ConfigurationError` for one in PostgreSQL, which has its own tool, and for a target that is
    there already; `LedgerError` where copying fails.
    """
    path = file_of(location)
    if path is None:
        raise ConfigurationError(
            "A ledger in PostgreSQL is backed up with PostgreSQL's own tool: pg_dump, or what your "
            "host offers."
        )
    copy = Path(target)
    if copy.exists():
        raise ConfigurationError(f"{target} is there already; name a file that is not.")
    if not path.exists():
        raise ConfigurationError(f"There is no ledger at {path} yet.")
    try:
        copy.touch(mode=0o600)
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as there:
            source.backup(there)
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"The ledger could not be copied to {target}: {error}.") from error
    return copy.stat().st_size


def described(verified: Verified) -> Iterator[str]:
    """The same in sentences."""
    yield (
        f"{verified.orders:,} orders; of {verified.delivered:,} the delivery log tells what ROBIN was "
        "told last."
    )
    if verified.missing:
        yield f"Told, but not in the ledger: {', '.join(verified.missing[:10])}."
    if verified.differing:
        why = " (a baseline may have moved them)" if verified.baselines else ""
        yield f"In the ledger otherwise than told{why}: {', '.join(verified.differing[:10])}."
    if not (verified.missing or verified.differing):
        yield "The ledger's state follows from its delivery log."
