"""The pace of all runs on one ROBIN account: ROBIN's limits are the account's, whoever sends.

Each request takes a slot: a number and a moment, first when it is to leave and then when it has left.
The next slot's moment follows from those of the slots that its limits reach back to, so that taking one
is a short transaction; where one of those has not left yet, it has to be waited for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from robin_etl.core.limits import RateLimit
from robin_etl.delivery.once import Once
from robin_etl.delivery.windows import MARGIN, compute_spacing, widen_margin
from robin_etl.exceptions import UnavailableError
from robin_etl.ledger import location as locations

# Where the tables are in PostgreSQL, whatever schemas the ledgers are in.
SCHEMA = "robin_limits"

_PREPARING = 0x726F62696C
_PRAGMAS = ("busy_timeout=30000", "journal_mode=wal", "synchronous=normal")
_DAY = 86_400_000  # as long as any limit, in milliseconds
# A slot is taken only this short before its moment: a run that dies, or a pause, leaves few unused.
_AHEAD = 2_000
# Requests may leave in another order than that of their slots; none is so many places off.
_OUT_OF_ORDER = 128
# A slot whose request has not been heard of for so long is a dead run's; it was used at its moment.
_UNHEARD = 10_000
# How soon to ask again where a slot follows from a request that has not left yet, at first.
_SOON = 50
# Slots that no limit reaches back to are removed once in so many.
_BETWEEN_REMOVALS = 10_000

_METADATA = sa.MetaData()
_ACCOUNTS = sa.Table(
    "accounts",
    _METADATA,
    sa.Column("account", sa.String(), primary_key=True),
    # The number of the slot that was taken last.
    sa.Column("number", sa.BigInteger, nullable=False),
    # Until when ROBIN has asked to be left alone, in milliseconds since 1970.
    sa.Column("not_before", sa.BigInteger, nullable=False),
)
_SLOTS = sa.Table(
    "slots",
    _METADATA,
    sa.Column("account", sa.String(), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    # In milliseconds since 1970.
    sa.Column("moment", sa.BigInteger, nullable=False),
    sa.Column("has_left", sa.Boolean, nullable=False),
    sqlite_with_rowid=False,
)


@dataclass(frozen=True)
class Slot:
    """When to go on, in seconds of the stopwatch: to send, where a slot was taken, which then has a
    `number`; else to ask again.
    """

    moment: float
    number: int | None = None


class AccountWindows:
    """The slots of one account in a database that all of its runs reach; use as a context manager.

    `ages`: the seconds since each request that this run's ledger knows, which count for an account
    that is new here. `clock` is in seconds since 1970, that of the database or the machine unless it is
    given; `stopwatch` in seconds. Raises `ConfigurationError` for a location that names no database,
    `UnavailableError` where it fails.
    """

    def __init__(
        self,
        location: str,
        account: str,
        *,
        ages: Iterable[float] = (),
        clock: Callable[[], float] | None = None,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        url = locations.parse_location(location)
        if path := locations.find_file(url):
            locations.make_file(path)
        self._database = sa.create_engine(url, **locations.choose_options(url))
        self._is_postgresql = self._database.dialect.name == "postgresql"
        self._clock = clock
        self._stopwatch = stopwatch
        self._account = account
        if self._is_postgresql:
            self._database = self._database.execution_options(schema_translate_map={None: SCHEMA})
        else:
            sa.event.listen(self._database, "connect", _set_pragmas)
        self._ages = sorted(ages, reverse=True)

    def __enter__(self) -> AccountWindows:
        try:
            with self._transaction() as connection:
                _make_tables(connection)
                self._begin_account(connection)
                self._remove_old(connection)
        except BaseException:
            self._database.dispose()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._database.dispose()

    def take(self, limits: Iterable[RateLimit], *, spacing: float = 0.0, margin: float = MARGIN) -> Slot:
        """The next slot within these limits, so many seconds behind the one before, or when to ask
        again.
        """
        # First the statement that makes other runs wait; the clock is read behind it.
        taking = (
            _ACCOUNTS.update()
            .where(self._is_own(_ACCOUNTS))
            .values(number=_ACCOUNTS.c.number + 1)
            .returning(_ACCOUNTS.c.number, _ACCOUNTS.c.not_before)
        )
        with self._transaction() as connection:
            number, not_before = connection.execute(taking).one()
            now, read_at = self._read_clock(connection), self._stopwatch()
            last = self._find_last(connection, number, now)
            earliest, awaited = self._find_earliest(connection, number, now, limits, margin)
            moment = max(now, not_before, last + round(spacing * 1000), earliest)
            if awaited is not None:
                # The longer it has taken, the longer it may still.
                moment = max(moment, now + min(max((now - awaited) // 4, _SOON), _SOON * 10))
            if awaited is not None or moment - now > _AHEAD:
                connection.rollback()
                return Slot(read_at + (moment - now) / 1000)
            slot = {"account": self._account, "number": number, "moment": moment, "has_left": False}
            connection.execute(_SLOTS.insert().values(slot))
            if number % _BETWEEN_REMOVALS == 0:
                self._remove_old(connection)
        return Slot(read_at + (moment - now) / 1000, number)

    def leave(self, number: int) -> None:
        """The request that has this slot leaves now, or has left by now."""
        with self._transaction() as connection:
            if self._is_postgresql:  # no transaction of ours waits for the disk because of it
                connection.execute(sa.text("set local synchronous_commit = off"))
            now = self._read_clock(connection)
            of_number = self._is_own(_SLOTS) & (_SLOTS.c.number == number)
            left = _SLOTS.update().where(of_number).values(moment=now, has_left=True)
            connection.execute(left)

    def pause(self, seconds: float) -> None:
        """Let no run on the account send for so long."""
        with self._transaction() as connection:
            until = self._read_clock(connection) + round(seconds * 1000)
            own = self._is_own(_ACCOUNTS) & (_ACCOUNTS.c.not_before < until)
            connection.execute(_ACCOUNTS.update().where(own).values(not_before=until))

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._database.connect() as connection:
                yield connection
                connection.commit()
        except sa.exc.SQLAlchemyError as error:
            said = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise UnavailableError(
                f"The requests of the account can't be counted together: {said}. Nothing more was sent. "
                "Look at ROBIN_ETL_SHARED_LIMITS and the database it names, then run again."
            ) from error

    def _begin_account(self, connection: sa.Connection) -> None:
        """Begin to count an account that is new here with what this ledger has sent before."""
        insert: Any = postgresql.insert if self._is_postgresql else sqlite.insert
        new = {"account": self._account, "number": len(self._ages), "not_before": 0}
        begin = insert(_ACCOUNTS).values(new).on_conflict_do_nothing().returning(_ACCOUNTS.c.number)
        if connection.execute(begin).first() and self._ages:
            now = self._read_clock(connection)
            slots = [
                {
                    "account": self._account,
                    "number": number,
                    "moment": now - round(age * 1000),
                    "has_left": True,
                }
                for number, age in enumerate(self._ages, 1)
            ]
            connection.execute(_SLOTS.insert(), slots)

    def _is_own(self, table: sa.Table) -> sa.ColumnElement[bool]:
        own: sa.ColumnElement[bool] = table.c.account == self._account
        return own

    def _find_last(self, connection: sa.Connection, number: int, now: int) -> int:
        """The latest moment of the slots right before this one, or now where there is none. Where that
        is further ahead than any is taken, a clock was set back, and so are they.
        """
        recent = self._is_own(_SLOTS) & (_SLOTS.c.number >= number - _OUT_OF_ORDER)
        last = connection.execute(sa.select(sa.func.max(_SLOTS.c.moment)).where(recent)).scalar()
        if last is None or last - now <= _AHEAD:
            return now if last is None else int(last)
        earlier = _SLOTS.c.moment - (last - now)
        connection.execute(_SLOTS.update().where(self._is_own(_SLOTS)).values(moment=earlier))
        return now

    def _find_earliest(
        self,
        connection: sa.Connection,
        number: int,
        now: int,
        limits: Iterable[RateLimit],
        margin: float,
    ) -> tuple[int, int | None]:
        """The first moment at which every limit has room for this slot; and where that follows from a
        request that has not left yet, the moment at which it was to.
        """
        is_heard_of = ~_SLOTS.c.has_left & (_SLOTS.c.moment >= now - _UNHEARD)
        awaited = sa.case((is_heard_of, _SLOTS.c.moment))
        latest: list[Any] = []
        for limit in limits:
            place = number - limit.requests
            own = self._is_own(_SLOTS) & _SLOTS.c.number.between(place - _OUT_OF_ORDER, place)
            span = round((limit.seconds + margin) * 1000)
            latest += (
                sa.select(what).where(own).scalar_subquery()
                for what in (sa.func.max(_SLOTS.c.moment) + span, sa.func.max(awaited))
            )
        found = connection.execute(sa.select(*latest)).one()
        moments, waited_for = ([one for one in found[start::2] if one is not None] for start in (0, 1))
        return max(moments, default=now), max(waited_for, default=None)

    def _read_clock(self, connection: sa.Connection) -> int:
        """The moment that it is, in milliseconds since 1970, by one clock for all runs."""
        if self._clock is None and self._is_postgresql:  # the machines' own may differ
            seconds = sa.func.extract("epoch", sa.func.clock_timestamp())
            return round(float(connection.execute(sa.select(seconds)).scalar_one()) * 1000)
        return round((self._clock or time.time)() * 1000)

    def _remove_old(self, connection: sa.Connection) -> None:
        oldest = self._read_clock(connection) - 2 * _DAY
        connection.execute(_SLOTS.delete().where(self._is_own(_SLOTS), _SLOTS.c.moment < oldest))


class AccountPace:
    """Holds all senders of a run back so that the account's limits are kept by all of its runs together.

    Safe to share between threads. `sleep` and `stopwatch` are in seconds; `sleep` may return early, and
    a true value then means that there is nothing more to wait for.
    """

    def __init__(
        self,
        windows: AccountWindows,
        limits: Iterable[RateLimit],
        *,
        stopwatch: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._windows = windows
        self._limits = tuple(limits)
        self._stopwatch = stopwatch
        self._sleep = sleep
        self._queue = threading.Lock()
        self._spacing = 0.0
        self._margin = MARGIN

    def expect(self, requests: int) -> None:
        """So many requests are to come: keep them at an even distance where that costs nothing much."""
        self._spacing = compute_spacing(self._limits, requests)

    def pause(self, seconds: float) -> None:
        """Let nothing leave for so long, of this run or another, and keep further apart then."""
        self._margin = widen_margin(self._margin, self._limits)
        self._windows.pause(seconds)

    def wait(self) -> Callable[[], None]:
        """Return when one more request may leave, or when the sleep was cut short.

        What is returned is to be called when it leaves, or at the latest when it is answered or given
        up.
        """
        with self._queue:  # a run has one slot at a time whose moment is still to come
            while True:
                slot = self._windows.take(self._limits, spacing=self._spacing, margin=self._margin)
                while (left := slot.moment - self._stopwatch()) > 0:
                    if self._sleep(left):
                        return Once(partial(self._leave, slot.number))
                if slot.number is not None:
                    return Once(partial(self._leave, slot.number))

    def _leave(self, number: int | None) -> None:
        if number is not None:
            # What fails here must not keep a request from leaving; the next slot's taking fails as well.
            with suppress(UnavailableError):
                self._windows.leave(number)


def _make_tables(connection: sa.Connection) -> None:
    """Make the tables that are not there yet, whoever else is about to."""
    if connection.dialect.name == "postgresql":
        connection.execute(
            sa.select(sa.func.pg_advisory_xact_lock(sa.literal(_PREPARING, sa.BigInteger)))
        )
        if SCHEMA not in sa.inspect(connection).get_schema_names():
            connection.execute(sa.schema.CreateSchema(SCHEMA))
    for table in _METADATA.sorted_tables:
        connection.execute(sa.schema.CreateTable(table, if_not_exists=True))


def _set_pragmas(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
