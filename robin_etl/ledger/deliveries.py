"""The delivery log: every request, and the delivery of every change in it.

A request is logged as sending before it leaves, and its outcome after; what came of a change is what
came of the last request that held it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain
from typing import Any

import pandas as pd
import sqlalchemy as sa

from robin_etl.core import columns
from robin_etl.core.payload import Change
from robin_etl.ledger import moves, schema
from robin_etl.ledger.engine import Engine, format_moment
from robin_etl.ledger.records import (
    AnswerCount,
    DeliveryRecord,
    RejectedOrder,
    RunOutcome,
)
from robin_etl.ledger.schema import DELIVERIES, ORDERS, REQUESTS

# What came of a request.
SENDING, ACCEPTED, REFUSED, REJECTED, IN_DOUBT = (
    "sending",
    "accepted",
    "refused",
    "rejected",
    "in doubt",
)

# What a request in doubt is at first.
OPEN = "open"

FORGOTTEN = schema.FORGOTTEN_ORDER

# What stands for all requests that a ledger made from journals knows nothing of, and the kind of its
# deliveries: orders of which ROBIN was told in any of them.
UNKNOWN_REQUEST, UNKNOWN_KIND = 0, "unknown"

_REQUEST = ("id", "run", "wave", "outcome", "sent_at")
_ANSWER = ("outcome", "status", "words", "answered_at", "speaks_of_errors", "doubt")
_DELIVERY = ("request", "position", "order_number", "day", "kind", "payload")
# So many different words of errors are given of a run.
_REMARKS = 5
# So many deliveries in a statement, of what a database takes in parameters.
_AT_ONCE = 1000
_RECORD = (
    *(DELIVERIES.c[name] for name in ("request", "order_number", "day", "kind", "payload")),
    *(REQUESTS.c[name] for name in ("run", "wave", "outcome", "status", "words")),
    *(REQUESTS.c[name] for name in ("sent_at", "answered_at", "speaks_of_errors")),
)
_STATE = ("day", "revenue", "profit", "order_date", "webstore_url", "is_first_order")
_BOTH = DELIVERIES.join(REQUESTS, REQUESTS.c.id == DELIVERIES.c.request)


class DeliveryLog:
    """The requests and deliveries that a ledger knows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._insert_deliveries: dict[int, str] = {}  # by how many

    @cached_property
    def _highest_request(self) -> str:
        return self._engine.compile(sa.select(sa.func.max(REQUESTS.c.id)))

    @cached_property
    def _insert_request(self) -> str:
        return self._engine.compile(REQUESTS.insert(), _REQUEST)

    @cached_property
    def _update_answer(self) -> str:
        of_request = REQUESTS.update().where(REQUESTS.c.id == sa.bindparam("request"))
        return self._engine.compile(of_request, _ANSWER, "request")

    # Writing

    def begin(self, run: str, changes: Sequence[Change]) -> int:
        """Log a request with these changes, all of one wave, before it leaves; its number.

        Needs the posting lock, since the number is the highest one and one more.
        """
        with self._engine.transaction(), self._engine.write() as connection:
            highest = connection.exec_driver_sql(self._highest_request).scalar()
            request = (highest or 0) + 1
            logged = (request, run, changes[0].wave, SENDING, self._engine.stamp())
            connection.exec_driver_sql(self._insert_request, logged)
            for start in range(0, len(changes), _AT_ONCE):
                rows = [
                    (request, at, change.order_number, change.day, change.kind, change.kept)
                    for at, change in enumerate(changes[start : start + _AT_ONCE], start)
                ]
                statement = self._compile_insert(len(rows))
                connection.exec_driver_sql(statement, tuple(chain.from_iterable(rows)))
            orders = [(change.order_number, change.day, change.kind) for change in changes]
            self._engine.note(moves.SENDING, request, changes[0].wave, orders)
        return request

    def _compile_insert(self, deliveries: int) -> str:
        """What logs so many deliveries at once: one call of the driver, which is what takes time."""
        if deliveries not in self._insert_deliveries:
            names = [[f"{name}_{at}" for name in _DELIVERY] for at in range(deliveries)]
            rows: list[dict[str, Any]] = [
                dict(zip(_DELIVERY, map(sa.bindparam, row), strict=True)) for row in names
            ]
            insert = DELIVERIES.insert().values(rows)
            parameters = chain.from_iterable(names)
            self._insert_deliveries[deliveries] = self._engine.compile(insert, (), *parameters)
        return self._insert_deliveries[deliveries]

    def answer(
        self,
        request: int,
        outcome: str,
        *,
        status: int | None,
        words: str,
        speaks_of_errors: bool = False,
    ) -> None:
        """Log the outcome of a request, and whether ROBIN took it but spoke of errors."""
        with self._engine.transaction(), self._engine.write() as connection:
            speaks = speaks_of_errors or None
            doubt = OPEN if outcome == IN_DOUBT else None
            logged = (outcome, status, words, self._engine.stamp(), speaks, doubt, request)
            connection.exec_driver_sql(self._update_answer, logged)
            if outcome != ACCEPTED:  # which is noted with the states that it moves
                self._engine.note(moves.ANSWERED, request, outcome, status)

    def blank(self, order_numbers: pd.Series) -> int:
        """Blank the deliveries of these orders, and what ROBIN said of them; how many there were."""
        own = self._engine.dialect.is_among(DELIVERIES.c.order_number, order_numbers)
        holding = sa.select(DELIVERIES.c.request).where(own)
        blank = {"order_number": FORGOTTEN, "payload": "{}"}
        with self._engine.transaction(), self._engine.write() as connection:
            connection.execute(REQUESTS.update().where(REQUESTS.c.id.in_(holding)).values(words=None))
            return int(connection.execute(DELIVERIES.update().where(own).values(blank)).rowcount)

    def runs_with(self, order_numbers: pd.Series) -> list[str]:
        """The runs that had any of these orders in a request."""
        own = self._engine.dialect.is_among(DELIVERIES.c.order_number, order_numbers)
        query = sa.select(REQUESTS.c.run).select_from(_BOTH).where(own).distinct()
        with self._engine.read() as connection:
            return [str(run) for run in connection.execute(query).scalars()]

    # Requests

    def request_ages(self, seconds: float) -> list[float]:
        """How many seconds ago each request of the last `seconds` was sent."""
        now = self._engine.clock()
        since = format_moment(now - timedelta(seconds=seconds))
        with self._engine.read() as connection:
            query = sa.select(REQUESTS.c.sent_at).where(REQUESTS.c.sent_at > since)
            moments = connection.execute(query).scalars().all()
        ages = [(now - datetime.fromisoformat(moment)).total_seconds() for moment in moments]
        return [max(age, 0.0) for age in ages]  # a clock may have been set back

    def answers_of(self, run: str) -> list[AnswerCount]:
        """How ROBIN answered a run's requests, most frequent first."""
        requests = sa.func.count(sa.distinct(REQUESTS.c.id)).label("requests")
        by = (REQUESTS.c.outcome, REQUESTS.c.status)
        query = (
            sa.select(*by, requests, sa.func.count().label("changes"))
            .select_from(_BOTH)
            .where(REQUESTS.c.run == run)
            .group_by(*by)
            .order_by(sa.desc("requests"), REQUESTS.c.outcome)
        )
        return [AnswerCount(**row) for row in self._engine.fetch(query)]

    # Deliveries

    def history(self, order_number: str) -> list[DeliveryRecord]:
        """Every delivery of an order, oldest first."""
        return self._fetch_records(DELIVERIES.c.order_number == order_number)

    def rejected(self) -> list[DeliveryRecord]:
        """The last delivery of each order that ROBIN rejected and has not accepted since."""
        return self._fetch_records(*_STANDS_REJECTED)

    def rejected_days(self, *, run: str | None = None) -> dict[str, int]:
        """How many orders stand rejected, of all runs or one, by the day of the export that said so."""
        days = (
            sa.select(DELIVERIES.c.day, sa.func.count(sa.distinct(DELIVERIES.c.order_number)))
            .select_from(_BOTH)
            .where(*_STANDS_REJECTED, DELIVERIES.c.day.is_not(None))
            .group_by(DELIVERIES.c.day)
        )
        if run is not None:
            days = days.where(REQUESTS.c.run == run)
        with self._engine.read() as connection:
            return {day: int(orders) for day, orders in connection.execute(days)}

    def _fetch_records(self, *where: sa.ColumnElement[bool]) -> list[DeliveryRecord]:
        query = sa.select(*_RECORD).select_from(_BOTH).where(*where)
        rows = self._engine.fetch(query.order_by(DELIVERIES.c.request, DELIVERIES.c.position))
        return [DeliveryRecord(**{**row, "payload": json.loads(row["payload"])}) for row in rows]

    def outcome_of(self, run: str) -> RunOutcome:
        """What came of a run's deliveries, over all its tries."""
        own = REQUESTS.c.run == run
        newer = _exists_later(lambda later: later.c.run == run)
        numbers = sa.select(DELIVERIES.c.order_number).select_from(_BOTH).where(own).distinct()
        posted = sa.select(sa.func.count()).select_from(_BOTH).where(own)
        spoke = REQUESTS.c.speaks_of_errors.is_(sa.true())
        remarks = (
            sa.select(REQUESTS.c.words)
            .where(own, spoke, REQUESTS.c.words.is_not(None))
            .group_by(REQUESTS.c.words)
            .order_by(sa.func.min(REQUESTS.c.id))
            .limit(_REMARKS)
        )
        requests = sa.select(sa.func.count()).select_from(REQUESTS).where(own)
        with self._engine.read() as connection:

            def fetch_numbers(*where: sa.ColumnElement[bool]) -> tuple[str, ...]:
                found = connection.execute(numbers.where(*where).order_by(DELIVERIES.c.order_number))
                return tuple(found.scalars())

            return RunOutcome(
                posted=connection.execute(posted.where(REQUESTS.c.outcome == ACCEPTED)).scalar_one(),
                requests=connection.execute(requests).scalar_one(),
                rejected=fetch_numbers(REQUESTS.c.outcome == REJECTED, ~newer),
                in_doubt=fetch_numbers(REQUESTS.c.outcome == IN_DOUBT),
                remarked=connection.execute(posted.where(spoke)).scalar_one(),
                remarks=tuple(connection.execute(remarks).scalars()),
            )

    def last_accepted(self, size: int) -> Iterator[pd.DataFrame]:
        """Of each order that ROBIN was sent, what it accepted last (`payload`) beside its state, whose
        `day` is null where there is none: so many rows at a time.
        """
        last, is_last = _select_last_accepted(DELIVERIES.c.order_number != FORGOTTEN)
        state = (ORDERS.c[name] for name in _STATE)
        query = (
            sa.select(DELIVERIES.c.order_number, DELIVERIES.c.payload, *state)
            .join(last, is_last)
            .outerjoin(ORDERS, ORDERS.c.order_number == DELIVERIES.c.order_number)
        )
        names = ["order_number", "payload", *_STATE]
        with self._engine.read() as connection:
            result = connection.execution_options(yield_per=size).execute(query)
            for rows in result.partitions():
                frame = pd.DataFrame(rows, columns=names, dtype=object)
                yield frame.astype({name: columns.LEDGER_DTYPES[name] for name in _STATE})

    def last_accepted_of(self, order_numbers: pd.Series) -> pd.DataFrame:
        """What ROBIN accepted last of these orders: columns order_number, payload, and delivered_on, the
        day of the export that said so, if that is known.
        """
        own = self._engine.dialect.is_among(DELIVERIES.c.order_number, order_numbers)
        last, is_last = _select_last_accepted(own)
        query = sa.select(DELIVERIES.c.order_number, DELIVERIES.c.payload, DELIVERIES.c.day)
        with self._engine.read() as connection:
            rows = connection.execute(query.join(last, is_last)).all()
        names = ["order_number", "payload", "delivered_on"]
        return pd.DataFrame(rows, columns=names, dtype=columns.TEXT)

    def has_any(self) -> bool:
        """Whether any request was ever logged."""
        with self._engine.read() as connection:
            query = sa.select(sa.exists(sa.select(REQUESTS.c.id)))
            return bool(connection.execute(query).scalar_one())

    def rejected_by(self, run: str, limit: int) -> list[RejectedOrder]:
        """The orders that ROBIN rejected in a run, the first so many."""
        of_order = (DELIVERIES.c.order_number, DELIVERIES.c.day, DELIVERIES.c.kind)
        query = (
            sa.select(*of_order, REQUESTS.c.status, REQUESTS.c.words)
            .select_from(_BOTH)
            .where(REQUESTS.c.run == run, REQUESTS.c.outcome == REJECTED)
            .order_by(DELIVERIES.c.request)
            .limit(limit)
        )
        return [RejectedOrder(**row) for row in self._engine.fetch(query)]

    def deliveries_of(self, run: str) -> pd.DataFrame:
        """How a run's deliveries fared, oldest first: columns request, order_number, outcome, status,
        words.
        """
        wanted = [DELIVERIES.c.request, DELIVERIES.c.order_number]
        wanted += [REQUESTS.c[name] for name in ("outcome", "status", "words")]
        query = sa.select(*wanted).select_from(_BOTH).where(REQUESTS.c.run == run)
        with self._engine.read() as connection:
            oldest_first = query.order_by(DELIVERIES.c.request, DELIVERIES.c.position)
            rows = connection.execute(oldest_first).all()
        return pd.DataFrame(rows, columns=[column.name for column in wanted])


