"""A whole Airflow for tests: its database, its services as processes, and a way to ask it.

It is made for a machine that is slow, cold or busy: each service is waited for until it is healthy,
the scheduler, and with it the first task, begins only when the api-server answers, and no time-out or
pause between tries is shorter than such a machine needs.
"""

from __future__ import annotations

import json
import os
import secrets
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

from tests import processes

ROOT = Path(__file__).parents[1]
DAGS = ROOT / "dags"
# What the guide puts into Airflow's folder of settings.
LOCAL_SETTINGS = ROOT / "deploy" / "airflow_local_settings.py"
DAG = "robin_orders"


# Seconds for a service to be healthy, and for one answer of it.
STARTED, ANSWERED = 600.0, 120.0

# What Airflow gives up on, or calls dead, far sooner than a slow machine is through with it.
PATIENCE = {
    "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "300",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "900",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "300",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "10",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "120",
    "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "30",
    "AIRFLOW__WORKERS__SOCKET_CLEANUP_TIMEOUT": "300",
}

# Airflow's own way to change every DAG's tasks: a failed one is not put off for minutes.
POLICY = """
from datetime import timedelta

def task_policy(task):
    task.retry_delay = timedelta(seconds=1)
    task.retry_exponential_backoff = 0
"""

# Several `airflow` commands in one process, since a start of Airflow costs seconds.
COMMANDS = """
import json, sys
from airflow.__main__ import main
for command in json.loads(sys.argv[1]):
    sys.argv[1:] = command
    main()
"""

Found = TypeVar("Found")


class NotYetError(Exception):
    """Something is still under way."""


class Airflow:
    """An Airflow in `home`, with these settings in the environment of all its parts.

    Use as a context manager: on leaving, every service is ended. `imports_once`: whether the scheduler
    imports what tasks need, as the guide has it.
    """

    def __init__(
        self,
        home: Path,
        environment: Mapping[str, str],
        *,
        dags: Path = DAGS,
        imports_once: bool = True,
    ) -> None:
        self.home = home
        self._imports_once = imports_once
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
            # Who finds the database locked waits for it.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=120",
            **PATIENCE,
            **environment,
        }
        self._commands = [["db", "migrate"], ["dags", "reserialize"]]
        self._services = ExitStack()
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Airflow:
        policy = self.home / "config" / "airflow_local_settings.py"
        policy.parent.mkdir(parents=True)
        policy.write_text((LOCAL_SETTINGS.read_text() if self._imports_once else "") + POLICY)
        return self

    def __exit__(self, *_: object) -> None:
        self._services.close()

    def serve_all(self) -> None:
        """Make the database, then start api-server, scheduler and triggerer, each healthy in the end."""
        processes.run(
            [sys.executable, "-c", COMMANDS, json.dumps(self._commands)],
            env=self.environment,
            succeeds=True,
        )
        self.serve("api-server")
        self.until(self._api_is_warm, seconds=STARTED)
        self.serve("scheduler")
        self.serve("triggerer")
        self.until(self._all_are_healthy, seconds=STARTED)

    def _api_is_warm(self) -> None:
        assert not self.get(f"/dags/{DAG}")["has_import_errors"]
        requests.get(f"{self.url}/execution/health", timeout=ANSWERED).raise_for_status()

    def _all_are_healthy(self) -> None:
        health = self.get("/monitor/health")
        states = {name: health[name]["status"] for name in ("metadatabase", "scheduler", "triggerer")}
        if set(states.values()) != {"healthy"}:
            raise NotYetError(f"{states}")

    def serve(self, *arguments: str, name: str | None = None) -> None:
        """Start a service; it ends with this Airflow."""
        name = name or arguments[0]
        log = self._services.enter_context((self.home / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        processes.note(process)
        self._running[name] = process
        self._services.callback(processes.end, process)

    def backfill(self, first: str, last: str, **conf: Any) -> None:
        """Create a backfill of these days, one at a time, before the services start."""
        self._commands.append(
            [
                *("backfill", "create", "--dag-id", DAG, "--max-active-runs", "1"),
                *("--from-date", first, "--to-date", f"{last}T23:59:59"),
                *("--dag-run-conf", json.dumps(conf)),
            ]
        )

    def trigger(self, run_id: str, **conf: Any) -> None:
        """Start a manual run, now that the services are there."""
        asked = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        self._ask("POST", f"/dags/{DAG}/dagRuns", json=asked)

    def finished(self, runs: int, *, seconds: float) -> Counter[str]:
        """The states of the runs that were asked for, once there are so many and none is under way.

        The schedule may start one as well.
        """

        def look() -> Counter[str]:
            asked = (run for run in self.runs(DAG) if run["run_type"] != "scheduled")
            states = Counter(run["state"] for run in asked)
            if states.total() < runs or states["queued"] or states["running"]:
                raise NotYetError(f"{dict(states)} of {runs} runs")
            return states

        return self.until(look, seconds=seconds)

    def until(self, look: Callable[[], Found], *, seconds: float) -> Found:
        """What `look` finds, as soon as it raises `NotYetError` no more and Airflow answers it.

        Fails at the deadline, and as soon as a service has ended, with the end of every service's log.
        """

        def look_while_all_run() -> Found:
            ended = [name for name, process in self._running.items() if process.poll() is not None]
            assert not ended, f"ended: {', '.join(ended)}"
            return look()

        waiting = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(
                (NotYetError, requests.ConnectionError, requests.Timeout)
            ),
            stop=tenacity.stop_after_delay(seconds),
            wait=tenacity.wait_fixed(1),
            reraise=True,
        )
        try:
            return waiting(look_while_all_run)
        except Exception as error:
            raise AssertionError(f"{error!r}\n{self._logs()}") from error

    def _logs(self) -> str:
        logs = (
            (name, (self.home / f"{name}.log").read_text(errors="replace")) for name in self._running
        )
        return "\n".join(f"== {name}\n{text[-4000:]}" for name, text in logs)

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """The runs of a DAG."""
        found: list[dict[str, Any]] = []
        while page := self.get(f"/dags/{dag}/dagRuns?limit=100&offset={len(found)}")["dag_runs"]:
            found += page
        return found

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run."""
        answer = self.get(f"/dags/{DAG}/dagRuns/{run_id}/taskInstances?limit=100")
        instances: list[dict[str, Any]] = answer["task_instances"]
        return instances

    def get(self, path: str) -> Mapping[str, Any]:
        return self._ask("GET", path)

    def patch(self, path: str, **fields: Any) -> Mapping[str, Any]:
        return self._ask("PATCH", path, json=fields)

    def _ask(self, method: str, path: str, **given: Any) -> Mapping[str, Any]:
        token = requests.get(f"{self.url}/auth/token", timeout=ANSWERED).json()["access_token"]
        response = requests.request(
            method,
            f"{self.url}/api/v2{path}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=ANSWERED,
            **given,
        )
        response.raise_for_status()
        content: Mapping[str, Any] = response.json()
        return content


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
