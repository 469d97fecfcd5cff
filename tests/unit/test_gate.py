"""The gate: each shipped rule catches what it is there for, and a broken suite stops the run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from upath import UPath

from robin_etl.core import columns
from robin_etl.exceptions import ConfigurationError, GateError
from robin_etl.gate import Suite, SuiteCheck, Verdict, check_frame, load_suite
from robin_etl.gate.suites import Amount
from robin_etl.stages.extract import compute_most

SUITES = UPath(__file__).parents[2] / "expectations"

GOOD_ROW = {
    "order_number": "1",
    "email_address": "ann@x.nl",
    "customer_from": "row",
    "revenue": 1000,
    "revenue_text": "10.00",
    "order_date": "2026-03-01T10:00:00Z",
    "days_ahead": 0,
}
EXPORT_DTYPES = {
    **columns.EXPORTED_DTYPES,
    "days_ahead": columns.NUMBER,
    "customer_from": "str",
    "revenue_text": "str",
    "profit_text": "str",
    "order_date_text": "str",
    "other_currency": "str",
    "unsendable": "str",
    "damaged": "str",
    "surplus_cells": "str",
    "cut_off": "str",
}


def rows(*changed: dict[str, Any]) -> pd.DataFrame:
    table = pd.DataFrame([GOOD_ROW, *({**GOOD_ROW, **change} for change in changed)])
    return columns.conform(table, EXPORT_DTYPES)


def check(
    frame: pd.DataFrame, *, fewest_rows: int = 0, most_revenue: float = 1e15
) -> tuple[Verdict, pd.Series]:
    parameters = {"fewest_rows": fewest_rows, "most_revenue": most_revenue}
    return check_frame(frame, load_suite(SUITES / "export.json"), parameters)


def judge(*changed: dict[str, Any], **parameters: Any) -> Verdict:
    return check(rows(*changed), **parameters)[0]


def find_broken(*changed: dict[str, Any]) -> dict[Any, str]:
    return check(rows(*changed))[1].to_dict()


BROKEN_ROWS: list[tuple[dict[str, Any], str]] = [
    ({"order_number": None}, "order_number_present"),
    ({"email_address": None, "customer_from": None}, "contact_present"),
    ({"email_address": "ann@☃☃.nl"}, "email_address_valid"),
    ({"email_address": "Jan <ann@x.nl>"}, "email_address_valid"),
    ({"email_address": "ann"}, "email_address_valid"),
    ({"email_address": "ann@localhost"}, "email_address_valid"),
    ({"email_address": "an n@x.nl"}, "email_address_valid"),
    ({"email_address": "a@b@x.nl"}, "email_address_valid"),
    ({"email_address": "ann@x.nl,bob@x.nl"}, "email_address_valid"),
    ({"email_address": "ann@x.nl\n"}, "email_address_valid"),
    ({"revenue": None, "revenue_text": None}, "revenue_present"),
    ({"revenue": None, "revenue_text": "ten"}, "revenue_is_a_number"),
    ({"revenue": -1, "revenue_text": "-0.01"}, "revenue_not_negative"),
    ({"profit": None, "profit_text": "n/a"}, "profit_is_a_number"),
    ({"order_date": None, "days_ahead": None}, "order_date_readable"),
    ({"days_ahead": 2}, "order_date_not_ahead"),
    ({"days_ahead": 26_000}, "order_date_not_ahead"),
    ({"order_date": "1970-01-01T00:00:00Z"}, "order_date_not_zero"),
    ({"order_date": "1969-12-31T23:00:00Z"}, "order_date_not_zero"),
    ({"order_date": "1970-01-01T05:00:00Z"}, "order_date_not_zero"),
    ({"order_date": "1900-01-01T00:00:00Z"}, "order_date_not_zero"),
    ({"order_date": "1899-12-30T00:00:00Z"}, "order_date_not_zero"),
    ({"order_date": "1904-01-01T00:00:00Z"}, "order_date_not_zero"),
    ({"order_date": "0001-01-01T00:00:00Z"}, "order_date_not_zero"),
    ({"order_date": "0000-12-31T23:40:28Z"}, "order_date_not_zero"),
    ({"order_date": "0000-01-01T00:00:00Z"}, "order_date_not_zero"),
    ({"order_date": "1753-01-01T00:00:00Z"}, "order_date_not_zero"),
    ({"order_date": "1600-12-31T23:00:00Z"}, "order_date_not_zero"),
    ({"surplus_cells": "x"}, "cells_fit_header"),
    ({"cut_off": "x"}, "row_is_whole"),
    ({"other_currency": "USD"}, "currency_is_the_shops"),
    ({"unsendable": "order_number"}, "cells_sendable"),
    ({"damaged": "order_number"}, "cells_undamaged"),
]


def test_a_row_that_breaks_a_rule_is_named_with_that_rule() -> None:
    rules = {at: rule for at, (_, rule) in enumerate(BROKEN_ROWS, start=1)}
    assert find_broken(*(changed for changed, _ in BROKEN_ROWS)) == rules


def test_a_row_that_is_only_unusual_passes() -> None:
    unusual: list[dict[str, Any]] = [
        {"email_address": None, "phone_number": "+316"},
        {"email_address": None, "customer_from": "ledger"},
        {"email_address": "zoë@xn--bcher-kva.de"},
        {"revenue": 0, "revenue_text": "0"},
        {"profit": -500, "profit_text": "-5"},
        {"days_ahead": 1},
        {"days_ahead": -3_000},
        {"order_date": "1970-01-02T00:00:00Z"},
        {"order_date": "2001-01-01T00:00:00Z"},
        {"order_date": "1999-12-31T00:00:00Z"},
        {"email_address": "o'brien+shop@sub.x-y.co.uk"},
    ]
    assert find_broken(*unusual) == {}


def test_a_row_that_breaks_two_rules_is_one_row_with_both() -> None:
    broken = find_broken({"order_number": None, "order_date": None})
    assert broken == {1: "order_number_present; order_date_readable"}


BAD = {"order_date": None}


@pytest.mark.parametrize(("bad", "good"), [(1, 9), (10, 1), (11, 209), (0, 1)])
def test_five_percent_of_all_rows_or_ten_of_them_may_be_quarantined(bad: int, good: int) -> None:
    judge(*[BAD] * bad, *[{}] * (good - 1)).stop_unless_passed("the export")


@pytest.mark.parametrize(("bad", "good"), [(11, 208), (11, 1)])
def test_more_than_that_stop_the_run(bad: int, good: int) -> None:
    words = rf"{bad} of {bad + good} rows break a rule \(order_date_readable {bad}\).*5.0%, or up to 10"
    with pytest.raises(GateError, match=words):
        judge(*[BAD] * bad, *[{}] * (good - 1)).stop_unless_passed("the export")


@pytest.mark.parametrize("bad", [1, 2])
def test_an_export_of_nothing_but_broken_rows_stops_the_run(bad: int) -> None:
    verdict, _ = check(rows(*[BAD] * bad).iloc[1:].reset_index(drop=True))
    with pytest.raises(GateError, match=rf"{bad} of {bad} rows break a rule"):
        verdict.stop_unless_passed("the export")


def test_an_amount_far_beyond_the_usual_is_a_warning() -> None:
    verdict = judge({"revenue": 9_999_999_999}, most_revenue=50_000)
    verdict.stop_unless_passed("the export")
    assert verdict.warnings == ("revenue_usual",)
    assert judge({"revenue": 50_000}, most_revenue=50_000).warnings == ()


@pytest.mark.parametrize("good", [0, 1])
def test_an_amount_of_a_row_that_is_quarantined_is_no_matter(good: int) -> None:
    bad = {"revenue": 9_999_999_999, "days_ahead": 9}
    verdict, _ = check(rows(bad, *[{}] * good).iloc[1 - good :], most_revenue=50_000)
    assert [rule for rule in verdict.rules if rule.failure] == []
    assert verdict.warnings == ()


def test_rows_without_a_readable_amount_stop_the_run_by_their_own_rule() -> None:
    unreadable = {"revenue": None, "revenue_text": "ten"}
    verdict, _ = check(rows(*[unreadable] * 2).iloc[1:], most_revenue=50_000)
    with pytest.raises(GateError, match=r"2 of 2 rows break a rule \(revenue_is_a_number 2\)"):
        verdict.stop_unless_passed("the export")


def suite_with(amount: Amount) -> Suite:
    return replace(load_suite(SUITES / "export.json"), amount=amount)


NO_BOUND = 1e14


@pytest.mark.parametrize(
    ("revenues", "most"),
    [
        ([1_000, 3_000, 2_000], 2_000_000),
        ([1_000, 9_999_999_999], 1_000_000),
        ([0, 0, 1_000, None], 1_000_000),
    ],
)
def test_an_amount_is_usual_up_to_so_many_times_the_exports_own(
    revenues: list[int | None], most: float
) -> None:
    own = pd.Series(revenues, dtype=columns.CENTS)
    assert compute_most(load_suite(SUITES / "export.json"), own) == most


@pytest.mark.parametrize("revenues", [[], [0, 0], [None]])
def test_no_amount_is_too_much_where_nothing_says_what_is_usual(revenues: list[int | None]) -> None:
    own = pd.Series(revenues, dtype=columns.CENTS)
    assert compute_most(load_suite(SUITES / "export.json"), own) > NO_BOUND


@pytest.mark.parametrize("amount", [Amount(), Amount(days=14, times=50)])
def test_a_suite_that_names_no_times_sets_no_bound(amount: Amount) -> None:
    own = pd.Series([1_000], dtype=columns.CENTS)
    assert compute_most(suite_with(amount), own) > NO_BOUND


def test_far_fewer_rows_than_usual_are_a_warning() -> None:
    verdict = judge(fewest_rows=100)
    verdict.stop_unless_passed("the export")
    assert verdict.warnings == ("volume",)
    assert judge().warnings == ()


def test_an_export_without_rows_passes() -> None:
    verdict, _ = check(rows().iloc[:0])
    verdict.stop_unless_passed("the export")
    assert verdict.rows == 0


NEW = {"kind": "first", "is_first_order": True, "wave": 0}
UPDATE = {"kind": "return", "is_first_order": True, "wave": 1, "old_revenue": 2000}


def changes(*changed: dict[str, Any]) -> tuple[Verdict, pd.Series]:
    usual = {name: GOOD_ROW[name] for name in ("email_address", "revenue", "order_date")}
    table = pd.DataFrame(
        [{"order_number": f"{at}", **usual, **change} for at, change in enumerate(changed)]
    )
    suite = load_suite(SUITES / "changes.json")
    return check_frame(columns.conform(table, columns.CHANGE_DTYPES), suite)


def test_changes_as_reconciliation_makes_them_pass() -> None:
    verdict, _ = changes(
        NEW,
        {**NEW, "kind": "repeat", "is_first_order": False},
        UPDATE,
        {**UPDATE, "kind": "upsell", "old_revenue": 500},
        {**UPDATE, "kind": "correction", "old_revenue": 1000, "profit": 1, "old_profit": 2},
        {**NEW, "email_address": None, "phone_number": "+316"},
    )
    verdict.stop_unless_passed("the changes")
    assert all(rule.success for rule in verdict.rules)


BROKEN_PROMISES: list[tuple[dict[str, Any], str]] = [
    ({**NEW, "kind": "refund"}, "kind_known"),
    ({**NEW, "kind": None}, "kind_present"),
    ({**NEW, "order_number": None}, "order_number_present"),
    ({**NEW, "order_number": "1 "}, "order_number_text"),
    ({**NEW, "email_address": None}, "contact_present"),
    ({**NEW, "revenue": None}, "revenue_present"),
    ({**NEW, "revenue": -1}, "revenue_not_negative"),
    ({**NEW, "is_first_order": None}, "is_first_order_present"),
    ({**NEW, "order_date": None}, "order_date_present"),
    ({**NEW, "order_date": "2026-03-01 10:00:00"}, "order_date_format"),
    ({**NEW, "order_date": "2026-03-01T10:00:00Z\n"}, "order_date_format"),
    ({**NEW, "old_revenue": 5}, "old_revenue_absent_on_first_posts"),
    ({**NEW, "profit": 5, "old_profit": 5}, "old_profit_absent_on_first_posts"),
    ({**UPDATE, "old_revenue": None}, "old_revenue_present_on_updates"),
    ({**UPDATE, "old_profit": 5}, "old_profit_goes_with_profit"),
    ({**UPDATE, "old_revenue": 1000}, "return_is_lower"),
    ({**UPDATE, "kind": "upsell"}, "upsell_is_higher"),
    ({**UPDATE, "kind": "correction"}, "correction_keeps_revenue"),
    ({**NEW, "is_first_order": False}, "first_is_flagged"),
    ({**NEW, "kind": "repeat"}, "repeat_is_not_flagged"),
    ({**NEW, "wave": -1}, "wave_counts_from_zero"),
]


def test_a_change_that_breaks_a_promise_is_named_with_it_and_stops_the_run() -> None:
    verdict, broken = changes(NEW, *(change for change, _ in BROKEN_PROMISES))
    for at, (change, rule) in enumerate(BROKEN_PROMISES, start=1):
        assert rule in broken[at], change
    assert 0 not in broken
    with pytest.raises(GateError) as caught:
        verdict.stop_unless_passed("the changes")
    for _, rule in BROKEN_PROMISES:
        assert rule in str(caught.value)


def test_one_change_that_breaks_a_promise_is_enough_to_stop_the_run() -> None:
    verdict, _ = changes(*[NEW] * 30, {**NEW, "kind": "refund"})
    with pytest.raises(GateError, match="kind_known"):
        verdict.stop_unless_passed("the changes")


def test_one_order_twice_in_a_wave_stops_the_run() -> None:
    verdict, _ = changes({**NEW, "order_number": "7"}, {**NEW, "order_number": "7"})
    with pytest.raises(GateError, match="one_row_for_each_order_and_wave"):
        verdict.stop_unless_passed("the changes")


def test_every_shipped_rule_is_named_and_explained() -> None:
    for suite in ("export.json", "changes.json"):
        expectations = load_suite(SUITES / suite).rules
        names = [expectation["meta"]["rule"] for expectation in expectations]
        assert len(set(names)) == len(names)
        assert all(expectation["notes"] for expectation in expectations)


def suite_of(folder: Path, *expectations: dict[str, Any], **meta: Any) -> Suite:
    path = folder / "suite.json"
    content = {"expectations": expectations, "meta": {"max_quarantined": 0.5, **meta}}
    path.write_text(json.dumps(content))
    return load_suite(UPath(path))


PRESENT = {
    "type": "expect_column_values_to_not_be_null",
    "severity": "critical",
    "kwargs": {"column": "order_number"},
    "meta": {"rule": "present"},
}
COUNT = {
    "type": "expect_table_row_count_to_be_between",
    "severity": "critical",
    "kwargs": {"min_value": 10},
    "meta": {"rule": "count"},
}


@pytest.mark.parametrize(
    "typo",
    [
        {**PRESENT, "type": "expect_column_values_to_be_not_null"},
        {**PRESENT, "severity": "grave"},
        {**PRESENT, "kwargs": {"colum": "order_number"}},
    ],
)
def test_a_rule_dropped_on_loading_stops_the_run(tmp_path: Path, typo: dict[str, Any]) -> None:
    with pytest.raises(GateError, match=r"The rule present of .*suite\.json is none"):
        check_frame(rows(), suite_of(tmp_path, COUNT, typo))


def test_a_rule_that_cannot_be_evaluated_stops_the_run(tmp_path: Path) -> None:
    missing = {**PRESENT, "kwargs": {"column": "no_such_column"}}
    verdict, _ = check_frame(rows(), suite_of(tmp_path, missing))
    with pytest.raises(GateError, match=r"could not all be evaluated .*present"):
        verdict.stop_unless_passed("the export")


def match(regex: str) -> dict[str, Any]:
    kwargs = {"column": "order_number", "regex": regex}
    return {**PRESENT, "type": "expect_column_values_to_match_regex", "kwargs": kwargs}


def test_a_regular_expression_that_would_try_every_way_ends_all_the_same(tmp_path: Path) -> None:
    frame = rows({"order_number": "a" * 60 + "!"}, {"order_number": "a" * 60})
    _, broken = check_frame(frame, suite_of(tmp_path, match(r"\A(?:a+)+\Z"), but_at_least=3))
    assert list(broken.index) == [0, 1]


@pytest.mark.parametrize("regex", [r"\A(?=a)(a+)+\Z", r"\A(a+)\1+\Z", "("])
def test_a_regular_expression_that_may_never_end_is_refused(tmp_path: Path, regex: str) -> None:
    with pytest.raises(ConfigurationError, match=r"The rule present of .* may never end, or is none"):
        suite_of(tmp_path, match(regex))


@pytest.mark.parametrize("is_text", [False, True], ids=["object", "text"])
@pytest.mark.parametrize(
    "code",
    [
        "revenue > @__import__('os').getpid()",
        "revenue.__class__ == 1",
        "revenue.to_csv('written') != 1",
        "revenue.map('{0}'.format) == 1",
        "revenue.str.cat(sep='/') == 1",
        "revenue > 10 ** 10 ** 10",
        "'x' * 1000000000 == order_number",
        "sin(revenue) > 1",
        "revenue = 1",
        "[x for x in revenue]",
        *("index > 1", "ilevel_0 == 2", "revenue > index", "`index` > 1", "index.isin([1])"),
        *("columns == 'revenue'", "clevel_0 == 'revenue'"),
    ],
)
def test_a_condition_that_runs_more_than_a_comparison_is_refused(
    tmp_path: Path, code: str, is_text: bool
) -> None:
    condition = code if is_text else {"type": "pass_through", "pass_through_filter": code}
    rule = {**PRESENT, "kwargs": {"column": "order_number", "row_condition": condition}}
    with pytest.raises(ConfigurationError, match="more than a comparison of columns"):
        suite_of(tmp_path, rule)


def test_a_condition_deep_within_others_is_looked_at_too(tmp_path: Path) -> None:
    inner = {"type": "pass_through", "pass_through_filter": "revenue.to_csv('written') != 1"}
    condition = {"type": "or", "conditions": [{"type": "and", "conditions": [inner]}]}
    rule = {**PRESENT, "kwargs": {"column": "order_number", "row_condition": condition}}
    with pytest.raises(ConfigurationError, match="more than a comparison of columns"):
        suite_of(tmp_path, rule)


@pytest.mark.parametrize(
    "condition",
    [
        {"type": "comparison", "column": {"name": "index"}, "operator": "==", "parameter": 1},
        {"type": "nullity", "column": {"name": "ilevel_0"}, "is_null": True},
    ],
)
def test_a_condition_on_the_label_of_a_row_is_refused(tmp_path: Path, condition: dict[str, Any]) -> None:
    rule = {**PRESENT, "kwargs": {"column": "order_number", "row_condition": condition}}
    with pytest.raises(ConfigurationError, match="Write it with names of columns"):
        suite_of(tmp_path, rule)


@pytest.mark.parametrize(
    "condition",
    [
        *("revenue > 500", "revenue in [100, 900]", "order_number.isnull() and not revenue < 5"),
        *("`order_number`.notna() | (revenue + 1) * 2 >= 3", "order_number.str.startswith('A')"),
    ],
)
def test_a_condition_that_compares_is_taken(tmp_path: Path, condition: str) -> None:
    filtered = {"type": "pass_through", "pass_through_filter": condition}
    rule = {**PRESENT, "kwargs": {"column": "order_number", "row_condition": filtered}}
    verdict, _ = check_frame(rows({"order_number": "A"}), suite_of(tmp_path, rule))
    assert [one.failure for one in verdict.rules] == [None]


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        ("unexpected_rows_expectation", {"unexpected_rows_query": "select 1"}),
        ("expect_query_results_to_match_comparison", {"base_query": "select 1"}),
        ("expect_table_row_count_to_equal_other_table", {"other_table_name": "users"}),
        (
            "expect_column_values_to_match_json_schema",
            {"column": "order_number", "json_schema": {"$ref": "https://schema.example/x"}},
        ),
    ],
)
def test_a_rule_that_asks_for_more_than_its_rows_is_refused(
    tmp_path: Path, kind: str, kwargs: dict[str, Any]
) -> None:
    rule = {**PRESENT, "type": kind, "kwargs": kwargs}
    with pytest.raises(ConfigurationError, match="asks for more than the rows that it is given"):
        suite_of(tmp_path, rule)


@pytest.mark.parametrize(
    "condition",
    [
        {"type": "pass_through", "pass_through_filter": "revenue > 500"},
        {"type": "comparison", "column": {"name": "revenue"}, "operator": ">", "parameter": 500},
    ],
)
def test_a_rule_with_a_condition_sees_the_column_that_the_condition_names(
    tmp_path: Path, condition: dict[str, Any]
) -> None:
    rule = {**PRESENT, "kwargs": {"column": "order_number", "row_condition": condition}}
    table = rows({"order_number": None, "revenue": 100}, {"order_number": None, "revenue": 900})
    _, broken = check_frame(table, suite_of(tmp_path, rule))
    assert broken.to_dict() == {2: "present"}


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        ("expect_column_most_common_value_to_be_in_set", {"value_set": ["none"]}),
        ("expect_column_distinct_values_to_be_in_set", {"value_set": ["none"]}),
        ("expect_column_mean_to_be_between", {"min_value": 1}),
    ],
)
def test_what_a_rule_found_or_could_not_read_shows_no_cell(
    tmp_path: Path, kind: str, kwargs: dict[str, Any]
) -> None:
    rule = {**COUNT, "type": kind, "kwargs": {"column": "email_address", **kwargs}}
    frame = rows({"email_address": "ann.one@shop.example"}, {"email_address": "ann.one@shop.example"})
    verdict, _ = check_frame(frame, suite_of(tmp_path, rule))
    with pytest.raises(GateError) as raised:
        verdict.stop_unless_passed("the export")
    assert "shop.example" not in f"{raised.value}{verdict.to_json()}"


def test_a_critical_rule_on_the_whole_stops_and_a_warning_does_not(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"count \(found 1\)"):
        check_frame(rows(), suite_of(tmp_path, COUNT))[0].stop_unless_passed("the export")
    mild = {**COUNT, "severity": "warning"}
    check_frame(rows(), suite_of(tmp_path, mild))[0].stop_unless_passed("the export")


def test_mostly_does_not_hide_the_rows_that_break_a_rule(tmp_path: Path) -> None:
    lenient = {**PRESENT, "kwargs": {"column": "order_number", "mostly": 0.1}}
    verdict, broken = check_frame(rows({"order_number": None}), suite_of(tmp_path, lenient))
    assert broken.to_dict() == {1: "present"}
    assert verdict.broken_rows == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("{}", "max_quarantined"),
        ("[]", "max_quarantined"),
        ('{"meta": {"max_quarantined": 0.1, "volume": {"days": "seven"}}}', "no usable volume"),
        ('{"meta": {"max_quarantined": 0.1, "volume": 7}}', "no usable volume"),
        ('{"meta": {"max_quarantined": 0.1, "volume": {"dayz": 7}}}', "no usable volume"),
        ('{"meta": {"max_quarantined": 0.1, "amount": {"times": "many"}}}', "no usable amount"),
        ('{"meta": {"max_quarantined": 0.1, "amount": {"times": -1}}}', "no usable amount"),
        ('{"meta": {"max_quarantined": 0.1, "amount": {"times": Infinity}}}', "no usable amount"),
        ('{"meta": {"max_quarantined": 0.1, "volume": {"days": -1}}}', "no usable volume"),
        ('{"meta": {"max_quarantined": 0.1, "but_at_least": -1}}', "but_at_least"),
        ('{"meta": {"max_quarantined": 0.1, "but_at_least": true}}', "but_at_least"),
        ('{"meta": {"max_quarantined": 0.1, "but_at_least": 1.5}}', "but_at_least"),
    ],
)
def test_a_file_that_is_no_suite_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "suite.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=words):
        load_suite(UPath(path))
    with pytest.raises(ConfigurationError, match="can't be read"):
        load_suite(UPath(tmp_path / "none.json"))


def test_a_verdict_is_kept_without_any_rows_content() -> None:
    verdict = judge({"email_address": "secret person"})
    kept = json.dumps(verdict.to_json())
    assert "secret person" not in kept
    assert '"broken": 1' in kept
    assert Verdict.from_json(json.loads(kept)) == verdict
    del (older := json.loads(kept))["but_at_least"]
    assert Verdict.from_json(older) == replace(verdict, but_at_least=0)


WHOLE = [
    {
        "type": "expect_column_max_to_be_between",
        "severity": "warning",
        "kwargs": {"column": "revenue", "max_value": 500},
        "meta": {"rule": "largest"},
    },
    {
        "type": "expect_column_values_to_be_unique",
        "severity": "warning",
        "kwargs": {"column": "order_number"},
        "meta": {"rule": "unique"},
    },
    {
        "type": "expect_column_to_exist",
        "severity": "warning",
        "kwargs": {"column": "profit"},
        "meta": {"rule": "there"},
    },
]


def test_rows_that_come_in_batches_are_judged_as_if_they_came_at_once(tmp_path: Path) -> None:
    table = rows({"order_number": None}, {"order_number": "2"}, {"order_number": "1", "revenue": 900})
    suite = suite_of(tmp_path, PRESENT, COUNT, *WHOLE)
    asked: list[list[str]] = []
    in_batches = SuiteCheck(suite)
    broken = [in_batches.check_batch(table.iloc[start : start + 2]) for start in range(0, len(table), 2)]

    def whole(columns: list[str]) -> pd.DataFrame:
        asked.append(columns)
        return table[columns]

    verdict = in_batches.finish(whole)
    at_once, broken_at_once = check_frame(table, suite)
    assert verdict == at_once
    assert verdict.to_json() == at_once.to_json()
    assert pd.concat(broken).equals(broken_at_once)
    found = {rule.rule: (rule.success, rule.broken, rule.observed) for rule in verdict.rules}
    assert found == {
        "present": (False, 1, None),
        "count": (False, 0, 4),
        "largest": (False, 0, 1000),
        "unique": (False, 0, 2),
        "there": (True, 0, None),
    }
    # Only what the rules on the whole name has to be held.
    assert asked == [["order_number", "revenue", "profit"]]
