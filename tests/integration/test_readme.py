"""The documents are true: what they name exists, all that exists is named, their output is printed."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click
import pytest

from robin_etl.cli.main import cli
from robin_etl.core.guards import GUARDS, GuardLimits
from robin_etl.sandbox import demo
from robin_etl.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")]
    if not {"_build", "reference"} & set(path.relative_to(ROOT).parts)
)
TEXTS = {f"{path.relative_to(ROOT)}": path.read_text(encoding="utf-8") for path in PAGES}
README = TEXTS["README.md"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

FENCED = re.compile(r"^ *```(\w*).*?\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
# robin-etl where a shell would run it, with its arguments up to what ends a command there.
CALL = re.compile(r"(?:^|[$(] ?|\b[A-Z_]+=\S+ |\bbin/)robin-etl((?: +[^\s|&;<>#)]+)+)", re.MULTILINE)

# Names in capitals that are no settings of ours.
OTHERS = {
    *(
        "AWS_ACCESS_KEY_ID",
        "HTTPS_PROXY",
        "REQUESTS_CA_BUNDLE",
        "PGPASSWORD",
        "NO_COLOR",
    ),  # the environment's
    *("COMMANDS", "VACUUM", "POST"),  # names in files of ours, SQL, HTTP
}

ROOMS = [
    path.stem
    for path in (ROOT / "robin_etl").iterdir()
    if (path.suffix == ".py" or (path / "__init__.py").is_file()) and path.stem != "__init__"
]

every_page = pytest.mark.parametrize("page", TEXTS)


def code_in(text: str) -> Iterator[str]:
    """All that is shown as code: blocks and words in a sentence."""
    yield from (block for kind, block in FENCED.findall(text) if kind in ("console", "bash", "text", ""))
    yield from INLINE.findall(FENCED.sub("", text))


def calls_in(text: str) -> Iterator[list[str]]:
    """The arguments of each call of robin-etl that a text shows."""
    for code in code_in(text):
        for arguments in CALL.findall(code):
            yield shlex.split(arguments.replace("\\", ""))


def command_of(arguments: list[str]) -> tuple[str, click.Command, list[str]]:
    """The command that is called, by its full name, and what else is on the line."""
    command: click.Command = cli
    name = []
    rest = list(arguments)
    if "--shop" in rest:
        del rest[rest.index("--shop") : rest.index("--shop") + 2]
    while isinstance(command, click.Group) and rest:
        at = next((at for at, word in enumerate(rest) if not word.startswith("-")), None)
        if at is None:
            break
        assert rest[at] in command.commands, f"robin-etl {' '.join(arguments)}: no command {rest[at]}"
        command = command.commands[rest[at]]
        name.append(rest.pop(at))
    return " ".join(name), command, rest


def leaves(group: click.Group, *above: str) -> Iterator[str]:
    """The full names of all commands below a group."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, *above, name)
        else:
            yield " ".join([*above, name])


@every_page
def test_every_command_and_option_on_a_page_exists(page: str) -> None:
    for arguments in calls_in(TEXTS[page]):
        _, command, rest = command_of(arguments)
        known = {"--help", "--debug", "--version"}.union(*(one.opts for one in command.params))
        named = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert named <= known, f"robin-etl {' '.join(arguments)}"


def test_every_command_is_on_a_page() -> None:
    named = {command_of(arguments)[0] for text in TEXTS.values() for arguments in calls_in(text)}
    assert set(leaves(cli)) <= named


@every_page
def test_every_setting_on_a_page_exists(page: str) -> None:
    settings = {name.upper() for name in Settings.model_fields} | {"CONFIG"}
    settings |= {f"{PREFIX}{name}" for name in settings}
    text = re.sub(rf"{PREFIX}(NL|DE)_", PREFIX, TEXTS[page].replace("_ROBIN_ETL_COMPLETE", ""))
    assert set(re.findall(rf"{PREFIX}([A-Z_]+[A-Z])", text)) <= settings
    capitals = set(re.findall(r"`([A-Z]{4,}(?:_[A-Z]+)*)`", text))
    assert capitals <= settings | OTHERS


def test_every_setting_is_on_its_page_with_its_default() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.*) \|$", TEXTS["docs/settings.md"], re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == sorted(name.upper() for name in Settings.model_fields)
    for name, default, words in rows:
        field = Settings.model_fields[name.lower()]
        assert words == field.description, name
        if field.default == "":
            assert default == "none"
        elif isinstance(field.default, str | int | float):
            shown = f"{field.default:g}" if isinstance(field.default, float) else f"{field.default}"
            assert default == f"`{shown}`"


def test_every_guard_and_number_of_one_is_on_its_page_with_its_default() -> None:
    page = TEXTS["docs/how-to/guard.md"]
    numbers = {name: f"{number}" for name, number in asdict(GuardLimits()).items()}
    assert dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", page, re.MULTILINE)) == numbers
    assert re.findall(r"^### (\w+)$", page, re.MULTILINE) == list(GUARDS)


def test_every_make_target_on_a_page_exists_and_every_one_is_on_a_page() -> None:
    code = "\n".join(code for text in TEXTS.values() for code in code_in(text))
    named = set(re.findall(r"(?:^|\$ )make ([a-z-]+)", code, re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert named == targets


@every_page
def test_every_module_that_a_page_runs_exists(page: str) -> None:
    for module in re.findall(r"python -m ((?:tests|benchmarks)\.\w+)", TEXTS[page]):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


@every_page
def test_every_file_that_a_page_names_exists(page: str) -> None:
    text = TEXTS[page]
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (ROOT / page).parent.joinpath(link).exists(), link
    for path in re.findall(
        r"`((?!docs/_build)(?:robin_etl|dags|expectations|tests|benchmarks|docs|\.github)/[\w./*-]*)`",
        text,
    ):
        assert list(ROOT.glob(path.replace("NAME", "*").rstrip("/"))), path


def test_every_file_on_the_tour_exists() -> None:
    for path in re.findall(r"`((?!robin_etl/|tests/)[a-z_/]+\.py)`", TEXTS["docs/tour.md"]):
        assert (ROOT / "robin_etl" / path).is_file() or (ROOT / path).is_file(), path


def test_the_tour_has_every_room() -> None:
    table = "\n".join(re.findall(r"^\| (`.*?) \|", TEXTS["docs/tour.md"], re.MULTILINE)[: len(ROOMS)])
    assert set(ROOMS) <= set(INLINE.findall(table))


def test_readme_fits_two_screens() -> None:
    assert len(README.splitlines()) <= 100


def test_the_demonstrations_output_is_the_one_in_readme(tmp_path: Path, capsys: object) -> None:
    demo.play(str(tmp_path / "demo"), through_airflow=False)
    printed = capsys.readouterr().out  # type: ignore[attr-defined]
    days, _, _ = printed.partition("Where to look")
    end = re.sub(r"\A(?:\d{4}-\d\d-\d\d: run\n)+", "", days)
    shown = "\n".join(line.rstrip() for line in end.strip().splitlines())
    assert shown.count("\n") == 9
    # README shows `make demo`, which goes through Airflow.
    by_hand = "run --allow old_orders"
    assert by_hand in shown
    through_airflow = """airflow dags test robin_orders --conf '{"allow": ["old_orders"]}'"""
    shown = shown.replace(by_hand, through_airflow)
    assert f"```text\n{shown}\n```" in README
    state = json.loads((tmp_path / "demo" / "robin.json").read_text())
    assert state["complaints"] == []
