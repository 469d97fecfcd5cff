"""What is found by asking for less is what Great Expectations finds in its usual way."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pytest

from robin_etl.core import columns
from robin_etl.gate.evaluating import JUDGE_TYPES, Evaluator, Finding
from robin_etl.gate.importing import import_great_expectations
from robin_etl.gate.suites import is_row_rule

gx = import_great_expectations()

TABLE = pd.DataFrame(
    {
        "kind": pd.Series(["first", "repeat", "return", "upsell", None, "first"], dtype=columns.TEXT),
        "number": pd.Series(["1", "2 ", None, "4444", "5", "5"], dtype=columns.TEXT),
        "now": [10.0, 20.0, float("nan"), 40.0, 50.0, 60.0],
        "was": [10.0, 30.0, 5.0, float("nan"), 40.0, 60.0],
        "is_first": pd.array([True, False, True, False, None, True], dtype=columns.FLAG),
        "mixed": pd.Series([1, "a", 2, "b", None, 3], dtype=object),
    }
).set_axis([3, 5, 8, 13, 21, 34])
IS_FIRST = {"type": "comparison", "column": {"name": "kind"}, "operator": "==", "parameter": "first"}
IS_KNOWN = {"type": "nullity", "column": {"name": "was"}, "is_null": False}
BOTH = {"type": "and", "conditions": [IS_FIRST, IS_KNOWN]}
EITHER = {"type": "or", "conditions": [IS_FIRST, IS_KNOWN]}
AS_TEXT = {"type": "pass_through", "pass_through_filter": "now > was"}
ASKED_OF_TEXT = [
    {"type": "comparison", "column": {"name": "kind"}, "operator": operator, "parameter": parameter}
    for operator, parameter in (
        ("!=", "first"),
        ("IN", ["first", "upsell", "unheard of"]),
        ("NOT_IN", ["first", "upsell"]),
        ("==", "unheard of"),
        ("<", "repeat"),
        (">=", "first"),
    )
]
NO_TEXT = {"type": "nullity", "column": {"name": "kind"}, "is_null": True}
MISSING = {"ignore_row_if": "either_value_is_missing"}
KWARGS: list[tuple[str, dict[str, Any]]] = [
    ("expect_column_values_to_not_be_null", {"column": "number"}),
    ("expect_column_values_to_not_be_null", {"column": "number", "mostly": 0.1}),
    ("expect_column_values_to_be_null", {"column": "was"}),
    ("expect_column_values_to_be_in_set", {"column": "kind", "value_set": ["first", "return"]}),
    ("expect_column_values_to_be_in_set", {"column": "is_first", "value_set": [True]}),
    ("expect_column_values_to_not_be_in_set", {"column": "kind", "value_set": ["upsell"]}),
    ("expect_column_values_to_be_between", {"column": "now", "min_value": 20, "strict_min": True}),
    ("expect_column_values_to_be_between", {"column": "now", "max_value": {"$PARAMETER": "most"}}),
    ("expect_column_value_lengths_to_equal", {"column": "number", "value": 1}),
    ("expect_column_value_lengths_to_be_between", {"column": "number", "max_value": 2}),
    ("expect_column_values_to_match_regex", {"column": "number", "regex": r"\A\d\Z"}),
    ("expect_column_values_to_not_match_regex", {"column": "number", "regex": " "}),
    ("expect_column_values_to_match_regex_list", {"column": "number", "regex_list": ["1", "5"]}),
    ("expect_column_values_to_be_of_type", {"column": "mixed", "type_": "str"}),
    ("expect_column_values_to_be_of_type", {"column": "now", "type_": "float64"}),
    ("expect_column_values_to_be_of_type", {"column": "now", "type_": "int64"}),
    ("expect_column_values_to_be_in_type_list", {"column": "mixed", "type_list": ["int"]}),
    ("expect_column_pair_values_to_be_equal", {"column_A": "now", "column_B": "was", **MISSING}),
    ("expect_column_pair_values_to_be_equal", {"column_A": "now", "column_B": "was"}),
    (
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "now", "column_B": "was", "or_equal": True, **MISSING},
    ),
    (
        "expect_multicolumn_sum_to_equal",
        {"column_list": ["now", "was"], "sum_total": 20, "ignore_row_if": "any_value_is_missing"},
    ),
    ("expect_select_column_values_to_be_unique_within_record", {"column_list": ["now", "was"]}),
    ("expect_column_values_to_not_be_null", {"column": "no_such_column"}),
    ("expect_column_values_to_be_between", {"column": "kind", "min_value": 1}),
    ("expect_column_values_to_match_regex", {"column": "number", "regex": "("}),
]


def make_rules(row_condition: dict[str, Any] | None) -> list[dict[str, Any]]:
    condition = {"row_condition": row_condition} if row_condition else {}
    return [
        {"type": kind, "kwargs": {**kwargs, **condition}, "meta": {"rule": str(place)}}
        for place, (kind, kwargs) in enumerate(KWARGS)
    ]


def find_as_usual(
    frame: pd.DataFrame, rules: list[dict[str, Any]], parameters: dict[str, Any]
) -> list[Any]:
    """The result of each rule, in their order."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
    batch = asset.add_batch_definition_whole_dataframe("whole")
    suite = context.suites.add(gx.ExpectationSuite(name="rules", expectations=rules))
    definition = gx.ValidationDefinition(name="usual", data=batch, suite=suite)
    ran = definition.run(
        batch_parameters={"dataframe": frame},
        expectation_parameters=parameters,
        result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False},
    )
    by_name = {result.expectation_config.meta["rule"]: result for result in ran.results}
    return [by_name[rule["meta"]["rule"]] for rule in rules]


