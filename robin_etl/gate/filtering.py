"""Which rows a rule is asked of: those that its `row_condition` keeps.

Great Expectations filters and copies rows anew for each metric of each rule. Here they are filtered
once for all rules with one `row_condition`, to the columns that these rules look at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from robin_etl.core import columns
from robin_etl.gate.suites import Rule, find_columns

if TYPE_CHECKING:
    import numpy.typing as npt
    from great_expectations.execution_engine import PandasExecutionEngine

# The name under which the engine knows the frame that it looks at.
ROWS = "rows"

# What stands for all cells to a condition that asks only whether they are null.
_FILLED_AND_NULL = pd.Series([1.0, float("nan")])


@dataclass(frozen=True)
class Condition:
    """The metric that says which rows break a row rule, of those that `row_condition` keeps."""

    metric: str
    domain: dict[str, Any]
    values: dict[str, Any]
    row_condition: Any


@dataclass(frozen=True)
class _Alike:
    """The rows of a column by what they hold: a number for each, and for each number such a cell."""

    numbers: npt.NDArray[np.intp]
    cells: pd.Series

    def find_places(self, numbers: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """The places of the rows with one of these numbers."""
        is_selected = np.zeros(len(self.cells), dtype=bool)
        is_selected[numbers] = True
        return np.flatnonzero(is_selected[self.numbers])


class _Conditions:
    """Which rows of a frame a `row_condition` keeps."""

    def __init__(self, engine: PandasExecutionEngine, frame: pd.DataFrame) -> None:
        self._engine, self._frame = engine, frame
        self._texts: dict[str, _Alike] = {}

    def find_places(self, names: Sequence[str], row_condition: Any) -> npt.NDArray[np.intp]:
        """The places of the rows that it keeps by their cells in the columns of these names.

        Where it asks of a cell whether it equals a value, or is null, only one of all rows that have the
        same cell is asked.
        """
        if len(names) != 1 or not _asks_for_equality(row_condition):
            return self._ask(self._frame[list(names)], row_condition)
        (name,) = names
        if self._frame[name].dtype == columns.TEXT:
            alike = self._number_texts(name)
        elif _asks_for_nullity(row_condition):
            alike = _Alike(self._frame[name].isna().to_numpy().astype(np.intp), _FILLED_AND_NULL)
        else:
            return self._ask(self._frame[[name]], row_condition)
        return alike.find_places(self._ask(alike.cells.to_frame(name), row_condition))

    def _ask(self, cells: pd.DataFrame, row_condition: Any) -> npt.NDArray[np.intp]:
        self._engine.load_batch_data(ROWS, cells.reset_index(drop=True))
        kept: pd.DataFrame = self._engine.get_domain_records({"row_condition": row_condition})
        return kept.index.to_numpy()

    def _number_texts(self, name: str) -> _Alike:
        if name not in self._texts:
            texts = columns.to_strings(self._frame[name]).dictionary_encode()
            null = len(texts.dictionary)
            numbers = texts.indices.fill_null(null).to_numpy().astype(np.intp)
            cells = pd.Series([*texts.dictionary.to_pylist(), None], dtype=columns.TEXT)
            self._texts[name] = _Alike(numbers, cells)
        return self._texts[name]


class Filtered:
    """The rows that one `row_condition` keeps, for the rules that have it."""

    def __init__(self, frame: pd.DataFrame, rules: Sequence[Rule], conditions: _Conditions) -> None:
        self.frame = frame
        self._rules, self._conditions = rules, conditions
        self._kept: pd.DataFrame | None = None

    def select(self, condition: Condition) -> pd.DataFrame:
        """The rows with the columns that a rule looks at."""
        if self._kept is None:
            self._kept = self._filter(condition.row_condition)
        looked_at = {"kwargs": {**condition.domain, **condition.values}}
        return self._kept[find_columns([looked_at], list(self._kept.columns))]

    def _filter(self, row_condition: Any) -> pd.DataFrame:
        if not row_condition:
            return self.frame
        asked, looked_at = [], []
        for rule in self._rules:
            asked.append({"kwargs": {"row_condition": rule["kwargs"]["row_condition"]}})
            looked_at.append({"kwargs": {**rule["kwargs"], "row_condition": None}})
        names = list(self.frame.columns)
        places = self._conditions.find_places(find_columns(asked, names), row_condition)
        named = self.frame[find_columns(looked_at, names)]
        return named if len(places) == len(named) else named.take(places)


def filter_by_condition(
    engine: PandasExecutionEngine, frame: pd.DataFrame, rules: Sequence[Rule]
) -> Iterator[tuple[list[int], Filtered]]:
    """For each `row_condition`: the places of the rules that have it, and the rows that it keeps.

    These are filtered when they are first wanted, and held no longer than until the next.
    """
    conditions = _Conditions(engine, frame)
    written = [_write_row_condition(rule) for rule in rules]
    in_order = sorted(range(len(rules)), key=written.__getitem__)
    for _, group in groupby(in_order, key=written.__getitem__):
        places = list(group)
        yield places, Filtered(frame, [rules[place] for place in places], conditions)


def _write_row_condition(rule: Rule) -> str:
    return json.dumps(rule["kwargs"].get("row_condition") or "", sort_keys=True)


def _asks_for_equality(row_condition: Any) -> bool:
    """Whether a condition asks of a cell only whether it equals one of some values, or is null."""
    from great_expectations.expectations import row_conditions as kinds

    if isinstance(row_condition, kinds.AndCondition | kinds.OrCondition):
        return all(map(_asks_for_equality, row_condition.conditions))
    if isinstance(row_condition, kinds.ComparisonCondition):
        operators = kinds.Operator
        return row_condition.operator in (
            *(operators.EQUAL, operators.NOT_EQUAL),
            *(operators.IN, operators.NOT_IN),
        )
    return _asks_for_nullity(row_condition)


def _asks_for_nullity(row_condition: Any) -> bool:
    from great_expectations.expectations import row_conditions as kinds

    return isinstance(row_condition, kinds.NullityCondition)
