"""A disk that is full from a chosen commit of a process on, for a process that is told so by its
environment.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

import sqlalchemy as sa

# Which commit is the first that the disk has no room for, counted from 1.
FULL_AT = "TESTS_FULL_AT"
# A file that gets a byte for each commit.
COMMITS = "TESTS_COMMITS"


def arrange() -> None:
    """Count the commits of this process, and let the disk be full from the one that is named.

    No file may grow beyond what SQLite's own journal has by then.
    """
    commits, full_at = Path(os.environ[COMMITS]), int(os.environ.get(FULL_AT, "0"))
    journal = Path(f"{os.environ['ROBIN_ETL_LEDGER']}-wal")

    def count(_: sa.Connection) -> None:
        with commits.open("ab") as file:
            file.write(b".")
        if commits.stat().st_size == full_at:
            room = journal.stat().st_size if journal.exists() else 0
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))

    sa.event.listen(sa.engine.Engine, "commit", count)
