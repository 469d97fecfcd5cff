"""Cancelled orders: never told where ROBIN did not know them, else taken back; and nobody's first."""

from __future__ import annotations

from pathlib import Path

import pytest

from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests.conftest import Export, run_days
from tests.integration.test_cli import Command, last_line, robin_etl

__all__ = ["robin_etl"]  # a fixture

HEADER = "order_number,email_address,revenue,order_date,status"
PROFILE = """
extends = "robin"
[status]
column = "status"
pending = ["on hold"]
cancelled = ["cancelled"]
refunded = ["refunded"]
"""


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Settings:
    """Settings whose profile sorts statuses."""
    profile = tmp_path / "shop.toml"
    profile.write_text(PROFILE)
    return settings.model_copy(update={"profile": str(profile)})


def test_an_order_that_was_never_paid_is_not_told_and_the_next_one_is_the_first(
    robin_etl: Command, shop: Settings, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", "1,ann@x.nl,10,2026-03-01,on hold", header=HEADER)
    export("2026-03-02", "1,ann@x.nl,10,2026-03-01,cancelled", header=HEADER)
    export("2026-03-03", "2,ann@x.nl,20,2026-03-03,paid", header=HEADER)
    for day in ("2026-03-01", "2026-03-02"):
        assert robin_etl("run", "--date", day, PROFILE=shop.profile).returncode == 0
    done = robin_etl("run", "--date", "2026-03-03", "--json", PROFILE=shop.profile)
    assert (last_line(done)["first"], last_line(done)["posted"]) == (1, 1)
    assert set(sandbox.robin.orders) == {"2"}
    assert sandbox.robin.orders["2"]["is_first_order"] is True


def test_an_order_that_was_told_and_cancelled_gives_its_place_to_the_next(
    robin_etl: Command, shop: Settings, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", "1,ann@x.nl,10,2026-03-01,paid", header=HEADER)
    export("2026-03-02", "1,ann@x.nl,10,2026-03-01,cancelled", header=HEADER)
    export("2026-03-03", "2,ann@x.nl,20,2026-03-03,paid", header=HEADER)
    for day in ("2026-03-01", "2026-03-02", "2026-03-03"):
        assert robin_etl("run", "--date", day, PROFILE=shop.profile).returncode == 0
    assert sandbox.robin.orders["1"]["revenue"] == 0
    assert sandbox.robin.orders["1"]["is_first_order"] is True  # where it is taken back from
    assert sandbox.robin.orders["2"]["is_first_order"] is True
    assert sandbox.robin.situations == {"first": 2, "return": 1}
    assert sandbox.robin.read_state()["complaints"] == []


def test_the_order_that_becomes_first_is_corrected_in_the_same_run_with_its_customers_address(
    shop: Settings, export: Export, sandbox: Sandbox
) -> None:
    export(
        "2026-03-01",
        "1,ann@x.nl,10,2026-03-01T10:00:00Z,paid",
        "2,Ann@x.nl,20,2026-03-01T11:00:00Z,paid",
        header=HEADER,
    )
    export("2026-03-02", "1,,10,2026-03-01T10:00:00Z,cancelled", header=HEADER)
    run_days(shop, "2026-03-01")
    summary = run_days(shop, "2026-03-02")
    assert (summary["return"], summary["correction"], summary["without_contact"]) == (1, 1, 0)
    assert sandbox.robin.orders["2"]["is_first_order"] is True
    assert sandbox.robin.orders["2"]["email_address"] == "ann@x.nl"
    assert sandbox.robin.read_state()["complaints"] == []


@pytest.mark.parametrize("status", ["refunded", "paid"])
def test_an_order_that_is_worth_nothing_but_was_bought_stays_its_customers_first(
    shop: Settings, export: Export, sandbox: Sandbox, status: str
) -> None:
    export(
        "2026-03-01", f"1,ann@x.nl,{0 if status == 'paid' else 10},2026-03-01,{status}", header=HEADER
    )
    export("2026-03-02", "2,ann@x.nl,20,2026-03-02,paid", header=HEADER)
    for day in ("2026-03-01", "2026-03-02"):
        run_days(shop, day)
    assert sandbox.robin.orders["1"] == {
        "order_number": "1",
        "email_address": "ann@x.nl",
        "revenue": 0,
        "order_date": "2026-03-01T00:00:00Z",
        "is_first_order": True,
    }
    assert sandbox.robin.orders["2"]["is_first_order"] is False


def test_an_older_day_revives_no_cancelled_order_and_a_newer_one_does(
    shop: Settings, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", "1,ann@x.nl,10,2026-03-01,paid", header=HEADER)
    export("2026-03-02", "1,ann@x.nl,10,2026-03-01,cancelled", header=HEADER)
    export("2026-03-03", "1,ann@x.nl,15,2026-03-01,paid", header=HEADER)
    summary = run_days(shop, "2026-03-02")
    assert (summary["posted"], summary["untold"]) == (0, 1)
    assert run_days(shop, "2026-03-01")["stale"] == 1
    assert sandbox.robin.orders == {}
    assert run_days(shop, "2026-03-03")["first"] == 1
    assert sandbox.robin.orders["1"]["revenue"] == 15
    assert run_days(shop, "2026-03-02")["posted"] == 0


def test_a_baseline_remembers_cancelled_orders_without_acknowledging_them(
    robin_etl: Command, shop: Settings, export: Export, sandbox: Sandbox
) -> None:
    export(
        "2026-03-01",
        "1,ann@x.nl,10,2026-03-01,cancelled",
        "2,ann@x.nl,20,2026-03-02,paid",
        header=HEADER,
    )
    done = robin_etl("baseline", "--from", "2026-03-01", "--to", "2026-03-01", PROFILE=shop.profile)
    assert "Acknowledged 1 order without posting." in done.stdout
    export("2026-03-03", "1,ann@x.nl,10,2026-03-01,paid", header=HEADER)
    run_days(shop, "2026-03-03")
    assert sandbox.robin.orders["1"]["is_first_order"] is True
    assert sandbox.robin.orders["2"]["is_first_order"] is False
