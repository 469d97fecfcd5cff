"""The gate: Great Expectations over a frame, from a suite in JSON to a verdict.

A suite's rules are row rules (column, pair and multi-column expectations: they name the rows that
break them) or rules on the whole, which are all others and those that compare rows with each other,
as uniqueness does. A row rule's `mostly` is not looked at: every row that breaks it is named, and
`max_quarantined` in the suite's meta says how many of all rows may be.

Row rules are judged batch by batch, rules on the whole when all rows are known, with only the columns
that they name: so no more than that has to be held.
"""

from __future__ import annotations

import gc
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from upath import UPath

from robin_etl.core import columns
from robin_etl.exceptions import ConfigurationError, GateError
from robin_etl.gate import importing

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult

WARNING = "warning"
EXPORT_SUITE, CHANGES_SUITE = "export.json", "changes.json"

# They ask of a cell only whether it is null.
_NULLITY = {"expect_column_values_to_be_null", "expect_column_values_to_not_be_null"}

# They judge a row by the others.
_COMPARE_ROWS = {
    "expect_column_value_z_scores_to_be_less_than",
    "expect_column_values_to_be_decreasing",
    "expect_column_values_to_be_increasing",
    "expect_column_values_to_be_unique",
    "expect_compound_columns_to_be_unique",
}


@dataclass(frozen=True)
class RuleVerdict:
    """How one rule fared. `broken` is the number of rows that break it; for a rule on the whole,
    `observed` is what was found instead. `failure` says why it could not be evaluated, if so.
    """

    rule: str
    severity: str
    is_row_rule: bool
    success: bool
    broken: int = 0
    observed: Any = None
    failure: str | None = None

    @property
    def stops(self) -> bool:
        return self.failure is not None or not (
            self.success or self.is_row_rule or self.severity == WARNING
        )


@dataclass(frozen=True)
class Verdict:
    """What a suite says of a frame.

    `rows`: how many were judged. `broken`: for each row that breaks a row rule, the names of those
    rules, with the frame's index. `max_quarantined`: the share of all rows that may.
    """

    suite: str
    rows: int
    max_quarantined: float
    rules: tuple[RuleVerdict, ...]
    broken: pd.Series

    @property
    def warnings(self) -> tuple[str, ...]:
        """The rules on the whole that failed without stopping the run."""
        return tuple(
            rule.rule for rule in self.rules if not (rule.success or rule.stops or rule.is_row_rule)
        )

    def as_json(self) -> dict[str, Any]:
        """The verdict as it is kept; it names no row's content."""
        return {
            "suite": self.suite,
            "rows": self.rows,
            "broken_rows": len(self.broken),
            "max_quarantined": self.max_quarantined,
            "rules": [{**vars(rule), "stops": rule.stops} for rule in self.rules],
        }

    def stop_unless_passed(self, what: str) -> None:
        """Raise `GateError` where the suite lets nothing pass; `what` names what was judged."""
        if failed := [rule for rule in self.rules if rule.failure]:
            reasons = "; ".join(f"{rule.rule}: {rule.failure}" for rule in failed)
            raise GateError(
                f"The rules of {self.suite} could not all be evaluated on {what} ({reasons}). "
                "Nothing was posted; mend the suite, then run again.",
                rules=tuple(rule.rule for rule in failed),
            )
        if stopping := [rule for rule in self.rules if rule.stops]:
            reasons = "; ".join(f"{rule.rule} (found {rule.observed})" for rule in stopping)
            raise GateError(
                f"The gate stopped {what}: {reasons} failed in {self.suite}. Nothing was posted; "
                "mend the export or the rule, then run again.",
                rules=tuple(rule.rule for rule in stopping),
            )
        if len(self.broken) > self.max_quarantined * self.rows:
            counts = {rule.rule: rule.broken for rule in self.rules if rule.broken}
            reasons = ", ".join(f"{rule} {count}" for rule, count in counts.items())
            raise GateError(
                f"The gate stopped {what}: {len(self.broken)} of {self.rows} rows break a rule "
                f"({reasons}), and {self.suite} allows {self.max_quarantined:.1%}. Nothing was "
                "posted; mend the export, or raise max_quarantined in the suite, then run again.",
                rules=tuple(counts),
            )


