"""What a suite says of rows: a verdict for each rule, and whether a run may go on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from robin_etl.exceptions import GateError

WARNING = "warning"


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

    @property
    def warns(self) -> bool:
        return not (self.success or self.stops or self.is_row_rule)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "stops": self.stops}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> RuleVerdict:
        return cls(**{field.name: content[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class Verdict:
    """What a suite says of rows.

    `rows`: how many were checked, of which `broken_rows` break a row rule; `max_quarantined` is the
    share of all rows that may, and `but_at_least` how many may whatever share they are, if not all do.
    """

    suite: str
    rows: int
    broken_rows: int
    max_quarantined: float
    but_at_least: int
    rules: tuple[RuleVerdict, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The rules on the whole that failed without stopping the run."""
        return tuple(rule.rule for rule in self.rules if rule.warns)

    def to_json(self) -> dict[str, Any]:
        """The verdict as it is kept; it names no row's content."""
        return {**vars(self), "rules": [rule.to_json() for rule in self.rules]}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Verdict:
        """The verdict that `to_json` gave, of an older version too."""
        rules = tuple(map(RuleVerdict.from_json, content["rules"]))
        return cls(**{"but_at_least": 0, **content, "rules": rules})

    def stop_unless_passed(self, what: str, *, is_right_in_parts: bool = False) -> None:
        """Raise `GateError` where the suite lets nothing pass; `what` names what was checked.

        `is_right_in_parts`: whether no part of it, taken by itself, has too many broken rows.
        """
        self._stop_at_unevaluated(what)
        self._stop_at_failed(what)
        if not is_right_in_parts:
            self._stop_at_too_many_broken(what)

    def are_too_many(self, broken: int, rows: int) -> bool:
        """Whether the suite lets so many of so many rows not be quarantined."""
        are_all = 0 < broken == rows
        is_beyond = broken > self.max_quarantined * rows
        return is_beyond and (are_all or broken > self.but_at_least)

    def _stop_at_unevaluated(self, what: str) -> None:
        if failed := [rule for rule in self.rules if rule.failure]:
            reasons = "; ".join(f"{rule.rule}: {rule.failure}" for rule in failed)
            raise GateError(
                f"The rules of {self.suite} could not all be evaluated on {what} ({reasons}). "
                "Nothing was posted; mend the suite, then run again.",
                rules=tuple(rule.rule for rule in failed),
            )

    def _stop_at_failed(self, what: str) -> None:
        if stopping := [rule for rule in self.rules if rule.stops]:
            reasons = "; ".join(f"{rule.rule} (found {rule.observed})" for rule in stopping)
            raise GateError(
                f"The gate stopped {what}: {reasons} failed in {self.suite}. Nothing was posted; "
                "mend the export or the rule, then run again.",
                rules=tuple(rule.rule for rule in stopping),
            )

    def _stop_at_too_many_broken(self, what: str) -> None:
        if self.are_too_many(self.broken_rows, self.rows):
            counts = {rule.rule: rule.broken for rule in self.rules if rule.broken}
            reasons = ", ".join(f"{rule} {count}" for rule, count in counts.items())
            raise GateError(
                f"The gate stopped {what}: {self.broken_rows} of {self.rows} rows break a rule "
                f"({reasons}), and {self.suite} allows {self._describe_allowed()}. Nothing was "
                "posted; mend the export, or raise max_quarantined or but_at_least in the suite, then "
                "run again.",
                rules=tuple(counts),
            )

    def _describe_allowed(self) -> str:
        share = f"{self.max_quarantined:.1%}"
        return f"{share}, or up to {self.but_at_least} but not all" if self.but_at_least else share
