"""Build the wheel and the sdist, and try the wheel alone in empty environments: `make release`.

What is published is what was tried: the wheel is installed with the pinned versions of
`constraints.txt`, once without Airflow and once with it, and runs from an empty folder.
`--untried` only builds and looks at what is in them: `make wheel`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
WORK = ROOT / ".cache" / "release"
UV = Path(sys.executable).parent / "uv"

# Folders of a checkout that a wheel has inside the package.
INSIDE = ("dags", "expectations")
PACKAGED = (
    r"robin_etl/py\.typed",
    r"robin_etl/dags/robin_orders\.py",
    r"robin_etl/expectations/(changes|export)\.json",
    r"robin_etl/.*profiles/shopify\.toml",
    r"robin_etl/.*reports/.*report\.html\.j2",
    r"robin_etl/.*sandbox.*\.html",
    r"robin_etl/.*migrations/env\.py",
    r"robin_etl/.*migrations/versions/0001_.*\.py",
)
UNWANTED = re.compile(r"(^|/)(tests|benchmarks|data|docs|\.cache|\.venv|__pycache__)/")


class ReleaseError(Exception):
    """The package is not fit to be published; the message says why."""


def main() -> None:
    """Build, check and try; ends with 1 and a sentence where something is wrong."""
    shutil.rmtree(DIST, ignore_errors=True)
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    try:
        wheel, sdist = build()
        check_wheel(wheel)
        check_sdist(sdist)
        constraints = write_constraints(DIST)
        if "--untried" not in sys.argv[1:]:
            try_without_airflow(wheel, constraints)
            try_with_airflow(wheel, constraints)
    except ReleaseError as error:
        sys.exit(f"{error}")
    print(f"{wheel.relative_to(ROOT)}, {sdist.relative_to(ROOT)}, {constraints.relative_to(ROOT)}")


def build(folder: Path = DIST) -> tuple[Path, Path]:
    """The wheel, built from the sdist, and the sdist, in a folder."""
    print("Building")
    run(
        [
            UV,
            "build",
            "--quiet",
            "--python",
            sys.executable,
            "--no-build-isolation",
            "--out-dir",
            folder,
            ROOT,
        ]
    )
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def check_wheel(wheel: Path) -> None:
    """Raises `ReleaseError` where the wheel has not exactly the package's files."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = files_of("robin_etl") | {
        f"robin_etl/{name}" for inside in INSIDE for name in files_of(inside)
    }
    if files != wanted:
        raise ReleaseError(
            f"{wheel.name} lacks {sorted(wanted - files)} and has {sorted(files - wanted)} too many."
        )
    check_names(wheel, files)
    print(f"  {wheel.name}: {len(files)} files")


def check_sdist(sdist: Path) -> None:
    """Raises `ReleaseError` where the wheel could not be built again from the sdist alone."""
    with tarfile.open(sdist) as archive:
        files = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    wanted = {"pyproject.toml", "README.md", "LICENSE"}.union(*map(files_of, ("robin_etl", *INSIDE)))
    if lacking := wanted - files:
        raise ReleaseError(f"{sdist.name} lacks {sorted(lacking)}.")
    check_names(sdist, {f"robin_etl/{name}" if name.startswith(INSIDE) else name for name in files})
    print(f"  {sdist.name}: {len(files)} files")


def check_names(archive: Path, files: Iterable[str]) -> None:
    """Raises `ReleaseError` for a file that users need and is not there, or one they do not need."""
    for pattern in PACKAGED:
        if not any(re.fullmatch(pattern, name) for name in files):
            raise ReleaseError(f"{archive.name} has no file {pattern}.")
    if unwanted := sorted(filter(UNWANTED.search, files)):
        raise ReleaseError(f"{archive.name} has files that are nobody's to install: {unwanted}.")


def files_of(folder: str) -> set[str]:
    """The files of a folder of the checkout that belong into a package, by their paths from the root."""
    found = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return {f"{path.relative_to(ROOT)}" for path in found if "__pycache__" not in path.parts}


def write_constraints(folder: Path) -> Path:
    """The pinned versions without their hashes: with any hash, pip wants one of the wheel as well."""
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    versions = re.sub(r" \\$|^ +--hash=\S+(?: \\)?\n", "", pinned, flags=re.MULTILINE)
    path = folder / "constraints.txt"
    path.write_text(versions, encoding="utf-8")
    return path


