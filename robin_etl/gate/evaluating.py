"""Evaluating rules: Great Expectations over one frame after another, asked for no more than is used.

Its usual way (a context, a validation definition, the whole result) takes about six times as long, on
five rows and on a million: it writes stores, fingerprints the frame, and computes eight to eleven
metrics for each rule, each of which filters and copies the whole frame. Here a row rule is one metric,
the condition that all others are made of, over its own columns of rows that were filtered once for all
rules with one `row_condition`. `tests/unit/test_evaluating.py` holds that the answers are those of the
usual way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pandas as pd

from robin_etl.gate.filtering import ROWS, Condition, Filtered, filter_by_condition
from robin_etl.gate.importing import import_great_expectations
from robin_etl.gate.suites import Rule, asks_for_table, find_columns

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

# Of a column or a type; a cell of an order is none.
_NAME = re.compile(r"[A-Za-z_]+\d{0,2}")
_CELLS = re.compile(
    rf"'(?!{_NAME.pattern}')[^']*'|\"(?!{_NAME.pattern}\")[^\"]*\"|\S*@\S*|[+-]?\d[\d.:-]{{3,}}"
)

# They look at the type of a column first, so that no condition on cells says what they find.
JUDGE_TYPES = {
    "expect_column_values_to_be_in_type_list",
    "expect_column_values_to_be_of_type",
}


@dataclass(frozen=True, eq=False)  # an index of labels is not one truth
class Finding:
    """What Great Expectations says of a rule.

    `broken`: the labels of the rows that break a row rule; `observed`: what a rule on the whole found;
    `failure`: why the rule could not be evaluated, if so.
    """

    success: bool
    broken: pd.Index = field(default_factory=lambda: pd.Index([]))
    observed: Any = None
    failure: str | None = None


class Evaluator:
    """Great Expectations in one thread; threads that share what it keeps mix up their results."""

    def __init__(self) -> None:
        import_great_expectations()
        from great_expectations.execution_engine import PandasExecutionEngine
        from great_expectations.validator.validator import Validator

        # What is computed of a frame is of no use for the next one, and would be kept until the end.
        self._engine = PandasExecutionEngine(caching=False)
        self._validator = Validator(execution_engine=self._engine)
        self._validator.metrics_calculator.show_progress_bars = False

    def evaluate_row_rules(
        self, frame: pd.DataFrame, rules: Sequence[Rule], parameters: Mapping[str, Any]
    ) -> list[Finding]:
        """What is found for each of these rules; the frame needs a unique index."""
        found: dict[int, Finding] = {}
        for places, filtered in filter_by_condition(self._engine, frame, rules):
            for place in places:
                found[place] = self._evaluate_row_rule(filtered, rules[place], parameters)
        self._forget_rows()
        return [found[place] for place in range(len(rules))]

    def evaluate_whole_rules(
        self, frame: pd.DataFrame, rules: Sequence[Rule], parameters: Mapping[str, Any]
    ) -> list[Finding]:
        """What is found for each of these rules on the whole."""
        found = []
        for rule in rules:
            try:
                # All columns would be filtered and copied, also those that it does not look at.
                names = list(frame.columns)
                seen = frame if asks_for_table(rule) else frame[find_columns([rule], names)]
                # Only counts are used, so no value has to be listed.
                result = self._validate(seen, rule, parameters, result_format="BASIC")
                found.append(_read_whole_result(result))
            except Exception as error:  # noqa: BLE001 (it raises many kinds for what it can't evaluate)
                found.append(Finding(success=False, failure=_describe(error)))
        self._forget_rows()
        return found

    def _evaluate_row_rule(
        self, filtered: Filtered, rule: Rule, parameters: Mapping[str, Any]
    ) -> Finding:
        try:
            if rule["type"] in JUDGE_TYPES:
                result = self._validate(filtered.frame, rule, parameters, result_format="COMPLETE")
                return _read_row_result(result)
            configuration = _configure(rule, parameters)
            condition = _make_condition(configuration.type, json.dumps(configuration.kwargs))
            broken = self._find_broken(filtered.select(condition), condition)
        except Exception as error:  # noqa: BLE001 (it raises many kinds for what it can't evaluate)
            return Finding(success=False, failure=_describe(error))
        return Finding(success=not len(broken), broken=broken)

    def _find_broken(self, rows: pd.DataFrame, condition: Condition) -> pd.Index:
        """The labels of the rows that break a rule; raises what Great Expectations does."""
        from great_expectations.validator.metric_configuration import MetricConfiguration

        self._engine.load_batch_data(ROWS, rows)
        metric = MetricConfiguration(condition.metric, condition.domain, condition.values)
        computed, _ = self._validator.metrics_calculator.compute_metrics(
            [metric], runtime_configuration={"catch_exceptions": False}
        )
        is_broken: pd.Series = computed[metric.id][0]
        if is_broken.hasnans:
            raise ValueError(
                "of rows with missing cells it is neither true nor false; set ignore_row_if"
            )
        return is_broken.index[is_broken.astype(bool)]

    def _validate(
        self, frame: pd.DataFrame, rule: Rule, parameters: Mapping[str, Any], *, result_format: str
    ) -> ExpectationValidationResult:
        """The whole result of a rule, with all the metrics that its kind wants."""
        self._engine.load_batch_data(ROWS, frame)
        shape = {"result_format": result_format, "partial_unexpected_count": 0}
        (result,) = self._validator.graph_validate(
            [_configure(rule, parameters)], runtime_configuration={"result_format": shape}
        )
        return result

    def _forget_rows(self) -> None:
        # The engine and what it holds refer to each other, so rows would stay until the collector comes.
        self._engine.load_batch_data(ROWS, pd.DataFrame())


def _configure(rule: Rule, parameters: Mapping[str, Any]) -> ExpectationConfiguration:
    """A rule as Great Expectations takes it, each `{"$PARAMETER": name}` replaced by its value."""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    configuration = ExpectationConfiguration(**rule)
    configuration.process_suite_parameters(dict(parameters))
    return configuration


# Made once, since suites hardly ever change: it takes a fifth of what a check of a few rows takes.
@lru_cache(maxsize=500)
def _make_condition(kind: str, kwargs: str) -> Condition:
    """The condition of a rule of this type with these kwargs, written as JSON."""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.registry import get_metric_kwargs

    expectation = ExpectationConfiguration(type=kind, kwargs=json.loads(kwargs)).to_domain_obj()
    metric = f"{expectation.map_metric}.condition"
    made = get_metric_kwargs(metric, configuration=expectation.configuration)
    # The rows are filtered before; some kinds (of pairs in a set) would not even heed it.
    domain = {**made["metric_domain_kwargs"], "row_condition": None}
    return Condition(metric, domain, dict(made["metric_value_kwargs"]), expectation.row_condition)


def _read_row_result(result: ExpectationValidationResult) -> Finding:
    broken = pd.Index(result.result.get("unexpected_index_list") or [])
    failure = _find_failure(result)
    if failure is None and not result.success and not len(broken):
        failure = "it failed without naming a row"
    return Finding(success=not len(broken) and failure is None, broken=broken, failure=failure)


def _read_whole_result(result: ExpectationValidationResult) -> Finding:
    observed = result.result.get("observed_value", result.result.get("unexpected_count"))
    return Finding(
        success=bool(result.success),
        observed=_hide_cells(observed.item() if hasattr(observed, "item") else observed),
        failure=_find_failure(result),
    )


def _find_failure(result: ExpectationValidationResult) -> str | None:
    """Why a rule could not be evaluated: its metric raised, or its result says nothing."""
    raised = result.exception_info or {}
    details = [raised, *(value for value in raised.values() if isinstance(value, dict))]
    for detail in details:
        if detail.get("raised_exception"):
            return _describe(detail.get("exception_message") or "no reason given")
    return "it gave no result" if not result.success and not result.result else None


def _hide_cells(observed: Any) -> Any:
    """What a rule found, as far as that is numbers, or names of columns or types; else how many."""
    if isinstance(observed, str):
        return observed if _NAME.fullmatch(observed) else "a text"
    if isinstance(observed, Mapping):
        return f"{len(observed):,} values"
    if isinstance(observed, (list, tuple, set)):
        are_shown = all(_hide_cells(one) == one for one in observed)
        return list(observed) if are_shown else f"{len(observed):,} values"
    return observed


def _describe(reason: object) -> str:
    """Why a rule can't be evaluated, in a line, without what may be a cell: pandas quotes them."""
    said = next(iter(str(reason).splitlines()), type(reason).__name__)
    return _CELLS.sub("…", said)
