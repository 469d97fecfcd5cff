"""Suites: the rules of the gate as they stand in a JSON file that a user edits.

A suite's rules are row rules (column, pair and multi-column expectations: they name the rows that
break them) or rules on the whole, which are all others and those that compare rows with each other,
as uniqueness does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from upath import UPath

from robin_etl.exceptions import ConfigurationError, GateError
from robin_etl.gate.harmless import find_fault, find_texts
from robin_etl.gate.importing import import_great_expectations

EXPORT_SUITE, CHANGES_SUITE = "export.json", "changes.json"

# An expectation as its file states it and Great Expectations takes it.
Rule = dict[str, Any]

T = TypeVar("T")

_Days = Annotated[int, Field(ge=0)]
_Factor = Annotated[float, Field(ge=0, allow_inf_nan=False)]

# They judge a row by the others.
COMPARE_ROWS = {
    "expect_column_value_z_scores_to_be_less_than",
    "expect_column_values_to_be_decreasing",
    "expect_column_values_to_be_increasing",
    "expect_column_values_to_be_unique",
    "expect_compound_columns_to_be_unique",
}


@dataclass(frozen=True)
class Volume:
    """The guard on volume: the least rows of an export, as a share of the usual of so many days."""

    days: _Days = 0
    least_share: _Factor = 0.0


@dataclass(frozen=True)
class Amount:
    """What is far beyond a shop's amounts: so many `times` the usual highest of the last `days` runs
    or, where there are none, `times_own` the middle of the export's own. 0 sets no bound.
    """

    days: _Days = 0
    times: _Factor = 0.0
    times_own: _Factor = 0.0


@dataclass(frozen=True)
class Suite:
    """A suite as its file states it.

    A run stops where more rows break a rule than the share `max_quarantined` of all, and more than
    `but_at_least`, or all of them.
    """

    path: UPath
    rules: tuple[Rule, ...]
    max_quarantined: float
    volume: Volume
    but_at_least: int = 0
    amount: Amount = Amount()

    @property
    def name(self) -> str:
        return str(self.path.name)


_EXAMPLES = {
    "volume": '{"days": 14, "least_share": 0.3}',
    "amount": '{"days": 14, "times": 50, "times_own": 1000}',
}


def load_suite(path: UPath) -> Suite:
    """The suite in a file; raises `ConfigurationError` where it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"The suite {path} can't be read ({error}). Set ROBIN_ETL_EXPECTATIONS to the folder "
            "with export.json and changes.json."
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"The suite {path} is not JSON: {error}.") from error
    meta = content.get("meta", {}) if isinstance(content, dict) else {}
    if not isinstance(share := meta.get("max_quarantined"), int | float):
        raise ConfigurationError(
            f"The suite {path} needs a number max_quarantined in its meta: the share of rows that "
            "may be quarantined before the run stops, such as 0.05."
        )
    for rule in content.get("expectations", ()):
        if fault := find_fault(rule):
            raise ConfigurationError(f"The rule {name_rule(rule)} of {path} {fault}.")
    return Suite(
        path=path,
        rules=tuple(content.get("expectations", ())),
        max_quarantined=float(share),
        volume=_read_numbers(Volume, meta, "volume", path),
        but_at_least=_read_least(meta, path),
        amount=_read_numbers(Amount, meta, "amount", path),
    )


def _read_numbers(kind: type[T], meta: Mapping[str, Any], name: str, path: UPath) -> T:
    """What a suite's meta states under this name; raises `ConfigurationError` where it is none."""
    try:
        return TypeAdapter(kind).validate_python(meta.get(name, {}), extra="forbid")
    except ValidationError:
        raise ConfigurationError(
            f"The meta of the suite {path} has no usable {name}: it takes numbers from 0 on, such "
            f"as {_EXAMPLES[name]}."
        ) from None


def _read_least(meta: Mapping[str, Any], path: UPath) -> int:
    least = meta.get("but_at_least", 0)
    if isinstance(least, bool) or not isinstance(least, int) or least < 0:
        raise ConfigurationError(
            f"The suite {path} has a but_at_least in its meta that is no whole number from 0 on: so "
            "many rows may be quarantined whatever share they are, such as 10."
        )
    return least


def check_rules_known(suite: Suite) -> None:
    """Raise `GateError` where Great Expectations would leave one of the suite's rules out."""
    gx = import_great_expectations()
    try:
        known = len(gx.ExpectationSuite(name="all", expectations=list(suite.rules)).expectations)
    except Exception:  # noqa: BLE001 (it raises many kinds; the look at each rule below names it)
        known = -1
    if known != len(suite.rules):
        # A misspelt type or severity is dropped with no more than a log line; one by one it shows.
        for rule in suite.rules:
            _check_rule_known(rule, suite.path)
        raise GateError(
            f"Great Expectations keeps {known} of the {len(suite.rules)} rules in {suite.path}. "
            "Nothing was posted; look for one that stands there twice."
        )


def _check_rule_known(rule: Rule, path: UPath) -> None:
    reason = "it was dropped on loading"
    try:
        gx = import_great_expectations()
        if gx.ExpectationSuite(name="one", expectations=[rule]).expectations:
            return
    except Exception as error:  # noqa: BLE001 (it raises many kinds for a rule it can't load)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    name = name_rule(rule)
    raise GateError(
        f"The rule {name} of {path} is none that Great Expectations knows ({reason}): look at its "
        "type, severity and kwargs. Nothing was posted.",
        rules=(name,),
    )


def name_rule(rule: Mapping[str, Any]) -> str:
    """The name in the rule's meta or, without one, its type and column."""
    column = (rule.get("kwargs") or {}).get("column", "the whole")
    return str((rule.get("meta") or {}).get("rule") or f"{rule.get('type')}:{column}")


def is_row_rule(rule: Rule) -> bool:
    """Whether it names the rows that break it, and judges each by itself."""
    import_great_expectations()
    from great_expectations.expectations import expectation as kinds
    from great_expectations.expectations.registry import get_expectation_impl

    row_kinds = (
        kinds.ColumnMapExpectation,
        kinds.ColumnPairMapExpectation,
        kinds.MulticolumnMapExpectation,
    )
    compares_rows = rule["type"] in COMPARE_ROWS
    return not compares_rows and issubclass(get_expectation_impl(rule["type"]), row_kinds)


def asks_for_table(rule: Rule) -> bool:
    """Whether it asks what columns there are, or how many rows: no choice of columns will do for it."""
    kind: str = rule["type"]
    return kind.startswith("expect_table_") or kind == "expect_column_to_exist"


def find_columns(rules: Sequence[Rule], columns: Sequence[str]) -> list[str]:
    """Those of these columns that the rules' arguments name, alone or in a condition written as text.

    A column's name is a word, as all of a run's are.
    """
    words = set(re.findall(r"\w+", " ".join(find_texts([rule["kwargs"] for rule in rules]))))
    return [name for name in columns if name in words]
