"""Guards: what they trip at and what passes, one order more or less; and the figures they look at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from robin_etl.core import columns
from robin_etl.core.figures import Figures, KindTotal, Tally, measure_changes
from robin_etl.core.guards import GUARDS, GuardLimits
from robin_etl.gate import Circumstances, find_tripped

USUAL = Circumstances(
    rows_read=100,
    rows_compared=100,
    usual_rows=100,
    is_history=False,
    is_baseline=False,
    holds_orders=True,
    differing=(),
)
OTHERWISE = replace(USUAL, differing=("profile shopify instead of robin",))
EMPTY = replace(USUAL, rows_read=0)


def tally(orders: int) -> Tally:
    return Tally(orders, tuple(map(str, range(min(orders, 3)))))


def tripped(figures: Figures, circumstances: Circumstances = USUAL, **limits: Any) -> list[str]:
    return [guard.name for guard in find_tripped(figures, circumstances, GuardLimits(**limits))]


def in_rows(rows: int) -> Circumstances:
    return replace(USUAL, rows_compared=rows)


@pytest.mark.parametrize(
    ("figures", "circumstances", "guard"),
    [
        (Figures(corrections=tally(1_001)), in_rows(5_004), "corrections"),
        (Figures(returns=tally(101)), in_rows(201), "returns"),
        (Figures(scaled={"10": tally(3), "1/100": tally(21)}), USUAL, "scale"),
        (Figures(changed=tally(21)), OTHERWISE, "settings"),
        (Figures(replaced=tally(21)), in_rows(104), "identity"),
        (Figures(new=104, old=tally(21)), USUAL, "old_orders"),
        (
            Figures(new=101, new_by_day={"2026-03-01": 101}),
            replace(USUAL, holds_orders=False),
            "no_history",
        ),
        (Figures(), replace(EMPTY, usual_rows=20), "empty"),
    ],
)
def test_a_guard_trips_beyond_its_numbers_and_says_which_they_are(
    figures: Figures, circumstances: Circumstances, guard: str
) -> None:
    found = find_tripped(figures, circumstances, GuardLimits())
    assert [one.name for one in found] == [guard]
    limit = getattr(GuardLimits(), guard)
    assert f"{limit:,}" in found[0].words
    examples = [one.examples for one in vars(figures).values() if isinstance(one, Tally) and one.count]
    assert all(", ".join(orders) in found[0].words for orders in examples)


@pytest.mark.parametrize(
    ("figures", "circumstances"),
    [
        (Figures(corrections=tally(1_000)), in_rows(1_000)),
        (Figures(corrections=tally(1_100)), in_rows(5_500)),
        (Figures(returns=tally(100)), in_rows(100)),
        (Figures(returns=tally(101)), in_rows(202)),
        (Figures(scaled={"10": tally(20), "100": tally(20)}), USUAL),
        (Figures(changed=tally(20)), OTHERWISE),
        (Figures(changed=tally(1_000)), USUAL),
        (Figures(replaced=tally(20)), in_rows(20)),
        (Figures(replaced=tally(21)), in_rows(105)),
        (Figures(new=20, old=tally(20)), USUAL),
        (Figures(new=105, old=tally(21)), USUAL),
        (Figures(new=200, new_by_day={"a": 100, "b": 100}), replace(USUAL, holds_orders=False)),
        (Figures(new=10_000, new_by_day={"a": 10_000}), USUAL),
        (Figures(), replace(EMPTY, usual_rows=19.5)),
        (Figures(), replace(EMPTY, usual_rows=None)),
        (Figures(), USUAL),
    ],
)
def test_what_a_shop_may_do_in_a_day_passes(figures: Figures, circumstances: Circumstances) -> None:
    assert tripped(figures, circumstances) == []


ALL = Figures(
    corrections=tally(2_000),
    returns=tally(2_000),
    changed=tally(2_000),
    scaled={"10": tally(2_000)},
    replaced=tally(2_000),
    new=2_000,
    old=tally(2_000),
    new_by_day={"2026-03-01": 2_000},
)
WORST = replace(OTHERWISE, rows_read=0, holds_orders=False)


def test_a_run_that_says_it_is_history_passes_those_that_are_about_a_day() -> None:
    assert tripped(ALL, WORST) == list(GUARDS)
    history = replace(WORST, is_history=True)
    assert tripped(ALL, history) == ["corrections", "returns", "scale", "settings", "identity"]


def test_a_baseline_is_stopped_by_what_may_be_another_shops_file() -> None:
    baseline = replace(WORST, is_history=True, is_baseline=True)
    assert tripped(ALL, baseline) == ["scale", "settings", "identity"]


@pytest.mark.parametrize("guard", GUARDS)
def test_each_number_of_a_guard_can_be_set(guard: str) -> None:
    assert guard not in tripped(ALL, WORST, **{guard: 1_000_000})


CHANGE = {
    "order_number": "1",
    "kind": "upsell",
    "wave": 1,
    "exported_on": "2026-03-31",
    "revenue": 1000,
    "old_revenue": 500,
    "order_date": "2026-03-01T10:00:00Z",
    "old_order_date": "2026-03-01T10:00:00Z",
    "placed_at": "2026-03-01T10:00:00Z",
    "is_first_order": False,
    "was_first_order": False,
    "is_other_customer": False,
}


def measure(*changes: dict[str, Any], days: int = 30) -> Figures:
    table = pd.DataFrame([{**CHANGE, "order_number": f"{at}", **one} for at, one in enumerate(changes)])
    return measure_changes(columns.conform(table, columns.CHANGE_DTYPES), old_after_days=days)


def test_money_is_added_up_by_kind() -> None:
    figures = measure(
        {"kind": "return", "revenue": 0}, {}, {"revenue": 700}, {"kind": "first", "old_revenue": None}
    )
    assert figures.kinds["upsell"] == KindTotal(2, 1700, 1000)
    assert figures.kinds["upsell"].difference == 700
    assert figures.kinds["return"] == KindTotal(1, 0, 500)
    assert figures.kinds["first"] == KindTotal(1, 1000, 0)
    assert figures.kinds["correction"] == KindTotal()
    assert (figures.returns, figures.changed.count, figures.new) == (Tally(1, ("0",)), 3, 1)


@pytest.mark.parametrize(
    ("old", "new", "factor"),
    [
        (1234, 123400, "100"),
        (1234, 12340, "10"),
        (5, 5000, "1,000"),
        (123400, 1234, "1/100"),
        (123450, 1235, "1/100"),
        (999_999_999_999, 1_000_000_000, "1/1,000"),
    ],
)
def test_an_order_that_is_a_power_of_ten_of_what_it_was_is_scaled(
    old: int, new: int, factor: str
) -> None:
    assert measure({"old_revenue": old, "revenue": new}).scaled == {factor: Tally(1, ("0",))}


@pytest.mark.parametrize(
    ("old", "new"), [(1000, 0), (0, 1000), (1000, 2000), (1000, 10001), (1000, 101)]
)
def test_any_other_order_is_not_scaled(old: int, new: int) -> None:
    assert measure({"old_revenue": old, "revenue": new}).scaled == {}


def test_an_order_that_changes_several_times_counts_once() -> None:
    figures = measure(*({"order_number": "7", "wave": wave} for wave in (1, 2, 3)))
    assert figures.changed == Tally(1, ("7",))


def test_an_order_with_another_customer_and_date_is_replaced() -> None:
    other = {"is_other_customer": True, "order_date": "2026-03-09T10:00:00Z"}
    figures = measure(other, {"is_other_customer": True}, {"order_date": "2026-03-09T10:00:00Z"})
    assert figures.replaced == Tally(1, ("0",))


@pytest.mark.parametrize(
    ("placed_at", "is_old"),
    [
        ("2026-03-01T00:00:00Z", False),
        ("2026-02-28T23:59:59Z", True),
        ("2026-04-01T00:00:00Z", False),
        ("0001-01-01T00:00:00Z", True),
    ],
)
def test_a_new_order_is_old_beyond_so_many_days_before_its_exports(placed_at: str, is_old: bool) -> None:
    new = {"kind": "first", "old_revenue": None, "placed_at": placed_at}
    assert measure(new).old.count == is_old
    assert measure({"placed_at": placed_at}).old.count == 0


def test_no_changes_come_to_nothing() -> None:
    nothing = measure_changes(columns.make_empty(columns.CHANGE_DTYPES), old_after_days=30)
    assert nothing == Figures.add_up([])
    assert Figures.add_up([nothing, nothing]) == nothing


def test_partitions_add_up_to_what_one_would_have_been() -> None:
    changes: list[dict[str, Any]] = [
        {"revenue": 50_000},
        {"kind": "first", "old_revenue": None},
        {"kind": "return", "revenue": 5},
        {
            "kind": "correction",
            "revenue": 500,
            "is_other_customer": True,
            "order_date": "2026-03-02T10:00:00Z",
        },
    ]
    numbered = [{"order_number": f"{at}", **one} for at, one in enumerate(changes)]
    assert Figures.add_up([measure(*numbered[:2]), measure(*numbered[2:])]) == measure(*numbered)
