"""A stranger's text is only ever text: no markup, no link, no sign that steers a terminal or a page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from robin_etl.exceptions import ExportError
from robin_etl.redaction import make_printable
from robin_etl.sandbox.faults import Faults
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests.conftest import HEADER, Export
from tests.integration.test_cli import Command, on_a_terminal, robin_etl

__all__ = ["robin_etl"]  # a fixture

DAY = "2026-03-01"
MARKUP = ("[/x]", "[bold]7", ":smile:", "[red]", "[/]")
LINK = "[link=https://x.example]here[/link]"
STEERING = ("\x1b]0;title\x07", "\x1b[2J", "\x9b2J", "\u202e", "\u200b", "\r", "\x00", "\u2028")


@pytest.mark.parametrize("text", STEERING)
def test_a_sentence_holds_no_sign_that_steers(text: str) -> None:
    assert str(ExportError(f"a{text}b", path="x")).isprintable()
    kept = make_printable(f"caf\u00e9\u00a0{text}\u4e2d")
    assert kept.startswith("caf\u00e9\u00a0")
    assert kept.endswith("\u4e2d")
    assert kept.replace("\u00a0", "").isprintable()


def test_numbers_of_orders_are_shown_as_they_are_in_every_table(
    robin_etl: Command, settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    rows = [f"{number},c{at}@x.nl,1,{DAY}" for at, number in enumerate((*MARKUP, LINK))]
    path = export(DAY, *rows, *(f"{n},d{n}@x.nl,1,{DAY}" for n in range(30)))
    checked = robin_etl("check", str(path)).stdout
    assert all(number in checked for number in MARKUP)
    rehearsed = robin_etl("run", "--date", DAY, "--dry-run").stdout
    assert all(number in rehearsed for number in MARKUP)
    sandbox.robin.faults = Faults(refused=r"^\[")
    ran = robin_etl("run", "--date", DAY).stdout
    assert "[/x]" in ran
    rejected = robin_etl("rejected").stdout
    assert all(number in rejected for number in MARKUP if number.startswith("["))
    shown = on_a_terminal(settings, "rejected", ends_with=0)
    assert "here[/" in shown
    assert "\x1b]8;" not in shown


def test_columns_and_words_that_would_steer_a_terminal_or_a_page_are_harmless(
    robin_etl: Command, settings: Settings, exports: Path, sandbox: Sandbox
) -> None:
    path = exports / f"orders_{DAY}.csv"
    path.write_text("order_number,[/x],\x1b]0;evil\x07,\u202ekcab\n1,a,b,c\n", encoding="utf-8")
    for command in (("check", str(path)), ("run", "--date", DAY)):
        done = robin_etl(*command)
        assert done.returncode == 1
        shown = done.stdout + done.stderr
        assert "email_address" in shown
        assert not any(sign in shown for sign in ("\x1b", "\x07", "\u202e"))
    status = robin_etl("status").stdout
    assert not any(sign in status for sign in ("\x1b", "\x07", "\u202e"))
    for page in Path(settings.runs).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not any(sign in text for sign in ("\x1b", "\x07", "\u202e"))


def test_an_order_number_that_steers_is_quarantined_and_shown_without_it(
    robin_etl: Command, exports: Path
) -> None:
    path = exports / f"orders_{DAY}.csv"
    path.write_text(
        f"{HEADER}\n\x1b[2J1,a@x.nl,1,{DAY}\n\u202e2,b@x.nl,1,{DAY}\n3,c@x.nl,1,{DAY}\n",
        encoding="utf-8",
    )
    shown = robin_etl("check", str(path))
    assert shown.returncode == 3
    assert not any(sign in shown.stdout for sign in ("\x1b", "\u202e"))


def test_a_template_in_a_name_of_a_suite_or_profile_is_a_name(
    robin_etl: Command, settings: Settings, export: Export, tmp_path: Path
) -> None:
    name = "{{ 7 * 7 }} {% raw %} {date} %s [/x] <b>"
    suites = tmp_path / "suites"
    shutil.copytree(settings.expectations, suites)
    content = json.loads((suites / "export.json").read_text())
    for rule in content["expectations"]:
        rule["meta"]["rule"] = (
            name if rule["meta"]["rule"] == "revenue_is_a_number" else rule["meta"]["rule"]
        )
    assert name in json.dumps(content)
    (suites / "export.json").write_text(json.dumps(content))
    (tmp_path / "mine.toml").write_text(f'extends = "robin"\nname = "{name}"\ntitle = "{name}"\n')
    changed = {"EXPECTATIONS": str(suites), "PROFILE": str(tmp_path / "mine.toml")}
    path = export(DAY, f"1,a@x.nl,ten,{DAY}", f"2,b@x.nl,1,{DAY}")
    assert name in " ".join(robin_etl("check", str(path), **changed).stdout.split())
    assert robin_etl("run", "--date", DAY, **changed).returncode == 3
    (page,) = Path(settings.runs).glob("*/report.html")
    assert "{{ 7 * 7 }} {% raw %} {date} %s [/x] &lt;b&gt;" in page.read_text(encoding="utf-8")
