"""Validate: let the gate check what is about to be sent."""

from __future__ import annotations

from robin_etl.gate import CHANGES_SUITE, check_frame, load_suite
from robin_etl.settings import Settings
from robin_etl.stages.records import Validated
from robin_etl.stages.run import Partition, Run


def validate_changes(settings: Settings, run: Run, partition: Partition) -> Validated:
    """Leave the verdict on a partition's changes; raises `GateError` where any breaks a rule."""
    suite = load_suite(settings.path(settings.expectations) / CHANGES_SUITE)
    verdict, _ = check_frame(partition.changes.read(), suite)
    partition.verdict.write(verdict.to_json())
    verdict.stop_unless_passed(f"the changes of {run.title}")
    return Validated(verdict.rows, verdict.warnings)
