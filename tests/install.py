"""Follow docs/deployment.md on an empty environment, word by word: `make test-install`.

Once with pip and once with uv: install, add the connections, set the Variable, run a day through the DAG
against a sandbox and a real PostgreSQL. Then the image's step that installs is run as its Containerfile
has it. Names that only the reader has (hosts, buckets, secrets) are replaced, and nothing else.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import sqlalchemy as sa

from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from tests.conftest import HEADER, KEY, SECRET
from tests.postgresql import serve_postgresql

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".cache" / "install"
GUIDE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
DAY = "2026-03-01"


class InstallError(Exception):
    """The guide does not lead to a run; the message says where."""


def main() -> None:
    """Follow the guide; ends with 1 and a sentence where it stumbles."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    try:
        (WORK / "server").mkdir()
        with serve_postgresql(WORK / "server") as url:
            for tool in ("pip", "uv"):
                follow(tool, make_database(url, tool))
        install_as_in_the_image()
    except InstallError as error:
        sys.exit(f"{error}")


def follow(tool: str, database: sa.URL) -> None:
    """All of the guide's steps until the first run, where `tool` installs."""
    place = Place(tool)
    (place.folder / "exports").mkdir()
    rows = [f"{n},c{n % 7}@x.nl,10,{DAY}" for n in range(20)]
    (place.folder / "exports" / f"orders_{DAY}.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    with Sandbox(Robin(KEY, SECRET, limits=())) as sandbox:
        port = f"--conn-port {database.port} " if database.port else ""
        replaced = {
            "--conn-type robin ": f"--conn-type robin --conn-host {sandbox.url} ",
            "--conn-host db.internal ": f"--conn-host {database.host or database.query['host']} {port}",
            "--conn-login robin ": f"--conn-login {database.username} ",
            "--conn-schema robin": f"--conn-schema {database.database}",
            "s3://shop_s3@shop/": f"{place.folder}/",
            '"…"': '"any-words"',
        }
        for command in list_commands("1. Install", "2. Add", "3. Settings"):
            if command.startswith({"pip": "uv pip", "uv": "pip "}[tool]):
                continue
            place.run(replace(command, replaced))
            if "pip install" in command:
                place.run("airflow db migrate")
                Path(place.environment["AIRFLOW_HOME"], "dags").mkdir()
        place.run(f'airflow dags test robin_orders -c \'{{"from_date": "{DAY}"}}\'')
        told = len(sandbox.robin.orders)
    if told != len(rows):
        raise InstallError(
            f"After the guide's steps with {tool} ROBIN has {told} of {len(rows)} orders."
        )
    print(f"{tool}: {told} orders are told.")


def install_as_in_the_image() -> None:
    """The image's step that installs, and that it leaves an Airflow with the provider and the plugin."""
    place = Place("image")
    arguments = dict(re.findall(r'^ARG (\w+)="?([^"\n]*)"?$', CONTAINERFILE, re.MULTILINE))
    for step in re.findall(r"^RUN (.+)$", CONTAINERFILE, re.MULTILINE):
        place.run(step.replace("/tmp/robin-etl/", "dist/"), **arguments)
    place.run("pip check")
    shown = place.run("airflow providers list --output plain") + place.run(
        "airflow plugins --output plain"
    )
    if "robin-etl" not in shown or "robin_etl.airflow.plugin" not in shown:
        raise InstallError(f"Airflow does not list the provider or the plugin:\n{shown}")
    print("image: its step installs.")


class Place:
    """An empty environment that is active, and an AIRFLOW_HOME of its own."""

    def __init__(self, name: str) -> None:
        self.folder = WORK / name
        environment = self.folder / "env"
        self._call([sys.executable, "-m", "venv", environment], os.environ)
        unset = ("ROBIN_ETL_", "AIRFLOW", "PYTHON", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
        # Behind the environment's own commands are uv and whatever else the guide takes for granted.
        tools = Path(sys.executable).parent / "uv"
        (self.folder / "tools").mkdir()
        (self.folder / "tools" / "uv").symlink_to(tools)
        path = [environment / "bin", self.folder / "tools", *kept["PATH"].split(":")]
        self.environment = {
            **kept,
            "VIRTUAL_ENV": f"{environment}",
            "PATH": ":".join(map(str, path)),
            "AIRFLOW_HOME": f"{self.folder / 'airflow'}",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "ROBIN_KEY": KEY,
            "ROBIN_SECRET": SECRET,
            "LEDGER_PASSWORD": "any-password",
        }

    def run(self, command: str, **variables: str) -> str:
        """What a command of the guide prints, run by a shell in the checkout."""
        print(f"  {command}", flush=True)
        return self._call(["bash", "-euc", command], {**self.environment, **variables})

    def _call(self, arguments: list[str | Path], environment: Mapping[str, str]) -> str:
        done = subprocess.run(
            arguments,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )
        if done.returncode:
            command = " ".join(map(str, arguments))
            raise InstallError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout


def list_commands(*titles: str) -> Iterator[str]:
    """The commands that these sections of the guide have a reader type, in order."""
    for title in titles:
        section = re.search(rf"^## {re.escape(title)}.*?(?=^## )", GUIDE, re.MULTILINE | re.DOTALL)
        if section is None:
            raise InstallError(f"docs/deployment.md has no section {title}.")
        for block in re.findall(r"```console\n(.*?)```", section[0], re.DOTALL):
            for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                yield command.replace("\\\n", " ").strip()


def replace(command: str, replaced: Mapping[str, str]) -> str:
    """The command with what only the reader has."""
    for ours, theirs in replaced.items():
        command = re.sub(r" +", " ", command).replace(ours, theirs)
    return command


def make_database(server: str, name: str) -> sa.URL:
    """An empty database on a PostgreSQL server."""
    url = sa.make_url(server)
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"create database guide_{name}"))
    engine.dispose()
    return url.set(database=f"guide_{name}")


if __name__ == "__main__":
    main()
