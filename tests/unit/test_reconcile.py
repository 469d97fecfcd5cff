"""Reconciliation on literal tables: the five kinds, waves, what is stale, what is left unsaid."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from robin_etl.core import columns, customers
from robin_etl.core.reconcile import Reconciliation, reconcile

DAY = "2026-03-01"


def exported(*rows: dict[str, Any]) -> pd.DataFrame:
    """Rows with an order of Ann's on `DAY` for whatever they leave out."""
    usual = {
        "day": DAY,
        "email_address": "ann@x.nl",
        "revenue": 1000,
        "order_date": "2026-03-01T10:00:00Z",
    }
    table = pd.DataFrame([{**usual, **row} for row in rows], columns=[*columns.EXPORTED_DTYPES])
    return customers.add_digests(columns.conform(table, columns.EXPORTED_DTYPES), key=b"")


def compare(
    *rows: dict[str, Any], after: Reconciliation | None = None, final: bool = False
) -> Reconciliation:
    """Reconcile rows with the ledger that an earlier result left."""
    return reconcile(exported(*rows), ledger(after), final=final)


def ledger(after: Reconciliation | None) -> pd.DataFrame:
    if after is None:
        return columns.make_empty(columns.LEDGER_DTYPES)
    last = after.changes.drop_duplicates("order_number", keep="last")
    return columns.conform(last, columns.LEDGER_DTYPES)


def kinds(result: Reconciliation) -> dict[str, str]:
    return dict(zip(result.changes["order_number"], result.changes["kind"], strict=True))


def only(result: Reconciliation) -> dict[str, Any]:
    assert len(result.changes) == 1
    change = result.changes.astype(object).iloc[0]
    return {str(name): value for name, value in change.where(change.notna(), None).items()}


def test_a_customers_earliest_order_is_first_and_the_others_repeat() -> None:
    result = compare(
        {"order_number": "2", "order_date": "2026-03-01T11:00:00Z"},
        {"order_number": "1", "order_date": "2026-03-01T10:00:00Z"},
        {"order_number": "3", "email_address": "bob@x.nl"},
    )
    assert kinds(result) == {"1": "first", "2": "repeat", "3": "first"}
    assert result.changes["old_revenue"].isna().all()


def test_orders_of_one_moment_are_ordered_by_their_number_as_text() -> None:
    result = compare({"order_number": "9"}, {"order_number": "10"}, {"order_number": "010"})
    assert kinds(result) == {"9": "repeat", "10": "repeat", "010": "first"}


@pytest.mark.parametrize(
    ("revenue", "kind"), [(500, "return"), (0, "return"), (1001, "upsell"), (1000, None)]
)
def test_a_known_order_is_judged_by_its_revenue(revenue: int, kind: str | None) -> None:
    first = compare({"order_number": "1"})
    result = compare({"order_number": "1", "revenue": revenue}, after=first)
    if kind is None:
        assert result.changes.empty
        assert result.unchanged == 1
    else:
        change = only(result)
        assert (change["kind"], change["old_revenue"]) == (kind, 1000)
        assert change["is_first_order"] is True


@pytest.mark.parametrize(
    "changed",
    [
        {"profit": 5},
        {"email_address": "anne@x.nl"},
        {"phone_number": "+31612345678"},
        {"order_date": "2026-03-01T10:00:01Z"},
        {"webstore_url": "https://shop.example.com"},
    ],
)
def test_anything_else_that_differs_is_a_correction(changed: dict[str, Any]) -> None:
    first = compare({"order_number": "1"})
    change = only(compare({"order_number": "1", **changed}, after=first))
    assert change["kind"] == "correction"
    assert change["revenue"] == change["old_revenue"] == 1000
    assert {name: change[name] for name in changed} == changed


@pytest.mark.parametrize("blank", ["profit", "webstore_url", "phone_number"])
def test_a_blank_cell_says_nothing_and_the_value_stays(blank: str) -> None:
    said = {"profit": 5, "webstore_url": "https://a.example.com", "phone_number": "+316"}
    first = compare({"order_number": "1", **said})
    again = compare({"order_number": "1", **said, blank: None}, after=first)
    assert again.changes.empty
    later = only(compare({"order_number": "1", "revenue": 1, **said, blank: None}, after=first))
    if blank != "phone_number":  # which the ledger keeps as a digest alone
        assert later[blank] == said[blank]


def test_a_blank_address_beside_a_phone_number_keeps_the_customer() -> None:
    first = compare({"order_number": "1"})
    change = only(
        compare({"order_number": "1", "email_address": None, "phone_number": "+316"}, after=first)
    )
    assert change["kind"] == "correction"
    assert change["customer"] == first.changes["customer"][0]
    assert change["phone_number"] == "+316"


def test_without_an_address_the_phone_number_is_the_customer() -> None:
    result = compare(
        {"order_number": "1", "email_address": None, "phone_number": "+316"},
        {"order_number": "2", "email_address": None, "phone_number": "+316"},
    )
    assert kinds(result) == {"1": "first", "2": "repeat"}


