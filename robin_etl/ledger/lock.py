"""The lock that lets only one run post against a ledger."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from uuid import uuid4

import filelock
import sqlalchemy as sa

from robin_etl.exceptions import LedgerBusyError, LedgerError
from robin_etl.ledger.engine import Engine, make_session_error
from robin_etl.ledger.schema import META

_NUMBER = sa.literal(0x726F62696E, sa.BigInteger)  # "robin"
# A ledger for each schema of a database has a lock of its own.
_KEY = sa.func.hashtextextended(sa.func.current_schema(), _NUMBER)
# A setting of a session that nobody else knows.
_MARK = "robin_etl.session"


@contextmanager
def hold_file(path: Path) -> Iterator[None]:
    """Hold the posting lock of a ledger in SQLite that may not be there, or not be readable; raises
    `LedgerBusyError` while another has it.
    """
    try:
        with _lock_beside(path):
            yield
    except filelock.Timeout:
        raise LedgerBusyError(
            f"A run is posting against the ledger at {path}. Run this again when it is done."
        ) from None


class PostingLock:
    """The posting lock of a ledger. It dies with the process or connection that holds it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def hold(self, run: str) -> Iterator[None]:
        """Hold the lock for a run; raises `LedgerBusyError` while another has it."""
        with self._lock_connection() if self._engine.is_postgresql else self._lock_file():
            process = f"process {os.getpid()} on {socket.gethostname()}"
            holder = f"{run} ({process}, since {self._engine.stamp()})"
            with self._engine.write() as connection:
                connection.execute(META.update().values(holder=holder))
            yield

    @contextmanager
    def _lock_connection(self) -> Iterator[None]:
        """The lock of PostgreSQL, on a connection that then makes every write.

        If that connection breaks, and the lock with it, the next write fails as well: a run that
        lost its lock can't log a request as sending, and so sends none.
        """
        with self._engine.read() as connection:
            connection.detach()  # it is closed at the end, not handed to the next one with its lock
            self._check_session(connection)
            session = self._take(connection)
            try:
                with self._engine.write_through(connection, session):
                    yield
            finally:
                # A dead connection holds no lock; of another session's a pooler may complain.
                with suppress(sa.exc.SQLAlchemyError):
                    connection.execute(sa.select(sa.func.pg_advisory_unlock(_KEY)))

    def _check_session(self, connection: sa.Connection) -> None:
        """Raise `LedgerError` where the connection has not a session of PostgreSQL to itself."""
        mark = uuid4().hex
        marked = sa.select(sa.func.current_setting(_MARK, sa.true()))
        with self._engine.read() as other:
            other.execute(marked)  # so that it is there already when a session becomes free
            other.rollback()
            connection.execute(sa.select(sa.func.set_config(_MARK, mark, sa.false())))
            connection.commit()
            # Each in a transaction: what serves one of them can't serve the other.
            if other.execute(marked).scalar() == mark or connection.execute(marked).scalar() != mark:
                raise make_session_error()
        connection.commit()

    def _take(self, connection: sa.Connection) -> int:
        """Take the lock in a connection's session, and give the session's number.

        Raises `LedgerBusyError` while another session has it, and `LedgerError` where this one has it
        already: then it is another run's, too.
        """
        own = sa.func.pg_backend_pid()
        held = sa.text(
            "select count(*) from pg_locks where locktype = 'advisory' and objsubid = 1 and granted "
            "and pid = pg_backend_pid()"
        )
        try:
            if connection.execute(held).scalar_one():
                raise make_session_error()
            taken = connection.execute(sa.select(sa.func.pg_try_advisory_lock(_KEY), own)).one()
        finally:
            connection.commit()
        is_ours, session = taken
        if not is_ours:
            raise self._name_holder()
        return int(session)

    @contextmanager
    def _lock_file(self) -> Iterator[None]:
        file = self._engine.file
        try:
            with _lock_beside(file) if file else nullcontext():
                yield
        except filelock.Timeout:
            raise self._name_holder() from None

    def _name_holder(self) -> LedgerBusyError:
        with self._engine.read() as connection:
            holder = connection.execute(sa.select(META.c.holder)).scalar()
        return LedgerBusyError(
            "Another run is posting against this ledger, and two would tell ROBIN things twice: "
            f"{holder or 'it has only just begun'}. Run again when it is done."
        )


@contextmanager
def _lock_beside(path: Path) -> Iterator[None]:
    """Hold the lock file beside a ledger; raises `filelock.Timeout`, or `LedgerError` where there can
    be none.
    """
    lock = filelock.FileLock(f"{path}.lock", timeout=0, mode=0o600)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise
    except OSError as error:
        raise LedgerError(
            f"The ledger {path} can't be locked ({error}), and so nothing was posted. Its folder has to "
            "be one that can be written."
        ) from error
    try:
        yield
    finally:
        lock.release()
