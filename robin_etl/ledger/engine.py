"""The ledger's database: opening it, reading and writing, and the lock that lets only one run post."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import filelock
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
import tenacity
from sqlalchemy.dialects import postgresql, sqlite

from robin_etl.exceptions import ConfigurationError, LedgerBusyError, LedgerError
from robin_etl.ledger import schema

# The switch of a new file to WAL does not wait for another process that makes it too.
_CREATING = tenacity.Retrying(
    retry=tenacity.retry_if_exception_message(match=r"(?s).*database is locked"),
    stop=tenacity.stop_after_attempt(20),
    wait=tenacity.wait_random(0.01, 0.1),
    reraise=True,
)

_DAMAGED = (
    "(the file is damaged: put a backup in its place, or make it anew from the exports with robin-etl "
    "baseline)"
)

_ADVISORY_LOCK = 0x726F62696E  # "robin"


def now() -> datetime:
    """The moment that it is, in UTC."""
    return datetime.now(UTC)


class Database:
    """An open database; use as a context manager. `clock` gives the moments that are logged."""

    def __init__(self, engine: sa.Engine, *, clock: Callable[[], datetime] = now) -> None:
        self._engine = engine
        self._clock = clock
        self._poster: sa.Connection | None = None
        self._joint: sa.Connection | None = None
        self._has_moved = False
        self._insert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert

    @classmethod
    def open(
        cls, location: str, *, read_only: bool = False, clock: Callable[[], datetime] = now
    ) -> Self:
        """Open the ledger at a database URL or the path of an SQLite file; create it if need be.

        `read_only` creates nothing: a ledger that is not there yet is then an empty one in memory.
        Raises `ConfigurationError` for a location that names no ledger, `LedgerError` for one that
        can't be opened or that a newer robin-etl has written.
        """
        url = _url(location)
        if path := _file_of(url):
            if read_only and not path.exists():
                url = sa.make_url("sqlite://")
            else:
                _make_folder(path.parent)
        engine = sa.create_engine(url, **_options(url))
        if url.get_backend_name() == "sqlite":
            sa.event.listen(engine, "connect", _set_pragmas)
        ledger = cls(engine, clock=clock)
        try:
            for attempt in _CREATING:
                with attempt:
                    ledger._prepare()
        except sa.exc.SQLAlchemyError as error:
            ledger.close()
            shown = url.render_as_string(hide_password=True)
            raise LedgerError(
                f"The ledger {shown} can't be opened: {_reason(error)}. "
                "Look at ROBIN_ETL_LEDGER, and whether the database is there."
            ) from error
        except BaseException:
            ledger.close()
            raise
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._engine.dispose()

    def check_integrity(self) -> None:
        """Raise `LedgerError` for an SQLite file that is damaged."""
        if self._is_postgresql:
            return
        with self._failures_named(), self._engine.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if found != "ok":
            raise LedgerError(f"The ledger failed: {found} {_DAMAGED}.")

    @contextmanager
    def posting(self, run: str) -> Iterator[None]:
        """Hold the lock that lets only one run post; raises `LedgerBusyError` while another has it.

        The lock dies with the process or connection that holds it.
        """
        lock = self._advisory_lock() if self._is_postgresql else self._file_lock()
        with lock:
            holder = f"{run} (process {os.getpid()} on {socket.gethostname()}, since {self._moment()})"
            with self._writing() as connection:
                connection.execute(schema.META.update().values(holder=holder))
            yield

    @property
    def _is_postgresql(self) -> bool:
        return self._engine.dialect.name == "postgresql"

    @contextmanager
    def _advisory_lock(self) -> Iterator[None]:
        """The lock of PostgreSQL, on a connection that then makes every write.

        If that connection breaks, and the lock with it, the next write fails as well: a run that
        lost its lock can't log a request as sending, and so sends none.
        """
        key = sa.literal(_ADVISORY_LOCK, sa.BigInteger)
        with self._failures_named(), self._engine.connect() as connection:
            connection.detach()  # it is closed at the end, not handed to the next one with its lock
            got = connection.execute(sa.select(sa.func.pg_try_advisory_lock(key))).scalar_one()
            connection.commit()
            if not got:
                raise self._busy()
            self._poster = connection
            try:
                yield
            finally:
                self._poster = None
                with suppress(sa.exc.SQLAlchemyError):  # a dead connection holds no lock
                    connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))

    @contextmanager
    def _file_lock(self) -> Iterator[None]:
        file = _file_of(self._engine.url)
        try:
            with filelock.FileLock(f"{file}.lock", timeout=0) if file else nullcontext():
                yield
        except filelock.Timeout:
            raise self._busy() from None

    def _busy(self) -> LedgerBusyError:
        with self._reading() as connection:
            holder = connection.execute(sa.select(schema.META.c.holder)).scalar()
        return LedgerBusyError(
            "Another run is posting against this ledger, and two would tell ROBIN things twice: "
            f"{holder or 'it has only just begun'}. Run again when it is done."
        )

    def _prepare(self) -> None:
        """Make the tables that are not there yet, or bring those of an older version up to this one."""
        with self._engine.begin() as connection:
            if self._version(connection) == schema.VERSION:
                return
            if self._is_postgresql:  # where "if not exists" alone loses a race
                key = sa.literal(_ADVISORY_LOCK + 1, sa.BigInteger)
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
            else:  # which would commit each table by itself
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            version = self._version(connection)
            if version is None:
                self._create(connection)
            elif version > schema.VERSION:
                raise LedgerError(
                    f"The ledger has schema version {version}, and this robin-etl knows versions up to "
                    f"{schema.VERSION}. Use the newer robin-etl that wrote it."
                )
            elif version < schema.VERSION:
                _migrate(connection, version)

    @staticmethod
    def _version(connection: sa.Connection) -> int | None:
        """The version of the schema; None where there is none yet."""
        if not sa.inspect(connection).has_table(schema.META.name):
            return None
        version: int | None = connection.execute(sa.select(schema.META.c.version)).scalar()
        return version

    def _create(self, connection: sa.Connection) -> None:
        for table in schema.METADATA.sorted_tables:
            connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
            for index in sorted(table.indexes, key=lambda one: str(one.name)):
                connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
        insert = self._insert(schema.META).values(only=1, version=schema.VERSION, revision=0)
        connection.execute(insert.on_conflict_do_nothing())

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._failures_named(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._failures_named():
            if self._joint is not None:
                yield self._joint
            elif self._poster is None:
                with self._engine.begin() as connection:
                    yield connection
            else:
                with self._poster.begin():
                    yield self._poster

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make all writes of this thread while this lasts one transaction; no other may write."""
        with self._writing() as connection:
            self._joint, self._has_moved = connection, False
            try:
                yield
            finally:
                self._joint = None
            if self._has_moved:
                self._moved(connection)

    def _moved(self, connection: sa.Connection) -> None:
        """Note that this transaction moves states of orders."""
        if self._joint is None:
            connection.execute(schema.META.update().values(revision=schema.META.c.revision + 1))
        else:
            self._has_moved = True

    def _write_back(self) -> None:
        """Empty SQLite's journal into its file, so that nothing older is left in either."""
        if not self._is_postgresql:
            with self._failures_named(), self._engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT")
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            raise LedgerError(
                f"The ledger failed: {_reason(error)}. What ROBIN acknowledged until then is kept; "
                "mend the ledger's database, then run again."
            ) from error

    def _execute_many(self, connection: sa.Connection, statement: str, rows: list[Any]) -> None:
        """One statement for many rows, past what SQLAlchemy would look at in each of them."""
        if rows:
            connection.exec_driver_sql(statement, rows)

    def _text(self, statement: Any, columns: Sequence[str] = (), *parameters: str) -> str:
        """A statement as the driver takes it, with the values of these columns in this order, and of
        the parameters behind them: for those that every request needs, where SQLAlchemy's own look at
        a statement would cost more than it does.
        """
        named = statement.compile(dialect=self._engine.dialect, column_keys=list(columns) or None)
        assert (named.positiontup or []) == [*columns, *parameters]
        return str(named)

    def _listed(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """The values of a column as one JSON array."""
        listing = sa.func.json_agg if self._is_postgresql else sa.func.json_group_array
        return listing(column, type_=sa.JSON)

    def _columns(self, connection: sa.Connection, query: sa.Select[Any]) -> dict[str, list[Any]]:
        """What a query finds, column by column: an object for each row would cost as much again."""
        found = query.subquery()
        listed = (self._listed(column).label(column.name) for column in found.columns)
        columns = connection.execute(sa.select(*listed)).mappings().one()
        return {name: values or [] for name, values in columns.items()}

    def _keys(self, values: pd.Series) -> sa.Select[Any]:
        """Any number of keys as one parameter. Sorted, they touch each page of the index once."""
        distinct = pc.unique(pa.array(values, pa.large_string(), from_pandas=True)).drop_null()
        text = json.dumps(distinct.take(pc.sort_indices(distinct)).to_pylist())
        if self._is_postgresql:
            parameter = sa.cast(sa.literal(text, sa.String), sa.JSON)
            keys = sa.func.json_array_elements_text(parameter).table_valued("value")
        else:
            keys = sa.func.json_each(sa.literal(text, sa.String)).table_valued("value")
        return sa.select(sa.cast(keys.c.value, sa.String).label("value"))

    def _moment(self) -> str:
        return self._written(self._clock())

    @staticmethod
    def _written(moment: datetime) -> str:
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _migrate(connection: sa.Connection, version: int) -> None:
    """Run the migrations from that version on; all of them, or none."""
    from alembic import command  # noqa: PLC0415 (few ledgers need it)
    from alembic.config import Config  # noqa: PLC0415 (likewise)

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.stamp(config, f"{version}")
    command.upgrade(config, f"{schema.VERSION}")
    connection.execute(schema.META.update().values(version=schema.VERSION))


def file_of(location: str) -> Path | None:
    """The file of a ledger in SQLite; None for one in PostgreSQL or in memory."""
    return _file_of(_url(location))


def _file_of(url: sa.URL) -> Path | None:
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(str(url.database)) if is_file else None


def _url(location: str) -> sa.URL:
    text = location if "://" in location else f"sqlite:///{location}"
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError:
        raise ConfigurationError(
            "ROBIN_ETL_LEDGER is neither a path nor a database URL such as "
            "postgresql://user@host/database."
        ) from None
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigurationError(
            f"A ledger is in SQLite or PostgreSQL, not in {url.get_backend_name()}: set "
            "ROBIN_ETL_LEDGER to a path or a postgresql:// URL."
        )
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _options(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() != "sqlite":
        return {"paramstyle": "format"}
    if _file_of(url):
        return {}
    return {"poolclass": sa.pool.StaticPool, "connect_args": {"check_same_thread": False}}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(
            f"The ledger's folder {folder} can't be made ({error}). Set ROBIN_ETL_LEDGER to a place "
            "that can be written."
        ) from error


def _set_pragmas(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    # FULL, since WAL with NORMAL may lose an acknowledgement at power loss.
    for pragma in (
        "busy_timeout=30000",
        "journal_mode=wal",
        "synchronous=full",
        "wal_autocheckpoint=20000",
        "cache_size=-8192",
        "secure_delete=on",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _reason(error: sa.exc.SQLAlchemyError) -> str:
    """The driver's own words, without SQL and parameters."""
    cause = getattr(error, "orig", None) or error
    said = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    if "malformed" in said or "not a database" in said:
        said += f" {_DAMAGED}"
    return said
