"""Checking rows with a suite: Great Expectations over frames, to a verdict.

A row rule's `mostly` is not looked at: every row that breaks it is named, and `max_quarantined` in the
suite's meta says how many of all rows may be.

Row rules are checked batch by batch, rules on the whole when all rows are known, with only the columns
that they name: so no more than that has to be held.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from robin_etl.core import columns
from robin_etl.gate.importing import import_great_expectations
from robin_etl.gate.suites import Rule, Suite, check_rules_known, find_columns, is_row_rule, name_rule
from robin_etl.gate.verdict import RuleVerdict, Verdict

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult

# Whether a row breaks a row rule: a column that rules on the whole can name.
BROKEN = "broken"

# They ask of a cell only whether it is null.
_NULLITY = {"expect_column_values_to_be_null", "expect_column_values_to_not_be_null"}


def check_frame(
    frame: pd.DataFrame, suite: Suite, parameters: Mapping[str, Any] | None = None
) -> tuple[Verdict, pd.Series]:
    """The verdict on a frame, which needs a unique index, and its broken rows as `check_batch` does.

    `parameters` fill the suite's `{"$PARAMETER": name}`. Raises `GateError` where Great Expectations
    would leave one of the suite's rules out.
    """
    check = SuiteCheck(suite, parameters)
    broken = check.check_batch(frame)
    flagged = frame.assign(**{BROKEN: pd.array(frame.index.isin(broken.index), dtype=columns.FLAG)})
    return check.finish(lambda names: flagged[names]), broken


class SuiteCheck:
    """The check of rows that come in batches: `check_batch` each, then `finish`.

    Takes and raises what `check_frame` does.
    """

    def __init__(self, suite: Suite, parameters: Mapping[str, Any] | None = None) -> None:
        check_rules_known(suite)
        self._suite = suite
        self._row_rules = [rule for rule in suite.rules if is_row_rule(rule)]
        self._whole_rules = [rule for rule in suite.rules if not is_row_rule(rule)]
        self._parameters = dict(parameters or {})
        self._columns: list[str] = []
        self._rows = self._broken_rows = 0
        self._row_verdicts: dict[str, RuleVerdict] = {}

    def check_batch(self, frame: pd.DataFrame) -> pd.Series:
        """Check a batch by the row rules: for each row that breaks any, the names of those rules.

        The index of all batches together has to be unique.
        """
        if self._rows:
            # Great Expectations leaves each batch behind in cycles of references.
            gc.collect()
        named = [pd.Series(dtype=columns.TEXT)]
        for result in self._evaluate(_narrow(frame, self._row_rules), self._row_rules):
            verdict, labels = _judge_rows(result)
            before = self._row_verdicts.get(verdict.rule)
            self._row_verdicts[verdict.rule] = _add_up(before, verdict) if before else verdict
            named.append(pd.Series(verdict.rule, index=labels, dtype=columns.TEXT))
        broken: pd.Series = pd.concat([found for found in named if len(found)] or named[:1])
        broken = broken.groupby(level=0).agg("; ".join) if len(broken) else broken
        self._columns = list(frame.columns)
        self._rows += len(frame)
        self._broken_rows += len(broken)
        return broken

    def finish(
        self,
        rows: Callable[[list[str]], pd.DataFrame],
        parameters: Mapping[str, Any] | None = None,
    ) -> Verdict:
        """Check the rules on the whole, and give the verdict on all rows.

        `rows` gives these columns of all rows that were checked, in their order, and `broken` beside
        them; `parameters` are those that are known only now. Where no row is good only what can be
        counted is judged: there is no highest amount, and all may be right all the same.
        """
        self._parameters |= parameters or {}
        whole = [_judge_whole(one) for one in self._evaluate(self._join(rows), self._whole_rules)]
        if self._rows == self._broken_rows:
            whole = [replace(one, success=one.success or one.observed is None) for one in whole]
        verdicts = {**self._row_verdicts, **{verdict.rule: verdict for verdict in whole}}
        return Verdict(
            suite=self._suite.name,
            rows=self._rows,
            broken_rows=self._broken_rows,
            max_quarantined=self._suite.max_quarantined,
            but_at_least=self._suite.but_at_least,
            rules=tuple(verdicts[name_rule(rule)] for rule in self._suite.rules),
        )

    def _join(self, rows: Callable[[list[str]], pd.DataFrame]) -> pd.DataFrame:
        """All rows with the columns that rules on the whole name; the other columns without values."""
        of_rows = [name for name in self._columns if name != BROKEN]
        named = find_columns(self._whole_rules, [*of_rows, BROKEN])
        whole = rows(named).reset_index(drop=True) if named else pd.DataFrame(index=range(self._rows))
        nothing = pd.arrays.ArrowExtensionArray(pa.nulls(self._rows))
        others = {name: nothing for name in of_rows if name not in named}
        return _make_exact_floats(whole.assign(**others)[[*of_rows, *({BROKEN} & set(named))]])

    def _evaluate(
        self, frame: pd.DataFrame, rules: Sequence[Rule]
    ) -> Iterator[ExpectationValidationResult]:
        """What Great Expectations says of a frame, for each of these rules."""
        if not rules:
            return
        gx = import_great_expectations()
        from great_expectations.data_context.types.base import ProgressBarsConfig

        # A context of its own for each call: shared ones mix up results between threads.
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
        batch = asset.add_batch_definition_whole_dataframe("whole")
        suite = context.suites.add(gx.ExpectationSuite(name="rules", expectations=list(rules)))
        definition = gx.ValidationDefinition(name="gate", data=batch, suite=suite)
        run = definition.run(
            batch_parameters={"dataframe": frame},
            expectation_parameters=self._parameters,
            result_format={
                "result_format": "COMPLETE",
                "return_unexpected_index_query": False,
                "exclude_unexpected_values": True,
            },
        )
        yield from run.results


def _judge_rows(result: ExpectationValidationResult) -> tuple[RuleVerdict, list[Any]]:
    """The verdict of a row rule, and the labels of the rows that break it."""
    labels = result.result.get("unexpected_index_list") or []
    failure = _find_failure(result)
    if failure is None and not result.success and not labels:
        failure = "it failed without naming a row"
    success = not labels and failure is None
    name, severity = _identify(result)
    verdict = RuleVerdict(
        name, severity, is_row_rule=True, success=success, broken=len(labels), failure=failure
    )
    return verdict, labels


def _add_up(before: RuleVerdict, after: RuleVerdict) -> RuleVerdict:
    return replace(
        after,
        success=before.success and after.success,
        broken=before.broken + after.broken,
        failure=before.failure or after.failure,
    )


def _judge_whole(result: ExpectationValidationResult) -> RuleVerdict:
    observed = result.result.get("observed_value", result.result.get("unexpected_count"))
    name, severity = _identify(result)
    return RuleVerdict(
        name,
        severity,
        is_row_rule=False,
        success=bool(result.success),
        observed=observed.item() if hasattr(observed, "item") else observed,
        failure=_find_failure(result),
    )


def _identify(result: ExpectationValidationResult) -> tuple[str, str]:
    config = result.expectation_config
    name = name_rule({"type": config.type, "kwargs": config.kwargs, "meta": config.meta})
    return name, str(getattr(config.severity, "value", config.severity))


def _find_failure(result: ExpectationValidationResult) -> str | None:
    """Why a rule could not be evaluated: its metric raised, or its result says nothing."""
    raised = result.exception_info or {}
    details = [raised, *(value for value in raised.values() if isinstance(value, dict))]
    for detail in details:
        if detail.get("raised_exception"):
            message = str(detail.get("exception_message") or "no reason given")
            return message.splitlines()[0]
    return "it gave no result" if not result.success and not result.result else None


def _narrow(frame: pd.DataFrame, rules: Sequence[Rule]) -> pd.DataFrame:
    """What these rules look at, since Great Expectations copies and hashes all that it is given.

    A column of which they ask only whether it is null says no more than that: 1.0, or NaN.
    """
    names = list(frame.columns)
    compared = find_columns([_leave_out_nullity(rule) for rule in rules], names)
    cells = {
        name: frame[name] if name in compared else np.where(frame[name].isna(), np.nan, 1.0)
        for name in find_columns(rules, names)
    }
    return _make_exact_floats(pd.DataFrame(cells, index=frame.index))


def _leave_out_nullity(value: Any) -> Any:
    """A rule, or a part of one, without the columns of which it asks only whether they are null."""
    if isinstance(value, list):
        return [_leave_out_nullity(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("type") == "nullity":
        return {}
    left = {name: _leave_out_nullity(inner) for name, inner in value.items()}
    if value.get("type") in _NULLITY:
        left["kwargs"] = {name: inner for name, inner in left["kwargs"].items() if name != "column"}
    return left


def _make_exact_floats(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with cents as float64, null as NaN: exact below 2^53, and much quicker to check."""
    cents = frame.columns[frame.dtypes == columns.CENTS]
    return frame.astype(dict.fromkeys(cents, "float64"))
