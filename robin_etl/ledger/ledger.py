"""The ledger: what ROBIN has acknowledged, beside the log of how it came to that.

SQLAlchemy Core over SQLite (the default, a file) or PostgreSQL, one code path.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date, datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa
from upath import UPath

from robin_etl.core import columns
from robin_etl.core.payload import Change
from robin_etl.exceptions import StaleLedgerError
from robin_etl.ledger import moves
from robin_etl.ledger.binding import Bindings
from robin_etl.ledger.contacts import SealedContacts
from robin_etl.ledger.deliveries import ACCEPTED, DeliveryLog
from robin_etl.ledger.doubt import DoubtLog
from robin_etl.ledger.engine import Engine, now
from robin_etl.ledger.exports import ExportLog
from robin_etl.ledger.journal import Journals, Newest
from robin_etl.ledger.journal_writer import JournalWriter
from robin_etl.ledger.lock import PostingLock
from robin_etl.ledger.replay import hash_for_journal, roll_forward
from robin_etl.ledger.runs import RunLog
from robin_etl.ledger.schema import META
from robin_etl.ledger.snapshot import read_snapshot
from robin_etl.ledger.states import OrderStates

log = logging.getLogger(__name__)

# So many states of a baseline are a line of the journal.
_NOTED_AT_ONCE = 10_000


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

    @property
    def id(self) -> str:
        """What the ledger is known by, wherever it lies."""
        with self.engine.read() as connection:
            return str(connection.execute(sa.select(META.c.ledger)).scalar_one())

    # Journals

    @contextmanager
    def posting(self, run: str, journals: UPath, *, may_be_behind: bool = False) -> Iterator[None]:
        """Hold the posting lock for a run, and keep a journal in the folder `journals` of what is
        written meanwhile. A ledger that a crash has left one transaction behind its journals is brought
        up first, and one that `may_be_behind` by however many; where they lack what the ledger has, that
        is written into a new one.

        Raises `LedgerBusyError` while another has the lock, and `StaleLedgerError`.
        """
        with self.lock.hold(run):
            kept = Journals(journals, self.id)
            newest, revision = kept.find_newest(), self.states.revision()
            if newest and newest.after == revision + 1:
                roll_forward(self.engine, kept)
            elif newest and newest.after > revision and may_be_behind:
                self._bring_up(kept, revision)
            self._check_age(newest)
            self._make_up(kept, newest, run)
            with self.keeping_journal(run, journals):
                yield

    def write_snapshot(self, journals: UPath, run: str) -> int:
        """Write all that the ledger holds into a new journal, from which on nothing before it is needed;
        how many orders that are. Raises `LedgerBusyError`, `StaleLedgerError` and `UnavailableError`.
        """
        with self.posting(run, journals):
            self._write_snapshot(Journals(journals, self.id), run)
        return self.states.count()

    def _bring_up(self, kept: Journals, revision: int) -> None:
        gaps = kept.find_gaps(since=revision)
        runs = {one.run for one in kept.read(since=revision)}
        replayed = roll_forward(self.engine, kept)
        self.exports.count_acknowledged(sorted(runs))
        log.warning(
            "The ledger was older than its journals, and was brought up to them first: from revision %d "
            "to %d%s.",
            revision,
            replayed.revision,
            "".join(f"; {gap.describe()}" for gap in gaps),
        )

    def _make_up(self, kept: Journals, newest: Newest | None, run: str) -> None:
        """Write a snapshot where the journals end before the ledger does."""
        revision = self.states.revision()
        reached = newest.after if newest else 0
        if reached < revision:
            log.warning(
                "The journals lacked the revisions %d to %d, as a loss of power or a version without "
                "journals leaves them. All that the ledger holds is written into a new one.",
                reached + 1,
                revision,
            )
            self._write_snapshot(kept, run)

    def _write_snapshot(self, kept: Journals, run: str) -> None:
        revision = self.states.revision()
        parts = read_snapshot(self.engine)
        kept.write_snapshot(run, self.bindings.read(), parts, revision=revision)

    @contextmanager
    def keeping_journal(self, run: str, journals: UPath) -> Iterator[None]:
        """Keep a journal of what is written meanwhile."""
        with JournalWriter(Journals(journals, self.id), run, self.bindings.read) as writer:

            def keep(noted: list[tuple[Any, ...]], revision: int) -> None:
                writer.write(noted, before=revision - 1, after=revision)

            with self.engine.keep_moves(keep, writer.withdraw):
                yield

    def check_age(self, journals: UPath) -> None:
        """Raise `StaleLedgerError` where the ledger is older than its journals, but for what a run that
        is posting is about to commit, or a crash has kept from being.
        """
        self._check_age(Journals(journals, self.id).find_newest())

    def _check_age(self, newest: Newest | None) -> None:
        # Read after the journals, which are ahead of it by one at most.
        revision = self.states.revision()
        if newest and newest.after > revision + 1:
            raise StaleLedgerError(
                f"The ledger is at revision {revision}, and its journals go up to {newest.after} (the "
                f"run {newest.run}): it is a backup that was put back, or a copy. Nothing was posted, "
                "since what ROBIN acknowledged meanwhile would be told twice. Run robin-etl ledger "
                "restore, which brings it up to them.",
                revision=revision,
                newest=newest.after,
            )

    # Moves

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
            told = [(change.day, change.kind, change.kept, *change.state) for change in changes]
            self.engine.note(moves.ACCEPTED, request, changes[0].wave, status, told)

    def confirm(self, states: pd.DataFrame) -> None:
        """Take over states of which ROBIN was told nothing new, such as that they hold for a day."""
        rows = list(columns.iterate_states(states))
        if rows:
            with self.transaction():
                self.states.acknowledge(rows)
                self.engine.note(moves.CONFIRMED, rows)

    def baseline(self, states: pd.DataFrame) -> None:
        """Take over any number of states, which ROBIN has by other means or never shall have."""
        if states.empty:
            return
        with self.transaction():
            self.states.baseline(states)
            for start in range(0, len(states), _NOTED_AT_ONCE):
                rows = columns.iterate_states(states.iloc[start : start + _NOTED_AT_ONCE])
                self.engine.note(moves.BASELINE, list(rows))

    def retract(self, removed: pd.Series, states: pd.DataFrame, first: date, last: date) -> None:
        """Take these orders out, put these states back, and forget that the exports of these days were
        read.
        """
        rows = list(columns.iterate_states(states))
        with self.transaction():
            self.states.remove(removed)
            self.states.acknowledge(rows)
            self.exports.remove(first, last)
            self.engine.note(moves.RETRACTED, removed.tolist(), rows)

    def rename(self, name: str) -> None:
        """Give the ledger the name that its journals bear."""
        with self.engine.write() as connection:
            connection.execute(META.update().values(ledger=name))

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
            hashed = (hash_for_journal(self.id, names) for names in (order_numbers, digests.dropna()))
            self.engine.note(moves.FORGOTTEN, *hashed, remove_orders)
        self.engine.write_back()
        return blanked
