"""Whether the ledger's states follow from its delivery log, and are those of its journals."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.json as pajson
import sqlalchemy as sa
from upath import UPath

from robin_etl.core import columns
from robin_etl.core.words import count
from robin_etl.ledger.engine import Engine
from robin_etl.ledger.journal import Gap, Journals
from robin_etl.ledger.ledger import Ledger
from robin_etl.ledger.replay import roll_forward
from robin_etl.ledger.schema import META, ORDERS

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
class Journaled:
    """How the ledger compares with its journals: `orders` that they have, those that are `lost` from the
    ledger, in it but `unknown` to the journals, or `differing`, the first hundred of each by name; what
    the journals lack, in words; and by how many revisions they are `ahead` of the ledger, or `behind`
    it, which the next run makes up for.
    """

    orders: int = 0
    lost: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    ahead: int = 0
    behind: int = 0

    @property
    def is_right(self) -> bool:
        differs = self.lost or self.unknown or self.differing
        return not (differs or self.missing or self.ahead > 1)

    def describe(self) -> Iterator[str]:
        """The same in sentences, each fault with what to do."""
        yield f"The journals have {count(self.orders, 'order')}."
        yield from self.missing
        if self.missing:
            yield (
                "The ledger can't be made anew from them. Put the missing ones back under "
                "ROBIN_ETL_RUNS; where they are gone, run robin-etl ledger snapshot, which writes all "
                "that this ledger holds into a new one."
            )
        if self.behind:
            yield (
                f"The ledger is {count(self.behind, 'revision')} newer than its journals, as a loss of "
                "power leaves it: the next run that posts writes into a new one what they lack."
            )
        if self.ahead > 1:
            yield (
                f"The ledger is {count(self.ahead, 'revision')} behind its journals: run robin-etl "
                "ledger restore, which brings it up to them."
            )
        for words, orders in (
            ("In the journals, but not in the ledger", self.lost),
            ("In the ledger, but not in the journals", self.unknown),
            ("In the ledger otherwise than in the journals", self.differing),
        ):
            if orders:
                yield f"{words}: {', '.join(orders[:_SHOWN])}."
        if self.lost or self.unknown or self.differing:
            yield (
                "Something else than robin-etl has changed the ledger or a journal. Run robin-etl "
                "ledger rebuild, which makes the ledger anew from its journals and keeps this one "
                "beside it."
            )


@dataclass(frozen=True)
class Verification:
    """`orders` in the ledger, of which `delivered` were sent to ROBIN and not only acknowledged by a
    baseline. `missing`: sent, but not in the ledger; `differing`: in it otherwise than ROBIN accepted
    last. The first hundred of each by name. `baselines`: whether there were any, which may have moved
    orders without a delivery. `is_miscounted`: whether the totals that the ledger keeps are not those of
    its orders. `journaled`: how it compares with its journals, if there are any.
    """

    orders: int
    delivered: int
    missing: tuple[str, ...]
    differing: tuple[str, ...]
    baselines: bool
    is_miscounted: bool = False
    journaled: Journaled | None = None

    @property
    def is_right(self) -> bool:
        is_as_journaled = self.journaled is None or self.journaled.is_right
        is_as_sent = not self.missing and (self.baselines or not self.differing)
        return is_as_sent and not self.is_miscounted and is_as_journaled

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
        if self.is_miscounted:
            yield (
                "The totals that the ledger keeps are not those of its orders: something else than "
                "robin-etl has changed it. Run robin-etl ledger rebuild, which makes it anew from its "
                "journals and keeps this one beside it."
            )
        if self.journaled is None:
            yield (
                "No journal of this ledger is under ROBIN_ETL_RUNS: it can't be made anew from any. The "
                "next run that posts begins one with all that the ledger holds."
            )
        else:
            yield from self.journaled.describe()


def verify(ledger: Ledger, journals: UPath | None = None) -> Verification:
    """Compare each order's state with what ROBIN accepted of it last, and with the journals.

    It may be in use meanwhile. Raises `LedgerError` for a file that is damaged.
    """
    ledger.engine.check_integrity()
    delivered = 0
    missing: list[str] = []
    differing: list[str] = []
    for batch in ledger.deliveries.last_accepted(_BATCH):
        delivered += len(batch)
        is_known = batch["day"].notna()
        missing += batch["order_number"][~is_known].tolist()
        differing += batch["order_number"][is_known & differ_from_payload(batch)].tolist()
    kept, counted = ledger.states.compare_totals()
    return Verification(
        orders=counted.orders,
        delivered=delivered,
        missing=tuple(missing[:_NAMED]),
        differing=tuple(differing[:_NAMED]),
        baselines=ledger.runs.has("baseline"),
        is_miscounted=kept != counted,
        journaled=_compare_with_journals(ledger, journals) if journals else None,
    )


def _compare_with_journals(ledger: Ledger, root: UPath) -> Journaled | None:
    """Make the ledger anew from its journals, in a file for the while, and compare the two."""
    journals = Journals(root, ledger.id)
    newest = journals.find_newest()
    if newest is None:
        return None
    gaps = journals.find_gaps()
    with (
        tempfile.TemporaryDirectory() as folder,
        ledger.engine.read_snapshot() as snapshot,
        Ledger.open(str(Path(folder) / "journals.db")) as made,
    ):
        revision = int(snapshot.execute(sa.select(META.c.revision)).scalar_one())
        roll_forward(made.engine, journals, until=revision)
        # Read after the ledger, which no journal is behind of unless something was lost.
        behind = max(0, revision - (journals.find_newest() or newest).after)
        # Of what is missing in between nothing can be said, and so of no order that it may have moved.
        is_comparable = not (behind or any(gap.after for gap in gaps))
        found: dict[str, list[str]] = {"lost": [], "unknown": [], "differing": []}
        if is_comparable:
            for name, numbers in _compare_states(snapshot, made.engine):
                found[name] += numbers
        if gaps:
            found["unknown"].clear()
        return Journaled(
            orders=made.states.count(),
            missing=tuple(map(Gap.describe, gaps)),
            ahead=max(0, newest.after - revision),
            behind=behind,
            **{name: tuple(numbers[:_NAMED]) for name, numbers in found.items()},
        )


def _compare_states(own: sa.Connection, made: Engine) -> Iterator[tuple[str, list[str]]]:
    """The orders that are lost, unknown or differ, so many at a time, by the keys' order."""
    names = [ORDERS.c[name] for name in columns.STATE_COLUMNS]
    above = ""
    with made.read() as other:
        while True:
            query = sa.select(*names).order_by(ORDERS.c.order_number).limit(_BATCH)
            rows = own.execute(query.where(ORDERS.c.order_number > above)).all()
            ours = _frame(rows)
            between = ORDERS.c.order_number > above
            if len(ours) == _BATCH:
                between &= ORDERS.c.order_number <= ours["order_number"].iloc[-1]
            theirs = _frame(other.execute(sa.select(*names).where(between)).all())
            both = ours.merge(theirs, how="outer", on="order_number", indicator=True)
            numbers = both["order_number"]
            yield "lost", numbers[both["_merge"] == "right_only"].tolist()
            yield "unknown", numbers[both["_merge"] == "left_only"].tolist()
            differs = pd.Series(data=False, index=both.index)
            for name in columns.STATE_COLUMNS[1:]:
                left, right = both[f"{name}_x"], both[f"{name}_y"]
                differs |= (left != right) & ~(left.isna() & right.isna())
            yield "differing", numbers[differs & (both["_merge"] == "both")].tolist()
            if len(ours) < _BATCH:
                return
            above = ours["order_number"].iloc[-1]


def _frame(rows: Sequence[sa.Row[Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns.STATE_COLUMNS), dtype=object)


def differ_from_payload(batch: pd.DataFrame) -> pd.Series:
    """Which states differ from their payload in anything that it says. Rows are numbered from 0."""
    if batch.empty:
        return pd.Series(dtype=bool)
    accepted = parse_payloads(batch["payload"])
    differs = pd.Series(data=False, index=batch.index)
    for name in accepted.columns.drop("order_number"):
        is_same = (batch[name] == accepted[name]).fillna(value=False).astype(bool)
        differs |= accepted[name].notna() & ~is_same
    return differs


def parse_payloads(payloads: pd.Series) -> pd.DataFrame:
    """Payloads as columns of the ledger's types; at least one."""
    lines = pa.BufferReader("\n".join(payloads).encode())
    options = pajson.ParseOptions(explicit_schema=_PAYLOAD, unexpected_field_behavior="ignore")
    table: pd.DataFrame = pajson.read_json(lines, parse_options=options).to_pandas()
    for name in _MONEY:
        table[name] = (table[name] * 100).round().astype(columns.CENTS)
    return table.astype({"is_first_order": columns.FLAG})
