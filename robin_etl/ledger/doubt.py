"""What is in doubt: the requests of which ROBIN's answer was lost, and what has come of them since.

A doubt is **open** until what was sent is accepted or rejected after all. It is **settled** where ROBIN
has accepted it again, and **undecided** where it can't be sent again or is rejected by now: then ROBIN
may hold an order as before or as sent. Closed doubts are kept until a run has reported them, since the
run that closed them may die.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import sqlalchemy as sa

from robin_etl.core import columns
from robin_etl.core.outcomes import RUNNING
from robin_etl.ledger import moves, schema
from robin_etl.ledger.deliveries import ACCEPTED, FORGOTTEN, IN_DOUBT, OPEN, REJECTED
from robin_etl.ledger.engine import Engine
from robin_etl.ledger.records import OpenDoubt
from robin_etl.ledger.schema import DELIVERIES, REQUESTS, RUNS

# What became of a doubt that is closed.
SETTLED, UNDECIDED = "settled", "undecided"

_DIED = "The run died before an answer came."
_SENT = ("request", "position", "order_number", "kind", "payload")
_LOGGED = ("run", "wave", "doubt", "sent_at")
_BOTH = DELIVERIES.join(REQUESTS, REQUESTS.c.id == DELIVERIES.c.request)

_COUNT_ERASED = (
    sa.select(sa.func.count())
    .select_from(_BOTH)
    .where(schema.IS_DOUBTFUL, REQUESTS.c.doubt == OPEN, DELIVERIES.c.order_number == FORGOTTEN)
)


@dataclass(frozen=True)
class Doubt:
    """The deliveries in doubt that no run has reported yet, oldest first, a row each: request, position,
    order_number, kind, payload, run, wave, doubt, sent_at; `is_accepted` and `is_rejected` by a later
    request; `is_same` where that one had the same payload and was accepted.

    `requests`: the numbers of their requests. `dead`: the runs among theirs that died. `erased`: how
    many deliveries in doubt can't be settled, since their customer was forgotten.
    """

    rows: pd.DataFrame
    requests: tuple[int, ...]
    dead: tuple[str, ...]
    erased: int = 0

    @property
    def open(self) -> pd.DataFrame:
        """Of each order that is still in doubt the delivery that brought it there first."""
        is_open = (self.rows["doubt"] == OPEN) & ~self.rows["is_accepted"] & ~self.rows["is_rejected"]
        return self.rows[is_open].drop_duplicates("order_number")

    @property
    def orders(self) -> tuple[str, ...]:
        """The orders that are in doubt, or were until now."""
        return tuple(sorted(self.rows["order_number"].unique()))

    @property
    def undecided(self) -> tuple[str, ...]:
        """The orders that ROBIN may hold as before or as sent."""
        was_rejected = self.rows["is_rejected"] & ~self.rows["is_accepted"]
        is_closed = self.rows["doubt"] == UNDECIDED
        undecided = was_rejected | is_closed & ~self.rows["is_same"]
        return tuple(sorted(self.rows["order_number"][undecided].unique()))


class DoubtLog:
    """The doubts that a ledger knows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, run: str = "") -> Doubt:
        """What is in doubt, or was and has not been reported; of dead runs all but `run` are named."""
        requests, rows = self._read_rows()
        runs = sa.select(RUNS.c.run).where(RUNS.c.outcome == RUNNING, RUNS.c.run != run)
        with self._engine.read() as connection:
            unfinished = set(connection.execute(runs).scalars())
            erased = int(connection.execute(_COUNT_ERASED).scalar_one())
        rows = self._add_fate(rows)
        dead = tuple(sorted(unfinished & set(rows["run"])))
        return Doubt(rows, tuple(requests), dead, erased)

    def take_over(self, run: str) -> Doubt:
        """The same, with what dead runs and earlier tries left as sending. Needs the posting lock, held
        for `run`.
        """
        with self._engine.transaction(), self._engine.write() as connection:
            under_way = connection.execute(sa.select(REQUESTS.c.id).where(schema.UNDER_WAY))
            if left := under_way.scalars().all():
                for request in left:
                    self._engine.note(moves.ANSWERED, request, IN_DOUBT, None)
                died = {"outcome": IN_DOUBT, "words": _DIED, "doubt": OPEN}
                connection.execute(REQUESTS.update().where(REQUESTS.c.id.in_(left)).values(died))
        return self.read(run)

    def judge(self, undecided: Sequence[str] = ()) -> Doubt:
        """Close the doubts that what was logged since has settled, and those of these orders, which
        can't be sent again. Needs the posting lock.
        """
        found = self.read()
        if not found.requests:
            return found
        rows = found.rows
        lost = rows["order_number"].isin(undecided)
        is_closed = rows["is_accepted"] | rows["is_rejected"] | lost
        is_settled = rows["is_accepted"] & ~lost
        open_rows = rows[(rows["doubt"] == OPEN) & ~is_closed]
        still_open = set(open_rows["request"])
        doubtful = set(rows["request"][(rows["doubt"] == OPEN) & ~is_settled]) - still_open
        closed = [request for request in found.requests if request not in still_open]
        with self._engine.write() as connection:
            for fate, requests in (
                (UNDECIDED, sorted(doubtful)),
                (SETTLED, sorted(set(closed) - doubtful)),
            ):
                which = REQUESTS.c.id.in_(requests) & (REQUESTS.c.doubt == OPEN)
                connection.execute(REQUESTS.update().where(which).values(doubt=fate))
        return self.read()

    def close(self, requests: Sequence[int]) -> None:
        """Log that a run has reported the doubts of these requests, but for those still open."""
        which = REQUESTS.c.id.in_(requests) & (REQUESTS.c.doubt != OPEN)
        with self._engine.transaction(), self._engine.write() as connection:
            closed = connection.execute(sa.select(REQUESTS.c.id).where(which)).scalars().all()
            connection.execute(REQUESTS.update().where(which).values(doubt=None))
            if closed:
                self._engine.note(moves.REPORTED, closed)

    def has_open(self, run: str | None = None) -> bool:
        """Whether anything is in doubt, or a dead run may have left it so; of one run, or of any."""
        found = sa.select(REQUESTS.c.id).where(schema.MAY_BE_IN_DOUBT)
        if run is not None:
            found = found.where(REQUESTS.c.run == run)
        with self._engine.read() as connection:
            return bool(connection.execute(sa.select(sa.exists(found))).scalar_one())

    def find_runs(self) -> set[str]:
        """The runs that sent what is in doubt, or may be."""
        query = sa.select(REQUESTS.c.run).where(schema.MAY_BE_IN_DOUBT).distinct()
        with self._engine.read() as connection:
            return set(connection.execute(query).scalars())

    def describe_open(self) -> OpenDoubt:
        """What the next run sends again first; and what is under way, or was as its run died."""
        found = self.read()
        rows = found.open
        names = (DELIVERIES.c.order_number, REQUESTS.c.sent_at)
        is_known = DELIVERIES.c.order_number != FORGOTTEN
        query = sa.select(*names).select_from(_BOTH).where(schema.UNDER_WAY, is_known)
        with self._engine.read() as connection:
            under_way = pd.DataFrame(
                connection.execute(query).all(), columns=["order_number", "sent_at"]
            )
        return OpenDoubt(
            orders=tuple(sorted(rows["order_number"])),
            since=rows["sent_at"].min() if len(rows) else None,
            under_way=tuple(sorted(set(under_way["order_number"]))),
            under_way_since=under_way["sent_at"].min() if len(under_way) else None,
            erased=found.erased,
        )

    def _read_rows(self) -> tuple[list[int], pd.DataFrame]:
        names = [*(DELIVERIES.c[name] for name in _SENT), *(REQUESTS.c[name] for name in _LOGGED)]
        is_known = DELIVERIES.c.order_number != FORGOTTEN
        query = sa.select(*names).select_from(_BOTH).where(schema.IS_DOUBTFUL, is_known)
        oldest_first = query.order_by(DELIVERIES.c.request, DELIVERIES.c.position)
        doubtful = sa.select(REQUESTS.c.id).where(schema.IS_DOUBTFUL).order_by(REQUESTS.c.id)
        with self._engine.read() as connection:
            requests = list(connection.execute(doubtful).scalars())
            rows = connection.execute(oldest_first).all() if requests else []
        return requests, pd.DataFrame(rows, columns=[*_SENT, *_LOGGED])

    def _add_fate(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows with what later requests came to."""
        later = self._fetch_later(rows)
        pairs = rows[["request", "order_number", "payload"]].merge(later, on="order_number")
        pairs = pairs[pairs["later"] > pairs["request"]]
        is_accepted = pairs["outcome"] == ACCEPTED
        is_same = is_accepted & (pairs["payload"] == pairs["later_payload"])
        keys = pd.MultiIndex.from_frame(rows[["request", "order_number"]])
        fates = {
            "is_accepted": is_accepted,
            "is_rejected": pairs["outcome"] == REJECTED,
            "is_same": is_same,
        }
        return rows.assign(
            **{
                name: keys.isin(pd.MultiIndex.from_frame(pairs[which][["request", "order_number"]]))
                for name, which in fates.items()
            }
        )

    def _fetch_later(self, rows: pd.DataFrame) -> pd.DataFrame:
        names = ["order_number", "later", "later_payload", "outcome"]
        if rows.empty:
            return pd.DataFrame(columns=names)
        held = [DELIVERIES.c.order_number, DELIVERIES.c.request, DELIVERIES.c.payload]
        numbers = rows["order_number"].astype(columns.TEXT)
        query = (
            sa.select(*held, REQUESTS.c.outcome)
            .select_from(_BOTH)
            .where(
                self._engine.dialect.is_among(DELIVERIES.c.order_number, numbers),
                DELIVERIES.c.request > int(rows["request"].min()),
                REQUESTS.c.outcome.in_((ACCEPTED, REJECTED)),
            )
        )
        with self._engine.read() as connection:
            return pd.DataFrame(connection.execute(query).all(), columns=names)