def try_without_airflow(wheel: Path, constraints: Path) -> None:
    """Install the wheel without extras, and run what needs no Airflow."""
    print("Without Airflow")
    environment = Environment("without-airflow", f"{wheel}", constraints)
    if (
        environment.run("python", "-c", "import importlib.util as u; print(u.find_spec('airflow'))")
        != "None"
    ):
        raise ReleaseError("The wheel installs Airflow without being asked to.")
    environment.try_command_line()


def try_with_airflow(wheel: Path, constraints: Path) -> None:
    """Install the wheel with Airflow, and run its DAG as well."""
    print("With Airflow")
    environment = Environment("with-airflow", f"{wheel}[airflow]", constraints)
    environment.try_command_line()
    environment.try_demonstration("--airflow")
    home = {"AIRFLOW_HOME": f"{environment.folder / 'airflow'}"}
    listed = environment.run("airflow", "providers", "list", "--output", "json", **home)
    providers = {provider["package_name"] for provider in json.loads(listed)}
    if "robin-etl" not in providers:
        raise ReleaseError(f"Airflow does not list the provider robin-etl, only {sorted(providers)}.")
    print("  airflow providers list: robin-etl")


class Environment:
    """An environment with one requirement in it, and an empty folder to run commands from."""

    def __init__(self, name: str, requirement: str, constraints: Path) -> None:
        self._bin = WORK / name / "bin"
        self.folder = WORK / f"{name}-folder"
        self.folder.mkdir()
        python = self._bin / "python"
        run([UV, "venv", "--quiet", "--python", sys.executable, WORK / name])
        run(
            [
                UV,
                "pip",
                "install",
                "--quiet",
                "--python",
                python,
                "--constraint",
                constraints,
                requirement,
            ]
        )
        run([UV, "pip", "check", "--quiet", "--python", python])
        package = Path(self.run("python", "-c", "import robin_etl; print(robin_etl.__file__)"))
        if not package.is_relative_to(WORK / name):
            raise ReleaseError(f"{name} runs {package}, which is not the wheel's.")

    def run(self, command: str, *arguments: str, **variables: str) -> str:
        """What a command of the environment prints, run from its folder."""
        return run([self._bin / command, *arguments], cwd=self.folder, variables=variables)

    def try_command_line(self) -> None:
        """Raises `ReleaseError` where the profiles or the demonstration are not as in the checkout."""
        profiles = self.run("robin-etl", "profile", "list")
        shipped = {path.stem for path in ROOT.glob("robin_etl/**/profiles/**/*.toml")}
        listed = {line.split()[0] for line in profiles.splitlines()}
        if not listed or not listed <= shipped:
            raise ReleaseError(
                f"profile list names {sorted(listed)}, and the checkout {sorted(shipped)}."
            )
        print(f"  robin-etl profile list: {len(listed)} profiles")
        self.try_demonstration()

    def try_demonstration(self, *options: str) -> None:
        """Raises `ReleaseError` where the demonstration prints another table than README shows."""
        shown = re.search(r"^day  +first.*?complaints\.$", README, re.MULTILINE | re.DOTALL)
        printed = self.run("robin-etl", "demo", *options)
        lines = [line.rstrip() for line in printed.splitlines()]
        if shown is None or shown[0] not in "\n".join(lines):
            raise ReleaseError(
                f"robin-etl demo {' '.join(options)} printed otherwise than README:\n{printed}"
            )
        print(f"  {' '.join(['robin-etl demo', *options])}: as in README")


README = (ROOT / "README.md").read_text(encoding="utf-8")


def run(
    arguments: Sequence[str | Path], *, cwd: Path = ROOT, variables: dict[str, str] | None = None
) -> str:
    """What a command prints; raises `ReleaseError` with it where the command fails.

    Nothing of the checkout, nor any setting, is in its environment.
    """
    unset = ("ROBIN_ETL_", "AIRFLOW", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    done = subprocess.run(
        arguments,
        cwd=cwd,
        env={**kept, "NO_COLOR": "1", **(variables or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    if done.returncode:
        command = " ".join(map(str, arguments))
        raise ReleaseError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