def test_profit_travels_with_what_robin_holds() -> None:
    first = compare({"order_number": "1", "profit": 300})
    change = only(compare({"order_number": "1", "revenue": 500, "profit": 100}, after=first))
    assert (change["profit"], change["old_profit"]) == (100, 300)


def test_a_profit_told_for_the_first_time_has_no_old_one() -> None:
    first = compare({"order_number": "1"})
    change = only(compare({"order_number": "1", "profit": 100}, after=first))
    assert (change["profit"], change["old_profit"]) == (100, None)


def test_a_late_older_order_becomes_the_first_and_the_flagged_one_is_corrected() -> None:
    before = compare({"order_number": "5"})
    result = compare(
        {"order_number": "4", "day": "2026-03-02", "order_date": "2026-02-28T10:00:00Z"},
        after=before,
    )
    assert kinds(result) == {"4": "first", "5": "correction"}
    corrected = result.changes.set_index("order_number").loc["5"]
    assert not corrected["is_first_order"]
    assert corrected["old_revenue"] == corrected["revenue"] == 1000
    assert corrected["email_address"] == "ann@x.nl"
    assert result.changes["wave"].tolist() == [0, 0]


def test_an_upsell_that_moves_the_date_does_not_lose_its_place() -> None:
    before = compare(
        {"order_number": "1", "order_date": "2026-03-01T10:00:00Z"},
        {"order_number": "2", "order_date": "2026-03-01T11:00:00Z"},
    )
    moved = {"order_number": "1", "revenue": 2000, "order_date": "2026-03-09T10:00:00Z"}
    change = only(compare(moved, after=before))
    assert change["kind"] == "upsell"
    assert change["is_first_order"] is True
    assert change["placed_at"] == "2026-03-01T10:00:00Z"
    assert change["order_date"] == "2026-03-09T10:00:00Z"


def test_an_order_that_changes_hands_leaves_the_next_one_first() -> None:
    before = compare(
        {"order_number": "1", "order_date": "2026-03-01T10:00:00Z"},
        {"order_number": "2", "order_date": "2026-03-01T11:00:00Z"},
    )
    result = compare({"order_number": "1", "email_address": "bob@x.nl"}, after=before)
    assert kinds(result) == {"1": "correction", "2": "correction"}
    flags = result.changes.set_index("order_number")["is_first_order"]
    assert flags["1"]
    assert flags["2"]
    assert result.changes.set_index("order_number")["email_address"].isna()["2"]


def test_an_order_leaves_its_customer_a_wave_after_the_corrections_that_this_causes() -> None:
    before = compare(
        {"order_number": "1", "order_date": "2026-03-01T10:00:00Z"},
        {"order_number": "2", "order_date": "2026-03-01T11:00:00Z"},
        {"order_number": "3", "email_address": "carl@x.nl"},
    )
    moved = {"order_number": "1", "email_address": "bob@x.nl"}
    returned = {**moved, "day": "2026-03-02", "revenue": 500}
    other = {"order_number": "3", "email_address": "dora@x.nl"}
    result = compare(moved, returned, other, after=before)
    changes = result.changes[["wave", "order_number", "kind"]].to_numpy().tolist()
    assert changes == [
        [0, "3", "correction"],
        [0, "2", "correction"],
        [1, "1", "correction"],
        [2, "1", "return"],
    ]


def test_the_versions_of_an_order_follow_each_other_in_waves() -> None:
    result = compare(
        {"order_number": "1", "day": "2026-03-03", "revenue": 1500},
        {"order_number": "1", "day": "2026-03-01", "revenue": 1000},
        {"order_number": "1", "day": "2026-03-02", "revenue": 400},
        {"order_number": "2", "day": "2026-03-03"},
    )
    changes = result.changes[["order_number", "wave", "kind", "revenue", "old_revenue"]]
    assert [tuple(row) for row in changes.astype(object).fillna(0).to_numpy()] == [
        ("1", 0, "first", 1000, 0),
        ("2", 0, "repeat", 1000, 0),
        ("1", 1, "return", 400, 1000),
        ("1", 2, "upsell", 1500, 400),
    ]


def test_a_version_that_changes_nothing_takes_no_wave() -> None:
    result = compare(
        {"order_number": "1", "day": "2026-03-01"},
        {"order_number": "1", "day": "2026-03-02"},
        {"order_number": "1", "day": "2026-03-03", "revenue": 1},
    )
    assert result.changes["wave"].tolist() == [0, 1]
    assert result.changes["day"].tolist() == ["2026-03-02", "2026-03-03"]
    assert result.unchanged == 1


