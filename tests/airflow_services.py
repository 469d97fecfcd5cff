"""A whole Airflow for tests: its database, its services as processes, and a way to ask it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import requests
import tenacity

DAGS = Path(__file__).parents[1] / "dags"
DAG = "robin_orders"


Found = TypeVar("Found")


class NotYetError(Exception):
    """Something is still under way."""


class Airflow:
    """An Airflow in `home`, with these settings in the environment of all its parts.

    Use as a context manager: on leaving, every service is ended.
    """

    def __init__(self, home: Path, environment: Mapping[str, str], *, dags: Path = DAGS) -> None:
        self.home = home
        self.port = free_port()
        url = f"http://127.0.0.1:{self.port}"
        self.url = url
        self.environment = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": f"{self.port}",
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": f"{free_port()}",
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": f"{free_port()}",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
            **environment,
        }
        self._services = ExitStack()

    def __enter__(self) -> Airflow:
        self.run("db", "migrate")
        self.run("dags", "reserialize")
        return self

    def __exit__(self, *_: object) -> None:
        self._services.close()

    def run(self, *arguments: str) -> str:
        """One `airflow` command to its end; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def serve(self, *arguments: str, name: str | None = None) -> None:
        """Start a service; it ends with this Airflow."""
        log = self._services.enter_context((self.home / f"{name or arguments[0]}.log").open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._services.callback(_end, process)

    def backfill(self, first: str, last: str, **conf: Any) -> None:
        """Create a backfill of these days, one at a time."""
        self.run(
            *("backfill", "create", "--dag-id", DAG, "--max-active-runs", "1"),
            *("--from-date", first, "--to-date", f"{last}T23:59:59"),
            *("--dag-run-conf", json.dumps(conf)),
        )

    def trigger(self, run_id: str, **conf: Any) -> None:
        self.run("dags", "trigger", DAG, "--run-id", run_id, "--conf", json.dumps(conf))

    def finished(self, runs: int, *, seconds: float) -> Counter[str]:
        """The states of the runs that were asked for, once there are so many and none is under way.

        The schedule starts one as well when a DAG is new within two hours after its moment of the day.
        """

        def look() -> Counter[str]:
            asked = (run for run in self.runs(DAG) if run["run_type"] != "scheduled")
            states = Counter(run["state"] for run in asked)
            if states.total() < runs or states["queued"] or states["running"]:
                raise NotYetError(f"{dict(states)} of {runs} runs")
            return states

        return self.until(look, seconds=seconds)

    def until(self, look: Callable[[], Found], *, seconds: float) -> Found:
        """What `look` finds, as soon as it raises `NotYetError` no more."""
        waiting = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((NotYetError, requests.ConnectionError)),
            stop=tenacity.stop_after_delay(seconds),
            wait=tenacity.wait_fixed(1),
            reraise=True,
        )
        return waiting(look)

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """The runs of a DAG."""
        found: list[dict[str, Any]] = []
        while page := self.get(f"/dags/{dag}/dagRuns?limit=100&offset={len(found)}")["dag_runs"]:
            found += page
        return found

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run."""
        told = self.get(f"/dags/{DAG}/dagRuns/{run_id}/taskInstances?limit=100")
        instances: list[dict[str, Any]] = told["task_instances"]
        return instances

    def get(self, path: str) -> Mapping[str, Any]:
        token = requests.get(f"{self.url}/auth/token", timeout=10).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        response = requests.get(f"{self.url}/api/v2{path}", headers=headers, timeout=10)
        response.raise_for_status()
        told: Mapping[str, Any] = response.json()
        return told


def _end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
