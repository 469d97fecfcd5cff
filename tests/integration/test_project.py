"""What a contributor relies on: pre-commit, the workflow and the package's links."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
from pre_commit.clientlib import load_config

from tests import processes, release

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def commands_of(target: str) -> list[str]:
    """The lines of a target of the Makefile, with the environment's folder filled in."""
    body = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert body is not None
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in body[1].splitlines()]


def test_pre_commit_runs_the_commands_of_make_check() -> None:
    config = load_config(ROOT / ".pre-commit-config.yaml")
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert [hook["entry"] for hook in hooks] == commands_of("check")
    # pre-commit 4.4 reads `system` as its newer name.
    assert {hook["language"] for hook in hooks} <= {"system", "unsupported"}
    assert not any(hook["pass_filenames"] for hook in hooks)


def test_pre_commit_accepts_its_configuration() -> None:
    validate = [sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml"]
    processes.run(validate, cwd=ROOT, succeeds=True)


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda p: p.name
)
def test_a_workflow_runs_only_targets_that_exist(path: Path) -> None:
    targets = re.findall(r"\bmake ([a-z-]+)", path.read_text(encoding="utf-8"))
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_the_packages_links_lead_to_files_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"Homepage", "Documentation", "Changelog", "Source", "Issues"} <= set(project["urls"])
    for url in project["urls"].values():
        home, _, path = url.partition("/robin-etl/robin-etl")
        assert home == "https://github.com"
        if at := re.fullmatch(r"/(?:blob|tree)/main/(.+)", path):
            assert (ROOT / at[1]).exists(), url


def test_the_wheel_is_built_inside_an_activated_environment_that_can_build_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], succeeds=True)
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "env"))
    wheel, sdist = release.build(tmp_path / "dist")
    release.check_wheel(wheel)
    release.check_sdist(sdist)


def test_the_constraints_beside_the_wheel_have_all_versions_and_no_hash(tmp_path: Path) -> None:
    written = release.write_constraints(tmp_path).read_text(encoding="utf-8").splitlines()
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert written == re.findall(r"^[a-z][^\\\n]*[^\\ \n]", pinned, re.MULTILINE)
    assert all("==" in line for line in written)