def find_broken_as_usual(
    frame: pd.DataFrame, rules: list[dict[str, Any]], parameters: dict[str, Any]
) -> dict[str, set[Any] | None]:
    """The labels of the rows that break each rule, None where it could not be evaluated."""
    return {
        result.expectation_config.meta["rule"]: (
            None
            if not result.success and not result.result.get("unexpected_index_list")
            else set(result.result.get("unexpected_index_list") or ())
        )
        for result in find_as_usual(frame, rules, parameters)
    }


def summarize(finding: Finding) -> set[Any] | None:
    return None if finding.failure else set(finding.broken)


@pytest.mark.parametrize("row_condition", [None, BOTH, EITHER, AS_TEXT])
def test_each_row_rule_names_the_rows_that_it_names_in_the_usual_way(
    row_condition: dict[str, Any] | None,
) -> None:
    rules, parameters = make_rules(row_condition), {"most": 45}
    found = Evaluator().evaluate_row_rules(TABLE, rules, parameters)
    usual = find_broken_as_usual(TABLE, rules, parameters)
    for rule, finding in zip(rules, found, strict=True):
        assert summarize(finding) == usual[rule["meta"]["rule"]], (rule, finding)


WHOLE: list[tuple[str, dict[str, Any]]] = [
    ("expect_table_row_count_to_be_between", {"min_value": 6, "max_value": 6}),
    ("expect_table_row_count_to_equal", {"value": 5}),
    ("expect_table_column_count_to_equal", {"value": 6}),
    ("expect_table_columns_to_match_ordered_list", {"column_list": list(TABLE.columns)}),
    ("expect_table_columns_to_match_set", {"column_set": ["now", "was"], "exact_match": False}),
    ("expect_column_to_exist", {"column": "now", "column_index": 2}),
    ("expect_column_to_exist", {"column": "now", "column_index": 0}),
    ("expect_column_to_exist", {"column": "no_such_column"}),
    ("expect_column_max_to_be_between", {"column": "now", "max_value": {"$PARAMETER": "most"}}),
    ("expect_column_min_to_be_between", {"column": "was", "min_value": 5}),
    ("expect_column_sum_to_be_between", {"column": "now", "row_condition": BOTH, "max_value": 70}),
    ("expect_column_median_to_be_between", {"column": "now", "row_condition": AS_TEXT, "max_value": 50}),
    ("expect_column_unique_value_count_to_be_between", {"column": "number", "max_value": 3}),
    ("expect_column_proportion_of_non_null_values_to_be_between", {"column": "was", "min_value": 0.9}),
    ("expect_column_distinct_values_to_be_in_set", {"column": "kind", "value_set": ["first"]}),
    ("expect_column_most_common_value_to_be_in_set", {"column": "number", "value_set": ["5"]}),
    ("expect_column_values_to_be_unique", {"column": "number"}),
    ("expect_column_values_to_be_unique", {"column": "number", "row_condition": IS_KNOWN}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["kind", "was"]}),
    ("expect_column_max_to_be_between", {"column": "no_such_column", "max_value": 1}),
]


