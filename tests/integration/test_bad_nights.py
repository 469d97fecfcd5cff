"""Killed, interrupted, out of room, without a ledger: the next run mends it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from robin_etl.core.payload import Change
from robin_etl.exceptions import LedgerBusyError, LedgerError, UnavailableError
from robin_etl.ledger import Ledger
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run
from tests import processes, soak
from tests.conftest import KEY, SECRET, Export, run_days
from tests.integration.test_cli import COMMAND, environment
from tests.waiting import until

ROWS = [f"{n:03},c{n}@x.nl,10,2026-03-01" for n in range(40)]


class AtRequest(Robin):
    """A ROBIN that lets something happen when a request arrives, before it answers."""

    def __init__(self, at: int, happening: Callable[[], Any]) -> None:
        super().__init__(KEY, SECRET, limits=())
        self.at = at
        self.happening = happening
        self.seen = 0

    def answer(self, authorization: str | None, body: bytes) -> tuple[int, Any]:
        self.seen += 1
        if self.seen == self.at:
            self.happening()
        return super().answer(authorization, body)


def told_right(robin: Robin) -> None:
    state = robin.read_state()
    assert len(state["orders"]) == len(ROWS)
    assert all("told twice" in said for said in state["complaints"])


PLAINLY, IGNORED = signal.SIG_DFL, signal.SIG_IGN


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("sigint", [PLAINLY, IGNORED])
def test_a_signal_ends_the_run_in_good_order_and_says_what_is_left(
    settings: Settings, export: Export, number: signal.Signals, sigint: signal.Handlers
) -> None:
    export("2026-03-01", *ROWS)
    running: list[processes.Process] = []
    robin = AtRequest(2, lambda: running[0].signal(number))
    with Sandbox(robin) as sandbox:
        there = settings.model_copy(update={"base_url": sandbox.url})
        with processes.started(
            processes.with_sigint(sigint, [COMMAND, "run", "--date", "2026-03-01", "--json"]),
            env=environment(there, CHUNK_SIZE="10", CONCURRENCY="1", RATE_LIMITS="2/s"),
        ) as process:
            running.append(process)
            assert process.ended() == 1
        assert "with 20 changes acknowledged and 20 left" in process.printed
        assert "Traceback" not in process.printed
        assert robin.statuses == {201: 2}
        summary = run_days(there, "2026-03-01")
        assert (summary["posted"], summary["in_doubt"]) == (20, 0)
        told_right(robin)
        assert robin.read_state()["complaints"] == []


@pytest.mark.parametrize(
    ("command", "number", "sigint"),
    [
        ("run", signal.SIGINT, IGNORED),
        ("backfill", signal.SIGTERM, PLAINLY),
        ("baseline", signal.SIGINT, IGNORED),
    ],
)
def test_a_signal_before_anything_is_posted_is_a_stop_that_the_ledger_knows(
    settings: Settings,
    exports: Path,
    command: str,
    number: signal.Signals,
    sigint: signal.Handlers,
) -> None:
    days = ["--date", "2026-03-01"]
    if command != "run":
        days = ["--from", "2026-03-01", "--to", "2026-03-01"]
    export = exports / "orders_2026-03-01.csv"
    os.mkfifo(export)
    with (
        processes.started(
            processes.with_sigint(sigint, [COMMAND, command, *days]),
            env=environment(settings),
        ) as process,
        export.open("w"),
    ):  # which waits until the command reads it
        process.signal(number)
        assert process.ended() == 1
    assert "The run was told to stop." in process.printed
    assert "run again" in process.printed
    assert "Traceback" not in process.printed
    with Ledger.open(settings.ledger) as ledger:
        assert [run.outcome for run in ledger.runs.latest(9)] == ["stopped"]


HOLD = """
import sys
from robin_etl.ledger import Ledger
with Ledger.open(sys.argv[1]) as ledger, ledger.lock.hold("the-dead-run"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_holder_of_the_lock_blocks_nobody(ledger_url: str) -> None:
    with processes.started([sys.executable, "-c", HOLD, ledger_url]) as process:
        assert process.next_line() == "held\n"
        with Ledger.open(ledger_url) as ledger:
            with pytest.raises(LedgerBusyError, match=r"the-dead-run \(process \d+ on .*, since 20"):
                ledger.lock.hold("next").__enter__()
            process.signal(signal.SIGKILL)
            process.ended()
            # PostgreSQL notices a dead client when it next looks at its connection.
            for attempt in until(processes.DEADLINE, while_raising=LedgerBusyError):
                with attempt, ledger.lock.hold("next"):
                    pass


@pytest.mark.parametrize("room", [150_000, 400_000, 800_000])
def test_a_full_disk_is_a_sentence_and_the_next_run_mends_it(
    settings: Settings, export: Export, quick_command: Path, room: int
) -> None:
    export("2026-03-01", *(f"{n:04},c{n}@x.nl,10,2026-03-01" for n in range(3000)))
    asked = ["backfill", "--from", "2026-03-01", "--to", "2026-03-01", "--json"]
    robin = Robin(KEY, SECRET, limits=())
    with Sandbox(robin) as sandbox:
        there = settings.model_copy(update={"base_url": sandbox.url})
        # No file may grow beyond this, which is what a full disk looks like to a process.
        limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))"
        cramped = processes.run(processes.after(limit, [COMMAND, *asked]), env=environment(there))
        assert cramped.returncode == 1
        assert "run again" in cramped.stderr
        assert "Traceback" not in cramped.stderr
        accepted = len(robin.orders)
        assert accepted < 3000
        mended = processes.run([quick_command, *asked], env=environment(there), succeeds=True)
        summary = json.loads(mended.stdout.splitlines()[-1])
        state = robin.read_state()
        assert len(state["orders"]) == 3000
        assert set(state["repeats"]) <= set(summary["orders_in_doubt"])
        assert summary["posted"] >= 3000 - accepted
    if room == 800_000:
        assert accepted > 0


