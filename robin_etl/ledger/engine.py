"""The ledger's database: opening it, reading from it and writing to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import tenacity

from robin_etl.exceptions import LedgerError
from robin_etl.ledger import location as locations
from robin_etl.ledger import migrations
from robin_etl.ledger.dialect import Dialect
from robin_etl.ledger.schema import COUNT_TRANSACTION

# The switch of a new file to WAL does not wait for another process that makes it too.
_CREATING = tenacity.Retrying(
    retry=tenacity.retry_if_exception_message(match=r"(?s).*database is locked"),
    stop=tenacity.stop_after_attempt(20),
    wait=tenacity.wait_random(0.01, 0.1),
    reraise=True,
)

_PRAGMAS = (
    "busy_timeout=30000",
    "journal_mode=wal",
    "synchronous=full",  # since WAL with NORMAL may lose an acknowledgement at power loss
    "wal_autocheckpoint=20000",
    "cache_size=-8192",
    "secure_delete=on",
)

_DAMAGED = (
    "(the file is damaged: put a backup in its place with robin-etl ledger restore, or make it anew "
    "from its journals with robin-etl ledger rebuild)"
)

# What is handed the moves of a transaction, and the revision that it makes.
Keep = Callable[[list[tuple[Any, ...]], int], None]
# What is called where a transaction whose moves were handed over was not committed.
Withdraw = Callable[[], None]


def now() -> datetime:
    """The moment that it is, in UTC."""
    return datetime.now(UTC)


class Engine:
    """An open database; use as a context manager. `clock` gives the moments that are logged.

    `database` is SQLAlchemy's own engine, `dialect` what its SQL has of its own. Whatever fails in it
    raises `LedgerError`.
    """

    def __init__(self, database: sa.Engine, *, clock: Callable[[], datetime] = now) -> None:
        self.database = database
        self.clock = clock
        self.dialect = Dialect(is_postgresql=database.dialect.name == "postgresql")
        self._poster: sa.Connection | None = None
        self._session = 0
        self._driver_error: type[Exception] = getattr(database.dialect.loaded_dbapi, "Error", Exception)
        self._joint = _Joint()
        self._keep: Keep | None = None
        self._withdraw: Withdraw | None = None

    @classmethod
    def open(
        cls, location: str, *, read_only: bool = False, clock: Callable[[], datetime] = now
    ) -> Engine:
        """Open the ledger at a database URL or the path of an SQLite file; create it if need be.

        `read_only` creates nothing: a ledger that is not there yet is then an empty one in memory.
        Raises `ConfigurationError` for a location that names no ledger, `LedgerError` for one that
        can't be opened or that a newer robin-etl has written.
        """
        url = locations.parse_location(location)
        if path := locations.find_file(url):
            if read_only and not path.exists():
                url = sa.make_url("sqlite://")
            else:
                locations.make_file(path)
        engine = cls(sa.create_engine(url, **locations.choose_options(url)), clock=clock)
        if not engine.is_postgresql:
            sa.event.listen(engine.database, "connect", _set_pragmas)
        try:
            for attempt in _CREATING:
                with attempt, engine.database.begin() as connection:
                    migrations.prepare(connection)
        except sa.exc.SQLAlchemyError as error:
            engine.close()
            shown = url.render_as_string(hide_password=True)
            raise LedgerError(
                f"The ledger {shown} can't be opened: {_explain(error)}. "
                "Look at ROBIN_ETL_LEDGER, and whether the database is there."
            ) from error
        except BaseException:
            engine.close()
            raise
        return engine

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.database.dispose()

    @property
    def is_postgresql(self) -> bool:
        return self.dialect.is_postgresql

    @property
    def file(self) -> Path | None:
        """The file of a ledger in SQLite; None for one in PostgreSQL or in memory."""
        return locations.find_file(self.database.url)

    # Transactions

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection to read with."""
        with self.name_failures(), self.database.connect() as connection:
            yield connection

    @contextmanager
    def read_snapshot(self) -> Iterator[sa.Connection]:
        """A connection that sees the database as it is now, whatever is written meanwhile."""
        with self.read() as connection:
            if self.is_postgresql:
                connection.execution_options(isolation_level="REPEATABLE READ")
            else:
                connection.exec_driver_sql("BEGIN")
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A connection in a transaction of its own, or in the one that this thread has open."""
        with self.name_failures():
            if self._joint.connection is not None:
                yield self._joint.connection
            elif self._poster is None:
                with self.database.begin() as connection:
                    yield connection
            else:
                with self._poster.begin():
                    self._check_session(self._poster)
                    yield self._poster

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all writes of this thread while this lasts one transaction."""
        if self._joint.connection is not None:
            yield
            return
        keep, withdraw, is_kept = self._keep, self._withdraw, False
        try:
            with self.write() as connection:
                self._joint.connection, self._joint.revision, self._joint.moves = connection, None, []
                try:
                    yield
                    if keep and self._joint.moves:
                        revision = self.count_transaction(connection)
                        is_kept = True
                        keep(self._joint.moves, revision)
                finally:
                    self._joint.connection = None
        except BaseException:
            if is_kept and withdraw:
                withdraw()
            raise

    def count_transaction(self, connection: sa.Connection) -> int:
        """Count the transaction that this thread has open, but only once; the revision that it makes."""
        if self._joint.connection is not None and self._joint.revision is not None:
            return self._joint.revision
        revision = int(connection.exec_driver_sql(self._count).scalar_one())
        self._joint.revision = revision
        return revision

    def note(self, name: str, *content: Any) -> None:
        """Note a move of the transaction that this thread has open, for the journal, if one is kept."""
        if self._keep is not None:
            self._joint.moves.append((name, *content))

    @contextmanager
    def keep_moves(self, keep: Keep, withdraw: Withdraw) -> Iterator[None]:
        """Hand the moves of each transaction over while this lasts, right before it is committed, and
        say so where it then is not.
        """
        self._keep, self._withdraw = keep, withdraw
        try:
            yield
        finally:
            self._keep = self._withdraw = None

    @contextmanager
    def write_through(self, connection: sa.Connection, session: int) -> Iterator[None]:
        """Make every write while this lasts, of whatever thread, through this connection, and in this
        session of PostgreSQL, which has the posting lock; a write in another raises `LedgerError`.
        """
        self._poster, self._session = connection, session
        try:
            yield
        finally:
            self._poster = None

    def _check_session(self, connection: sa.Connection) -> None:
        """Raise `LedgerError` where a pooler has handed this transaction another session."""
        driver: Any = connection.connection.dbapi_connection
        asked = "select pg_backend_pid()"
        try:
            # Not prepared, since another session does not know what was prepared in one.
            (session,) = driver.execute(asked, prepare=False).fetchone()
        except self._driver_error as error:
            raise sa.exc.OperationalError(asked, None, error) from error
        if session != self._session:
            raise make_session_error()

    @contextmanager
    def name_failures(self) -> Iterator[None]:
        """Raise `LedgerError` for what SQLAlchemy raises."""
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            raise LedgerError(
                f"The ledger failed: {_explain(error)}. What ROBIN acknowledged until then is kept; "
                "mend the ledger's database, then run again."
            ) from error

    # Care

    def check_integrity(self) -> None:
        """Raise `LedgerError` for an SQLite file that is damaged."""
        if self.is_postgresql:
            return
        with self.read() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if found != "ok":
            raise LedgerError(f"The ledger failed: {found} {_DAMAGED}.")

    def write_back(self) -> None:
        """Empty SQLite's journal into its file, so that nothing older is left in either."""
        if not self.is_postgresql:
            with self.read() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT")
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    # Statements and what they find

    @cached_property
    def _count(self) -> str:
        return self.compile(COUNT_TRANSACTION)

    def compile(self, statement: Any, columns: Sequence[str] = (), *parameters: str) -> str:
        """A statement as the driver takes it, with the values of these columns in this order, and of
        the parameters behind them: for those that every request needs, where SQLAlchemy's own look at
        a statement would cost more than it does.
        """
        compiled = statement.compile(dialect=self.database.dialect, column_keys=list(columns) or None)
        assert (compiled.positiontup or []) == [*columns, *parameters]
        return str(compiled)

    def fetch(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        """The rows that a query finds, by the names of its columns."""
        with self.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def fetch_columns(self, connection: sa.Connection, query: sa.Select[Any]) -> dict[str, list[Any]]:
        """What a query finds, column by column: an object for each row would cost as much again."""
        found = query.subquery()
        listed = (self.dialect.list_values(column).label(column.name) for column in found.columns)
        columns = connection.execute(sa.select(*listed)).mappings().one()
        return {name: values or [] for name, values in columns.items()}

    def stamp(self) -> str:
        """The moment that it is, as the ledger keeps it."""
        return format_moment(self.clock())


class _Joint(threading.local):
    """The transaction that a thread has open, the revision that it makes, once it is counted, and its
    moves.
    """

    connection: sa.Connection | None = None
    revision: int | None
    moves: list[tuple[Any, ...]]


def make_session_error() -> LedgerError:
    """The error for a connection that has no session of PostgreSQL to itself."""
    return LedgerError(
        "A pooler before the ledger's database hands each transaction another session (PgBouncer with "
        "pool_mode = transaction), and the lock that lets only one run post is a session's. Nothing was "
        "posted without it. Let ROBIN_ETL_LEDGER name PostgreSQL itself, or a pool with pool_mode = "
        "session."
    )


def format_moment(moment: datetime) -> str:
    """A moment as the ledger keeps it: UTC, to the microsecond."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _set_pragmas(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _explain(error: sa.exc.SQLAlchemyError) -> str:
    """The driver's own words, without SQL and parameters."""
    cause = getattr(error, "orig", None) or error
    said = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    if "malformed" in said or "not a database" in said:
        said += f" {_DAMAGED}"
    return said