def test_each_rule_on_the_whole_finds_what_it_finds_in_the_usual_way() -> None:
    rules = [
        {"type": kind, "kwargs": kwargs, "meta": {"rule": str(place)}}
        for place, (kind, kwargs) in enumerate(WHOLE)
    ]
    parameters = {"most": 45}
    found = Evaluator().evaluate_whole_rules(TABLE, rules, parameters)
    usual = find_as_usual(TABLE, rules, parameters)
    for rule, finding, result in zip(rules, found, usual, strict=True):
        assert finding.success == result.success, (rule, finding)
        was_evaluated = bool(result.result) or result.success
        assert (finding.failure is None) == was_evaluated, (rule, finding)
        number = result.result.get("observed_value")
        if isinstance(number, int | float):
            assert finding.observed == number, (rule, finding)


@pytest.mark.parametrize(
    "row_condition", [*ASKED_OF_TEXT, NO_TEXT, {"type": "or", "conditions": ASKED_OF_TEXT[:2]}], ids=str
)
def test_a_condition_on_text_keeps_the_rows_that_it_keeps_in_the_usual_way(
    row_condition: dict[str, Any],
) -> None:
    kinds = ("now", "number", "kind")
    rules = [
        {
            "type": "expect_column_values_to_be_null",
            "kwargs": {"column": name, "row_condition": row_condition},
            "meta": {"rule": name},
        }
        for name in kinds
    ]
    found = Evaluator().evaluate_row_rules(TABLE, rules, {})
    usual = find_broken_as_usual(TABLE, rules, {})
    assert {name: summarize(one) for name, one in zip(kinds, found, strict=True)} == usual


def test_pairs_in_a_set_are_asked_of_the_rows_of_their_condition_only() -> None:
    """The usual way asks them of all rows, counts more broken rows than rows, and gives up."""
    pairs = {"column_A": "kind", "column_B": "number", "value_pairs_set": [["first", "1"]]}
    kind = "expect_column_pair_values_to_be_in_set"
    rules = [{"type": kind, "kwargs": {**pairs, **one}} for one in ({}, {"row_condition": IS_FIRST})]
    found = Evaluator().evaluate_row_rules(TABLE, rules, {})
    assert [list(finding.broken) for finding in found] == [[5, 8, 13, 21, 34], [34]]


def test_rules_with_different_conditions_are_each_asked_of_their_own_rows() -> None:
    rules = [
        rule | {"meta": {"rule": f"{place}, {rule['meta']['rule']}"}}
        for place, condition in enumerate([AS_TEXT, None, IS_FIRST, AS_TEXT])
        for rule in make_rules(condition)[:8]
    ]
    found = Evaluator().evaluate_row_rules(TABLE, rules, {"most": 45})
    usual = find_broken_as_usual(TABLE, rules, {"most": 45})
    assert {
        rule["meta"]["rule"]: summarize(one) for rule, one in zip(rules, found, strict=True)
    } == usual