def test_a_ledger_that_goes_away_in_mid_run_is_a_sentence_and_the_next_run_mends_it(
    settings: Settings, export: Export, postgresql: str
) -> None:
    export("2026-03-01", *ROWS)
    url = sa.make_url(postgresql).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("create database going_away"))

        def go_away() -> None:
            connection.execute(sa.text("alter database going_away allow_connections false"))
            connection.execute(
                sa.text(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'going_away'"
                )
            )

        robin = AtRequest(2, go_away)
        ledger = url.set(database="going_away", drivername="postgresql")
        with Sandbox(robin) as sandbox:
            there = settings.model_copy(
                update={
                    "base_url": sandbox.url,
                    "ledger": ledger.render_as_string(hide_password=False),
                    "chunk_size": 10,
                    "concurrency": 1,
                }
            )
            with pytest.raises(LedgerError, match=r"The ledger .*run again|The ledger .*can't be"):
                run_days(there, "2026-03-01")
            connection.execute(sa.text("alter database going_away allow_connections true"))
            summary = run_days(there, "2026-03-01")
            told_right(robin)
            # The second request was applied, and its acknowledgement could not be kept.
            assert set(robin.read_state()["repeats"]) == set(summary["orders_in_doubt"])
            assert summary["in_doubt"] == 10
    engine.dispose()


def test_run_files_that_cannot_be_written_are_a_sentence(settings: Settings, tmp_path: Path) -> None:
    from datetime import date

    day = date(2026, 3, 1)
    started = Run.start(settings.runs, Scope(command="run", first=day, last=day))
    (started.folder.path / "summary.json").mkdir()
    with pytest.raises(UnavailableError, match="can't be written"):
        started.summary.write({})


def test_a_rejected_order_is_shown_with_robins_words_until_it_is_accepted(
    settings: Settings, export: Export, quick_command: Path
) -> None:
    from robin_etl.sandbox.faults import Faults

    def said(*arguments: str) -> str:
        return processes.run(
            [quick_command, *arguments], env=environment(settings), succeeds=True
        ).stdout

    export("2026-03-01", *ROWS)
    robin = Robin(KEY, SECRET, limits=(), faults=Faults(refused="^007$"))
    with Sandbox(robin) as sandbox:
        there = settings.model_copy(update={"base_url": sandbox.url})
        assert run_days(there, "2026-03-01")["orders_rejected"] == ["007"]
        assert "ROBIN: " in said("rejected")
        (kept,) = json.loads(said("rejected", "--json"))
        assert kept["order_number"] == "007"
        assert kept["words"] == '{"error": "order 007: this one is refused"}'
        assert "email_address" not in kept["payload"]
        robin.faults.refused = None
        assert run_days(there, "2026-03-01")["posted"] == 1
    assert said("rejected") == "No order stands rejected.\n"
    outcomes = [one["outcome"] for one in json.loads(said("history", "007", "--json"))]
    assert outcomes[-2:] == ["rejected", "accepted"]
    assert set(outcomes[:-2]) == {"refused"}
    assert "No request ever held order 999." in said("history", "999")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_short_soak_loses_nothing_and_repeats_only_what_is_reported(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    ledgers: Callable[[Path], str] = soak.in_file
    if kind == "postgresql":
        ledgers = soak.postgresql_ledgers(request.getfixturevalue("postgresql"))
    # The first starts of these meet guards, however fast the machine is.
    figures = soak.soak(2, 1007, ledgers, tmp_path)
    assert figures["runs"] == 2
    for befell in ("faults", "guarded", "deleted", "keyed"):
        assert figures[befell] > 0
    assert figures["mistaken"] >= 2


def test_a_run_that_lost_its_lock_can_send_nothing_more(postgresql: str) -> None:
    def lose_it(ledger: Ledger) -> None:
        with ledger.lock.hold("loser"):
            with ledger.engine.write() as connection:
                own = connection.execute(sa.text("select pg_backend_pid()")).scalar_one()
            with ledger.engine.database.begin() as other:
                other.execute(sa.select(sa.func.pg_terminate_backend(own)))
            ledger.deliveries.begin("loser", [Change("1", "first", 0, "{}", "{}", ())])

    with Ledger.open(postgresql) as ledger:
        with pytest.raises(LedgerError):
            lose_it(ledger)
        assert ledger.deliveries.deliveries_of("loser").empty


def test_a_sandbox_fails_as_its_command_line_asks(
    settings: Settings, export: Export, quick_command: Path
) -> None:
    export("2026-03-01", *ROWS)
    asked = ["--no-limits", "--fault", "3=reset-after", "--most-orders", "15", "--refuse", "^03[89]$"]
    with processes.started(
        [quick_command, "sandbox", "--port", "0", "--key", KEY, "--secret", SECRET, *asked],
        env=environment(settings),
    ) as process:
        url = process.next_line().strip().partition("=")[2]
        there = settings.model_copy(update={"base_url": url, "max_attempts": 2, "backoff": 0.01})
        summary = run_days(there, "2026-03-01")
    assert summary["orders_rejected"] == ["038", "039"]
    assert summary["posted"] == 38
    assert summary["in_doubt"] > 0


def test_a_fault_that_there_is_not_is_a_usage_error(settings: Settings, quick_command: Path) -> None:
    for wrong in (["--fault", "3=oops"], ["--fault", "x"], ["--refuse", "("]):
        done = processes.run(
            [quick_command, "sandbox", "--port", "0", *wrong], env=environment(settings)
        )
        assert done.returncode == 2
        assert "A fault is a number and one of: error-before" in done.stderr
