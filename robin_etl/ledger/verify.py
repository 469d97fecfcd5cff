"""Whether the ledger's state follows from its delivery log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.json as pajson

from robin_etl.core import columns
from robin_etl.core.words import count
from robin_etl.ledger.ledger import Ledger

_NAMED = 100
_SHOWN = 10
_BATCH = 20_000

# What a payload says of an order, and how pyarrow reads it from JSON.
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
class Verification:
    """`orders` in the ledger, of which `delivered` were sent to ROBIN and not only acknowledged by a
    baseline. `missing`: sent, but not in the ledger; `differing`: in it otherwise than ROBIN accepted
    last. The first hundred of each by name. `baselines`: whether there were any, which may have moved
    orders without a delivery.
    """

    orders: int
    delivered: int
    missing: tuple[str, ...]
    differing: tuple[str, ...]
    baselines: bool

    @property
    def is_right(self) -> bool:
        return not self.missing and (self.baselines or not self.differing)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self) -> Iterator[str]:
        """The same in sentences."""
        yield (
            f"{count(self.orders, 'order')}; of {self.delivered:,} the delivery log has what ROBIN "
            "accepted last."
        )
        if self.missing:
            yield f"Sent, but not in the ledger: {', '.join(self.missing[:_SHOWN])}."
        if self.differing:
            why = " (a baseline may have moved them)" if self.baselines else ""
            yield f"In the ledger otherwise than sent{why}: {', '.join(self.differing[:_SHOWN])}."
        if not (self.missing or self.differing):
            yield "The ledger's state follows from its delivery log."


def verify(ledger: Ledger) -> Verification:
    """Compare each order's state with what ROBIN accepted of it last.

    Raises `LedgerError` for a file that is damaged.
    """
    ledger.engine.check_integrity()
    delivered = 0
    missing: list[str] = []
    differing: list[str] = []
    for batch in ledger.deliveries.last_accepted(_BATCH):
        delivered += len(batch)
        is_known = batch["day"].notna()
        missing += batch["order_number"][~is_known].tolist()
        differing += batch["order_number"][is_known & _compare(batch)].tolist()
    return Verification(
        orders=ledger.states.totals().orders,
        delivered=delivered,
        missing=tuple(missing[:_NAMED]),
        differing=tuple(differing[:_NAMED]),
        baselines=ledger.runs.has("baseline"),
    )


def _compare(batch: pd.DataFrame) -> pd.Series:
    """Which states differ from their payload in anything that it says."""
    accepted = _parse_payloads(batch["payload"])
    differs = pd.Series(data=False, index=batch.index)
    for name in accepted.columns.drop("order_number"):
        is_same = (batch[name] == accepted[name]).fillna(value=False).astype(bool)
        differs |= accepted[name].notna() & ~is_same
    return differs


def _parse_payloads(payloads: pd.Series) -> pd.DataFrame:
    """Payloads as columns of the ledger's types."""
    lines = pa.BufferReader("\n".join(payloads).encode())
    options = pajson.ParseOptions(explicit_schema=_PAYLOAD, unexpected_field_behavior="ignore")
    table: pd.DataFrame = pajson.read_json(lines, parse_options=options).to_pandas()
    for name in _MONEY:
        table[name] = (table[name] * 100).round().astype(columns.CENTS)
    return table.astype({"is_first_order": columns.FLAG})
