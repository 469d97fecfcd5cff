"""Replaying journals: a ledger that is behind them is brought up to what they say ROBIN acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from typing import Any

import pandas as pd
import sqlalchemy as sa

from robin_etl.core import columns
from robin_etl.ledger import deliveries as log
from robin_etl.ledger import moves
from robin_etl.ledger.engine import Engine
from robin_etl.ledger.journal import Journals
from robin_etl.ledger.journal_format import Transaction
from robin_etl.ledger.moves import Move
from robin_etl.ledger.schema import CONTACTS, DELIVERIES, META, ORDERS, REQUESTS
from robin_etl.ledger.snapshot import DOUBTFUL, STATE, find_told
from robin_etl.ledger.states import OrderStates

Pairs = list[tuple[Transaction, Move]]

# So many changes are committed together.
_TOGETHER = 50_000
_AT_ONCE = 500  # so many requests in a statement
_HASH_BYTES = 16


@dataclass(frozen=True)
class Replayed:
    """What a replay has done: so many transactions that the ledger lacked, and the revision that it has
    now.
    """

    transactions: int
    revision: int


def roll_forward(engine: Engine, journals: Journals, *, until: int | None = None) -> Replayed:
    """Apply what the journals have behind the ledger's revision, and no further than `until`.

    Doing it twice changes nothing. Needs the posting lock.
    """
    replay = _Replay(engine, journals.ledger)
    with engine.read() as connection:
        begin = revision = int(connection.execute(sa.select(META.c.revision)).scalar_one())
    count = 0
    wanted = (one for one in journals.read(since=revision) if until is None or one.after <= until)
    for together in _batch(wanted):
        revision = max([revision, *(one.after for one in together if one.is_whole)])
        replay.apply(together, revision)
        count += sum(one.after > begin for one in together)
    return Replayed(count, revision)


def hash_for_journal(ledger: str, texts: Iterable[str]) -> list[str]:
    """What stands in a journal for orders and digests of a customer who was forgotten: it says nothing
    of them, but they can be found by it in an older copy of the ledger.
    """
    key = ledger.encode()
    return [
        blake2b(text.encode(), key=key, digest_size=_HASH_BYTES).hexdigest()
        for text in sorted(set(texts))
    ]


def _batch(transactions: Iterator[Transaction]) -> Iterator[list[Transaction]]:
    together: list[Transaction] = []
    size = 0
    for one in transactions:
        together.append(one)
        size += sum(len(part) for move in one.moves for part in move if isinstance(part, list))
        if size >= _TOGETHER:
            yield together
            together, size = [], 0
    if together:
        yield together


class _Replay:
    """Applies moves: those of one kind that follow each other at once."""

    def __init__(self, engine: Engine, ledger: str) -> None:
        self._engine = engine
        self._ledger = ledger
        self._states = OrderStates(engine)
        insert = engine.dialect.insert(REQUESTS)
        log_columns = ("run", "wave", "outcome", "status", "answered_at", "doubt")
        self._request = engine.compile(
            insert.on_conflict_do_update(
                index_elements=[REQUESTS.c.id],
                set_={name: insert.excluded[name] for name in log_columns},
            ),
            DOUBTFUL,
        )
        insert = engine.dialect.insert(DELIVERIES)
        names = ("request", "position", "order_number", "day", "kind", "payload")
        told = {name: insert.excluded[name] for name in ("order_number", "day", "kind", "payload")}
        keys = [DELIVERIES.c.request, DELIVERIES.c.position]
        self._delivery = engine.compile(
            insert.on_conflict_do_update(index_elements=keys, set_=told), names
        )
        self._appliers = {
            moves.SENDING: self._log_sending,
            moves.ANSWERED: self._log_answers,
            moves.ACCEPTED: self._acknowledge,
            moves.CONFIRMED: self._take_over,
            moves.BASELINE: self._take_over,
            moves.RETRACTED: self._retract,
            moves.FORGOTTEN: self._forget,
            moves.REPORTED: self._close,
            moves.SNAPSHOT: self._take_snapshot,
            moves.SNAPSHOT_END: self._end_snapshot,
        }
        self._above = ""  # the last order of the snapshot's parts until now

    def apply(self, transactions: list[Transaction], revision: int) -> None:
        """Apply all of these in one transaction of the ledger, which is then at that revision."""
        said = ((one, move) for one in transactions for move in one.moves)
        with self._engine.transaction():
            for name, group in groupby(said, key=lambda pair: pair[1][0]):
                pairs = list(group)
                self._appliers[name](pairs)
            with self._engine.write() as connection:
                connection.execute(META.update().values(revision=revision))

    def _log_sending(self, pairs: Pairs) -> None:
        # A number is given again where what it was given to could not be logged: the last one counts.
        sent = {move[1]: (one, move) for one, move in pairs}
        known = self._fetch_orders(sorted(sent))
        requests, held, replaced = [], [], []
        for request, (one, (_, _, wave, orders)) in sent.items():
            numbers = [number for number, _, _ in orders]
            if known.get(request) == numbers:
                continue
            if request in known:
                replaced.append(request)
            requests.append((request, one.run, wave, log.SENDING, None, one.at, None, None))
            held += [
                (request, at, number, day, kind, moves.NO_PAYLOAD)
                for at, (number, day, kind) in enumerate(orders)
            ]
        with self._engine.write() as connection:
            for request in replaced:
                connection.execute(DELIVERIES.delete().where(DELIVERIES.c.request == request))
        self._execute((self._request, requests), (self._delivery, held))

    def _fetch_orders(self, requests: list[int]) -> dict[int, list[str]]:
        """The orders that the log has in these requests, as far as it knows them."""
        known: dict[int, list[str]] = {}
        names = (DELIVERIES.c.request, DELIVERIES.c.order_number)
        query = sa.select(*names).order_by(DELIVERIES.c.request, DELIVERIES.c.position)
        with self._engine.write() as connection:
            for start in range(0, len(requests), _AT_ONCE):
                those = DELIVERIES.c.request.in_(requests[start : start + _AT_ONCE])
                for request, number in connection.execute(query.where(those)):
                    known.setdefault(request, []).append(number)
        return known

    def _log_answers(self, pairs: Pairs) -> None:
        with self._engine.write() as connection:
            for one, (_, request, outcome, status) in pairs:
                doubt = log.OPEN if outcome == log.IN_DOUBT else None
                answer = {"outcome": outcome, "status": status, "answered_at": one.at, "doubt": doubt}
                # Of what the ledger knows already the answer may be a later one.
                is_sending = (REQUESTS.c.id == request) & (REQUESTS.c.outcome == log.SENDING)
                connection.execute(REQUESTS.update().where(is_sending).values(answer))

    def _acknowledge(self, pairs: Pairs) -> None:
        requests, held, states = [], [], []
        for one, (_, request, wave, status, changes) in pairs:
            requests.append((request, one.run, wave, log.ACCEPTED, status, one.at, one.at, None))
            for at, (day, kind, kept, *state) in enumerate(changes):
                is_blank = kept == moves.NO_PAYLOAD
                number = log.FORGOTTEN if is_blank else state[0]
                held.append((request, at, number, day, kind, kept))
                if state:
                    states.append(tuple(state))
        self._execute((self._request, requests), (self._delivery, held))
        self._states.acknowledge(states)

    def _take_over(self, pairs: Pairs) -> None:
        self._states.acknowledge(tuple(state) for _, move in pairs for state in move[1])

    def _retract(self, pairs: Pairs) -> None:
        for _, (_, numbers, states) in pairs:
            self._states.remove(pd.Series(numbers, dtype=columns.TEXT))
            self._states.acknowledge(map(tuple, states))

    def _forget(self, pairs: Pairs) -> None:
        """Forget whom an older copy of the ledger still knows."""
        for _, (_, hashed_orders, hashed_digests, is_removed) in pairs:
            self._forget_hashed(hashed_orders, hashed_digests, is_removed=is_removed)

    def _forget_hashed(
        self, hashed_orders: list[str], hashed_digests: list[str], *, is_removed: bool
    ) -> None:
        with self._engine.write() as connection:
            numbers = self._find(connection, DELIVERIES.c.order_number, hashed_orders)
            orders = self._find(connection, ORDERS.c.order_number, hashed_orders)
            digests = self._find(connection, CONTACTS.c.digest, hashed_digests)
            connection.execute(CONTACTS.delete().where(CONTACTS.c.digest.in_(digests)))
        log.DeliveryLog(self._engine).blank(pd.Series(numbers, dtype=columns.TEXT))
        if is_removed:
            self._states.remove(pd.Series(orders, dtype=columns.TEXT))

    def _find(
        self, connection: sa.Connection, column: sa.ColumnElement[Any], hashed: list[str]
    ) -> list[str]:
        wanted = set(hashed)
        texts = connection.execute(sa.select(column).distinct()).scalars()
        return [text for text in texts if hash_for_journal(self._ledger, [text])[0] in wanted]

    def _close(self, pairs: Pairs) -> None:
        reported = [request for _, move in pairs for request in move[1]]
        with self._engine.write() as connection:
            for start in range(0, len(reported), _AT_ONCE):
                which = REQUESTS.c.id.in_(reported[start : start + _AT_ONCE])
                connection.execute(REQUESTS.update().where(which).values(doubt=None))

    def _take_snapshot(self, pairs: Pairs) -> None:
        for one, (_, at, told, others) in pairs:
            if at == 0:
                self._above = ""
            rows = {state[0]: tuple(state) for state in (*told, *others)}
            if rows:
                until = max(rows)
                self._replace(self._above, until, rows)
                self._log_as_told(one, self._above, until, [state[0] for state in told])
                self._above = until

    def _replace(self, above: str, until: str | None, rows: dict[str, tuple[Any, ...]]) -> None:
        """Let these states be the only ones of orders behind one number and up to another."""
        between = ORDERS.c.order_number > above
        if until is not None:
            between &= ORDERS.c.order_number <= until
        with self._engine.write() as connection:
            known = {tuple(row) for row in connection.execute(sa.select(*STATE).where(between))}
        moved = {state[0] for state in known - set(rows.values())}
        if moved:
            gone = pd.Series(sorted(moved - rows.keys()), dtype=columns.TEXT)
            log.DeliveryLog(self._engine).blank(gone)
            self._states.remove(gone)
            self._forget_payloads(pd.Series(sorted(moved & rows.keys()), dtype=columns.TEXT))
        self._states.acknowledge(sorted(set(rows.values()) - known))

    def _forget_payloads(self, numbers: pd.Series) -> None:
        """Of these orders the last payload that is known may not be the one that was sent last."""
        own = self._engine.dialect.is_among(DELIVERIES.c.order_number, numbers)
        with self._engine.write() as connection:
            connection.execute(DELIVERIES.update().where(own).values(payload=moves.NO_PAYLOAD))

    def _log_as_told(self, one: Transaction, above: str, until: str, numbers: list[str]) -> None:
        """Let the log know that ROBIN was told of these, where it does not."""
        with self._engine.write() as connection:
            unknown = sorted(set(numbers) - find_told(connection, above, until))
            if not unknown:
                return
            own = DELIVERIES.c.request == log.UNKNOWN_REQUEST
            last = connection.execute(sa.select(sa.func.max(DELIVERIES.c.position)).where(own)).scalar()
        begin = 0 if last is None else last + 1
        request = (log.UNKNOWN_REQUEST, "", 0, log.ACCEPTED, None, one.at, one.at, None)
        told = (None, log.UNKNOWN_KIND, moves.NO_PAYLOAD)
        held = [(log.UNKNOWN_REQUEST, at, number, *told) for at, number in enumerate(unknown, begin)]
        self._execute((self._request, [request]), (self._delivery, held))

    def _end_snapshot(self, pairs: Pairs) -> None:
        for one, (_, highest, doubts) in pairs:
            self._replace(self._above, None, {})
            listed = [doubt[0] for doubt in doubts]
            settled = REQUESTS.c.id.not_in(listed)
            with self._engine.write() as connection:
                # Of what is in doubt no more it may not be known what came of it.
                under_way = (REQUESTS.c.outcome == log.SENDING) & settled
                connection.execute(REQUESTS.update().where(under_way).values(outcome=log.IN_DOUBT))
                is_open = (REQUESTS.c.doubt == log.OPEN) & settled
                connection.execute(REQUESTS.update().where(is_open).values(doubt=None))
                self._keep_number(connection, one, highest)
            held = [
                (doubt[0], at, *order, moves.NO_PAYLOAD)
                for doubt in doubts
                for at, order in enumerate(doubt[-1])
            ]
            self._execute(
                (self._request, [tuple(doubt[:-1]) for doubt in doubts]), (self._delivery, held)
            )

    def _keep_number(self, connection: sa.Connection, one: Transaction, highest: int) -> None:
        """Let no later request have the number of one that was before the snapshot."""
        if highest:
            row = {"id": highest, "run": "", "wave": 0, "outcome": log.REFUSED, "sent_at": one.at}
            insert = self._engine.dialect.insert(REQUESTS).values(row)
            connection.execute(insert.on_conflict_do_nothing(index_elements=[REQUESTS.c.id]))

    def _execute(self, *statements: tuple[str, list[tuple[Any, ...]]]) -> None:
        with self._engine.write() as connection:
            for statement, rows in statements:
                if rows:
                    connection.exec_driver_sql(statement, rows)
