"""The ledger: what ROBIN has acknowledged, beside the log of how it came to that.

SQLAlchemy Core over SQLite (the default, a file) or PostgreSQL, one code path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

import pandas as pd

from robin_etl.core.payload import Change
from robin_etl.ledger.binding import Bindings
from robin_etl.ledger.contacts import SealedContacts
from robin_etl.ledger.deliveries import ACCEPTED, DeliveryLog
from robin_etl.ledger.doubt import DoubtLog
from robin_etl.ledger.engine import Engine, now
from robin_etl.ledger.exports import ExportLog
from robin_etl.ledger.lock import PostingLock
from robin_etl.ledger.runs import RunLog
from robin_etl.ledger.states import OrderStates


class Ledger:
    """An open ledger: its parts, and what several of them do together. Use as a context manager."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.states = OrderStates(engine)
        self.deliveries = DeliveryLog(engine)
        self.doubts = DoubtLog(engine)
        self.runs = RunLog(engine)
        self.exports = ExportLog(engine)
        self.bindings = Bindings(engine)
        self.contacts = SealedContacts(engine)
        self.lock = PostingLock(engine)

    @classmethod
    def open(
        cls, location: str, *, read_only: bool = False, clock: Callable[[], datetime] = now
    ) -> Ledger:
        """Open the ledger at a database URL or the path of an SQLite file, as `Engine.open` does."""
        return cls(Engine.open(location, read_only=read_only, clock=clock))

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.engine.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Make all writes of this thread while this lasts one transaction."""
        return self.engine.transaction()

    def acknowledge(
        self,
        request: int,
        changes: Sequence[Change],
        *,
        status: int | None,
        words: str,
        speaks_of_errors: bool = False,
    ) -> None:
        """Log a request as accepted and take over the states that its changes lead to, together."""
        with self.transaction():
            self.deliveries.answer(
                request, ACCEPTED, status=status, words=words, speaks_of_errors=speaks_of_errors
            )
            self.states.acknowledge(change.state for change in changes)

    def forget(self, order_numbers: pd.Series, digests: pd.Series, *, remove_orders: bool) -> int:
        """Blank the deliveries of these orders, remove the contacts of these digests, and the orders'
        states too if asked to; how many deliveries there were. When they were sent, and with what
        outcome, stays for the counts.
        """
        with self.transaction():
            self.contacts.remove(digests)
            blanked = self.deliveries.blank(order_numbers)
            if remove_orders:
                self.states.remove(order_numbers)
        self.engine.write_back()
        return blanked
