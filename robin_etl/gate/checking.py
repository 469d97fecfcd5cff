"""Checking rows with a suite: Great Expectations over frames, to a verdict.

A row rule's `mostly` is not looked at: every row that breaks it is named, and `max_quarantined` in the
suite's meta says how many of all rows may be.

Row rules are checked batch by batch, rules on the whole when all rows are known, with only the columns
that they name: so no more than that has to be held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from robin_etl.core import columns
from robin_etl.gate.evaluating import Evaluator, Finding
from robin_etl.gate.suites import Rule, Suite, check_rules_known, find_columns, is_row_rule, name_rule
from robin_etl.gate.verdict import RuleVerdict, Verdict

if TYPE_CHECKING:
    import numpy.typing as npt

# Whether a row breaks a row rule: a column that rules on the whole can name.
BROKEN = "broken"

# So many rows that break a rule are not kept, unless as many do not.
_MOST_BROKEN = 1_000_000

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
        self._evaluator = Evaluator()
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
        named = [pd.Series(dtype=columns.TEXT)]
        narrow = _narrow(frame, self._row_rules)
        findings = self._evaluator.evaluate_row_rules(narrow, self._row_rules, self._parameters)
        for rule, finding in zip(self._row_rules, findings, strict=True):
            verdict = _judge(rule, finding)
            before = self._row_verdicts.get(verdict.rule)
            self._row_verdicts[verdict.rule] = _add_up(before, verdict) if before else verdict
            named.append(pd.Series(verdict.rule, index=finding.broken, dtype=columns.TEXT))
        broken = _join_names(pd.concat([found for found in named if len(found)] or named[:1]))
        self._columns = list(frame.columns)
        self._rows += len(frame)
        self._broken_rows += len(broken)
        return broken

    def stop_at_nearly_all_broken(self, what: str, *, are_large: bool = False) -> None:
        """Raise `GateError` where so many rows break a rule by now, or are so large, and so few do not
        break any, that the others are not worth reading; `what` names what is checked.
        """
        if (are_large or self._broken_rows > _MOST_BROKEN) and self._broken_rows * 2 > self._rows:
            verdicts = tuple(self._row_verdicts.values())
            self._judge_rows(verdicts).stop_unless_passed(f"{what} before its end")

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
        findings = self._evaluator.evaluate_whole_rules(
            self._join(rows), self._whole_rules, self._parameters
        )
        whole = [_judge(*one) for one in zip(self._whole_rules, findings, strict=True)]
        if self._rows == self._broken_rows:
            whole = [replace(one, success=one.success or one.observed is None) for one in whole]
        verdicts = {**self._row_verdicts, **{verdict.rule: verdict for verdict in whole}}
        return self._judge_rows(tuple(verdicts[name_rule(rule)] for rule in self._suite.rules))

    def _judge_rows(self, rules: tuple[RuleVerdict, ...]) -> Verdict:
        return Verdict(
            suite=self._suite.name,
            rows=self._rows,
            broken_rows=self._broken_rows,
            max_quarantined=self._suite.max_quarantined,
            but_at_least=self._suite.but_at_least,
            rules=rules,
        )

    def _join(self, rows: Callable[[list[str]], pd.DataFrame]) -> pd.DataFrame:
        """All rows with the columns that rules on the whole name; the other columns without values."""
        of_rows = [name for name in self._columns if name != BROKEN]
        named = find_columns(self._whole_rules, [*of_rows, BROKEN])
        whole = rows(named).reset_index(drop=True) if named else pd.DataFrame(index=range(self._rows))
        nothing = pd.arrays.ArrowExtensionArray(pa.nulls(self._rows))
        cells = {
            name: _make_exact(whole[name]) if name in named else nothing
            for name in [*of_rows, *({BROKEN} & set(named))]
        }
        return pd.DataFrame(cells, index=whole.index, copy=False)


def _join_names(named: pd.Series) -> pd.Series:
    """One text for each label, in the order of labels, of one name or more."""
    # To join is a call for each label, and few break more than one rule.
    is_one_of_many = named.index.duplicated(keep=False)
    many = named[is_one_of_many].groupby(level=0).agg("; ".join)
    return pd.concat([named[~is_one_of_many], many]).sort_index() if len(many) else named.sort_index()


def _judge(rule: Rule, finding: Finding) -> RuleVerdict:
    return RuleVerdict(
        rule=name_rule(rule),
        severity=str(rule.get("severity", "critical")),
        is_row_rule=is_row_rule(rule),
        success=finding.success,
        broken=len(finding.broken),
        observed=finding.observed,
        failure=finding.failure,
    )


def _add_up(before: RuleVerdict, after: RuleVerdict) -> RuleVerdict:
    return replace(
        after,
        success=before.success and after.success,
        broken=before.broken + after.broken,
        failure=before.failure or after.failure,
    )


def _narrow(frame: pd.DataFrame, rules: Sequence[Rule]) -> pd.DataFrame:
    """What these rules look at, since Great Expectations copies all that it filters.

    A column of which they ask only whether it is null says no more than that: 1.0, or NaN.
    """
    names = list(frame.columns)
    compared = find_columns([_leave_out_nullity(rule) for rule in rules], names)
    cells = {
        name: _make_exact(frame[name]) if name in compared else _tell_nulls(frame[name])
        for name in find_columns(rules, names)
    }
    return pd.DataFrame(cells, index=frame.index, copy=False)


def _tell_nulls(cells: pd.Series) -> npt.NDArray[np.float64]:
    """1.0 for each cell, NaN for those that are null, to be read only."""
    is_null = cells.isna().to_numpy()
    nulls = np.count_nonzero(is_null)
    if nulls in (0, len(cells)):  # as most columns have it: one cell of memory for all of them
        return np.broadcast_to(np.nan if nulls else 1.0, len(cells))
    return np.where(is_null, np.nan, 1.0)


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


def _make_exact(cells: pd.Series) -> pd.Series:
    """Cents as float64, null as NaN: exact below 2^53, and much quicker to check. Others as they are."""
    return cells.astype("float64") if cells.dtype == columns.CENTS else cells
