"""A pooler that hands each transaction another session, where a session's lock is nobody's."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from robin_etl.core.payload import Change
from robin_etl.exceptions import LedgerError
from robin_etl.ledger import Ledger
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests.conftest import Export, run_days
from tests.pooling import Pooler, pooled
from tests.processes import DEADLINE
from tests.waiting import until

SENTENCE = "hands each transaction another session"


def show(url: object) -> str:
    return url.render_as_string(hide_password=False)  # type: ignore[attr-defined,no-any-return]


PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def pgbouncer(url: str, mode: str) -> Iterator[sa.URL]:
    """PgBouncer itself before the server of this URL; it runs as the server's own user."""
    server = sa.make_url(url)
    sockets = str(server.query["host"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        settings = Path(folder) / "pgbouncer.ini"
        users = Path(folder) / "users.txt"
        users.write_text(f'"{server.username}" ""\n')
        settings.write_text(
            f"[databases]\n* = host={sockets} port={server.port or 5432} user={server.username}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = any\nauth_file = {users}\npool_mode = {mode}\n"
        )
        owner = pwd.getpwuid(Path(sockets).stat().st_uid).pw_name
        command = [str(PGBOUNCER), str(settings), *(["-u", owner] if os.geteuid() == 0 else [])]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            for attempt in until(DEADLINE, while_raising=(OSError,)):
                with attempt:
                    socket.create_connection(("127.0.0.1", port)).close()
            yield server.set(host="127.0.0.1", port=port, query={})
        finally:
            process.terminate()
            process.wait()


@pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_pgbouncer_itself_is_no_way_around_the_lock(
    settings: Settings, export: Export, sandbox: Sandbox, postgresql: str, mode: str
) -> None:
    export("2026-03-01", *(f"O{n},c{n}@x.nl,1,2026-03-01" for n in range(3)))
    with pgbouncer(postgresql, mode) as url:
        there = settings.model_copy(update={"ledger": show(url)})
        if mode == "session":
            assert run_days(there, "2026-03-01")["posted"] == 3
            return
        with pytest.raises(LedgerError, match=SENTENCE):
            run_days(there, "2026-03-01")
    assert sandbox.robin.orders == {}


@pytest.mark.parametrize(
    "choose", [lambda free: free - 1, lambda _: 0], ids=["the last that was used", "in turn"]
)
def test_a_run_behind_a_pooler_in_transaction_mode_stops_before_it_posts(
    settings: Settings,
    export: Export,
    sandbox: Sandbox,
    postgresql: str,
    choose: Callable[[int], int],
) -> None:
    export("2026-03-01", *(f"O{n},c{n}@x.nl,1,2026-03-01" for n in range(3)))
    with pooled(postgresql, choose) as pooler:
        there = settings.model_copy(update={"ledger": show(pooler.url)})
        with pytest.raises(LedgerError, match=SENTENCE):
            run_days(there, "2026-03-01")
    assert sandbox.robin.orders == {}
    with Ledger.open(postgresql) as ledger, ledger.lock.hold("nobody holds a lock that was left behind"):
        pass


def test_a_pooler_that_keeps_a_client_s_session_is_none_that_matters(
    settings: Settings, export: Export, postgresql: str
) -> None:
    export("2026-03-01", *(f"O{n},c{n}@x.nl,1,2026-03-01" for n in range(3)))
    with pooled(postgresql, lambda _: 0, is_sticky=True) as pooler:
        there = settings.model_copy(update={"ledger": show(pooler.url)})
        assert run_days(there, "2026-03-01")["posted"] == 3


def test_a_write_in_another_session_than_the_lock_s_fails(postgresql: str) -> None:
    def write_elsewhere(ledger: Ledger, pooler: Pooler) -> None:
        with ledger.lock.hold("a run"):
            pooler.swap_sessions()
            ledger.deliveries.begin("a run", [Change("1", "first", 0, "{}", "{}", ())])

    with pooled(postgresql, lambda free: free - 1, is_sticky=True) as pooler:
        with Ledger.open(show(pooler.url)) as ledger, pytest.raises(LedgerError, match=SENTENCE):
            write_elsewhere(ledger, pooler)
        with Ledger.open(postgresql) as ledger:
            assert ledger.deliveries.deliveries_of("a run").empty


def test_a_session_that_has_the_lock_gives_it_to_no_second_run(postgresql: str) -> None:
    """As two runs would be handed one session, one after the other."""
    with Ledger.open(postgresql) as ledger, ledger.engine.read() as connection:
        connection.exec_driver_sql(f"select pg_advisory_lock({0x726F62696E})")
        connection.commit()
        with pytest.raises(LedgerError, match=SENTENCE):
            ledger.lock._take(connection)
