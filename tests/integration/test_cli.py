"""The command line, each command a process of its own; what is about its start, as it is installed."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
import pytest
import requests

from robin_etl.cli.main import cli
from robin_etl.sandbox.faults import Fault, Faults
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests import processes
from tests.conftest import KEY, SECRET, Export

COMMAND = Path(sys.executable).with_name("robin-etl")

COUNTS = {
    *("exported", "first", "repeat", "return", "upsell", "correction", "unchanged", "stale"),
    *("quarantined", "posted", "rejected", "in_doubt", "requests"),
}

Command = Callable[..., processes.Completed]


def environment(settings: Settings, **changed: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROBIN_ETL_")}
    return {
        **kept,
        "ROBIN_ETL_BASE_URL": settings.base_url,
        "ROBIN_ETL_API_KEY": KEY,
        "ROBIN_ETL_API_SECRET": SECRET,
        "ROBIN_ETL_EXPORTS": settings.exports,
        "ROBIN_ETL_LEDGER": settings.ledger,
        "ROBIN_ETL_RUNS": settings.runs,
        "ROBIN_ETL_RATE_LIMITS": settings.rate_limits,
        "ROBIN_ETL_MAX_ATTEMPTS": "1",
        **{f"ROBIN_ETL_{name}": value for name, value in changed.items()},
    }


@pytest.fixture
def robin_etl(settings: Settings, tmp_path: Path, quick_command: Path) -> Command:
    """Runs the command; settings by their names without the prefix."""

    def run(*arguments: str, **changed: str) -> processes.Completed:
        there = environment(settings, **changed)
        done = processes.run([quick_command, *arguments], env=there, cwd=tmp_path)
        assert SECRET not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def last_line(done: processes.Completed) -> dict[str, int]:
    counts: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return counts


def test_a_day_is_run_and_its_last_line_is_one_object_with_the_counts(
    robin_etl: Command, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", "1,a@x.nl,10,2026-03-01", "2,a@x.nl,10,2026-03-02")
    done = robin_etl("run", "--date", "2026-03-01", "--json")
    assert done.returncode == 0, done.stderr
    counts = last_line(done)
    assert set(counts) >= COUNTS
    assert (counts["first"], counts["repeat"], counts["posted"]) == (1, 1, 2)
    assert len(sandbox.robin.orders) == 2
    again = robin_etl("run", "--date", "2026-03-01")
    assert "Posted 0 changes in 0 requests." in again.stdout


def test_quarantined_rows_end_with_exit_code_3(robin_etl: Command, export: Export) -> None:
    export("2026-03-01", *(f"{n},c{n}@x.nl,1,2026-03-01" for n in range(30)), "x,,1,2026-03-01")
    done = robin_etl("run", "--date", "2026-03-01")
    assert done.returncode == 3
    assert "Quarantined 1 row; see quarantine.csv." in done.stdout


def test_rejected_orders_end_with_exit_code_3_and_are_named(
    robin_etl: Command, export: Export, sandbox: Sandbox, tmp_path: Path
) -> None:
    suites = Path(__file__).parents[2] / "expectations"
    for suite in suites.glob("*.json"):  # without the rule on addresses, ROBIN has to say it
        raw = json.loads(suite.read_text())
        raw["expectations"] = [
            one for one in raw["expectations"] if one["meta"]["rule"] != "email_address_valid"
        ]
        (tmp_path / suite.name).write_text(json.dumps(raw))
    export("2026-03-01", "1,a@x.nl,1,2026-03-01", "2,nonsense,1,2026-03-01", "3,b@x.nl,1,2026-03-01")
    done = robin_etl("run", "--date", "2026-03-01", EXPECTATIONS=str(tmp_path))
    assert done.returncode == 3, done.stderr
    assert "ROBIN rejected: 2." in done.stdout
    assert set(sandbox.robin.orders) == {"1", "3"}


@pytest.mark.parametrize(
    ("arguments", "changed", "code", "words"),
    [
        (["run", "--date", "2026-03-09"], {}, 1, "There is no export for 2026-03-09"),
        (["run", "--date", "2026-03-01"], {"API_SECRET": "wrong"}, 1, "ROBIN refused the API key"),
        (["run", "--date", "2026-03-01"], {"BASE_URL": "http://127.0.0.1:9"}, 1, "ROBIN did not accept"),
        (["run", "--date", "2026-03-01"], {"API_SECRET": ""}, 2, "ROBIN_ETL_API_SECRET is not set"),
        (["run", "--date", "2026-03-01"], {"BASE_URL": "http://robin.example"}, 2, "plain http"),
        (["run", "--date", "2026-03-01"], {"CHUNK_SIZE": "0"}, 2, "ROBIN_ETL_CHUNK_SIZE"),
        (["run", "--date", "2026-03-01"], {"PROFILE": "shop"}, 2, "There is no profile 'shop'"),
        (["run", "--date", "2026-03-01"], {"LEDGER": "/proc/none/l.db"}, 1, "folder"),
        (["run", "--date", "yesterday"], {}, 2, "--date"),
        (["backfill", "--from", "2026-03-02", "--to", "2026-03-01"], {}, 2, "ends"),
        (["backfill", "--from", "2026-03-02"], {}, 2, "--to"),
        (["baseline"], {}, 2, "either --from and --to"),
        (["baseline", "orders.csv"], {}, 2, "no date in its name"),
        (["check", "no.csv"], {}, 1, "There is no file no.csv"),
        (["frobnicate"], {}, 2, "No such command"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_an_exit_code(
    robin_etl: Command,
    export: Export,
    arguments: list[str],
    changed: dict[str, str],
    code: int,
    words: str,
) -> None:
    export("2026-03-01", "1,a@x.nl,10,2026-03-01")
    done = robin_etl(*arguments, **changed)
    assert done.returncode == code
    assert words in done.stderr


def test_a_traceback_is_shown_on_request_alone(robin_etl: Command, settings: Settings) -> None:
    done = processes.run([COMMAND, "--debug", "run", "--date", "2026-03-09"], env=environment(settings))
    assert "Traceback" in done.stderr
    assert SECRET not in done.stderr


def test_a_backfill_runs_a_range_and_says_what_it_would_take(
    robin_etl: Command, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", "1,a@x.nl,10,2026-03-01")
    export("2026-03-04", "1,a@x.nl,5,2026-03-01", "2,b@x.nl,5,2026-03-04")
    dry = robin_etl("backfill", "--from", "2026-03-01", "--to", "2026-03-31", "--dry-run")
    assert "Would post 3 changes in 2 requests" in dry.stdout
    assert sandbox.robin.read_state()["requests"] == 0
    limited = {"RATE_LIMITS": "1/s"}
    done = robin_etl("backfill", "--from", "2026-03-01", "--to", "2026-03-31", **limited)
    assert "3 changes in 2 requests: at least 0:00:01 under ROBIN's limits." in done.stderr
    assert sandbox.robin.read_state()["complaints"] == []
    final = robin_etl("backfill", "--from", "2026-03-01", "--to", "2026-03-31", "--final", "--json")
    assert last_line(final)["posted"] == 0


def test_a_wait_that_robin_asks_for_is_shown(
    robin_etl: Command, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", "1,a@x.nl,10,2026-03-01")
    sandbox.robin.faults = Faults(script={1: Fault.BUSY_SECONDS})
    done = robin_etl("run", "--date", "2026-03-01")
    assert done.returncode == 0, done.stderr
    assert "ROBIN asks to wait: 0:00:01." in done.stderr
    assert "Posted 1 change in 2 requests." in done.stdout


@pytest.mark.parametrize("by_file", [False, True])
def test_a_baseline_posts_nothing(
    robin_etl: Command, export: Export, sandbox: Sandbox, by_file: bool
) -> None:
    path = export("2026-03-01", "1,a@x.nl,10,2026-03-01")
    days = ["--from", "2026-03-01", "--to", "2026-03-01"]
    done = robin_etl("baseline", *([str(path)] if by_file else days))
    assert done.returncode == 0, done.stderr
    assert "Acknowledged 1 order without posting." in done.stdout
    assert sandbox.robin.read_state()["requests"] == 0
    assert last_line(robin_etl("run", "--date", "2026-03-01", "--json"))["unchanged"] == 1


def test_check_reads_and_validates_and_writes_nothing(
    robin_etl: Command, export: Export, tmp_path: Path
) -> None:
    path = export("2026-03-01", *(f"{n},c{n}@x.nl,1,2026-03-01" for n in range(30)), "x,,1,2026-03-01")
    before = sorted(tmp_path.rglob("*"))
    done = robin_etl("check", str(path))
    assert done.returncode == 3
    assert "31 rows, 1 of them to quarantine" in done.stdout
    assert "contact_present" in done.stdout
    assert "@x.nl" not in done.stdout
    checked = last_line(robin_etl("check", str(path), "--json"))
    assert checked["rules"]["contact_present"] == 1  # type: ignore[index]
    assert sorted(tmp_path.rglob("*")) == before


def test_check_says_why_a_run_would_stop(robin_etl: Command, export: Export) -> None:
    path = export("2026-03-01", "x,,1,2026-03-01")
    done = robin_etl("check", str(path))
    assert done.returncode == 1
    assert "1 of 1 rows break a rule" in done.stderr


def test_status_tells_what_the_ledger_knows(robin_etl: Command, export: Export) -> None:
    assert "The ledger is empty" in robin_etl("status").stdout
    export("2026-03-01", "1,a@x.nl,10.50,2026-03-01", "2,a@x.nl,1,2026-03-02")
    robin_etl("run", "--date", "2026-03-01")
    robin_etl("run", "--date", "2026-03-02")
    shown = robin_etl("status").stdout
    assert "2 orders, 1 of them first orders; revenue 11.50" in shown
    assert "The last run stopped: There is no export for 2026-03-02" in shown
    known = json.loads(robin_etl("status", "--json").stdout)
    assert [run["outcome"] for run in known["runs"]] == ["stopped", "done"]
    assert known["runs"][1]["counts"]["posted"] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("sigint", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_sandbox_serves_until_a_signal_however_it_was_started(
    settings: Settings, number: signal.Signals, sigint: signal.Handlers
) -> None:
    with processes.started(
        processes.with_sigint(
            sigint, [COMMAND, "sandbox", "--port", "0", "--key", "k", "--secret", "s"]
        ),
        env=environment(settings),
    ) as process:
        address = re.fullmatch(r"ROBIN_ETL_BASE_URL=(http://127\.0\.0\.1:\d+)\n", process.next_line())
        assert address is not None
        url = address[1]
        order = {
            "order_number": "1",
            "email_address": "a@x.nl",
            "revenue": 1,
            "order_date": "2026-03-01T00:00:00Z",
            "is_first_order": True,
        }
        body = {"orders": [order]}
        assert requests.post(f"{url}/dynamic/orders", json=body, auth=("k", "s"), timeout=60).ok
        assert requests.get(f"{url}/sandbox/state", timeout=60).json()["requests"] == 1
        process.signal(number)
        assert process.ended() == 0
        assert process.printed.endswith("It held 1 order.\n")


def test_the_demonstration_holds_every_kind_and_ends_without_a_complaint(
    robin_etl: Command, tmp_path: Path
) -> None:
    done = robin_etl("demo", "--folder", "shown")
    assert done.returncode == 0, done.stderr
    assert "ROBIN holds 54 orders worth 1252.94 and has 0 complaints." in done.stdout
    assert "\nThe guard old_orders stopped 2026-11-06: 24 of 26 new orders (S101, " in done.stdout
    assert "\n2026-11-06: run --allow old_orders\n" in done.stdout
    assert json.loads(robin_etl("demo", "--folder", "shown", "--json").stdout)["revenue"] == 1252.94
    state = json.loads((tmp_path / "shown" / "robin.json").read_text())
    assert set(state["situations"]) == {"first", "repeat", "return", "upsell", "correction"}
    orders = state["orders"]
    assert (orders["01004"]["revenue"], orders["01006"]["is_first_order"]) == (0, True)
    assert "01005" not in orders


def test_it_is_installed(settings: Settings, export: Export, sandbox: Sandbox) -> None:
    export("2026-03-01", "1,a@x.nl,10,2026-03-01")
    processes.run([COMMAND, "run", "--date", "2026-03-01"], env=environment(settings), succeeds=True)
    assert list(sandbox.robin.orders) == ["1"]


def test_help_is_there_for_every_command(robin_etl: Command) -> None:
    shown = robin_etl("--help").stdout
    for command in ("run", "backfill", "baseline", "check", "status", "sandbox", "demo"):
        assert command in shown
        assert robin_etl(command, "--help").returncode == 0
    assert robin_etl("--version").stdout.startswith("robin-etl")


def test_check_of_a_damaged_file_is_a_sentence(robin_etl: Command, exports: Path) -> None:
    for name, content in (("a.parquet", b"PAR1 and no more"), ("a.jsonl", b"[" * 100_000)):
        (exports / name).write_bytes(content)
        done = robin_etl("check", str(exports / name))
        assert done.returncode == 1
        assert name in done.stderr
        assert "mistake of robin-etl's" not in done.stderr


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_has_help_with_an_example_in_80_columns(command: str) -> None:
    commands = cli.commands[command]
    for one in commands.commands.values() if isinstance(commands, click.Group) else [commands]:
        shown = one.get_help(click.Context(one, info_name=command, max_content_width=80))
        assert "Example: robin-etl" in shown
        assert max(map(len, shown.splitlines())) <= 80


def test_the_shell_completes_commands(tmp_path: Path) -> None:
    asked = {"_ROBIN_ETL_COMPLETE": "bash_complete", "COMP_WORDS": "robin-etl ba", "COMP_CWORD": "1"}
    done = processes.run([COMMAND], env=asked, cwd=tmp_path)
    assert done.stdout.split() == ["plain,backfill", "plain,baseline"]


def on_a_terminal(
    settings: Settings, *arguments: str, command: Path = COMMAND, ends_with: int = 3, **extra: str
) -> str:
    """What this `robin-etl` shows on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        with os.fdopen(theirs) as other:
            process = subprocess.Popen(
                [command, *arguments],
                env={**environment(settings), "TERM": "xterm-256color", "COLUMNS": "80", **extra},
                stdout=other,
                stderr=other,
                start_new_session=True,
            )
        processes.note(process)
        with process:
            try:
                with suppress(OSError):  # which is how a terminal ends
                    while part := terminal.read(65_536):
                        shown += part
                assert process.wait(processes.DEADLINE) == ends_with, shown
            finally:
                processes.end(process, kindly=False)
    return shown.decode()