def load(path: UPath) -> dict[str, Any]:
    """A suite as it stands in its file; raises `ConfigurationError` where it is none."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"The suite {path} can't be read ({error}). Set ROBIN_ETL_EXPECTATIONS to the folder "
            "with export.json and changes.json."
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"The suite {path} is not JSON: {error}.") from error
    meta = raw.get("meta", {}) if isinstance(raw, dict) else {}
    if not isinstance(meta.get("max_quarantined"), int | float):
        raise ConfigurationError(
            f"The suite {path} needs a number max_quarantined in its meta: the share of rows that "
            "may be quarantined before the run stops, such as 0.05."
        )
    suite: dict[str, Any] = raw
    return suite


def judge(
    frame: pd.DataFrame, suite_path: UPath, parameters: Mapping[str, Any] | None = None
) -> Verdict:
    """Run the suite at `suite_path` over `frame`, which needs a unique index.

    `parameters` fill the suite's `{"$PARAMETER": name}`. Raises `ConfigurationError` where the suite
    can't be read, `GateError` where Great Expectations would leave one of its rules out.
    """
    judgement = Judgement(suite_path, parameters)
    judgement.hear(frame)
    return judgement.conclude(lambda columns: frame[columns])


class Judgement:
    """A suite's judgement over rows that come in batches: `hear` each, then `conclude`.

    Raises and takes what `judge` does.
    """

    def __init__(self, suite_path: UPath, parameters: Mapping[str, Any] | None = None) -> None:
        self._name = suite_path.name
        raw = load(suite_path)
        self._max_quarantined = float(raw["meta"]["max_quarantined"])
        _check_all_known(raw, suite_path)
        self._rules: list[dict[str, Any]] = raw["expectations"]
        self._parameters = dict(parameters or {})
        self._rows = 0
        self._columns: list[str] = []
        self._broken: list[pd.Series] = []
        self._row_verdicts: dict[str, RuleVerdict] = {}

    def hear(self, frame: pd.DataFrame) -> pd.Series:
        """Judge a batch by the row rules: for each row that breaks any, the names of those rules.

        The index of all batches together has to be unique.
        """
        if self._rows:
            # Great Expectations leaves each batch behind in cycles of references.
            gc.collect()
        rules = [rule for rule in self._rules if _is_row_rule(rule["type"])]
        named = []
        for rule, result in _results(_lean(frame, rules), rules, self._parameters):
            labels = result.result.get("unexpected_index_list") or []
            before = self._row_verdicts.get(rule.rule, rule)
            count = before.broken + len(labels)
            failure = before.failure or _failure(result, is_row_rule=True)
            success = not count and failure is None
            self._row_verdicts[rule.rule] = replace(
                rule, success=success, broken=count, failure=failure, is_row_rule=True
            )
            named.append(pd.Series(rule.rule, index=labels, dtype="str"))
        self._rows += len(frame)
        self._columns = list(frame.columns)
        broken = pd.concat(named) if named else pd.Series(dtype="str")
        broken = broken.groupby(level=0).agg("; ".join) if len(broken) else broken
        self._broken.append(broken)
        return broken

    def conclude(self, rows: Callable[[list[str]], pd.DataFrame]) -> Verdict:
        """Judge the rules on the whole, and tell the verdict over all.

        `rows` gives those columns of all rows that were heard, in their order.
        """
        rules = [rule for rule in self._rules if not _is_row_rule(rule["type"])]
        named = _columns_in(rules, self._columns)
        whole = rows(named).reset_index(drop=True) if named else pd.DataFrame(index=range(self._rows))
        # A column that no rule names need not be held, but it is there.
        nothing = pd.arrays.ArrowExtensionArray(pa.nulls(self._rows))
        for name in self._columns:
            if name not in named:
                whole[name] = nothing
        verdicts = dict(self._row_verdicts)
        for rule, result in _results(_exact_floats(whole[self._columns]), rules, self._parameters):
            found = result.result.get("observed_value", result.result.get("unexpected_count"))
            verdicts[rule.rule] = replace(
                rule,
                success=bool(result.success),
                observed=_plain(found),
                failure=_failure(result, is_row_rule=False),
            )
        return Verdict(
            suite=self._name,
            rows=self._rows,
            max_quarantined=self._max_quarantined,
            rules=tuple(verdicts[_name(rule)] for rule in self._rules),
            broken=pd.concat(self._broken) if self._broken else pd.Series(dtype="str"),
        )


def _check_all_known(raw: dict[str, Any], path: UPath) -> None:
    gx = _great_expectations()
    expectations = raw.get("expectations", [])
    try:
        loaded = len(gx.ExpectationSuite(name=path.stem, expectations=expectations).expectations)
    except Exception:  # noqa: BLE001 (it raises many kinds; the look at each rule below names it)
        loaded = -1
    if loaded != len(expectations):
        # A misspelt type or severity is dropped with no more than a log line; one by one it shows.
        for expectation in expectations:
            _check_known(expectation, path)
        raise GateError(
            f"Great Expectations keeps {loaded} of the {len(expectations)} rules in {path}. "
            "Nothing was posted; look for one that stands there twice."
        )


def _check_known(expectation: dict[str, Any], path: UPath) -> None:
    reason = "it was dropped on loading"
    try:
        gx = _great_expectations()
        if gx.ExpectationSuite(name="one", expectations=[expectation]).expectations:
            return
    except Exception as error:  # noqa: BLE001 (it raises many kinds for a rule it can't load)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    name = _name(expectation)
    raise GateError(
        f"The rule {name} of {path} is none that Great Expectations knows ({reason}): look at its "
        "type, severity and kwargs. Nothing was posted.",
        rules=(name,),
    )


def _name(expectation: Mapping[str, Any]) -> str:
    column = (expectation.get("kwargs") or {}).get("column", "the whole")
    return str((expectation.get("meta") or {}).get("rule") or f"{expectation['type']}:{column}")


def _results(
    frame: pd.DataFrame, rules: list[dict[str, Any]], parameters: dict[str, Any]
) -> Iterator[tuple[RuleVerdict, ExpectationValidationResult]]:
    """Each of these rules, without a verdict yet, and what Great Expectations says of it."""
    if not rules:
        return
    gx = _great_expectations()
    from great_expectations.data_context.types.base import ProgressBarsConfig

    # A context of its own for each call: shared ones mix up results between threads.
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
    batch = asset.add_batch_definition_whole_dataframe("whole")
    suite = context.suites.add(gx.ExpectationSuite(name="rules", expectations=rules))
    definition = gx.ValidationDefinition(name="gate", data=batch, suite=suite)
    run = definition.run(
        batch_parameters={"dataframe": frame},
        expectation_parameters=parameters,
        result_format={
            "result_format": "COMPLETE",
            "return_unexpected_index_query": False,
            "exclude_unexpected_values": True,
        },
    )
    for result in run.results:
        config = result.expectation_config
        name = _name({"type": config.type, "kwargs": config.kwargs, "meta": config.meta})
        severity = str(getattr(config.severity, "value", config.severity))
        yield RuleVerdict(name, severity, is_row_rule=False, success=False), result


def _lean(frame: pd.DataFrame, rules: list[dict[str, Any]]) -> pd.DataFrame:
    """What these rules look at, since Great Expectations copies and hashes all that it is given.

    A column of which they ask only whether it is null says no more than that: 1.0, or NaN.
    """
    known = list(frame.columns)
    weighed = _columns_in([_but_nullity(rule) for rule in rules], known)
    columns = {
        name: frame[name] if name in weighed else np.where(frame[name].isna(), np.nan, 1.0)
        for name in _columns_in(rules, known)
    }
    return _exact_floats(pd.DataFrame(columns, index=frame.index))


def _but_nullity(told: Any) -> Any:
    """A rule without the columns of which it asks only whether they are null."""
    if isinstance(told, list):
        return [_but_nullity(one) for one in told]
    if not isinstance(told, Mapping):
        return told
    if told.get("type") == "nullity":
        return {}
    left = {name: _but_nullity(value) for name, value in told.items()}
    if told.get("type") in _NULLITY:
        left["kwargs"] = {name: value for name, value in left["kwargs"].items() if name != "column"}
    return left


def _exact_floats(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with cents as float64, null as NaN: exact below 2^53, and much quicker to judge."""
    cents = frame.columns[frame.dtypes == columns.CENTS]
    return frame.astype(dict.fromkeys(cents, "float64"))


