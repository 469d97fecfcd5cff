"""README says what is true: its commands exist, its settings exist, its output is what is printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from robin_etl.cli.main import cli
from robin_etl.sandbox import demo
from robin_etl.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_command_in_readme_exists_and_every_command_is_in_readme() -> None:
    named = set(re.findall(r"robin-etl ([a-z]+)", README))
    context = click.Context(cli)
    assert named == set(cli.list_commands(context))


def test_what_the_guides_name_exists() -> None:
    settings = {f"ROBIN_ETL_{name.upper()}" for name in Settings.model_fields} | {"ROBIN_ETL_CONFIG"}
    for guide in (ROOT / "docs").glob("*.md"):
        text = guide.read_text(encoding="utf-8")
        assert set(re.findall(r"`robin-etl ([a-z]+)", text)) <= set(cli.commands)
        assert set(re.findall(r"ROBIN_ETL_[A-Z_]+[A-Z]", text)) <= settings
        rows = re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE)
        assert {f"ROBIN_ETL_{name}" for name in rows} <= settings


def test_every_setting_is_in_readme_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        row = re.search(rf"^\| `{name.upper()}` \| (.*?) \|", README, re.MULTILINE)
        assert row is not None, name
        if field.default == "":
            assert row[1] == "none"
        elif isinstance(field.default, str | int | float):
            shown = f"{field.default:g}" if isinstance(field.default, float) else f"{field.default}"
            assert row[1] == f"`{shown}`"


def test_every_make_target_in_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"(?:`|\$ )make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_demonstrations_output_is_the_one_in_readme(tmp_path: Path, capsys: object) -> None:
    demo.play(str(tmp_path / "demo"), through_airflow=False)
    printed = capsys.readouterr().out  # type: ignore[attr-defined]
    table = printed[printed.index("What ROBIN was told") : printed.index("Where to look")]
    shown = "\n".join(line.rstrip() for line in table.strip().splitlines())
    assert shown in README
    state = json.loads((tmp_path / "demo" / "robin.json").read_text())
    assert state["complaints"] == []
