"""Where a ledger is: its location as text, as a database URL, and as a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from robin_etl import private
from robin_etl.exceptions import ConfigurationError, LedgerError


def parse_location(location: str) -> sa.URL:
    """The database URL of a path or URL; raises `ConfigurationError` where it can be no ledger's."""
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


def find_file(url: sa.URL) -> Path | None:
    """The file of a ledger in SQLite; None for one in PostgreSQL or in memory."""
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(str(url.database).removeprefix("file:")) if is_file else None


def choose_options(url: sa.URL) -> dict[str, Any]:
    """How SQLAlchemy has to open it."""
    if url.get_backend_name() != "sqlite":
        return {"paramstyle": "format"}
    if find_file(url):
        return {}
    return {"poolclass": sa.pool.StaticPool, "connect_args": {"check_same_thread": False}}


def make_folder(folder: Path) -> None:
    """Make the folder of a ledger's file; raises `LedgerError` where that can't be."""
    with _name_failure(f"The ledger's folder {folder}"):
        private.make_folder(folder)


def make_file(path: Path) -> None:
    """Make an empty file for a ledger, and its folder, where there is none; raises `LedgerError`."""
    make_folder(path.parent)
    with _name_failure(f"The ledger {path}"):
        private.make_file(path)


@contextmanager
def _name_failure(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LedgerError(
            f"{what} can't be made ({error}). Set ROBIN_ETL_LEDGER to a place that can be written."
        ) from error
