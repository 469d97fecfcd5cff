"""95 days of a real shop: day by day, as one range, shuffled, cut off and run again.

Each of the 95 as a run of its own, through a whole Airflow, is `make test-airflow`.
"""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests.conftest import KEY, REAL_SHOP, SECRET, run_days

pytestmark = pytest.mark.skipif(not REAL_SHOP.is_dir(), reason="the real shop's exports are absent")

DAYS = [path.stem.removeprefix("orders_") for path in sorted(REAL_SHOP.glob("orders_*.csv"))]
FIRST, LAST = "2010-12-01", "2011-03-31"
SINGLE = 8  # so many days are run one by one before the rest is as a range
SITUATIONS = {"first": 2604, "repeat": 2540, "return": 761, "upsell": 24}


@pytest.fixture
def shop(settings: Settings) -> Settings:
    return settings.model_copy(update={"exports": str(REAL_SHOP)})


def state(sandbox: Sandbox) -> dict[str, Any]:
    told = sandbox.robin.read_state()
    assert told["complaints"] == []
    return told


@pytest.fixture(scope="module")
def as_one_range(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ROBIN holds after one backfill over everything."""
    folder = tmp_path_factory.mktemp("range")
    with Sandbox(Robin(KEY, SECRET, limits=())) as sandbox:
        settings = settings_in(folder, sandbox)
        summary = run_days(settings, FIRST, LAST)
        assert {name: summary[name] for name in SITUATIONS} == SITUATIONS
        assert (summary["correction"], summary["unchanged"], summary["quarantined"]) == (0, 1, 24)
        again = run_days(settings, FIRST, LAST)
        assert again["posted"] == again["requests"] == 0
        told = state(sandbox)
    assert told["situations"] == SITUATIONS
    assert len(told["orders"]) == 5144
    orders: dict[str, Any] = told["orders"]
    return orders


def settings_in(folder: Path, sandbox: Sandbox) -> Settings:
    return Settings.read(
        base_url=sandbox.url,
        api_key=KEY,
        api_secret=SECRET,
        exports=str(REAL_SHOP),
        ledger=str(folder / "ledger.db"),
        runs=str(folder / "runs"),
        rate_limits="100000/s",
        max_attempts=1,
    )


def test_day_by_day_robin_is_told_every_order_right(
    shop: Settings, sandbox: Sandbox, as_one_range: dict[str, Any]
) -> None:
    total: Counter[str] = Counter()
    for first, last in [*((day, day) for day in DAYS[:SINGLE]), (DAYS[SINGLE], LAST)]:
        summary = run_days(shop, first, last)
        total.update({name: value for name, value in summary.items() if isinstance(value, int)})
    assert {name: total[name] for name in SITUATIONS} == SITUATIONS
    assert (total["correction"], total["unchanged"], total["quarantined"]) == (0, 1, 24)
    assert state(sandbox)["orders"] == as_one_range
    for day in (DAYS[3], DAYS[-1]):
        assert run_days(shop, day)["posted"] == 0


def test_in_partitions_it_is_the_same(
    shop: Settings, sandbox: Sandbox, as_one_range: dict[str, Any]
) -> None:
    there = shop.model_copy(update={"shards": 5})
    run_days(there, "2011-02-01", LAST)
    summary = run_days(there, FIRST, "2011-01-31")
    assert summary["partitions"] == 5
    assert state(sandbox)["orders"] == as_one_range


def test_days_in_shuffled_groups_end_the_same(
    shop: Settings, sandbox: Sandbox, as_one_range: dict[str, Any]
) -> None:
    bounds = [*range(0, len(DAYS), 20), len(DAYS)]
    groups = [DAYS[start:end] for start, end in pairwise(bounds)]
    random.Random(20101201).shuffle(groups)
    assert groups != sorted(groups)
    for group in groups:
        run_days(shop, group[0], group[-1])
    assert state(sandbox)["orders"] == as_one_range


def test_a_range_that_is_cut_off_again_and_again_ends_the_same(
    shop: Settings, as_one_range: dict[str, Any]
) -> None:
    class Tiring(Robin):
        """Answers twenty requests, then none until it is woken."""

        left = 20

        def answer(self, authorization: str | None, body: bytes) -> tuple[int, Any]:
            if self.left == 0:
                return 503, {"error": "tired"}
            self.left -= 1
            return super().answer(authorization, body)

    from robin_etl.exceptions import RobinUnavailableError

    robin = Tiring(KEY, SECRET, limits=())
    with Sandbox(robin) as sandbox:
        there = shop.model_copy(update={"base_url": sandbox.url})
        stops = 0
        while True:
            robin.left = 20
            try:
                summary = run_days(there, FIRST, LAST)
                break
            except RobinUnavailableError:
                stops += 1
        assert stops == 3
        assert summary["posted"] < 1000
        assert state(sandbox)["orders"] == as_one_range


def test_in_postgresql_it_is_the_same(
    shop: Settings, postgresql: str, sandbox: Sandbox, as_one_range: dict[str, Any]
) -> None:
    there = shop.model_copy(update={"ledger": postgresql})
    run_days(there, "2011-02-01", LAST)
    run_days(there, FIRST, "2011-01-31")
    assert state(sandbox)["orders"] == as_one_range
