"""The DAG in a real Airflow: its parsing, its paths, and that nothing leaks between its tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from robin_etl.exceptions import ConfigurationError
from robin_etl.sandbox import Robin, Sandbox
from tests.conftest import KEY, SECRET, Export

DAGS = Path(__file__).parents[2] / "dags"

# Airflow reads its settings on import, so it lives in a process of its own. This is that process.
DRIVER = """
import json, sys
from datetime import datetime, timezone
from airflow.dag_processing.dagbag import DagBag
from airflow.utils.db import initdb

initdb()
for line in sys.stdin:
    bag = DagBag(dag_folder=sys.argv[1])  # anew, since a test run leaves its parameters in the DAG
    assert not bag.import_errors, bag.import_errors
    dag = bag.dags["robin_orders"]
    for task in dag.tasks:
        task.retries = 0
    told = json.loads(line)
    day = told.get("day")
    run = dag.test(
        logical_date=datetime.fromisoformat(day).replace(tzinfo=timezone.utc) if day else None,
        run_conf=told.get("conf"),
    )
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    with create_session() as session:
        rows = session.query(XComModel.task_id, XComModel.value).filter(XComModel.run_id == run.run_id)
        xcoms = {task: str(value) for task, value in rows}
    states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
    print("RESULT " + json.dumps({"state": str(run.state), "tasks": states, "xcoms": xcoms}), flush=True)
