"""A run that leaves something to look at is degraded, and says so wherever somebody may look."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from robin_etl.sandbox.faults import Fault, Faults
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.pages import INDEX
from tests import processes
from tests.conftest import Export
from tests.integration.test_cli import Command, on_a_terminal, robin_etl
from tests.integration.test_destination import answering

__all__ = ["robin_etl"]  # a fixture

SUITES = Path(__file__).parents[2] / "expectations"
BEFORE, DAY = "2026-03-01", "2026-03-02"
YELLOW = re.compile(r"\x1b\[[\d;]*33m")
RUN = ("run", "--date", DAY)
TOO_FEW_ROWS = {
    "type": "expect_table_row_count_to_be_between",
    "severity": "warning",
    "kwargs": {"min_value": 1000},
    "meta": {"rule": "a_thousand_rows"},
}


def orders(numbers: Iterable[int], *, revenue: str = "10") -> list[str]:
    return [f"{n},c{n}@x.nl,{revenue},2026-03-01" for n in numbers]


USUAL = orders(range(30))


@dataclass(frozen=True)
class Night:
    """A day that is to be looked at: the rows of the day before, its own, and what is said of it.

    `refused`: orders that ROBIN refuses, once `before` is told; `rules_in`: a suite that has one more
    rule, which warns; `answer`: what ROBIN says to each request.
    """

    words: str
    rows: Sequence[str]
    before: Sequence[str] = ()
    arguments: tuple[str, ...] = RUN
    refused: str | None = None
    rules_in: str = ""
    answer: bytes = b""
    aside: int = 0
    is_seen_by_dry_run: bool = True
    is_before_gone: bool = False


BOTH = ("backfill", "--from", BEFORE, "--to", DAY)
NIGHTS = {
    "far_fewer_rows": Night("the rule volume warned", orders(range(100, 105)), before=USUAL),
    "a_rule_on_changes": Night("the rule a_thousand_rows warned", USUAL, rules_in="changes.json"),
    "a_quarantined_row": Night("1 row quarantined", [*USUAL, "x,,1,2026-03-01"], aside=1),
    "a_rejected_order": Night(
        "1 order rejected", USUAL, refused="^7$", aside=1, is_seen_by_dry_run=False
    ),
    "an_order_held_back": Night(
        "1 order rejected, 1 order held back",
        [*USUAL[:7], *orders([7], revenue="4"), *USUAL[8:], *orders([99])],
        before=USUAL,
        arguments=BOTH,
        refused="^7$",
        aside=2,
        is_seen_by_dry_run=False,
    ),
    "a_correction_without_address": Night(
        "1 change waiting for an address",
        ["1,bob@x.nl,10,2026-03-01T01:00:00Z"],
        before=["1,ann@x.nl,10,2026-03-01T01:00:00Z", "2,ann@x.nl,10,2026-03-01T02:00:00Z"],
        is_before_gone=True,
        aside=1,
    ),
    "a_201_that_speaks_of_errors": Night(
        "30 changes taken with words of errors",
        USUAL,
        answer=b'{"errors": ["no such shop"]}',
        is_seen_by_dry_run=False,
    ),
    "two_things_at_once": Night(
        "1 row quarantined, the rule volume warned",
        [*orders(range(100, 125)), "x,,1,2026-03-01"],
        before=orders(range(100)),
        aside=1,
    ),
}


@dataclass(frozen=True)
class Shop:
    """What a night is tried with."""

    settings: Settings
    export: Export
    sandbox: Sandbox
    folder: Path
    robin_etl: Command
    command: Path

    def prepare(self, night: Night, stack: ExitStack) -> dict[str, str]:
        """Write the exports, tell ROBIN of the day before, and let come what may; the settings."""
        changed = {}
        if night.before:
            path = self.export(BEFORE, *night.before)
            if night.arguments == RUN:
                assert self.robin_etl("run", "--date", BEFORE).returncode == 0
            if night.is_before_gone:
                path.unlink()
        self.export(DAY, *night.rows)
        self.sandbox.robin.faults = Faults(refused=night.refused)
        if night.rules_in:
            changed["EXPECTATIONS"] = f"{write_suites(self.folder, night.rules_in)}"
        if night.answer:
            url, _ = stack.enter_context(answering(201, night.answer, "application/json"))
            changed["BASE_URL"] = url
        return changed


@pytest.fixture
def shop(
    settings: Settings,
    export: Export,
    sandbox: Sandbox,
    tmp_path: Path,
    robin_etl: Command,
    quick_command: Path,
) -> Shop:
    return Shop(settings, export, sandbox, tmp_path, robin_etl, quick_command)


def write_suites(folder: Path, name: str) -> Path:
    """The shipped suites, of which one has a rule more that warns."""
    suites = folder / "suites"
    shutil.copytree(SUITES, suites, dirs_exist_ok=True)
    suite = json.loads((suites / name).read_text())
    suite["expectations"].append(TOO_FEW_ROWS)
    (suites / name).write_text(json.dumps(suite))
    return suites


def newest_run(settings: Settings) -> Path:
    return max(Path(settings.runs).glob("*/"), key=lambda path: path.stat().st_mtime_ns)


def summary_of(run: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return summary


def line_with(words: str, shown: str) -> str:
    """The last such line, without what the terminal is told to do before it."""
    line = next(line for line in reversed(shown.splitlines()) if words in line)
    return re.sub(r"\x1b\[[\d;?]*[A-Zhl]", "", line)


def squeeze(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("night", NIGHTS.values(), ids=NIGHTS)
def test_such_a_night_ends_with_3_and_is_degraded_everywhere(shop: Shop, night: Night) -> None:
    with ExitStack() as stack:
        changed = shop.prepare(night, stack)
        dry = shop.robin_etl(*night.arguments, "--dry-run", "--json", **changed)
        rehearsed = newest_run(shop.settings) / "report.html"
        done = shop.robin_etl(*night.arguments, **changed)
    assert done.returncode == 3, done.stderr
    expected = (3, "degraded") if night.is_seen_by_dry_run else (0, "done")
    assert (dry.returncode, json.loads(dry.stdout)["outcome"]) == expected
    assert ('class="pill degraded"' in rehearsed.read_text()) == night.is_seen_by_dry_run
    assert "dry run: nothing was posted" in rehearsed.read_text()

    assert f"Degraded: {night.words}." in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1].startswith("Report: ")

    run = newest_run(shop.settings)
    summary = summary_of(run)
    assert (summary["outcome"], ", ".join(summary["to_look_at"])) == ("degraded", night.words)

    known = json.loads(shop.robin_etl("status", "--json").stdout)["runs"][0]
    assert (known["outcome"], known["counts"]["to_look_at"]) == ("degraded", summary["to_look_at"])
    status = squeeze(shop.robin_etl("status").stdout)
    assert (
        f"The last run is degraded: {night.words}. See report.html in its folder, {run.name}" in status
    )

    page = (run / "report.html").read_text()
    assert f'<span class="pill degraded">degraded: {night.words}</span>' in page
    assert 'class="pill good"' not in page
    index = (run.parent / INDEX).read_text()
    runs = index.partition("<h2>Runs</h2>")[2]
    line = next(part for part in runs.split("<tr>") if run.name in part)
    assert '<td class="degraded">degraded<br>' in line
    assert all(words in line for words in summary["to_look_at"])
    assert f'<td class="n">{night.aside}</td>\n<td class="n soft">' in line


def test_a_warning_alone_is_yellow_and_nothing_of_it_is_green(shop: Shop) -> None:
    with ExitStack() as stack:
        shop.prepare(NIGHTS["far_fewer_rows"], stack)
        shown = on_a_terminal(shop.settings, *RUN, command=shop.command)
    assert YELLOW.search(line_with("Degraded: the rule volume warned.", shown))
    assert "\x1b" not in line_with("Posted 5 changes", shown)
    status = on_a_terminal(shop.settings, "status", command=shop.command, ends_with=0)
    assert re.search(r"\x1b\[33mdegraded", status)


def test_a_run_with_nothing_to_look_at_is_done_and_green(shop: Shop) -> None:
    shop.export(DAY, *USUAL)
    shown = on_a_terminal(shop.settings, *RUN, command=shop.command, ends_with=0)
    assert "\x1b[32m" in line_with("Posted 30 changes", shown)
    assert "Degraded" not in shown
    run = newest_run(shop.settings)
    summary = summary_of(run)
    assert (summary["outcome"], summary["to_look_at"]) == ("done", [])
    assert '<span class="pill good">done</span>' in (run / "report.html").read_text()
    assert '<td class="good">done</td>' in (run.parent / INDEX).read_text()
    status = shop.robin_etl("status")
    assert " done " in status.stdout
    assert "The last run" not in status.stdout
    green = on_a_terminal(shop.settings, "status", command=shop.command, ends_with=0)
    assert re.search(r"\x1b\[32mdone", green)


def test_a_run_with_an_order_in_doubt_alone_is_done(shop: Shop) -> None:
    shop.export(DAY, *USUAL)
    shop.sandbox.robin.faults = Faults(script={1: Fault.RESET_AFTER})
    done = shop.robin_etl(*RUN, MAX_ATTEMPTS="3")
    assert done.returncode == 0, done.stderr
    assert "In doubt, ROBIN may have seen twice: 0, 1, " in done.stdout
    summary = summary_of(newest_run(shop.settings))
    assert (summary["outcome"], summary["in_doubt"], summary["to_look_at"]) == ("done", 30, [])


def test_a_stopped_run_is_stopped_whatever_it_set_aside(shop: Shop) -> None:
    shop.export(DAY, *USUAL, "x,,1,2026-03-01")
    stopped = shop.robin_etl(*RUN, API_SECRET="wrong")
    assert stopped.returncode == 1
    run = newest_run(shop.settings)
    summary = summary_of(run)
    assert (summary["outcome"], summary["quarantined"]) == ("stopped", 1)
    assert '<span class="pill bad">stopped</span>' in (run / "report.html").read_text()
    assert '<td class="bad">stopped</td>' in (run.parent / INDEX).read_text()
    status = shop.robin_etl("status").stdout
    assert "The last run stopped: " in status
    assert "is degraded" not in status


@pytest.mark.parametrize("rules_in", ["", "export.json"])
def test_a_baseline_is_degraded_as_a_run_is(shop: Shop, rules_in: str) -> None:
    rows = USUAL if rules_in else [*USUAL, "x,,1,2026-03-01"]
    words = "the rule a_thousand_rows warned" if rules_in else "1 row quarantined"
    path = shop.export(DAY, *rows)
    changed = {"EXPECTATIONS": f"{write_suites(shop.folder, rules_in)}"} if rules_in else {}
    done = shop.robin_etl("baseline", str(path), **changed)
    assert done.returncode == 3, done.stderr
    assert "Acknowledged 30 orders without posting." in done.stdout
    assert f"Degraded: {words}." in done.stdout
    again = shop.robin_etl("baseline", str(path), "--json", **changed)
    assert (again.returncode, json.loads(again.stdout)["outcome"]) == (3, "degraded")
    assert f"The last run is degraded: {words}." in squeeze(shop.robin_etl("status").stdout)


def check(shop: Shop, path: Path, **changed: str) -> tuple[processes.Completed, dict[str, Any]]:
    shown = shop.robin_etl("check", str(path), **changed)
    as_json = shop.robin_etl("check", str(path), "--json", **changed)
    assert as_json.returncode == shown.returncode
    return shown, json.loads(as_json.stdout)


def test_a_check_is_degraded_by_quarantined_rows_and_by_warnings(shop: Shop) -> None:
    suites = f"{write_suites(shop.folder, 'export.json')}"
    shown, checked = check(shop, shop.export(DAY, *USUAL), EXPECTATIONS=suites)
    assert (shown.returncode, checked["outcome"]) == (3, "degraded")
    assert checked["warnings"] == ["a_thousand_rows"]
    assert shown.stdout.splitlines()[-1] == "Degraded: the rule a_thousand_rows warned."
    shown, checked = check(shop, shop.export(DAY, *USUAL, "x,,1,2026-03-01"))
    assert (shown.returncode, checked["outcome"]) == (3, "degraded")
    assert shown.stdout.splitlines()[-1] == "Degraded: 1 row quarantined."


def test_a_check_of_a_good_file_is_done_and_of_a_bad_one_stopped(shop: Shop) -> None:
    shown, checked = check(shop, shop.export(DAY, *USUAL))
    assert (shown.returncode, checked["outcome"]) == (0, "done")
    assert "Degraded" not in shown.stdout
    shown, checked = check(shop, shop.export(DAY, *(f"{n},,1,2026-03-01" for n in range(30))))
    assert (shown.returncode, checked["outcome"]) == (1, "stopped")
    assert "Degraded" not in shown.stdout


def test_the_days_before_count_for_volume_though_they_were_degraded(shop: Shop) -> None:
    shop.export(BEFORE, *USUAL, "x,,1,2026-03-01")
    assert shop.robin_etl("run", "--date", BEFORE).returncode == 3
    shop.export(DAY, *orders(range(100, 105)))
    assert "Degraded: the rule volume warned." in shop.robin_etl(*RUN).stdout
