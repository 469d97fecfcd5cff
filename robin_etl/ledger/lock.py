"""The lock that lets only one run post against a ledger."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import filelock
import sqlalchemy as sa

from robin_etl.exceptions import LedgerBusyError, LedgerError
from robin_etl.ledger.engine import Engine
from robin_etl.ledger.schema import META

_NUMBER = 0x726F62696E  # "robin"


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
        number = sa.literal(_NUMBER, sa.BigInteger)
        with self._engine.read() as connection:
            connection.detach()  # it is closed at the end, not handed to the next one with its lock
            is_ours = connection.execute(sa.select(sa.func.pg_try_advisory_lock(number))).scalar_one()
            connection.commit()
            if not is_ours:
                raise self._name_holder()
            try:
                with self._engine.write_through(connection):
                    yield
            finally:
                with suppress(sa.exc.SQLAlchemyError):  # a dead connection holds no lock
                    connection.execute(sa.select(sa.func.pg_advisory_unlock(number)))

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
