"""Copying a ledger in SQLite."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from robin_etl.exceptions import ConfigurationError, LedgerError
from robin_etl.ledger.location import find_file, parse_location


def backup(location: str, target: str) -> int:
    """Copy a ledger in SQLite, whole even while a run writes to it; how many bytes that takes.

    Raises `ConfigurationError` for one in PostgreSQL, which has its own tool, and for a target that is
    there already; `LedgerError` where copying fails.
    """
    path = find_file(parse_location(location))
    if path is None:
        raise ConfigurationError(
            "A ledger in PostgreSQL is backed up with PostgreSQL's own tool: pg_dump, or what your "
            "host offers."
        )
    copy = Path(target)
    if copy.exists():
        raise ConfigurationError(f"{target} is there already; name a file that is not.")
    if not path.exists():
        raise ConfigurationError(f"There is no ledger at {path} yet.")
    try:
        copy.touch(mode=0o600)
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as there:
            source.backup(there)
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"The ledger could not be copied to {target}: {error}.") from error
    return copy.stat().st_size
