"""The ledger: what ROBIN has acknowledged, and the log of every delivery.

SQLAlchemy Core over SQLite (the default, a file) or PostgreSQL, one code path. `orders` holds the last
acknowledged state of each order and moves forward only by `accepted`, `confirm` and `baseline`, each
one transaction. No e-mail address or phone number is stored: only keyed digests (`orders.digests`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import sqlalchemy as sa

from robin_etl import orders, schema
from robin_etl.database import Database, now
from robin_etl.payload import Change
from robin_etl.schema import DELIVERIES, ORDERS, RUNS

SENDING, ACCEPTED, REFUSED, REJECTED, IN_DOUBT = (
    "sending",
    "accepted",
    "refused",
    "rejected",
    "in doubt",
)

_MOMENT = len("2017-04-05T12:34:56Z")

# The order number of deliveries to a customer who was forgotten.
FORGOTTEN = "(forgotten)"

RUNNING, DONE, STOPPED, INTERRUPTED = "running", "done", "stopped", "interrupted"


_SENT_COLUMNS = (
    "id",
    "request",
    "run",
    "order_number",
    "kind",
    "wave",
    "payload",
    "outcome",
    "sent_at",
)


@dataclass(frozen=True)
class LoggedRequest:
    """A request in the delivery log: the ids of its deliveries, both ends included."""

    first: int
    last: int


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


class Ledger(Database):
    """An open ledger, made with `open`; use as a context manager."""

    def __init__(self, engine: sa.Engine, *, clock: Callable[[], datetime] = now) -> None:
        super().__init__(engine, clock=clock)
        self._log_sent = self._text(DELIVERIES.insert(), _SENT_COLUMNS)
        self._upsert = self._text(self._on_conflict(self._insert(ORDERS)), orders.STATE_COLUMNS)

    # Look-ups

    def look_up(self, order_numbers: pd.Series, customers: pd.Series) -> pd.DataFrame:
        """What reconciliation needs to know first (`orders.LEDGER_DTYPES`).

        The rows of these orders; and of every customer named here or by those rows, each flagged
        order and the earliest of the others. Of these `others` only what an index holds is told
        (order_number, customer, placed_at, is_first_order), and null for the rest: `rows_of` tells all
        of the few that turn out to change.
        The cost grows with what is asked, not with the ledger.
        """
        numbers = self._keys(order_numbers)
        with self._reading() as connection:
            asked = self._rows(connection, numbers)
            who = self._keys(pd.concat([customers, asked["customer"]]))
            others = self._others(connection, who, numbers)
        return pd.concat([asked, others], ignore_index=True)

    def rows_of(self, order_numbers: pd.Series) -> pd.DataFrame:
        """The rows of these orders (`orders.LEDGER_DTYPES`)."""
        with self._reading() as connection:
            return self._rows(connection, self._keys(order_numbers))

    def _rows(self, connection: sa.Connection, numbers: sa.Select[Any]) -> pd.DataFrame:
        found = self._columns(connection, sa.select(ORDERS).where(ORDERS.c.order_number.in_(numbers)))
        frame = orders.typed(pd.DataFrame(found, dtype=object), orders.LEDGER_DTYPES)
        # The customer is the e-mail address's digest wherever it is not the phone number's.
        by_phone = (frame["customer"] == frame["phone"]).fillna(value=False)
        return frame.assign(email=frame["customer"].mask(by_phone))

    def _others(
        self, connection: sa.Connection, who: sa.Select[Any], numbers: sa.Select[Any]
    ) -> pd.DataFrame:
        """Of each customer the flagged orders, and the earliest of those that are not.

        Both in one visit to the customer: in a large ledger nearly each has a page of the index alone.
        """
        customers = who.subquery("customers")
        other = ORDERS.alias("other")

        def own(column: sa.ColumnElement[Any], *, flagged: bool) -> sa.Select[Any]:
            return sa.select(column).where(
                other.c.customer == customers.c.value,
                other.c.is_first_order == flagged,
                other.c.order_number.not_in(numbers),
            )

        order = other.c.placed_at + other.c.order_number
        earliest = own(order, flagged=False).order_by(other.c.placed_at, other.c.order_number).limit(1)
        listed = sa.cast(own(self._listed(order), flagged=True).scalar_subquery(), sa.Text)
        found = self._columns(
            connection,
            sa.select(
                customers.c.value.label("customer"),
                # As a text beyond doubt: SQLite takes it for JSON in some rows and for a text in others.
                (listed + "").label("flagged"),
                earliest.scalar_subquery().label("earliest"),
            ),
        )
        customer = pd.Index(found["customer"], dtype=orders.TEXT)
        lists = json.loads(f"[{','.join(text or '[]' for text in found['flagged'])}]")
        flagged = pd.Series(lists, index=customer, dtype=object).explode()
        both = pd.concat([flagged, pd.Series(found["earliest"], index=customer, dtype=object)])
        both = both.astype(orders.TEXT)
        others = pd.DataFrame(
            {
                "order_number": both.str[_MOMENT:].array,
                "customer": both.index,
                "email": both.index,
                "placed_at": both.str[:_MOMENT].array,
                "is_first_order": np.arange(len(both)) < len(flagged),
            }
        )
        return orders.typed(others[both.notna().array], orders.LEDGER_DTYPES)

    def customers_of(self, order_numbers: pd.Series) -> pd.DataFrame:
        """Of these orders those that ROBIN knows, and whose they are: order_number, customer."""
        columns = [ORDERS.c.order_number, ORDERS.c.customer]
        query = sa.select(*columns).where(ORDERS.c.order_number.in_(self._keys(order_numbers)))
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return pd.DataFrame(rows, columns=[column.name for column in columns], dtype=orders.TEXT)

    def orders_of(self, customer: str) -> pd.Series:
        """The numbers of the orders of the customer with this digest, or that bear it as a phone's."""
        of_customer = sa.or_(ORDERS.c.customer == customer, ORDERS.c.phone == customer)
        with self._reading() as connection:
            found = connection.execute(sa.select(ORDERS.c.order_number).where(of_customer))
            return pd.Series(found.scalars().all(), dtype=orders.TEXT)

    def revision(self) -> int:
        """A number that grows whenever the state of any order moves."""
        with self._reading() as connection:
            return int(connection.execute(sa.select(schema.META.c.revision)).scalar_one())

    # Acknowledgement

    def accepted(
        self, request: LoggedRequest, changes: Sequence[Change], *, status: int, words: str
    ) -> None:
        """Log a request as accepted and take over the states it told, in one transaction."""
        with self._writing() as connection:
            self._answer(connection, request, ACCEPTED, status, words)
            self._take_over(connection, (change.state for change in changes))

    def confirm(self, confirmed: pd.DataFrame) -> None:
        """Move the days of states forward that newer exports repeated."""
        if len(confirmed):
            with self._writing() as connection:
                self._take_over(connection, orders.states(confirmed))

    def baseline(self, states: pd.DataFrame) -> None:
        """Take over states that ROBIN has been told by other means, or never shall be."""
        if len(states):
            with self._writing() as connection:
                self._take_over_many(connection, states.sort_values("order_number"))

    # The delivery log

    def sending(self, run: str, changes: Sequence[Change]) -> LoggedRequest:
        """Log a request before it leaves."""
        now = self._moment()
        with self._writing() as connection:
            highest = connection.execute(sa.select(sa.func.max(DELIVERIES.c.id))).scalar()
            first = (highest or 0) + 1
            rows = [
                (first + at, first, run, one.order_number, one.kind, one.wave, one.kept, SENDING, now)
                for at, one in enumerate(changes)
            ]
            self._execute_many(connection, self._log_sent, rows)
        return LoggedRequest(first, first + len(changes) - 1)

    def answered(self, request: LoggedRequest, outcome: str, *, status: int | None, words: str) -> None:
        """Log the outcome of a request that moved no state."""
        with self._writing() as connection:
            self._answer(connection, request, outcome, status, words)

    def settle_interrupted(self, run: str) -> Interrupted:
        """Put in doubt what dead runs left as sending. Needs the posting lock, held for `run`.

        What it gives is given again to every later run, until `close_interrupted` says that it has
        been told: the run that asks may die as well.
        """
        dead = sa.select(RUNS.c.run).where(RUNS.c.outcome == RUNNING, RUNS.c.run != run)
        request = sa.tuple_(DELIVERIES.c.run, DELIVERIES.c.request)
        under_way = sa.select(DELIVERIES.c.run, DELIVERIES.c.request).where(schema.UNDER_WAY)
        with self._writing() as connection:
            left = request.in_([tuple(row) for row in connection.execute(under_way)])
            doubtful = left | ((DELIVERIES.c.outcome == IN_DOUBT) & DELIVERIES.c.run.in_(dead))
            query = sa.select(DELIVERIES.c.order_number, DELIVERIES.c.run).where(doubtful)
            found = connection.execute(query).all()
            connection.execute(
                DELIVERIES.update()
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
        query = sa.select(DELIVERIES.c.sent_at).where(
            DELIVERIES.c.id == DELIVERIES.c.request, DELIVERIES.c.sent_at > since
        )
        with self._reading() as connection:
            moments = connection.execute(query).scalars().all()
        ages = [(now - datetime.fromisoformat(moment)).total_seconds() for moment in moments]
        return [max(age, 0.0) for age in ages]  # a clock may have been set back

    def history(self, order_number: str) -> list[dict[str, Any]]:
        """Every delivery of an order, oldest first, as plain values."""
        query = sa.select(DELIVERIES).where(DELIVERIES.c.order_number == order_number)
        return self._plain_deliveries(query.order_by(DELIVERIES.c.id))

    def rejected(self) -> list[dict[str, Any]]:
        """The last delivery of each order that ROBIN rejected and has not accepted since."""
        later = DELIVERIES.alias("later")
        newer = sa.exists().where(
            later.c.order_number == DELIVERIES.c.order_number,
            later.c.id > DELIVERIES.c.id,
            later.c.outcome.in_((ACCEPTED, REJECTED)),
        )
        query = sa.select(DELIVERIES).where(
            DELIVERIES.c.outcome == REJECTED, DELIVERIES.c.order_number != FORGOTTEN, ~newer
        )
        return self._plain_deliveries(query.order_by(DELIVERIES.c.id))

    def _plain_deliveries(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with self._reading() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return [{**row, "payload": json.loads(row["payload"])} for row in rows]

    def outcome_of(self, run: str) -> RunOutcome:
        """What came of a run's deliveries, over all its tries."""
        own = DELIVERIES.c.run == run
        later = DELIVERIES.alias("later")
        newer = sa.exists().where(
            later.c.run == run,
            later.c.order_number == DELIVERIES.c.order_number,
            later.c.id > DELIVERIES.c.id,
        )
        numbers = sa.select(DELIVERIES.c.order_number).distinct().order_by(DELIVERIES.c.order_number)
        is_request = DELIVERIES.c.id == DELIVERIES.c.request
        count = sa.select(sa.func.count()).select_from(DELIVERIES)
        with self._reading() as connection:

            def names(*where: sa.ColumnElement[bool]) -> tuple[str, ...]:
                return tuple(connection.execute(numbers.where(own, *where)).scalars())

            return RunOutcome(
                posted=connection.execute(
                    count.where(own, DELIVERIES.c.outcome == ACCEPTED)
                ).scalar_one(),
                requests=connection.execute(count.where(own, is_request)).scalar_one(),
                rejected=names(DELIVERIES.c.outcome == REJECTED, ~newer),
                in_doubt=names(DELIVERIES.c.outcome == IN_DOUBT),
            )

    def last_accepted(self, size: int) -> Iterator[pd.DataFrame]:
        """Of each order that ROBIN was told, what it accepted last (`payload`) beside its state, whose
        `day` is null where there is none: so many rows at a time.
        """
        last = (
            sa.select(sa.func.max(DELIVERIES.c.id).label("id"))
            .where(DELIVERIES.c.outcome == ACCEPTED, DELIVERIES.c.order_number != FORGOTTEN)
            .group_by(DELIVERIES.c.order_number)
            .subquery()
        )
        names = ("day", "revenue", "profit", "order_date", "webstore_url", "is_first_order")
        query = (
            sa.select(
                DELIVERIES.c.order_number, DELIVERIES.c.payload, *(ORDERS.c[name] for name in names)
            )
            .join(last, last.c.id == DELIVERIES.c.id)
            .outerjoin(ORDERS, ORDERS.c.order_number == DELIVERIES.c.order_number)
        )
        columns = ["order_number", "payload", *names]
        with self._reading() as connection:
            result = connection.execution_options(yield_per=size).execute(query)
            for rows in result.partitions():
                frame = pd.DataFrame(rows, columns=columns, dtype=object)
                yield frame.astype({name: orders.LEDGER_DTYPES[name] for name in names})

    def answers_of(self, run: str) -> list[dict[str, Any]]:
        """How ROBIN answered a run's requests: outcome, status, and how many requests and changes."""
        requests = sa.func.count(sa.distinct(DELIVERIES.c.request)).label("requests")
        columns = (DELIVERIES.c.outcome, DELIVERIES.c.status)
        query = (
            sa.select(*columns, requests, sa.func.count().label("changes"))
            .where(DELIVERIES.c.run == run)
            .group_by(*columns)
            .order_by(sa.desc("requests"), DELIVERIES.c.outcome)
        )
        with self._reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def rejected_by(self, run: str, limit: int) -> list[dict[str, Any]]:
        """The orders that ROBIN rejected in a run, with its words: order_number, kind, status, words."""
        columns = [DELIVERIES.c[name] for name in ("order_number", "kind", "status", "words")]
        query = (
            sa.select(*columns)
            .where(DELIVERIES.c.run == run, DELIVERIES.c.outcome == REJECTED)
            .order_by(DELIVERIES.c.id)
            .limit(limit)
        )
        with self._reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def deliveries_of(self, run: str) -> pd.DataFrame:
        """How a run's deliveries fared, oldest first: columns request, order_number, outcome, status,
        words.
        """
        columns = [DELIVERIES.c[name] for name in ("request", "order_number", "outcome")]
        columns += [DELIVERIES.c.status, DELIVERIES.c.words]
        with self._reading() as connection:
            query = sa.select(*columns).where(DELIVERIES.c.run == run).order_by(DELIVERIES.c.id)
            rows = connection.execute(query).all()
        return pd.DataFrame(rows, columns=[column.name for column in columns])

    def forget(self, order_numbers: pd.Series, *, remove_orders: bool) -> int:
        """Blank the deliveries of these orders, and remove their states if so told; how many
        deliveries there were. When they were sent, and with what outcome, stays for the counts.
        """
        blank = {"order_number": FORGOTTEN, "payload": "{}", "words": None}
        with self._writing() as connection:
            numbers = self._keys(order_numbers)
            blanked = connection.execute(
                DELIVERIES.update().where(DELIVERIES.c.order_number.in_(numbers)).values(blank)
            ).rowcount
            if remove_orders:
                connection.execute(ORDERS.delete().where(ORDERS.c.order_number.in_(numbers)))
                self._moved(connection)
        self._write_back()
        return int(blanked)

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
        with self._reading() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return [{**row, "counts": json.loads(row["counts"] or "{}")} for row in rows]

    def totals(self) -> dict[str, Any]:
        """What the ledger holds: numbers of orders, first orders and customers, money, newest day."""
        flagged = sa.func.sum(sa.case((ORDERS.c.is_first_order == sa.true(), 1), else_=0))
        query = sa.select(
            sa.func.count().label("orders"),
            sa.func.coalesce(flagged, 0).label("first_orders"),
            sa.func.coalesce(sa.func.sum(ORDERS.c.revenue), 0).label("revenue"),
            sa.func.max(ORDERS.c.day).label("newest_day"),
        )
        with self._reading() as connection:
            row = dict(connection.execute(query).mappings().one())
        numbers = ("orders", "first_orders", "revenue")
        return {name: int(row[name]) if name in numbers else row[name] for name in row}

    # Inside

    def _take_over(self, connection: sa.Connection, states: Iterable[tuple[Any, ...]]) -> None:
        self._execute_many(connection, self._upsert, list(states))
        self._moved(connection)

    def _take_over_many(self, connection: sa.Connection, states: pd.DataFrame) -> None:
        """The same for many rows, each database's quickest way."""
        if self._is_postgresql:
            self._copy(connection, states)
            self._moved(connection)
        else:
            connection.exec_driver_sql("PRAGMA cache_size=-262144")  # since it touches every page
            self._take_over(connection, orders.states(states))

    def _copy(self, connection: sa.Connection, states: pd.DataFrame) -> None:
        """COPY into a table of the transaction's own, and from there into `orders`."""
        copied = sa.Table(
            "copied_orders",
            sa.MetaData(),
            *(sa.Column(column.name, column.type) for column in ORDERS.columns),
            prefixes=["temporary"],
            postgresql_on_commit="drop",
        )
        copied.create(connection)
        table = pa.Table.from_pandas(states[list(orders.STATE_COLUMNS)], preserve_index=False)
        text = pa.BufferOutputStream()
        pacsv.write_csv(table, text, pacsv.WriteOptions(include_header=False))
        driver: Any = connection.connection.dbapi_connection
        with driver.cursor() as cursor, cursor.copy("copy copied_orders from stdin csv") as copy:
            copy.write(text.getvalue())
        insert = self._insert(ORDERS).from_select(list(orders.STATE_COLUMNS), sa.select(copied))
        connection.execute(self._on_conflict(insert))

    @staticmethod
    def _on_conflict(insert: Any) -> Any:
        columns = {name: insert.excluded[name] for name in orders.STATE_COLUMNS[1:]}
        return insert.on_conflict_do_update(index_elements=[ORDERS.c.order_number], set_=columns)

    @staticmethod
    def _moved(connection: sa.Connection) -> None:
        connection.execute(schema.META.update().values(revision=schema.META.c.revision + 1))

    def _answer(
        self,
        connection: sa.Connection,
        request: LoggedRequest,
        outcome: str,
        status: int | None,
        words: str,
    ) -> None:
        connection.execute(
            DELIVERIES.update()
            .where(DELIVERIES.c.id.between(request.first, request.last))
            .values(outcome=outcome, status=status, words=words, answered_at=self._moment())
        )
