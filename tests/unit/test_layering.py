"""The plan of the house: imports go down the list of floors, never up."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import robin_etl
from tests import processes

PACKAGE = Path(robin_etl.__file__).parent

# Top to bottom: a room may import from itself and from the floors below its own.
FLOORS = (
    ("cli", "airflow"),
    ("sandbox.demo",),
    ("upkeep", "pipeline"),
    ("stages",),
    ("reports", "delivery", "gate"),
    ("exports", "ledger"),
    ("settings",),
    ("core", "sandbox", "shops"),
    ("observer", "signals", "exceptions"),
    ("redaction", "private", "stack"),
)

# What no module of a room may import, wherever in its files the import stands.
NEVER = {
    "core": {"robin_etl.exceptions", "requests", "sqlalchemy", "upath", "fsspec", "airflow", "pydantic"},
    "sandbox": {"pandas", "requests", "sqlalchemy", "airflow"},
    "cli": {"airflow"},
    "stages": {"airflow", "click", "rich"},
    "pipeline": {"airflow", "click", "rich"},
    "ledger": {"airflow", "requests", "great_expectations"},
    "delivery": {"airflow", "great_expectations"},
    "redaction": {"robin_etl"},
    "private": {"robin_etl"},
    "stack": {"robin_etl"},
    "observer": {"robin_etl"},
    "signals": {"robin_etl"},
}

# Modules that stand in another place than their folder: the demonstration plays with the whole house.
APART = {"sandbox.demo"}


def modules() -> Iterator[tuple[str, str, Path]]:
    """The room, the dotted name below the package, and the file of every module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if name != "__init__":
            yield name if name in APART else parts[0], name, path


@cache
def imports(path: Path) -> list[str]:
    """Every module that a file imports at any depth of it, but for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"a relative import in {path}"
            found += (f"{node.module}.{alias.name}" for alias in node.names)
    return found


def floor_of(room: str) -> int:
    return next(at for at, rooms in enumerate(FLOORS) if room in rooms)


def room_of(imported: str) -> str | None:
    """The room of a module of ours, None for what is not ours or stands in no room."""
    below = imported.removeprefix("robin_etl.").split(".")
    if not imported.startswith("robin_etl.") or below[0].startswith("__"):
        return None
    return ".".join(below[:2]) if ".".join(below[:2]) in APART else below[0]


def test_every_module_stands_in_a_room_that_has_a_floor() -> None:
    rooms = {room for rooms in FLOORS for room in rooms}
    assert {room for room, _, _ in modules()} == rooms


def test_imports_go_down_the_floors() -> None:
    climbs = [
        f"{name} imports {imported}"
        for room, name, path in modules()
        for imported in imports(path)
        if (other := room_of(imported)) is not None
        and other != room
        and floor_of(other) <= floor_of(room)
    ]
    assert climbs == []


def test_no_room_imports_what_it_must_not() -> None:
    broken = [
        f"{name} imports {imported}"
        for room, name, path in modules()
        for imported in imports(path)
        for never in NEVER.get(room, ())
        if imported == never or imported.startswith(f"{never}.")
    ]
    assert broken == []


def test_the_core_and_the_sandbox_import_nothing_of_ours_but_themselves() -> None:
    for room, name, path in modules():
        if room in ("core", "sandbox"):
            ours = {room_of(imported) for imported in imports(path)} - {None}
            assert ours <= {room}, name


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("robin_etl.cli.main", {"pandas", "requests", "sqlalchemy", "rich", "pydantic"}),
        ("robin_etl.airflow.provider", {"pandas", "airflow", "requests", "pydantic"}),
        ("robin_etl.pipeline", {"airflow", "great_expectations"}),
    ],
)
def test_importing_a_door_is_light(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    shown = processes.run([sys.executable, "-c", code], succeeds=True)
    assert heavy.isdisjoint(shown.stdout.split())


def test_classes_are_composed_and_inherit_only_errors_and_what_frameworks_ask_for() -> None:
    classes = {
        node.name: (name, [ast.unparse(base) for base in node.bases])
        for _, name, path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    heirs = [
        f"{name}: {heir} inherits {base}"
        for heir, (name, bases) in classes.items()
        for base in bases
        if base in classes and name != "exceptions"
    ]
    assert heirs == []
