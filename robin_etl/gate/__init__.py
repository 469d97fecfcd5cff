"""The gate: what an export and the changes made of it must keep to before anything is posted."""

from robin_etl.gate.checking import SuiteCheck, check_frame
from robin_etl.gate.guards import Circumstances, find_tripped
from robin_etl.gate.suites import CHANGES_SUITE, EXPORT_SUITE, Suite, load_suite
from robin_etl.gate.verdict import RuleVerdict, Verdict

__all__ = [
    "CHANGES_SUITE",
    "EXPORT_SUITE",
    "Circumstances",
    "RuleVerdict",
    "Suite",
    "SuiteCheck",
    "Verdict",
    "check_frame",
    "find_tripped",
    "load_suite",
]