def test_final_keeps_the_last_version_with_all_that_was_said_before_it() -> None:
    result = compare(
        {"order_number": "1", "day": "2026-03-01", "profit": 7, "order_date": "2026-02-01T00:00:00Z"},
        {"order_number": "1", "day": "2026-03-02", "revenue": 1, "order_date": "2026-03-01T00:00:00Z"},
        final=True,
    )
    change = only(result)
    assert (change["kind"], change["revenue"], change["profit"]) == ("first", 1, 7)
    assert change["placed_at"] == "2026-02-01T00:00:00Z"
    assert result.superseded == 1


def test_a_row_older_than_the_ledgers_state_is_stale() -> None:
    before = compare({"order_number": "1", "day": "2026-03-05"})
    result = compare({"order_number": "1", "day": "2026-03-04", "revenue": 1}, after=before)
    assert result.changes.empty
    assert result.stale == 1


def test_the_same_day_again_counts_as_newer() -> None:
    before = compare({"order_number": "1"})
    assert only(compare({"order_number": "1", "revenue": 1}, after=before))["kind"] == "return"


def test_a_stale_row_still_says_what_no_newer_export_has_said() -> None:
    before = compare({"order_number": "1", "day": "2026-03-05"})
    result = compare(
        {"order_number": "1", "day": "2026-03-04", "revenue": 1, "profit": 77}, after=before
    )
    change = only(result)
    assert (change["kind"], change["revenue"], change["profit"]) == ("correction", 1000, 77)
    assert change["day"] == "2026-03-05"
    assert result.stale == 1


def test_a_day_that_repeats_a_state_moves_it_forward_without_a_post() -> None:
    before = compare({"order_number": "1", "day": "2026-03-01"})
    result = compare({"order_number": "1", "day": "2026-03-03"}, after=before)
    assert result.changes.empty
    assert result.confirmed[["order_number", "day"]].to_numpy().tolist() == [["1", "2026-03-03"]]


def test_no_rows_and_an_empty_ledger_make_no_changes() -> None:
    result = compare()
    assert result.changes.empty
    assert result.confirmed.empty
    assert list(result.changes.columns) == list(columns.CHANGE_DTYPES)


def test_the_arguments_are_left_as_they_were() -> None:
    rows, known = exported({"order_number": "1"}), columns.make_empty(columns.LEDGER_DTYPES)
    copy = rows.copy(deep=True)
    reconcile(rows, known)
    pd.testing.assert_frame_equal(rows, copy)
    assert known.empty


def test_stale_and_unchanged_rows_are_counted_each_for_itself() -> None:
    before = compare(
        {"order_number": "1", "day": "2026-03-05"}, {"order_number": "2", "day": "2026-03-05"}
    )
    stale = {"order_number": "1", "day": "2026-03-04"}
    fresh = [{"order_number": "2", "day": "2026-03-06"}, {"order_number": "3", "day": "2026-03-06"}]
    result = compare(stale, *fresh, after=before)
    assert (result.stale, result.unchanged, result.superseded) == (1, 1, 0)


def test_what_is_confirmed_moves_to_the_last_day_that_says_so_before_anything_changes() -> None:
    before = compare({"order_number": "1"}, {"order_number": "2"}, {"order_number": "3"})
    repeats = [{"order_number": "2", "day": f"2026-03-0{day}"} for day in (2, 3)]
    changed = {"order_number": "2", "day": "2026-03-04", "revenue": 1}
    at_once = {"order_number": "3", "day": "2026-03-04", "revenue": 1}
    result = compare(*repeats, changed, at_once, {"order_number": "1"}, after=before)
    confirmed = result.confirmed
    assert confirmed[["order_number", "day", "revenue"]].to_numpy().tolist() == [
        ["2", "2026-03-03", 1000]
    ]
    assert sorted(result.changes["day"]) == ["2026-03-04", "2026-03-04"]
    # Only the last versions are compared, so nothing is said of those before.
    assert compare(*repeats, changed, after=before, final=True).confirmed.empty


def test_of_orders_of_one_moment_only_the_later_numbers_lose_the_flag() -> None:
    result = compare(
        {"order_number": "0", "email_address": "zoe@x.nl"},
        {"order_number": "1", "email_address": "yan@x.nl"},
        {"order_number": "9"},
        {"order_number": "8"},
    )
    assert kinds(result) == {"0": "first", "1": "first", "8": "first", "9": "repeat"}


def test_a_correction_of_an_unnamed_order_bears_its_customers_address_where_a_row_names_it() -> None:
    before = compare({"order_number": "5"}, {"order_number": "6", "email_address": "bob@x.nl"})
    result = compare(
        {"order_number": "4", "order_date": "2026-02-28T10:00:00Z"},
        {"order_number": "3", "order_date": "2026-02-27T10:00:00Z", "email_address": "bob@x.nl"},
        after=before,
    )
    contacts = dict(zip(result.changes["order_number"], result.changes["email_address"], strict=True))
    assert contacts == {"3": "bob@x.nl", "4": "ann@x.nl", "5": "ann@x.nl", "6": "bob@x.nl"}
