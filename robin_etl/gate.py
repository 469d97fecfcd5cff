"""The gate: Great Expectations over a frame, from a suite in JSON to a verdict.

A suite's rules are row rules (column, pair and multi-column expectations: they name the rows that
break them) or rules on the whole. A row rule's `mostly` is not looked at: every row that breaks it is
named, and `max_quarantined` in the suite's meta says how many of all rows may be.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from upath import UPath

from robin_etl.exceptions import ConfigurationError, GateError

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.core import ExpectationValidationResult

WARNING = "warning"
EXPORT_SUITE, CHANGES_SUITE = "export.json", "changes.json"


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
    raw = load(suite_path)
    suite = _suite(raw, suite_path)
    rules: list[RuleVerdict] = []
    named: list[pd.Series] = []
    for result in _results(frame, suite, dict(parameters or {})):
        config = result.expectation_config
        rule = _name({"type": config.type, "kwargs": config.kwargs, "meta": config.meta})
        severity = str(getattr(config.severity, "value", config.severity))
        is_row_rule = _is_row_rule(config.type)
        failure = _failure(result, is_row_rule=is_row_rule)
        labels = result.result.get("unexpected_index_list") or [] if is_row_rule else []
        rules.append(
            RuleVerdict(
                rule,
                severity,
                is_row_rule,
                success=not labels and failure is None if is_row_rule else bool(result.success),
                broken=len(labels),
                observed=_plain(result.result.get("observed_value")),
                failure=failure,
            )
        )
        named.append(pd.Series(rule, index=labels, dtype="str"))
    in_file = {_name(expectation): at for at, expectation in enumerate(raw["expectations"])}
    rules.sort(key=lambda verdict: in_file[verdict.rule])
    broken = pd.concat(named) if named else pd.Series(dtype="str")
    return Verdict(
        suite=suite_path.name,
        rows=len(frame),
        max_quarantined=float(raw["meta"]["max_quarantined"]),
        rules=tuple(rules),
        broken=broken.groupby(level=0).agg("; ".join) if len(broken) else broken,
    )


def _suite(raw: dict[str, Any], path: UPath) -> ExpectationSuite:
    gx = _great_expectations()
    expectations = raw.get("expectations", [])
    try:
        suite = gx.ExpectationSuite(name=path.stem, expectations=expectations)
        loaded = len(suite.expectations)
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
    return suite


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
    frame: pd.DataFrame, suite: ExpectationSuite, parameters: dict[str, Any]
) -> list[ExpectationValidationResult]:
    gx = _great_expectations()
    from great_expectations.data_context.types.base import ProgressBarsConfig

    # A context of its own for each call: shared ones mix up results between threads.
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
    batch = asset.add_batch_definition_whole_dataframe("whole")
    definition = gx.ValidationDefinition(name="gate", data=batch, suite=context.suites.add(suite))
    run = definition.run(
        batch_parameters={"dataframe": frame},
        expectation_parameters=parameters,
        result_format={
            "result_format": "COMPLETE",
            "return_unexpected_index_query": False,
            "exclude_unexpected_values": True,
        },
    )
    return list(run.results)


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
    return issubclass(get_expectation_impl(expectation_type), row_kinds)


def _great_expectations() -> Any:
    """The module, imported when the gate first runs: it costs seconds, which `--help` need not pay."""
    import great_expectations

    # On import it turns parts of its log up and takes the process's warnings into it.
    for chatty in ("great_expectations", "great_expectations.data_context.types.base"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(capture=False)
    return great_expectations


def _plain(observed: Any) -> Any:
    return observed.item() if hasattr(observed, "item") else observed
