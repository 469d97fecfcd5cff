"""The shop's database: opened, asked for a day in a transaction that changes nothing, and its failures.

What it says may repeat a customer's cell, so only what it says of the SQL and of itself is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

import sqlalchemy as sa

from robin_etl.exceptions import ConfigurationError, DatabaseUnavailableError, QueryError

_BATCH_ROWS = 50_000
_LONGEST = 300

# What makes a transaction one that only reads, and moments come in UTC, by the name of the dialect.
_MYSQL = ("set session transaction read only", "set time_zone = '+00:00'")
_SESSIONS = {
    "postgresql": ("set transaction read only", "set local time zone 'UTC'"),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "sqlite": ("pragma query_only = on",),
    "oracle": ("set transaction read only",),
}

# Drivers that are taken where an address names none, and what else they have to be told: to notice
# within minutes that nobody answers.
_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
_ALIVE = {
    "connect_timeout": 30,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 6,
}

# Classes of SQLSTATE that may pass: connection, rollback, resources, what an operator did.
_PASSING = ("08", "40", "53", "55", "57")
_BUSY = ("locked", "busy")
_WORDS_OF_SQL = (
    *(sa.exc.ProgrammingError, sa.exc.OperationalError),
    *(sa.exc.InternalError, sa.exc.NotSupportedError),
)
_CONTACT = re.compile(r"\S*@\S*|\+?\d[\d ()/-]{7,}\d")

# Rows as the driver gives them.
Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Answer:
    """What a database answers: the names of its columns, and its rows, so many at a time."""

    columns: tuple[str, ...]
    batches: Iterator[Rows]


def open_database(address: str | sa.URL, seconds: float) -> sa.Engine:
    """What asks the database at a SQLAlchemy address, and waits so long for it; raises
    `ConfigurationError` for one that names none, or whose driver is not installed. Nothing is connected
    yet.
    """
    try:
        url = sa.make_url(address)
    except sa.exc.ArgumentError:
        url = None
    if url is None or "@" in (url.host or ""):
        raise ConfigurationError(
            "ROBIN_ETL_QUERY_URL is no address of a database such as postgresql://user@host/database. "
            "Of a password, signs such as @ and / are written as %40 and %2F."
        )
    file = Path((url.database or "").removeprefix("file:"))
    if url.get_backend_name() == "sqlite" and not file.is_file():
        raise ConfigurationError(f"ROBIN_ETL_QUERY_URL names an SQLite file {file} that is not there.")
    url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
    _, _, driver = url.drivername.partition("+")
    try:
        return sa.create_engine(
            url, connect_args=_choose_options(driver, seconds), poolclass=sa.pool.NullPool
        )
    except (sa.exc.NoSuchModuleError, ImportError) as error:
        raise ConfigurationError(
            f"ROBIN_ETL_QUERY_URL begins with {url.drivername}, whose driver is not installed "
            f"({error}). Install it beside robin-etl, or name one that is there: "
            "postgresql+psycopg comes with robin-etl[postgres]."
        ) from error


def _choose_options(driver: str, seconds: float) -> dict[str, Any]:
    if driver == "pymysql":  # which can't be told to give up while it waits
        return {"connect_timeout": _ALIVE["connect_timeout"], "read_timeout": max(1, round(seconds))}
    return dict(_ALIVE) if driver in ("psycopg", "psycopg2") else {}


@contextmanager
def ask(
    engine: sa.Engine,
    statement: sa.TextClause,
    path: str,
    *,
    seconds: float,
    batch_rows: int = _BATCH_ROWS,
) -> Iterator[Answer]:
    """The answer to a statement of the query at `path`, read while this lasts; it is undone whatever it
    did. No more than a batch is held where the database hands rows out as they are asked for.

    Raises `QueryError` where the database refuses the query, and `DatabaseUnavailableError` where it
    can't be reached, is lost, or takes more than so many `seconds` in all.
    """
    failures = _Failures(engine.url, path, seconds)
    with failures.of_connecting():
        connection = engine.connect()
    with connection, failures.of_asking(connection):
        for command in _SESSIONS.get(connection.dialect.name, ()):
            connection.exec_driver_sql(command)
        options = {"stream_results": True, "max_row_buffer": batch_rows}
        with closing(connection.execution_options(**options).execute(statement)) as result:
            yield Answer(tuple(result.keys()), failures.watch(result.partitions(batch_rows)))
        connection.rollback()


class _Failures:
    """What goes wrong with a database, as our errors."""

    def __init__(self, url: sa.URL, path: str, seconds: float) -> None:
        self._url = url
        self._path = path
        self._seconds = seconds
        self._is_late = False

    @contextmanager
    def of_connecting(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            raise DatabaseUnavailableError(
                f"The shop's database can't be reached: {self._quote(error)}. Look at its address and "
                "credentials (ROBIN_ETL_QUERY_URL, or the connection in Airflow), and whether it is up; "
                "then run again."
            ) from None  # the driver's own text may hold more

    @contextmanager
    def of_asking(self, connection: sa.Connection) -> Iterator[None]:
        timer = Timer(self._seconds, self._cancel, (_find_cancel(connection),))
        timer.daemon = True
        timer.start()
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            raise self._name(error) from None
        finally:
            timer.cancel()

    def watch(self, batches: Iterator[Rows]) -> Iterator[Rows]:
        """The same; raises `DatabaseUnavailableError` once the time is up, where no driver has."""
        for batch in batches:
            if self._is_late:
                raise self._make_late_error()
            yield batch

    def _cancel(self, cancel: Callable[[], object]) -> None:
        self._is_late = True
        cancel()

    def _name(self, error: sa.exc.SQLAlchemyError) -> DatabaseUnavailableError | QueryError:
        if self._is_late:
            return self._make_late_error()
        if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
            return DatabaseUnavailableError(
                f"The connection to the shop's database was lost while it answered the query "
                f"{self._path}. Nothing of the answer was kept; run again."
            )
        if self._may_pass(error):
            return DatabaseUnavailableError(
                f"The shop's database did not answer the query {self._path}: {self._quote(error)}. "
                "Nothing was kept; run again."
            )
        return QueryError(
            f"The shop's database refuses the query {self._path}: {self._quote(error)}. Mend the query, "
            "then run again.",
            path=self._path,
        )

    def _make_late_error(self) -> DatabaseUnavailableError:
        return DatabaseUnavailableError(
            f"The shop's database has not answered the query {self._path} in full within "
            f"{self._seconds:g} seconds, and nothing of it was kept. Let the query find its orders by "
            "an index, set ROBIN_ETL_QUERY_TIMEOUT higher, or run again when it is less busy."
        )

    def _may_pass(self, error: sa.exc.SQLAlchemyError) -> bool:
        cause = getattr(error, "orig", None)
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        if state:
            return str(state).startswith(_PASSING)
        return isinstance(error, sa.exc.OperationalError) and any(one in str(cause) for one in _BUSY)

    def _quote(self, error: sa.exc.SQLAlchemyError) -> str:
        """The driver's own words where they are of the SQL or the server, without contacts and the
        password; of rows only what kind of fault it is.
        """
        cause = getattr(error, "orig", None) or error
        words = " ".join(str(cause).split())
        # SQLite quotes a text that is not UTF-8.
        if not isinstance(error, _WORDS_OF_SQL) or "decode" in words:
            return f"a value in it can't be read ({type(cause).__name__})"
        if self._url.password:
            words = words.replace(str(self._url.password), "(hidden)")
        return _CONTACT.sub("…", words)[:_LONGEST] or type(cause).__name__


def _find_cancel(connection: sa.Connection) -> Callable[[], object]:
    """What makes the driver give up what it waits for, from another thread."""
    driver: Any = connection.connection.driver_connection
    for name in ("cancel", "interrupt"):
        if callable(cancel := getattr(driver, name, None)):
            found: Callable[[], object] = cancel
            return found
    return lambda: None
