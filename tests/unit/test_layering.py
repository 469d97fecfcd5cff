"""Imports run one way: the core and the command line know neither Airflow nor Great Expectations."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import robin_etl
from tests import processes

PURE = (
    "exceptions",
    "orders",
    "expressions",
    "mapping",
    "history",
    "reconcile",
    "shards",
    "payload",
    "limits",
    "faults",
    "sandbox",
)
AIRFLOWS = {"hooks", "sensors", "triggers"}
CORE = tuple({path.stem for path in Path(robin_etl.__file__).parent.glob("*.py")} - AIRFLOWS)


def imported_by(*modules: str) -> set[str]:
    named = ", ".join(f"robin_etl.{module}" for module in modules)
    code = f"import sys, {named}; print(*sys.modules)"
    shown = processes.run([sys.executable, "-c", code], succeeds=True)
    return {name.split(".")[0] for name in shown.stdout.split()}


def test_no_module_of_the_core_imports_airflow_or_great_expectations() -> None:
    assert imported_by(*CORE).isdisjoint({"airflow", "great_expectations"})


@pytest.mark.parametrize("module", PURE)
def test_the_pure_modules_know_neither_network_nor_database(module: str) -> None:
    assert imported_by(module).isdisjoint({"requests", "sqlalchemy", "upath", "pydantic_settings"})


def test_the_sandbox_shares_nothing_with_the_sending_side() -> None:
    code = "import sys, robin_etl.sandbox; print(*(m for m in sys.modules if 'robin_etl' in m))"
    shown = processes.run([sys.executable, "-c", code], succeeds=True)
    assert set(shown.stdout.split()) == {"robin_etl", "robin_etl.faults", "robin_etl.sandbox"}


def test_the_command_lines_help_imports_nothing_heavy() -> None:
    assert imported_by("cli").isdisjoint({"pandas", "requests", "sqlalchemy", "rich", "pydantic"})
