"""Rows that can't be: a date that no order has is set aside, an amount that no order has had is pointed
out, and one bad row of a small shop holds no day back.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests.conftest import Export, run_days
from tests.integration.test_cli import Command, last_line, robin_etl

__all__ = ["robin_etl"]  # a fixture

DAY = "2026-03-01"


def good(number: int, *, revenue: str = "20.00", placed: str = DAY) -> str:
    return f"{number},c{number}@x.nl,{revenue},{placed}"


def quarantined(settings: Settings) -> dict[str, str]:
    """The rule that each order of the newest run was set aside by."""
    newest = max(Path(settings.runs).glob(f"{DAY}.*/quarantine.csv"))
    with newest.open(newline="", encoding="utf-8") as lines:
        return {row["order_number"]: row["rules"] for row in csv.DictReader(lines)}


def test_one_bad_address_in_a_day_of_ten_holds_nothing_back(
    robin_etl: Command, export: Export, sandbox: Sandbox, settings: Settings
) -> None:
    export(DAY, *map(good, range(9)), f"9,ann@,10,{DAY}")
    done = robin_etl("run", "--date", DAY, "--json")
    assert done.returncode == 3, done.stderr
    assert (last_line(done)["posted"], last_line(done)["quarantined"]) == (9, 1)
    assert quarantined(settings) == {"9": "email_address_valid"}
    assert len(sandbox.robin.orders) == 9


def test_a_day_of_nothing_but_bad_rows_stops(robin_etl: Command, export: Export) -> None:
    export(DAY, f"1,ann@,10,{DAY}")
    done = robin_etl("run", "--date", DAY)
    assert done.returncode == 1
    assert "1 of 1 rows break a rule" in done.stderr


@pytest.mark.parametrize(
    ("placed", "rule"),
    [
        ("2099-01-01", "order_date_not_ahead"),
        ("2026-03-03", "order_date_not_ahead"),
        ("9999-12-31T23:00:00Z", "order_date_not_ahead"),
        ("1970-01-01T00:00:00Z", "order_date_not_zero"),
        ("1970-01-01", "order_date_not_zero"),
        ("1900-01-01 00:00", "order_date_not_zero"),
        ("0001-01-01T00:00:00", "order_date_not_zero"),
        ("9999-12-31T23:00:00-05:00", "order_date_readable"),
    ],
)
def test_an_order_of_a_date_that_can_not_be_is_set_aside_and_is_nobodys_first(
    settings: Settings, export: Export, sandbox: Sandbox, placed: str, rule: str
) -> None:
    export(DAY, *map(good, range(9)), good(9, placed=placed), f"10,c9@x.nl,10,{DAY}")
    summary = run_days(settings.model_copy(update={"timezone": "Europe/Amsterdam"}), DAY)
    assert (summary["posted"], summary["quarantined"]) == (10, 1)
    assert quarantined(settings) == {"9": rule}
    assert sandbox.robin.orders["10"]["is_first_order"] is True


@pytest.mark.parametrize(
    ("timezone", "placed"),
    [
        ("America/Los_Angeles", "2026-03-02T23:30:00"),
        ("America/Los_Angeles", "2026-03-03T07:30:00Z"),
        ("Pacific/Kiritimati", "2026-03-02T23:30:00"),
        ("UTC", "2026-03-02T23:59:59Z"),
    ],
)
def test_an_order_of_the_day_behind_the_exports_passes_whichever_the_zone(
    settings: Settings, export: Export, timezone: str, placed: str
) -> None:
    export(DAY, good(1, placed=placed))
    assert run_days(settings.model_copy(update={"timezone": timezone}), DAY)["quarantined"] == 0


def test_an_amount_far_beyond_the_days_others_is_told_and_pointed_out(
    robin_etl: Command, export: Export, sandbox: Sandbox
) -> None:
    path = export(DAY, *map(good, range(9)), good(9, revenue="99999999.99"))
    checked = robin_etl("check", f"{path}")
    done = robin_etl("run", "--date", DAY)
    assert done.returncode == 3, done.stderr
    assert "revenue_usual" in done.stdout
    assert checked.returncode == 3
    assert sandbox.robin.orders["9"]["revenue"] == 99999999.99


def test_dates_that_can_not_be_are_set_aside_and_their_day_is_told(
    robin_etl: Command, export: Export, sandbox: Sandbox, settings: Settings
) -> None:
    future, unset = good(9, placed="2099-06-01"), good(10, placed="1970-01-01T00:00:00Z")
    path = export(DAY, *map(good, range(9)), future, unset, f"11,c10@x.nl,10,{DAY}")
    checked = robin_etl("check", f"{path}", "--json")
    done = robin_etl("run", "--date", DAY, "--json")
    assert (checked.returncode, done.returncode) == (3, 3), done.stderr
    summary, found = json.loads(done.stdout), json.loads(checked.stdout)
    assert (summary["posted"], summary["quarantined"], summary["warnings"]) == (10, 2, [])
    aside = {"9": "order_date_not_ahead", "10": "order_date_not_zero"}
    assert quarantined(settings) == aside
    assert {rule for rule, rows in found["rules"].items() if rows} == {*aside.values()}
    assert sandbox.robin.orders["11"]["is_first_order"] is True


@pytest.mark.parametrize("rows", [[], ["1,ann@,99999999.99,2026-03-01", good(2)]])
def test_an_export_whose_amounts_say_nothing_is_no_warning(
    settings: Settings, export: Export, rows: list[str]
) -> None:
    export(DAY, *rows)
    assert run_days(settings, DAY)["warnings"] == []


def test_an_amount_is_far_beyond_by_the_days_before(settings: Settings, export: Export) -> None:
    export(DAY, good(9, revenue="200.00"))
    export("2026-03-02", good(10, revenue="10000.00"), good(11, revenue="10000.00"))
    export("2026-03-03", good(12, revenue="10000.01"))
    assert run_days(settings, DAY)["warnings"] == []
    assert run_days(settings, "2026-03-02")["warnings"] == []
    usual = (200 + 10_000) / 2
    export("2026-03-04", good(13, revenue=f"{50 * usual + 0.01}"))
    assert run_days(settings, "2026-03-04")["warnings"] == ["revenue_usual"]


def test_days_of_which_no_order_was_worth_anything_say_nothing_of_what_is_usual(
    settings: Settings, export: Export
) -> None:
    export(DAY, good(1, revenue="0"))
    export("2026-03-02", good(2))
    assert run_days(settings, DAY)["warnings"] == []
    assert run_days(settings, "2026-03-02")["warnings"] == []


def test_a_row_that_is_set_aside_is_no_measure_of_what_is_usual(
    settings: Settings, export: Export
) -> None:
    export(DAY, *map(good, range(9)), good(9, revenue="99999999.99", placed="2099-01-01"))
    assert run_days(settings, DAY)["warnings"] == []
    export("2026-03-02", good(10, revenue="1000.01"))
    assert run_days(settings, "2026-03-02")["warnings"] == ["volume", "revenue_usual"]