def test_colours_are_for_terminals_unless_no_color_is_set(
    settings: Settings, export: Export, robin_etl: Command, quick_command: Path
) -> None:
    export("2026-03-01", *(f"{n},c{n}@x.nl,1,2026-03-01" for n in range(30)), "x,,1,2026-03-01")
    run = ("run", "--date", "2026-03-01", "--dry-run")
    colour = re.compile(r"\x1b\[[\d;]*3[0-7][\d;]*m")
    shown = on_a_terminal(settings, *run)
    assert colour.search(shown)
    assert "Quarantined 1 row;" in shown
    assert not colour.search(on_a_terminal(settings, *run, command=quick_command, NO_COLOR="1"))
    assert "\x1b" not in robin_etl(*run).stdout


def test_a_file_of_any_name_can_be_run_as_the_export_of_a_day(
    robin_etl: Command, export: Export, sandbox: Sandbox
) -> None:
    path = export("2026-03-01", "1,a@x.nl,10,2026-03-01T10:00:00Z")
    file = path.rename(path.with_name("dump.csv"))
    undated = robin_etl("run", str(file))
    assert undated.returncode == 2
    assert "say which day it is with --date" in undated.stderr
    assert robin_etl("run", str(file), "--date", "2026-03-01").returncode == 0
    assert list(sandbox.robin.orders) == ["1"]
