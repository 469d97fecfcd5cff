"""`profile new` and what follows it, through the command line."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path
from typing import Any

from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests import processes
from tests.conftest import Export
from tests.integration.test_cli import COMMAND, Command, environment, last_line, robin_etl

__all__ = ["robin_etl"]  # a fixture

UNCLEAR = (
    "order,email,total,date,status\n"
    "1,ann@example.com,5.00,05/04/2026,Xyzzy\n2,bob@example.com,6.00,06/04/2026,Paid\n"
)


def test_a_draft_runs_as_it_is(robin_etl: Command, tmp_path: Path, sandbox: Sandbox) -> None:
    exports = tmp_path / "theirs"
    exports.mkdir()
    (exports / "orders_2026-10-31.csv").write_text(
        "Bestelnummer;E-mail;Totaal;Terugbetaald;Status;Datum;Kanaal\n"
        "007;ann@example.com;1.234,50;34,50;Betaald;31-10-2026 09:50;web\n"
        "008;bob@example.com;12,50;;Wacht op betaling;31-10-2026 10:00;web\n"
        "009;cat@example.com;12,50;;Betaald;31-10-2026 10:00;winkel\n",
        encoding="utf-8",
    )
    drafted = robin_etl("profile", "new", str(exports / "orders_2026-10-31.csv"))
    assert drafted.returncode == 0, drafted.stderr
    assert "2 orders, revenue 1,212.50 together." in drafted.stderr
    assert "Not told: 1 pending order." in drafted.stderr
    assert "# Kanaal is one of: web (2), winkel (1)." in drafted.stdout
    (tmp_path / "shop.toml").write_text(
        f'{drafted.stdout}\n[only]\nKanaal = ["web"]\n', encoding="utf-8"
    )
    used = {"PROFILE": "shop.toml", "TIMEZONE": "Europe/Amsterdam", "EXPORTS": str(exports)}
    done = robin_etl("run", "--date", "2026-10-31", **used)
    assert done.returncode == 0, done.stderr
    assert "Left out 1 order by its Kanaal." in done.stdout
    assert "Left out 1 pending order." in done.stdout
    orders = sandbox.robin.read_state()["orders"]
    assert [(number, order["revenue"]) for number, order in orders.items()] == [("007", 1200)]
    assert orders["007"]["order_date"] == "2026-10-31T08:50:00Z"


def test_what_is_left_out_is_in_the_counts_and_the_report_by_reason(
    robin_etl: Command, export: Export, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "shop.toml").write_text(
        'extends = "robin"\n[leave_out]\nnote = ["*test*"]\n'
        '[currency]\ncolumn = "currency"\ncode = "EUR"\nothers = "leave_out"\n'
    )
    export(
        "2026-03-01",
        "1,a@x.nl,1,2026-03-01,EUR,",
        "2,b@x.nl,1,2026-03-01,GBP,",
        "3,c@x.nl,1,2026-03-01,EUR,a TEST order",
        header="order_number,email_address,revenue,order_date,currency,note",
    )
    done = robin_etl("run", "--date", "2026-03-01", "--json", PROFILE="shop.toml")
    counts: dict[str, Any] = last_line(done)
    assert (counts["exported"], counts["left_out"]) == (1, 2)
    assert counts["left_out_by"] == {"note": 1, "other currency": 1}
    (page,) = Path(settings.runs).glob("*/report.html")
    assert "Left out: 1 order by its note, 1 order in another currency." in page.read_text()


def test_a_question_that_nobody_answers_is_in_the_draft_and_the_exit_code(
    robin_etl: Command, tmp_path: Path
) -> None:
    (tmp_path / "unclear.csv").write_text(UNCLEAR)
    drafted = robin_etl("profile", "new", "unclear.csv")
    assert drafted.returncode == 1
    assert drafted.stdout.count("# QUESTION") == 2
    assert "Answers: the day, the month." in drafted.stderr
    (tmp_path / "shop.toml").write_text(drafted.stdout)
    refused = robin_etl("check", "unclear.csv", PROFILE="shop.toml")
    assert refused.returncode == 2
    assert "undecided has xyzzy" in refused.stderr


def test_at_a_terminal_a_draft_asks(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "unclear.csv").write_text(UNCLEAR)
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "wb", buffering=0) as terminal, os.fdopen(theirs) as other:
        process = subprocess.Popen(
            [COMMAND, "profile", "new", "unclear.csv"],
            env=environment(settings),
            cwd=tmp_path,
            stdin=other,
            stderr=other,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.note(process)
        terminal.write(b"the month\ncancelled\n")
        with process:
            assert process.stdout is not None
            text = process.stdout.read()
            assert process.wait(processes.DEADLINE) == 0
    assert 'date_formats = ["%m/%d/%Y"]' in text
    assert 'cancelled = ["xyzzy"]' in text
