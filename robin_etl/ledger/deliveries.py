"""The log: every run, every request it sent, and the delivery of every change in a request.

A request is logged as sending before it leaves, and its outcome after; what came of a change is what
came of the last request that held it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Any

import pandas as pd
import sqlalchemy as sa

from robin_etl.core import columns
from robin_etl.core.payload import Change
from robin_etl.ledger import schema
from robin_etl.ledger.engine import Database, now
from robin_etl.ledger.schema import DELIVERIES, ORDERS, REQUESTS, RUNS

# What came of a request.
SENDING, ACCEPTED, REFUSED, REJECTED, IN_DOUBT = (
    "sending",
    "accepted",
    "refused",
    "rejected",
    "in doubt",
)
# What came of a run.
RUNNING, DONE, STOPPED, INTERRUPTED = "running", "done", "stopped", "interrupted"

# The order number of deliveries to a customer who was forgotten.
FORGOTTEN = "(forgotten)"

_REQUEST = ("id", "run", "wave", "outcome", "sent_at")
_ANSWER = ("outcome", "status", "words", "answered_at")
_DELIVERY = ("request", "position", "order_number", "kind", "payload")
# So many deliveries in a statement, of what a database takes in parameters.
_AT_ONCE = 1000
# A delivery as it is told, with what its request says of it.
_TOLD = (
    *(DELIVERIES.c[name] for name in ("request", "order_number", "kind", "payload")),
    *(REQUESTS.c[name] for name in ("run", "wave", "outcome", "status", "words")),
    *(REQUESTS.c[name] for name in ("sent_at", "answered_at")),
)
_BOTH = DELIVERIES.join(REQUESTS, REQUESTS.c.id == DELIVERIES.c.request)


@dataclass(frozen=True)
class Interrupted:
    """What dead runs left in doubt: the runs, and the numbers of the orders."""

    runs: tuple[str, ...]
    orders: tuple[str, ...]


@dataclass(frozen=True)
class RunOutcome:
    """Numbers of changes accepted and of requests; orders that ended rejected or were in doubt."""

    posted: int
    requests: int
    rejected: tuple[str, ...]
    in_doubt: tuple[str, ...]


class Log(Database):
    """The log in an open ledger."""

    def __init__(self, engine: sa.Engine, *, clock: Callable[[], datetime] = now) -> None:
        super().__init__(engine, clock=clock)
        self._highest_request = self._text(sa.select(sa.func.max(REQUESTS.c.id)))
        self._log_request = self._text(REQUESTS.insert(), _REQUEST)
        self._log_deliveries: dict[int, str] = {}  # by how many
        of_request = REQUESTS.update().where(REQUESTS.c.id == sa.bindparam("request"))
        self._log_answer = self._text(of_request, _ANSWER, "request")

    # Requests

    def sending(self, run: str, changes: Sequence[Change]) -> int:
        """Log a request with these changes, all of one wave, before it leaves; its number.

        Needs the posting lock, since the number is the highest one and one more.
        """
        with self._writing() as connection:
            highest = connection.exec_driver_sql(self._highest_request).scalar()
            request = (highest or 0) + 1
            logged = (request, run, changes[0].wave, SENDING, self._moment())
            connection.exec_driver_sql(self._log_request, logged)
            for start in range(0, len(changes), _AT_ONCE):
                rows = [
                    (request, at, change.order_number, change.kind, change.kept)
                    for at, change in enumerate(changes[start : start + _AT_ONCE], start)
                ]
                statement = self._statement_for(len(rows))
                connection.exec_driver_sql(statement, tuple(chain.from_iterable(rows)))
        return request

    def _statement_for(self, deliveries: int) -> str:
        """What logs so many deliveries at once: one call of the driver, which is what takes time."""
        if deliveries not in self._log_deliveries:
            names = [[f"{name}_{at}" for name in _DELIVERY] for at in range(deliveries)]
            rows: list[dict[str, Any]] = [
                dict(zip(_DELIVERY, map(sa.bindparam, row), strict=True)) for row in names
            ]
            insert = DELIVERIES.insert().values(rows)
            self._log_deliveries[deliveries] = self._text(insert, (), *chain.from_iterable(names))
        return self._log_deliveries[deliveries]

    def answered(self, request: int, outcome: str, *, status: int | None, words: str) -> None:
        """Log the outcome of a request that moved no state."""
        with self._writing() as connection:
            self._answer(connection, request, outcome, status, words)

    def _answer(
        self, connection: sa.Connection, request: int, outcome: str, status: int | None, words: str
    ) -> None:
        answer = (outcome, status, words, self._moment(), request)
        connection.exec_driver_sql(self._log_answer, answer)

    def settle_interrupted(self, run: str) -> Interrupted:
        """Put in doubt what dead runs left as sending. Needs the posting lock, held for `run`.

        What it gives is given again to every later run, until `close_interrupted` says that it has
        been told: the run that asks may die as well.
        """
        dead = sa.select(RUNS.c.run).where(RUNS.c.outcome == RUNNING, RUNS.c.run != run)
        with self._writing() as connection:
            under_way = connection.execute(sa.select(REQUESTS.c.id).where(schema.UNDER_WAY))
            left = REQUESTS.c.id.in_(under_way.scalars().all())
            doubtful = left | ((REQUESTS.c.outcome == IN_DOUBT) & REQUESTS.c.run.in_(dead))
            query = sa.select(DELIVERIES.c.order_number, REQUESTS.c.run).select_from(_BOTH)
            found = connection.execute(query.where(doubtful)).all()
            connection.execute(
                REQUESTS.update()
                .where(left)
                .values(outcome=IN_DOUBT, words="The run died before an answer came.")
            )
        return Interrupted(
            runs=tuple(sorted({row.run for row in found} - {run})),
            orders=tuple(sorted({row.order_number for row in found})),
        )

    def close_interrupted(self, runs: Sequence[str]) -> None:
        """Note that what these dead runs left in doubt has been told."""
        with self._writing() as connection:
            connection.execute(RUNS.update().where(RUNS.c.run.in_(runs)).values(outcome=INTERRUPTED))

    def request_ages(self, seconds: float) -> list[float]:
        """How many seconds ago each request of the last `seconds` was sent."""
        now = self._clock()
        since = self._written(now - timedelta(seconds=seconds))
        with self._reading() as connection:
            query = sa.select(REQUESTS.c.sent_at).where(REQUESTS.c.sent_at > since)
            moments = connection.execute(query).scalars().all()
        ages = [(now - datetime.fromisoformat(moment)).total_seconds() for moment in moments]
        return [max(age, 0.0) for age in ages]  # a clock may have been set back

    def answers_of(self, run: str) -> list[dict[str, Any]]:
        """How ROBIN answered a run's requests: outcome, status, and how many requests and changes."""
        requests = sa.func.count(sa.distinct(REQUESTS.c.id)).label("requests")
        columns = (REQUESTS.c.outcome, REQUESTS.c.status)
        query = (
            sa.select(*columns, requests, sa.func.count().label("changes"))
            .select_from(_BOTH)
            .where(REQUESTS.c.run == run)
            .group_by(*columns)
            .order_by(sa.desc("requests"), REQUESTS.c.outcome)
        )
        return self._plain(query)

    # Deliveries

    def history(self, order_number: str) -> list[dict[str, Any]]:
        """Every delivery of an order, oldest first, as plain values."""
        return self._plain_deliveries(DELIVERIES.c.order_number == order_number)

    def rejected(self) -> list[dict[str, Any]]:
        """The last delivery of each order that ROBIN rejected and has not accepted since."""
        return self._plain_deliveries(
            REQUESTS.c.outcome == REJECTED,
            DELIVERIES.c.order_number != FORGOTTEN,
            ~_later(lambda later: later.c.outcome.in_((ACCEPTED, REJECTED))),
        )

    def _plain_deliveries(self, *where: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
        query = sa.select(*_TOLD).select_from(_BOTH).where(*where)
        told = self._plain(query.order_by(DELIVERIES.c.request, DELIVERIES.c.position))
        return [{**row, "payload": json.loads(row["payload"])} for row in told]

    def _plain(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with self._reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def outcome_of(self, run: str) -> RunOutcome:
        """What came of a run's deliveries, over all its tries."""
        own = REQUESTS.c.run == run
        newer = _later(lambda later: later.c.run == run)
        numbers = sa.select(DELIVERIES.c.order_number).select_from(_BOTH).where(own).distinct()
        posted = sa.select(sa.func.count()).select_from(_BOTH).where(own)
        with self._reading() as connection:

            def names(*where: sa.ColumnElement[bool]) -> tuple[str, ...]:
                found = connection.execute(numbers.where(*where).order_by(DELIVERIES.c.order_number))
                return tuple(found.scalars())

            return RunOutcome(
                posted=connection.execute(posted.where(REQUESTS.c.outcome == ACCEPTED)).scalar_one(),
                requests=connection.execute(
                    sa.select(sa.func.count()).select_from(REQUESTS).where(own)
                ).scalar_one(),
                rejected=names(REQUESTS.c.outcome == REJECTED, ~newer),
                in_doubt=names(REQUESTS.c.outcome == IN_DOUBT),
            )

    def last_accepted(self, size: int) -> Iterator[pd.DataFrame]:
        """Of each order that ROBIN was told, what it accepted last (`payload`) beside its state, whose
        `day` is null where there is none: so many rows at a time.
        """
        last = (
            sa.select(DELIVERIES.c.order_number, sa.func.max(DELIVERIES.c.request).label("request"))
            .select_from(_BOTH)
            .where(REQUESTS.c.outcome == ACCEPTED, DELIVERIES.c.order_number != FORGOTTEN)
            .group_by(DELIVERIES.c.order_number)
            .subquery()
        )
        names = ("day", "revenue", "profit", "order_date", "webstore_url", "is_first_order")
        query = (
            sa.select(
                DELIVERIES.c.order_number, DELIVERIES.c.payload, *(ORDERS.c[name] for name in names)
            )
            .join(
                last,
                (last.c.order_number == DELIVERIES.c.order_number)
                & (last.c.request == DELIVERIES.c.request),
            )
            .outerjoin(ORDERS, ORDERS.c.order_number == DELIVERIES.c.order_number)
        )
        told = ["order_number", "payload", *names]
        with self._reading() as connection:
            result = connection.execution_options(yield_per=size).execute(query)
            for rows in result.partitions():
                frame = pd.DataFrame(rows, columns=told, dtype=object)
                yield frame.astype({name: columns.LEDGER_DTYPES[name] for name in names})

    def rejected_by(self, run: str, limit: int) -> list[dict[str, Any]]:
        """The orders that ROBIN rejected in a run, with its words: order_number, kind, status, words."""
        columns = [DELIVERIES.c.order_number, DELIVERIES.c.kind, REQUESTS.c.status, REQUESTS.c.words]
        query = (
            sa.select(*columns)
            .select_from(_BOTH)
            .where(REQUESTS.c.run == run, REQUESTS.c.outcome == REJECTED)
            .order_by(DELIVERIES.c.request)
            .limit(limit)
        )
        return self._plain(query)

    def deliveries_of(self, run: str) -> pd.DataFrame:
        """How a run's deliveries fared, oldest first: columns request, order_number, outcome, status,
        words.
        """
        columns = [DELIVERIES.c.request, DELIVERIES.c.order_number]
        columns += [REQUESTS.c[name] for name in ("outcome", "status", "words")]
        query = sa.select(*columns).select_from(_BOTH).where(REQUESTS.c.run == run)
        with self._reading() as connection:
            oldest_first = query.order_by(DELIVERIES.c.request, DELIVERIES.c.position)
            rows = connection.execute(oldest_first).all()
        return pd.DataFrame(rows, columns=[column.name for column in columns])

    def _blank(self, connection: sa.Connection, numbers: sa.Select[Any]) -> int:
        """Blank the deliveries of these orders, and what ROBIN said of them; how many there were."""
        own = DELIVERIES.c.order_number.in_(numbers)
        holding = sa.select(DELIVERIES.c.request).where(own)
        connection.execute(REQUESTS.update().where(REQUESTS.c.id.in_(holding)).values(words=None))
        blank = {"order_number": FORGOTTEN, "payload": "{}"}
        return int(connection.execute(DELIVERIES.update().where(own).values(blank)).rowcount)

    # Runs

    def start_run(self, run: str, *, command: str, first: date, last: date) -> None:
        """Log that a run is under way; starting it again clears how it ended before."""
        row = {
            "run": run,
            "command": command,
            "from_day": first.isoformat(),
            "to_day": last.isoformat(),
            "started_at": self._moment(),
            "finished_at": None,
            "outcome": RUNNING,
            "words": None,
        }
        insert = self._insert(RUNS).values(row)
        with self._writing() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=[RUNS.c.run], set_=row))

    def finish_run(
        self, run: str, outcome: str, *, words: str | None = None, counts: Mapping[str, Any]
    ) -> None:
        """Log how a run ended, with its counts (`exported` and `files` among them, if known)."""
        with self._writing() as connection:
            connection.execute(
                RUNS.update()
                .where(RUNS.c.run == run)
                .values(
                    outcome=outcome,
                    words=words,
                    finished_at=self._moment(),
                    counts=json.dumps(dict(counts)),
                    files=counts.get("files"),
                    exported=counts.get("exported"),
                )
            )

    def rows_per_day(self, days: int) -> list[float]:
        """The rows of a day's export in the last finished runs, newest first."""
        query = (
            sa.select(RUNS.c.exported, RUNS.c.files)
            .where(RUNS.c.outcome == DONE, RUNS.c.files > 0)
            .order_by(RUNS.c.started_at.desc())
            .limit(days)
        )
        with self._reading() as connection:
            return [row.exported / row.files for row in connection.execute(query)]

    def has_run(self, command: str) -> bool:
        """Whether any run was of this command."""
        query = sa.select(sa.exists().where(RUNS.c.command == command))
        with self._reading() as connection:
            return bool(connection.execute(query).scalar_one())

    def runs(self, limit: int) -> list[dict[str, Any]]:
        """The latest runs, newest first, as plain values."""
        query = sa.select(RUNS).order_by(RUNS.c.started_at.desc()).limit(limit)
        return [{**row, "counts": json.loads(row["counts"] or "{}")} for row in self._plain(query)]


def _later(which: Callable[[sa.FromClause], sa.ColumnElement[bool]]) -> sa.Exists:
    """Whether a later request, of which this holds, held the delivery's order as well."""
    later, held = REQUESTS.alias("later"), DELIVERIES.alias("held")
    return sa.exists().where(
        held.c.order_number == DELIVERIES.c.order_number,
        held.c.request > DELIVERIES.c.request,
        later.c.id == held.c.request,
        which(later),
    )