"""

Play = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


def environment(home: Path, shop: Path, url: str) -> dict[str, str]:
    connection = {"conn_type": "robin", "host": url, "login": KEY, "password": SECRET}
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW_CONN_ROBIN_DEFAULT": json.dumps(connection),
        "ROBIN_ETL_EXPORTS": str(shop / "exports"),
        "ROBIN_ETL_LEDGER": str(shop / "ledger.db"),
        "ROBIN_ETL_RUNS": str(shop / "runs"),
        "ROBIN_ETL_MAX_ATTEMPTS": "1",
    }


@pytest.fixture(scope="module")
def module_sandbox() -> Any:
    with Sandbox(Robin(KEY, SECRET, limits=())) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(airflow_home: Path, shop: Path, module_sandbox: Sandbox) -> Any:
    """Runs the DAG once; gives its state, its tasks' states and what they handed on."""
    (shop / "exports").mkdir()
    log = (airflow_home / "output.log").open("w+")
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(DAGS)],
        env=environment(airflow_home, shop, module_sandbox.url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said: list[str] = []

        def play(**told: Any) -> dict[str, Any]:
            process.stdin.write(json.dumps(told) + "\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            said.clear()
            for line in process.stdout:  # type: ignore[union-attr]
                said.append(line)
                if line.startswith("RESULT "):
                    result: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
                    return {**result, "log": "".join(said)}
            log.seek(0)
            raise AssertionError("".join(said) + log.read())

        yield play
        process.stdin.close()
        process.stdout.read()
    log.close()


@pytest.fixture
def export(shop: Path) -> Export:
    def write(day: str, *rows: str) -> Path:
        path = shop / "exports" / f"orders_{day}.csv"
        lines = ["order_number,email_address,revenue,order_date", *rows]
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def test_a_day_goes_through_all_stages_and_hands_on_paths_and_counts_alone(
    airflow: Play, export: Export, module_sandbox: Sandbox, shop: Path
) -> None:
    export("2026-03-01", "1,ann.person@x.nl,10,2026-03-01", "2,ann.person@x.nl,10,2026-03-02")
    result = airflow(day="2026-03-01")
    assert result["state"] == "success", result["log"]
    stages = ("extract", "classify", "validate", "load", "report")
    assert result["tasks"] == dict.fromkeys(stages, "success")
    assert set(module_sandbox.robin.orders) == {"1", "2"}
    handed_on = json.dumps(result["xcoms"])
    assert "posted" in handed_on
    for private in (SECRET, KEY, "ann.person"):
        assert private not in handed_on
        assert private not in result["log"]
    assert str(shop / "runs") in handed_on


def test_the_same_day_again_posts_nothing(
    airflow: Play, export: Export, module_sandbox: Sandbox
) -> None:
    export("2026-03-01", "1,ann.person@x.nl,10,2026-03-01", "2,ann.person@x.nl,10,2026-03-02")
    airflow(day="2026-03-01")
    before = module_sandbox.robin.state()["requests"]
    assert airflow(day="2026-03-01")["state"] == "success"
    assert module_sandbox.robin.state()["requests"] == before


def test_a_manual_run_over_a_range_takes_its_days_from_the_parameters(
    airflow: Play, export: Export, module_sandbox: Sandbox
) -> None:
    export("2026-04-01", "r1,b@x.nl,10,2026-04-01")
    export("2026-04-03", "r1,b@x.nl,4,2026-04-01", "r2,b@x.nl,4,2026-04-03")
    conf = {"from_date": "2026-04-01", "to_date": "2026-04-05"}
    rehearsed = airflow(day="2026-05-01", conf={**conf, "dry_run": True})
    assert rehearsed["state"] == "success"
    assert "r1" not in module_sandbox.robin.orders
    assert airflow(day="2026-05-02", conf={**conf, "final": True})["state"] == "success"
    assert module_sandbox.robin.orders["r1"]["revenue"] == 4
    assert module_sandbox.robin.state()["complaints"] == []


def test_a_gate_stop_fails_at_once_and_posts_nothing(
    airflow: Play, export: Export, module_sandbox: Sandbox
) -> None:
    export("2026-06-01", "g1,b@x.nl,ten,2026-06-01")
    result = airflow(day="2026-06-01")
    assert result["state"] == "failed"
    assert result["tasks"]["extract"] == "failed"
    assert result["tasks"]["load"] == "upstream_failed"
    assert "1 of 1 rows break a rule" in result["log"]
    assert "g1" not in module_sandbox.robin.orders


def test_a_missing_export_fails_with_a_sentence(airflow: Play) -> None:
    result = airflow(day="2026-07-01")
    assert result["state"] == "failed"
    assert "There is no export for 2026-07-01" in result["log"]


def test_a_manual_run_without_a_day_fails_with_a_sentence(airflow: Play) -> None:
    result = airflow(day=None)
    assert result["state"] == "failed"
    assert "This manual run names no day" in result["log"]


@pytest.fixture(scope="module")
def parsed(airflow_home: Path, shop: Path) -> dict[str, Any]:
    """What importing the DAG file imports beyond Airflow itself."""
    code = (
        "import airflow.sdk, airflow.sdk.configuration, sys, json; before = set(sys.modules);"
        f"sys.path.insert(0, {str(DAGS)!r}); import robin_orders;"
        "dag = robin_orders.robin_orders();"
        "print(json.dumps({'modules': sorted(set(sys.modules) - before), 'max': dag.max_active_runs,"
        "'catchup': dag.catchup, 'past': [t.depends_on_past for t in dag.tasks]}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(airflow_home, shop, "http://127.0.0.1:9"),
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_importing_the_dag_imports_neither_pandas_nor_great_expectations(parsed: dict[str, Any]) -> None:
    heavy = {"pandas", "numpy", "pyarrow", "great_expectations", "sqlalchemy.dialects.sqlite"}
    assert heavy.isdisjoint(parsed["modules"])
    assert not any(module.startswith("robin_etl") for module in parsed["modules"])


def test_the_dag_runs_one_at_a_time_without_catching_up(parsed: dict[str, Any]) -> None:
    assert (parsed["max"], parsed["catchup"], set(parsed["past"])) == (1, False, {False})


def days_of(
    params: dict[str, Any], logical: datetime | None, timezone: str = "UTC", lag_days: int = 0
) -> tuple[date, date]:
    from robin_etl import hooks

    return hooks.days_of(params, logical, timezone=timezone, lag_days=lag_days)


@pytest.mark.filterwarnings("ignore")
def test_the_day_is_the_local_date_of_the_logical_date_less_the_lag() -> None:
    evening = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    assert days_of({}, evening) == (date(2026, 3, 1), date(2026, 3, 1))
    assert days_of({}, evening, timezone="Europe/Amsterdam")[0] == date(2026, 3, 2)
    assert days_of({}, evening, lag_days=1)[0] == date(2026, 2, 28)
    given = {"from_date": "2026-01-01", "to_date": None}
    assert days_of(given, evening) == (date(2026, 1, 1), date(2026, 1, 1))
    with pytest.raises(ConfigurationError, match="names no day"):
        days_of({}, None)
