"""Days that look like no day of a shop: each guard stops the run, says why, and can be let pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from robin_etl.exceptions import GuardError
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests.conftest import Export, run_days
from tests.integration.test_cli import Command, last_line, robin_etl

__all__ = ["robin_etl"]  # a fixture

PLACED, USUAL, DAY = "2026-02-20", "2026-03-01", "2026-03-02"
WARNED = 3  # a rule points out amounts that are a hundred times the usual, whatever is allowed
HEADER = "order_number,email_address,revenue,order_date,profit"


def orders(
    numbers: range,
    *,
    customer: str = "c",
    revenue: str = "12.34",
    placed: str = PLACED,
    profit: str = "",
) -> list[str]:
    return [f"{n},{customer}{n}@x.nl,{revenue},{placed},{profit}".rstrip(",") + "," for n in numbers]


@dataclass(frozen=True)
class Night:
    """A usual day, then one that is not: its rows, and settings that differ on it."""

    guard: str
    before: Sequence[str]
    rows: Sequence[str]
    words: tuple[str, ...]
    settings: tuple[tuple[str, str], ...] = ()
    days_before: int = 1


KNOWN = orders(range(30))
NIGHTS = [
    Night(
        "scale",
        KNOWN,
        orders(range(30), revenue="1234.00"),
        (
            "the revenue of 30 known orders (0, 1, 10, …)",
            "one and the same factor, 100",
            "cents for euros",
        ),
    ),
    Night(
        "scale",
        orders(range(25), revenue="500"),
        orders(range(25), revenue="50"),
        ("25 known orders", "one and the same factor, 1/10"),
    ),
    Night(
        "returns",
        orders(range(400)),
        orders(range(400), revenue="0"),
        ("400 returns in 400 rows (0, 1, 10, …)", "Up to 100, or 50% of the rows"),
    ),
    Night(
        "identity",
        KNOWN,
        orders(range(30), customer="other", revenue="99", placed="2026-03-02"),
        ("both customer and date of 30 known orders (0, 1, 10, …) change, in 30 rows",),
    ),
    Night(
        "settings",
        KNOWN,
        KNOWN,
        ("changes of 30 known orders", "time zone America/New_York instead of UTC"),
        (("TIMEZONE", "America/New_York"),),
    ),
    Night(
        "settings",
        KNOWN,
        KNOWN,
        ("changes of 30 known orders", "web store https://shop.example.com instead of none"),
        (("WEBSTORE_URL", "https://shop.example.com"),),
    ),
    Night(
        "corrections",
        orders(range(1_100)),
        orders(range(1_100), profit="3"),
        ("1,100 corrections in 1,100 rows (0, 1, 10, …)", "a new column or a changed mapping"),
    ),
    Night(
        "no_history",
        [],
        orders(range(101), placed=DAY),
        ("101 new orders of a day, and the ledger holds none", "a baseline"),
    ),
    Night(
        "old_orders",
        KNOWN,
        orders(range(100, 130), placed="2024-03-01"),
        ("30 of 30 new orders (100, 101, 102, …)", "more than 30 days before", "a baseline"),
    ),
    Night(
        "empty",
        orders(range(100)),
        [],
        ("the export has no rows, and the days before had 100",),
        days_before=3,
    ),
]


@pytest.mark.parametrize("night", NIGHTS, ids=lambda night: f"{night.guard}: {night.words[-1]}")
def test_a_day_that_no_shop_has_posts_nothing_until_it_is_allowed(
    night: Night, robin_etl: Command, export: Export, settings: Settings, sandbox: Sandbox
) -> None:
    for at in range(night.days_before if night.before else 0):
        export(f"2026-02-2{at}", *night.before, header=HEADER)
        run_days(settings, f"2026-02-2{at}")
    held = dict(sandbox.robin.orders)
    export(DAY, *night.rows, header=HEADER)
    day = ("run", "--date", DAY)
    changed = dict(night.settings)

    stopped = robin_etl(*day, **changed)
    assert stopped.returncode == 1, stopped.stdout + stopped.stderr
    assert f"The guard {night.guard} stopped {DAY}: " in stopped.stderr
    for words in night.words:
        assert words in stopped.stderr
    assert f"run again with --allow {night.guard} " in stopped.stderr
    assert f"The guard {night.guard} trips: " in stopped.stdout
    assert sandbox.robin.orders == held

    passed = robin_etl(*day, "--allow", night.guard, "--json", **changed)
    assert passed.returncode in (0, 3), passed.stderr
    assert last_line(passed)["posted"] == len(night.rows)


def test_a_dry_run_stops_where_a_real_run_would_and_only_the_guard_that_is_named_passes(
    robin_etl: Command, export: Export, settings: Settings
) -> None:
    export(USUAL, *KNOWN, header=HEADER)
    run_days(settings, USUAL)
    export(DAY, *orders(range(30), revenue="1234.00"), header=HEADER)
    for options in ((), ("--allow", "returns", "--allow", "empty")):
        done = robin_etl("run", "--date", DAY, "--dry-run", *options)
        assert done.returncode == 1
        assert "The guard scale stopped 2026-03-02: " in done.stderr
        assert "The guard scale trips: " in done.stdout
    assert robin_etl("run", "--date", DAY, "--dry-run", "--allow", "scale").returncode == WARNED


def plan_of(settings: Settings, day: str = DAY) -> dict[str, Any]:
    newest = max(
        Path(settings.runs).glob(f"{day}.*/plan.json"), key=lambda path: path.stat().st_mtime_ns
    )
    plan: dict[str, Any] = json.loads(newest.read_text())
    return plan


def test_the_plan_is_a_file_of_the_run_and_in_its_report(
    robin_etl: Command, export: Export, settings: Settings
) -> None:
    export(USUAL, *KNOWN, header=HEADER)
    run_days(settings, USUAL)
    rows = [*orders(range(29), revenue="1234.00"), *orders(range(29, 30), revenue="2.34")]
    export(DAY, *rows, *orders(range(100, 103), placed=DAY), header=HEADER)
    assert robin_etl("run", "--date", DAY, RATE_LIMITS="1/s", CHUNK_SIZE="9").returncode == 1
    plan = plan_of(settings)
    assert (plan["changes"], plan["requests"], plan["seconds"]) == (33, 4, 3)
    assert plan["kinds"]["upsell"] == {"changes": 29, "revenue": 29 * 123400, "before": 29 * 1234}
    assert plan["kinds"]["return"] == {"changes": 1, "revenue": 234, "before": 1234}
    assert plan["kinds"]["first"] == {"changes": 3, "revenue": 3 * 1234, "before": 0}
    assert [(one["name"], one["is_allowed"]) for one in plan["guards"]] == [("scale", False)]
    page = max(Path(settings.runs).glob(f"{DAY}.*/report.html")).read_text()
    assert "was stopped by it" in page
    assert "Posting them takes 4 requests and at least 0:00:03" in page

    assert robin_etl("run", "--date", DAY, "--allow", "scale").returncode == WARNED
    assert [(one["name"], one["is_allowed"]) for one in plan_of(settings)["guards"]] == [("scale", True)]


def test_a_dry_run_shows_the_first_changes_as_order_kind_was_and_will_be(
    robin_etl: Command, export: Export, settings: Settings
) -> None:
    export(USUAL, "1,ann@x.nl,10,2026-02-20,4", "2,bob@x.nl,20,2026-02-21,", header=HEADER)
    run_days(settings, USUAL)
    export(
        DAY,
        "1,ann@x.nl,10,2026-02-20,3",
        "2,bob@x.nl,5,2026-02-22,",
        "3,bob@x.nl,7.5,2026-03-02,",
        header=HEADER,
    )
    done = robin_etl("run", "--date", DAY, "--dry-run")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    start = lines.index("order kind was will be")
    assert lines[start + 1 : start + 4] == [
        "1 correction 10.00, profit 4.00, first 10.00, profit 3.00, first",
        "2 return 20.00, 2026-02-21, first 5.00, 2026-02-22, first",
        "3 repeat 7.50",
    ]
    assert "x.nl" not in done.stdout


HISTORY = [orders(range(200), placed="2024-03-01"), []]


@pytest.mark.parametrize("rows", HISTORY, ids=["old orders", "no rows"])
def test_a_backfill_of_one_day_says_that_its_history_is_meant(
    robin_etl: Command, export: Export, settings: Settings, rows: list[str]
) -> None:
    for at in range(3) if not rows else ():
        export(f"2026-02-2{at}", *orders(range(50), placed="2026-02-20"), header=HEADER)
        run_days(settings, f"2026-02-2{at}")
    export(DAY, *rows, header=HEADER)
    done = robin_etl("backfill", "--from", DAY, "--to", DAY, "--json")
    assert done.returncode in (0, 3), done.stderr
    assert last_line(done)["posted"] == len(rows)


def test_another_shops_file_is_no_baseline_of_this_shop(
    robin_etl: Command, export: Export, settings: Settings
) -> None:
    export(USUAL, *KNOWN, header=HEADER)
    run_days(settings, USUAL)
    export(DAY, *orders(range(30), customer="other", placed=DAY), header=HEADER)
    stopped = robin_etl("baseline", "--from", DAY, "--to", DAY)
    assert stopped.returncode == 1
    assert "The guard identity stopped" in stopped.stderr
    assert robin_etl("baseline", "--from", DAY, "--to", DAY, "--allow", "identity").returncode == 0


def test_the_numbers_are_settings_in_the_environment_and_in_the_file(
    robin_etl: Command, export: Export, settings: Settings, tmp_path: Path
) -> None:
    export(USUAL, *KNOWN, header=HEADER)
    run_days(settings, USUAL)
    export(DAY, *orders(range(30), revenue="1234.00"), header=HEADER)
    day = ("run", "--date", DAY, "--dry-run")
    assert robin_etl(*day, GUARDS='{"scale": 30}').returncode == WARNED
    config = tmp_path / "robin.toml"
    config.write_text("[guards]\nscale = 30\n")
    assert robin_etl(*day, CONFIG=str(config)).returncode == WARNED
    for wrong in ('{"scales": 30}', '{"scale": "many"}', "30"):
        refused = robin_etl(*day, GUARDS=wrong)
        assert refused.returncode == 2, wrong
        assert "ROBIN_ETL_GUARDS" in refused.stderr


def test_a_guard_that_does_not_exist_is_a_usage_error(robin_etl: Command) -> None:
    done = robin_etl("run", "--allow", "everything")
    assert done.returncode == 2
    assert "no_history" in done.stderr


def test_a_mapping_that_changes_within_a_profile_is_seen(
    robin_etl: Command, export: Export, settings: Settings, tmp_path: Path
) -> None:
    header = "number,mail,gross,net,date"
    profile = tmp_path / "shop.toml"
    text = (
        '[columns]\norder_number = "number"\nemail_address = "mail"\n'
        'revenue = "[{}]"\norder_date = "date"\n'
    )
    rows = [f"{n},c{n}@x.nl,121,100,2026-03-01" for n in range(25)]
    export(USUAL, *rows, header=header)
    export(DAY, *rows, "25,new@x.nl,121,100,2026-03-02", header=header)
    profile.write_text(text.format("gross"))
    assert robin_etl("run", "--date", USUAL, PROFILE=str(profile)).returncode == 0
    profile.write_text(text.format("net"))
    stopped = robin_etl("run", "--date", DAY, PROFILE=str(profile))
    assert stopped.returncode == 1
    assert "otherwise than the last one: the profile shop maps otherwise" in stopped.stderr
    assert robin_etl("run", "--date", DAY, "--allow", "settings", PROFILE=str(profile)).returncode == 0
    assert robin_etl("run", "--date", DAY, PROFILE=str(profile)).returncode == 0


def test_a_guard_looks_at_all_partitions_together_and_again_when_the_ledger_has_moved(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    export(USUAL, *KNOWN, header=HEADER)
    export(DAY, *orders(range(30), revenue="1234.00"), header=HEADER)
    run_days(settings, USUAL)
    sharded = settings.model_copy(update={"shards": 7})
    with pytest.raises(GuardError, match="30 known orders") as caught:
        run_days(sharded, DAY)
    assert caught.value.guards == ("scale",)
    assert all(order["revenue"] == 12.34 for order in sandbox.robin.orders.values())


def test_an_empty_day_among_quiet_ones_is_a_day_without_orders(
    robin_etl: Command, export: Export, settings: Settings
) -> None:
    for at in range(3):
        export(f"2026-02-2{at}", *orders(range(19), placed="2026-02-20"), header=HEADER)
        run_days(settings, f"2026-02-2{at}")
    export(DAY, header=HEADER)
    assert robin_etl("run", "--date", DAY).returncode in (0, 3)


def test_a_first_day_of_a_hundred_orders_needs_no_word(robin_etl: Command, export: Export) -> None:
    export(DAY, *orders(range(100), placed=DAY), header=HEADER)
    assert robin_etl("run", "--date", DAY).returncode == 0