def _exists_later(which: Callable[[sa.FromClause], sa.ColumnElement[bool]]) -> sa.Exists:
    """Whether a later request, of which this holds, held the delivery's order as well."""
    later, held = REQUESTS.alias("later"), DELIVERIES.alias("held")
    return sa.exists().where(
        held.c.order_number == DELIVERIES.c.order_number,
        held.c.request > DELIVERIES.c.request,
        later.c.id == held.c.request,
        which(later),
    )


_STANDS_REJECTED = (
    schema.IS_REJECTED,
    DELIVERIES.c.order_number != FORGOTTEN,
    ~_exists_later(lambda later: later.c.outcome.in_((ACCEPTED, REJECTED))),
)


def _select_last_accepted(which: sa.ColumnElement[bool]) -> tuple[sa.Subquery, sa.ColumnElement[bool]]:
    """The last accepted request of each of these orders, and what joins it with its deliveries."""
    last = (
        sa.select(DELIVERIES.c.order_number, sa.func.max(DELIVERIES.c.request).label("request"))
        .select_from(_BOTH)
        .where(REQUESTS.c.outcome == ACCEPTED, which)
        .group_by(DELIVERIES.c.order_number)
        .subquery()
    )
    of_order = last.c.order_number == DELIVERIES.c.order_number
    return last, of_order & (last.c.request == DELIVERIES.c.request)