def _columns_in(rules: list[dict[str, Any]], columns: list[str]) -> list[str]:
    """Those of these columns that the rules' arguments name, alone or in a condition written as text."""
    text = " ".join(_words([rule["kwargs"] for rule in rules]))
    return [name for name in columns if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)]


def _words(told: Any) -> list[str]:
    """Every text anywhere in there."""
    if isinstance(told, Mapping):
        told = list(told.values())
    if isinstance(told, list):
        return [word for one in told for word in _words(one)]
    return [told] if isinstance(told, str) else []


def _failure(result: ExpectationValidationResult, *, is_row_rule: bool) -> str | None:
    """Why a rule could not be evaluated: its metric raised, or its result says nothing."""
    raised = result.exception_info or {}
    details = [raised, *(value for value in raised.values() if isinstance(value, dict))]
    for detail in details:
        if detail.get("raised_exception"):
            message = str(detail.get("exception_message") or "no reason given")
            return message.splitlines()[0]
    if not result.success and not result.result:
        return "it gave no result"
    if is_row_rule and not result.success and not result.result.get("unexpected_index_list"):
        return "it failed without naming a row"
    return None


def _is_row_rule(expectation_type: str) -> bool:
    _great_expectations()
    from great_expectations.expectations import expectation as kinds
    from great_expectations.expectations.registry import get_expectation_impl

    row_kinds = (
        kinds.ColumnMapExpectation,
        kinds.ColumnPairMapExpectation,
        kinds.MulticolumnMapExpectation,
    )
    compares_rows = expectation_type in _COMPARE_ROWS
    return not compares_rows and issubclass(get_expectation_impl(expectation_type), row_kinds)


def _great_expectations() -> Any:
    """The module, imported when the gate first runs: it costs seconds, which `--help` need not pay."""
    if "great_expectations" not in sys.modules:
        _quieten()
        # Dear, and needed by few rules; jsonschema alone compiles a grammar for half a second.
        with (
            importing.put_off("scipy.stats", "altair", "jsonschema", "boto3"),
            importing.without_collection(),
        ):
            import great_expectations  # noqa: F401
        _quieten()
    return sys.modules["great_expectations"]


def _quieten() -> None:
    """Great Expectations logs at length, turns that up on import, and takes over all warnings."""
    for chatty in ("great_expectations", "great_expectations.data_context.types.base"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(capture=False)


def _plain(observed: Any) -> Any:
    return observed.item() if hasattr(observed, "item") else observed