def test_an_evaluator_keeps_nothing_of_one_frame_for_the_next() -> None:
    evaluator, rules = Evaluator(), make_rules(IS_FIRST)[:8]
    first = evaluator.evaluate_row_rules(TABLE, rules, {"most": 45})
    evaluator.evaluate_row_rules(TABLE.assign(now=1.0, kind="first", number=None), rules, {"most": 0})
    again = evaluator.evaluate_row_rules(TABLE, rules, {"most": 45})
    assert [summarize(one) for one in again] == [summarize(one) for one in first]


def test_evaluators_in_threads_do_not_mix_up_their_results() -> None:
    rules = make_rules(IS_FIRST)[:8]
    tables = [TABLE.assign(now=number * 10.0, number=str(number)) for number in range(4)]

    def find(table: pd.DataFrame) -> list[set[Any] | None]:
        found = Evaluator().evaluate_row_rules(table, rules, {"most": 45})
        return [summarize(one) for one in found]

    with ThreadPoolExecutor(4) as threads:
        at_once = list(threads.map(find, tables))
    assert at_once == [find(table) for table in tables]


def test_the_rows_are_let_go_without_the_collector() -> None:
    frame = TABLE.copy()
    gone = weakref.ref(frame)
    evaluator = Evaluator()
    gc.disable()
    try:
        evaluator.evaluate_row_rules(frame, make_rules(None)[:1], {})
        evaluator.evaluate_whole_rules(frame, [COUNT], {})
        del frame
        assert gone() is None
    finally:
        gc.enable()


COUNT = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}


def test_a_rule_that_cannot_be_evaluated_says_why_and_the_others_are_evaluated() -> None:
    wants = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "now"}}
    unknown = {**wants, "kwargs": {"column": "now", "min_value": {"$PARAMETER": "unheard"}}}
    nowhere = {**wants, "kwargs": {"column": "nowhere", "min_value": 0}}
    good = {**wants, "kwargs": {"column": "now", "min_value": 0}}
    found = Evaluator().evaluate_row_rules(TABLE, [unknown, nowhere, good], {})
    assert "unheard" in str(found[0].failure)
    assert "nowhere" in str(found[1].failure)
    assert (found[2].success, found[2].failure, len(found[2].broken)) == (True, None, 0)
    count = {**COUNT, "kwargs": {"min_value": {"$PARAMETER": "unheard"}}}
    most = {"type": "expect_column_max_to_be_between", "kwargs": {"column": "nowhere", "max_value": 1}}
    whole = Evaluator().evaluate_whole_rules(TABLE, [count, most, COUNT], {})
    assert "unheard" in str(whole[0].failure)
    assert "nowhere" in str(whole[1].failure)
    assert whole[2].observed == len(TABLE)


def test_a_condition_that_is_neither_true_nor_false_of_a_row_is_no_pass() -> None:
    rule = {
        "type": "expect_column_pair_values_a_to_be_greater_than_b",
        "kwargs": {"column_A": "a", "column_B": "b"},
    }
    frame = pd.DataFrame({"a": pd.array([2, None], dtype="Int64"), "b": [1, 1]})
    (found,) = Evaluator().evaluate_row_rules(frame, [rule], {})
    assert "ignore_row_if" in str(found.failure)


def test_every_kind_of_row_rule_is_judged_by_its_condition_but_those_that_judge_types() -> None:
    """Another version may add a kind whose result is more than its condition; then it belongs there."""
    from great_expectations.expectations import expectation as bases
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    nullity = {"expect_column_values_to_be_null", "expect_column_values_to_not_be_null"}
    plain = {
        kind._validate
        for kind in (
            bases.ColumnMapExpectation,
            bases.ColumnPairMapExpectation,
            bases.MulticolumnMapExpectation,
        )
    }
    kinds = [
        kind
        for kind in list_registered_expectation_implementations()
        if is_row_rule({"type": kind, "kwargs": {}})
    ]
    of_their_own = {kind for kind in kinds if get_expectation_impl(kind)._validate not in plain}
    assert of_their_own == JUDGE_TYPES | nullity, (
        "Great Expectations has row rules whose result is not that of their condition: look at them, "
        "and name them in JUDGE_TYPES of robin_etl/gate/evaluating.py if so."
    )
