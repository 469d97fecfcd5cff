"""What Airflow sees of the package: the connection type, the hook, the trigger, and a light DAG file."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from robin_etl.exceptions import ConfigurationError
from robin_etl.exports.settling import Settling
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests import processes
from tests.conftest import KEY, SECRET, Export
from tests.integration.test_destination import answering

pytestmark = pytest.mark.filterwarnings("ignore")  # of Airflow's own imports

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("airflow")


def airflow(home: Path, *arguments: str, **environment: str) -> processes.Completed:
    there = {**os.environ, "AIRFLOW_HOME": str(home), **environment}
    return processes.run([sys.executable, *arguments], env=there)


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> Any:
    """Sets the connection `robin_default`; the sandbox's with its key, but for these fields."""

    def set_fields(extra: dict[str, Any] | None = None, **fields: Any) -> None:
        usual = {"conn_type": "robin", "host": sandbox.url, "login": KEY, "password": SECRET}
        monkeypatch.setenv("AIRFLOW_CONN_ROBIN_DEFAULT", json.dumps({**usual, **fields, "extra": extra}))

    set_fields()
    return set_fields


def hook(**options: Any) -> Any:
    from robin_etl.airflow.hook import RobinHook

    return RobinHook(**options)


def test_airflow_lists_the_provider_with_its_connection_type_and_form(home: Path) -> None:
    shown = airflow(home, "-m", "airflow", "providers", "get", "robin-etl", "--full", "-o", "json")
    assert shown.returncode == 0, shown.stderr
    assert "robin_etl.airflow.hook.RobinHook" in shown.stdout
    for label in ("API key", "API secret", "Orders in a request, at most"):
        assert label in shown.stdout


def test_the_providers_description_keeps_to_airflows_schema() -> None:
    import airflow as package
    import jsonschema

    from robin_etl.airflow.provider import get_provider_info

    schema = Path(package.__file__).parent / "provider_info.schema.json"
    jsonschema.validate(get_provider_info(), json.loads(schema.read_text()))


def test_airflow_tests_the_connection_without_posting_an_order(home: Path, sandbox: Sandbox) -> None:
    right = {"conn_type": "robin", "host": sandbox.url, "login": KEY, "password": SECRET}
    shown = airflow(
        home,
        *("-m", "airflow", "connections", "test", "robin_default"),
        AIRFLOW__CORE__TEST_CONNECTION="Enabled",
        AIRFLOW_CONN_ROBIN_DEFAULT=json.dumps(right),
    )
    assert "Connection success" in shown.stdout, shown.stdout + shown.stderr
    assert SECRET not in shown.stdout + shown.stderr
    assert sandbox.robin.read_state()["orders"] == {}


@pytest.mark.parametrize(
    ("fields", "good", "words"),
    [
        ({}, True, "ROBIN took the key and was sent no order"),
        ({"password": "wrong"}, False, "refused the API key or secret (401). Mend both in the"),
        ({"password": ""}, False, "ROBIN_ETL_API_SECRET is not set"),
        ({"host": "http://127.0.0.1:9"}, False, "not reached at http://127.0.0.1:9: the connection was"),
        ({"host": "robin.invalid"}, False, "https://robin.invalid: the name of the host was not found"),
        ({"host": "http://example.com"}, False, "plain http would send the secret in clear"),
    ],
)
def test_a_connection_test_says_what_it_found(
    connection: Any, sandbox: Sandbox, fields: dict[str, str], good: bool, words: str
) -> None:
    connection(**fields)
    found, said = hook().test_connection()
    assert (found, words in said) == (good, True), said
    assert sandbox.robin.read_state()["orders"] == {}


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [
        ("", 443, "https://api.robinhq.com"),
        ("https://robin.test", 0, "https://robin.test"),
        ("https://robin.test", None, "https://robin.test"),
        ("robin.test", 443, "https://robin.test"),
        ("https://robin.test/base", 8443, "https://robin.test:8443/base"),
        ("https://robin.test:8443", 443, "https://robin.test:8443"),
        ("http://[::1]", 8000, "http://[::1]:8000"),
    ],
)
def test_the_port_of_a_connection_may_be_left_out_and_a_usual_one_changes_no_address(
    connection: Any, host: str, port: int | None, address: str
) -> None:
    connection(host=host, port=port)
    assert hook().get_settings().base_url == address


def test_a_connection_test_sees_that_a_login_page_is_not_robin(connection: Any) -> None:
    with answering(200, b"<html>Sign in</html>", "text/html") as (url, bodies):
        connection(host=url)
        found, said = hook().test_connection()
    assert not found
    for words in ("not ROBIN: 200, text/html", "Sign in", "ROBIN_ETL_BASE_URL", "proxy"):
        assert words in said
    assert bodies == [b'{"orders":[]}']


def test_settings_come_from_parameters_then_connection_then_variable_then_environment(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CHUNK_SIZE", "CONCURRENCY", "TIMEOUT", "MAX_ATTEMPTS"):
        monkeypatch.setenv(f"ROBIN_ETL_{name}", "11")
    variable = {"chunk_size": 12, "concurrency": 12, "timeout": 12, "guards": {"scale": 50}}
    monkeypatch.setenv("AIRFLOW_VAR_ROBIN_DEFAULT", json.dumps(variable))
    connection(extra={"chunk_size": 13, "concurrency": 13, "customer_key_secret": "pepper"})
    settings = hook(settings={"chunk_size": 15, "timeout": 15}).get_settings({"chunk_size": 14})
    assert (settings.chunk_size, settings.timeout) == (14, 15)
    settings = hook().get_settings({"chunk_size": 14, "from_date": None, "shards": None})
    found = (settings.chunk_size, settings.concurrency, settings.timeout, settings.max_attempts)
    assert found == (14, 13, 12, 11)
    assert (settings.guards.scale, settings.guards.returns) == (50, 100)
    assert settings.digest_key() == b"pepper"
    assert settings.credentials() == (KEY, SECRET)


def test_secrets_in_a_connections_extras_are_masked_by_airflow_and_refused_under_other_names(
    connection: Any,
) -> None:
    from airflow.sdk._shared.secrets_masker import redact

    from robin_etl.airflow.provider import get_provider_info

    fields = get_provider_info()["connection-types"][0]["conn-fields"]
    secret = [name for name, field in fields.items() if field["schema"].get("format") == "password"]
    assert secret == ["customer_key_secret", "contact_key_secret"]
    assert redact(dict.fromkeys(secret, "pepper")) == dict.fromkeys(secret, "***")
    for name in ("customer_key", "contact_key"):
        connection(extra={name: "pepper"})
        with pytest.raises(ConfigurationError, match=f"Call it {name}_secret") as caught:
            hook().get_settings()
        assert "pepper" not in str(caught.value)


def test_a_password_in_the_address_of_exports_is_refused_where_airflow_would_keep_it(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection()
    monkeypatch.setenv("ROBIN_ETL_EXPORTS", "sftp://shop:hush-hush@host/exports")
    with pytest.raises(ConfigurationError, match="FSSPEC_SFTP_PASSWORD") as caught:
        hook().get_settings()
    assert "hush-hush" not in str(caught.value)


def test_a_secrets_backend_may_keep_the_connection(home: Path, tmp_path: Path) -> None:
    kept = {"robin_default": {"conn_type": "robin", "login": "k", "password": "from-the-backend"}}
    (tmp_path / "secrets.json").write_text(json.dumps(kept))
    done = airflow(
        home,
        "-c",
        "from robin_etl.airflow.hook import RobinHook; settings = RobinHook().get_settings();"
        "assert settings.credentials() == ('k', 'from-the-backend'); print(settings)",
        AIRFLOW__SECRETS__BACKEND="airflow.secrets.local_filesystem.LocalFilesystemBackend",
        AIRFLOW__SECRETS__BACKEND_KWARGS=json.dumps(
            {"connections_file_path": str(tmp_path / "secrets.json")}
        ),
    )
    assert done.returncode == 0, done.stderr
    assert "from-the-backend" not in done.stdout


def test_a_secret_in_the_variable_is_refused(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_ROBIN_DEFAULT", '{"API_SECRET": "s3cr3t"}')
    with pytest.raises(ConfigurationError, match="api_secret") as refused:
        hook().get_settings()
    assert "s3cr3t" not in str(refused.value)


def test_a_connection_that_is_not_there_is_named(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection(extra={"ledger_conn_id": "no_such"})
    with pytest.raises(ConfigurationError, match="no Airflow connection no_such"):
        hook().get_settings()
    connection()
    monkeypatch.setenv("ROBIN_ETL_EXPORTS", "s3://no_such@bucket/exports")
    with pytest.raises(ConfigurationError, match="no Airflow connection no_such"):
        hook().get_settings()
    monkeypatch.setenv("ROBIN_ETL_EXPORTS", "sftp://me@host/exports")
    assert hook().get_settings().exports == "sftp://me@host/exports"
    monkeypatch.delenv("AIRFLOW_CONN_ROBIN_DEFAULT")
    with pytest.raises(ConfigurationError, match="no Airflow connection robin_default"):
        hook().get_settings()


def test_the_ledger_may_be_an_airflow_connection(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = {"conn_type": "postgres", "host": "db", "login": "me", "password": "p@ss", "schema": "l"}
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER_DB", json.dumps(database))
    connection(extra={"ledger_conn_id": "ledger_db"})
    assert hook().get_settings().ledger == "postgresql://me:p%40ss@db/l"
    by_socket = json.dumps({**database, "host": "/run/postgresql"})
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER_DB", by_socket)
    assert hook().get_settings().ledger == "postgresql://me:p%40ss@/l?host=%2Frun%2Fpostgresql"


@pytest.mark.parametrize(
    ("conn_type", "words"),
    [
        ("unheard_of", "of the type unheard_of, whose provider is not installed"),
        ("http", "of the type http, which is no database"),
        ("", "no Airflow connection warehouse"),
    ],
)
def test_a_connection_that_is_no_database_is_a_sentence_once_the_query_is_asked(
    conn_type: str, words: str, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBIN_ETL_QUERY", "orders.sql")
    monkeypatch.setenv("ROBIN_ETL_QUERY_CONN_ID", "warehouse")
    if conn_type:
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": conn_type, "host": "x"}))
    settings = hook().get_settings()
    with pytest.raises(ConfigurationError, match=words):
        settings.connect_query(lambda *_: None)


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"conn_type": "sqlite", "host": "{file}"}, "sqlite:///{file}"),
        (
            {"conn_type": "postgres", "host": "db", "login": "me", "password": "p@ss", "schema": "shop"},
            "postgresql+psycopg://me:p%40ss@db/shop",
        ),
    ],
)
def test_a_database_without_its_provider_is_opened_by_what_its_connection_says(
    fields: dict[str, str],
    url: str,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "shop.db").touch()
    there = {name: text.format(file=tmp_path / "shop.db") for name, text in fields.items()}
    monkeypatch.setenv("ROBIN_ETL_QUERY", "orders.sql")
    monkeypatch.setenv("ROBIN_ETL_QUERY_CONN_ID", "warehouse")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(there))
    engine: Any = hook().get_settings().connect_query(lambda *_: None)
    shown = engine.url.render_as_string(hide_password=False)
    assert shown == url.format(file=tmp_path / "shop.db")


def test_the_address_of_a_query_belongs_in_no_variable_and_no_dag_file(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_ROBIN_DEFAULT", '{"QUERY_URL": "postgresql://me:s3cr3t@db/shop"}')
    with pytest.raises(ConfigurationError, match="query_url") as refused:
        hook().get_settings()
    assert "s3cr3t" not in str(refused.value)


def test_a_hooks_client_posts(connection: Any, sandbox: Sandbox) -> None:
    order = {"order_number": "1", "email_address": "a@x.nl", "revenue": 1}
    order |= {"order_date": "2026-03-01T00:00:00Z", "is_first_order": True}
    with hook().get_conn() as client:
        assert client.post(json.dumps({"orders": [order]}).encode()).status == 201
    assert set(sandbox.robin.orders) == {"1"}


@pytest.fixture(scope="module")
def parsed(home: Path) -> dict[str, Any]:
    """What importing the DAG file costs and imports beyond Airflow itself."""
    code = (
        "import airflow.sdk, airflow.sdk.configuration, sys, json; before = set(sys.modules);"
        f"sys.path.insert(0, {str(DAGS)!r}); import robin_orders;"
        "dag = robin_orders.robin_orders_dag();"
        "print(json.dumps({'modules': sorted(set(sys.modules) - before), 'max': dag.max_active_runs,"
        "'catchup': dag.catchup, 'past': [t.depends_on_past for t in dag.tasks],"
        "'loads': dag.task_dict['load'].max_active_tis_per_dag,"
        "'before': {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks}}))"
    )
    done = airflow(home, "-c", code)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_importing_the_dag_imports_neither_pandas_nor_great_expectations(parsed: dict[str, Any]) -> None:
    heavy = {"pandas", "numpy", "pyarrow", "great_expectations", "sqlalchemy.dialects.sqlite", "upath"}
    assert heavy.isdisjoint(parsed["modules"])
    own = {module for module in parsed["modules"] if module.startswith("robin_etl")}
    light = (
        *("airflow.dag", "airflow.params", "airflow.sensor", "airflow.approval"),
        *("airflow.notices", "airflow.deadline", "airflow.links"),
        *("core", "core.guards"),
    )
    assert own <= {"robin_etl", "robin_etl.airflow", *(f"robin_etl.{name}" for name in light)}


def test_the_tasks_that_see_no_order_do_not_import_pandas(home: Path) -> None:
    code = (
        "import json, sys\n"
        "from robin_etl.airflow import alerting, approval, hook, sensor\n"
        "from robin_etl.exports import locations, settling\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = airflow(home, "-c", code)
    assert done.returncode == 0, done.stderr
    modules = json.loads(done.stdout.splitlines()[-1])
    assert {"pandas", "pyarrow", "great_expectations"}.isdisjoint(modules)


def test_only_what_starts_tasks_as_copies_of_itself_imports_for_them(home: Path) -> None:
    """The scheduler of a LocalExecutor that forks, and a Celery worker."""
    code = """
import json, os, sys
from robin_etl.airflow.preload import preload

def look(*arguments, executor="LocalExecutor"):
    os.environ["AIRFLOW__CORE__EXECUTOR"] = executor
    return [preload(arguments), "pandas" in sys.modules, "great_expectations" in sys.modules]

found = [
    look(),
    look("api-server"),
    look("dags", "list"),
    look("celery", "stop"),
    look("triggerer"),
    look("scheduler", executor="CeleryExecutor"),
    look("scheduler", executor="airflow.providers.cncf.kubernetes.KubernetesExecutor"),
]
os.environ["AIRFLOW__CORE__EXECUTE_TASKS_NEW_PYTHON_INTERPRETER"] = "True"
found += [look("scheduler"), look("celery", "worker")]
del os.environ["AIRFLOW__CORE__EXECUTE_TASKS_NEW_PYTHON_INTERPRETER"]
for section in ("SCHEDULER", "CORE"):
    os.environ[f"AIRFLOW__{section}__MP_START_METHOD"] = "forkserver"
    found += [look("scheduler")]
    del os.environ[f"AIRFLOW__{section}__MP_START_METHOD"]
found += [
    look("scheduler", executor="CeleryExecutor,LocalExecutor"),
    look("celery", "worker", "--concurrency", "2", executor="CeleryExecutor"),
]
print(json.dumps(found))
"""
    done = airflow(home, "-c", code)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == [[False] * 3] * 11 + [[True] * 3] * 2


def test_a_worker_starts_where_what_tasks_need_can_not_be_imported(home: Path, tmp_path: Path) -> None:
    (tmp_path / "great_expectations.py").write_text("raise ImportError('half installed')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from robin_etl.airflow.preload import preload\n"
        "print(preload(('celery', 'worker')))"
    )
    done = airflow(home, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
    assert "can't be imported (ImportError: half installed)" in done.stdout + done.stderr


def test_the_dag_runs_one_at_a_time_without_catching_up(parsed: dict[str, Any]) -> None:
    assert (parsed["max"], parsed["catchup"], set(parsed["past"])) == (1, False, {False})
    assert parsed["loads"] == 1


def test_nothing_is_posted_before_the_plan_of_all_partitions_has_passed(parsed: dict[str, Any]) -> None:
    before = parsed["before"]
    assert "partitions.validate" in before["plan"]
    assert before["approve"] == ["plan"]
    assert "approve" in before["load"]
    assert before["report"] == ["load"]


@pytest.mark.parametrize(
    ("given", "is_right"),
    [([], True), (["scale", "empty"], True), (["nonsense"], False), ("scale", False), ([1], False)],
)
def test_the_guards_to_allow_are_checked_as_airflow_reads_the_dag_back(
    home: Path, given: Any, is_right: bool
) -> None:
    from airflow.exceptions import ParamValidationError
    from airflow.serialization.serialized_objects import DagSerialization

    from robin_etl.airflow.dag import robin_orders_dag

    read_back = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(robin_orders_dag()))
    params = read_back.params.deep_merge({"allow": given})
    if is_right:
        params.validate()
    else:
        with pytest.raises(ParamValidationError):
            params.validate()


def find_days(
    params: dict[str, Any], logical: datetime | None, timezone: str = "UTC", lag_days: int = 0
) -> tuple[date, date]:
    from robin_etl.airflow import days

    context = {"params": params, "dag_run": SimpleNamespace(logical_date=logical)}
    return days.find_days(context, Settings.read(export_lag_days=lag_days), timezone=timezone)


def test_the_day_is_the_local_date_of_the_logical_date_less_the_lag() -> None:
    evening = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    assert find_days({}, evening) == (date(2026, 3, 1), date(2026, 3, 1))
    assert find_days({}, evening, timezone="Europe/Amsterdam")[0] == date(2026, 3, 2)
    assert find_days({}, evening, lag_days=1)[0] == date(2026, 2, 28)
    given = {"from_date": "2026-01-01", "to_date": None}
    assert find_days(given, evening) == (date(2026, 1, 1), date(2026, 1, 1))
    with pytest.raises(ConfigurationError, match="names no day"):
        find_days({}, None)


def test_the_day_of_a_run_that_an_asset_started_is_that_of_its_partition_or_of_its_events() -> None:
    from robin_etl.airflow import days

    def found(partition: str | None, *events: SimpleNamespace) -> tuple[date, date]:
        run = SimpleNamespace(logical_date=None, partition_key=partition, consumed_asset_events=events)
        context = {"params": {}, "dag_run": run}
        return days.find_days(context, Settings.read(), timezone="Europe/Amsterdam")

    late = datetime(2026, 3, 4, 23, 30, tzinfo=UTC)
    plain = SimpleNamespace(extra={}, timestamp=late)
    named = SimpleNamespace(extra={"day": "2026-03-02"}, timestamp=late)
    keyed = SimpleNamespace(extra=None, timestamp=late, partition_key="2026-03-03T00:00:00")
    assert found("2026-03-01") == (date(2026, 3, 1), date(2026, 3, 1))
    assert found("nl", named) == (date(2026, 3, 2), date(2026, 3, 2))
    assert found(None, plain) == (date(2026, 3, 5), date(2026, 3, 5))
    assert found(None, keyed, named) == (date(2026, 3, 2), date(2026, 3, 3))


def test_who_rejects_a_plan_stops_the_run_and_who_approves_it_names_the_guards(home: Path) -> None:
    code = """
from datetime import UTC, datetime
from types import SimpleNamespace
from airflow.providers.standard.exceptions import HITLRejectException, HITLTimeoutError
from robin_etl.airflow.approval import GuardApproval

approve = GuardApproval(task_id="approve", shop={"conn_id": "robin_default", "settings": {}})
assert approve.retries == 0
planned = {"guards": ["scale"], "question": "?"}
context = {"ti": SimpleNamespace(xcom_pull=lambda task_ids: planned)}

def answer(**event):
    said = {"responded_at": datetime.now(UTC), "responded_by_user": None, "params_input": {}, **event}
    return approve.execute_complete(context, said)

assert answer(chosen_options=["Approve"]) == {"allow": ["scale"]}
for event, stop in (
    ({"chosen_options": ["Reject"]}, HITLRejectException),
    ({"error": "late", "error_type": "timeout"}, HITLTimeoutError),
):
    try:
        answer(**event)
    except stop:
        continue
    raise AssertionError(event)
planned["guards"] = []
assert approve.execute(context) == {"allow": []}
"""
    done = airflow(home, "-c", code)
    assert done.returncode == 0, done.stderr


def test_a_secret_among_the_settings_of_a_dags_file_is_refused(home: Path) -> None:
    code = (
        "from robin_etl.airflow.dag import robin_orders_dag;"
        "robin_orders_dag('shop_b', settings={'API_SECRET': 'hush-hush'})"
    )
    done = airflow(home, "-c", code)
    assert "api_secret: a secret belongs in the connection robin_default" in done.stderr
    assert "hush-hush" not in done.stderr.splitlines()[-1]


def test_a_task_that_is_tried_again_goes_on_in_its_run_and_a_cleared_one_in_another() -> None:
    from robin_etl.airflow.tasks import _make_run_id

    def run_id(*, clear_number: int = 0, dag_id: str = "shop", run: str = "manual__1") -> str:
        dag_run = SimpleNamespace(
            dag_id=dag_id,
            run_id=run,
            run_after=datetime(2026, 3, 1, 6, tzinfo=UTC),
            clear_number=clear_number,
        )
        return _make_run_id({"dag_run": dag_run}, "2026-03-01")

    assert run_id() == run_id()
    assert run_id().startswith("2026-03-01.20260301T060000.")
    others = {run_id(clear_number=1), run_id(dag_id="other"), run_id(run="manual__2")}
    assert len({run_id(), *others}) == 4


def test_the_trigger_fires_when_the_export_comes_and_not_before(exports: Path, export: Export) -> None:
    from robin_etl.airflow.trigger import ExportTrigger

    deadline = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    day = "2026-03-01"
    trigger = ExportTrigger(str(exports), day, day, deadline, seconds=0.01)
    name, arguments = trigger.serialize()
    assert name == "robin_etl.airflow.trigger.ExportTrigger"

    async def wait() -> Any:
        events = ExportTrigger(**arguments).run()
        fired = asyncio.ensure_future(anext(events))
        looked = asyncio.ensure_future(asyncio.to_thread(trigger._is_there, Settling(0)))
        assert not await looked
        assert not fired.done()
        export("2026-03-01")
        return await fired

    assert asyncio.run(wait()).payload == {"found": True}


def test_the_trigger_takes_an_export_once_it_has_not_changed_for_a_while(
    exports: Path, export: Export
) -> None:
    from robin_etl.airflow.trigger import ExportTrigger

    day = "2026-03-01"
    path = export(day)
    written = datetime.now(UTC) + timedelta(days=3650)  # as by a storage whose clock is ahead
    os.utime(path, (written.timestamp(), written.timestamp()))
    deadline = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    trigger = ExportTrigger(str(exports), day, day, deadline, seconds=0.01, settle=0.05)

    async def wait() -> Any:
        return await anext(trigger.run())

    assert not trigger._is_there(Settling(60))
    assert asyncio.run(wait()).payload == {"found": True}
    os.utime(path, (1, 1))
    assert trigger._is_there(Settling(60))


def test_the_trigger_gives_up_at_its_deadline(exports: Path) -> None:
    from robin_etl.airflow.trigger import ExportTrigger

    day, now = "2026-03-01", datetime.now(UTC).isoformat()
    trigger = ExportTrigger(str(exports), day, day, now, seconds=60)

    async def wait() -> Any:
        return await anext(trigger.run())

    assert asyncio.run(wait()).payload == {"found": False}


def test_progress_is_logged_twice_a_minute_at_most(caplog: pytest.LogCaptureFixture) -> None:
    from robin_etl.airflow.log import TaskLog
    from robin_etl.observer import Planned, Progressed, StageEnded, Waiting
    from robin_etl.stages.records import Delivered

    moments = iter(range(0, 1000, 10))
    observe = TaskLog(clock=lambda: next(moments))
    with caplog.at_level("INFO", "robin_etl.airflow.log"):
        observe(Planned(changes=100, requests=10, seconds=3))
        for _ in range(10):
            observe(Progressed(10))
        observe(Waiting(30, "ROBIN asks to wait"))
        observe(StageEnded("load", Delivered(posted=99, rejected=("X1",))))
    assert caplog.messages == [
        "100 changes to post in 10 requests: at least 0:00:03 under ROBIN's limits.",
        "30 of 100 changes (30%), about 0:01:10 left.",
        "60 of 100 changes (60%), about 0:00:40 left.",
        "90 of 100 changes (90%), about 0:00:10 left.",
        "ROBIN asks to wait: 0:00:30.",
        "ROBIN asked to wait 1 time; that took time and lost nothing.",
        "100 of 100 changes are done with.",
        "load: posted 99, rejected 1.",
        "orders rejected: X1.",
    ]


def test_a_short_wait_is_counted_and_of_no_changes_nothing_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from robin_etl.airflow.log import TaskLog
    from robin_etl.observer import Planned, StageEnded, Waiting
    from robin_etl.stages.records import Delivered

    observe = TaskLog()
    with caplog.at_level("INFO", "robin_etl.airflow.log"):
        observe(Planned(changes=0, requests=0, seconds=0))
        observe(Waiting(1, "ROBIN asks to wait"))
        observe(Waiting(2, "ROBIN asks to wait"))
        observe(StageEnded("load", Delivered()))
    assert caplog.messages == [
        "ROBIN asked to wait 2 times; that took time and lost nothing.",
        "load: nothing to do.",
    ]


def test_a_stage_that_posts_nothing_says_what_it_came_to(caplog: pytest.LogCaptureFixture) -> None:
    from robin_etl.airflow.log import TaskLog
    from robin_etl.observer import StageEnded
    from robin_etl.stages.records import Delivered, Extracted

    with caplog.at_level("INFO", "robin_etl.airflow.log"):
        TaskLog()(StageEnded("extract", Extracted(exported=1_234)))
        TaskLog()(StageEnded("load", Delivered()))
    assert caplog.messages == ["extract: exported 1,234.", "load: nothing to do."]


def test_a_failure_callback_that_is_not_there_is_named(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robin_etl.airflow.failures import notify

    monkeypatch.setenv("ROBIN_ETL_ON_FAILURE", "no_such_module:notify")
    with pytest.raises(ConfigurationError, match="no such function"):
        notify({}, {"conn_id": "robin_default", "settings": {}})


def test_unpausing_a_new_dag_starts_no_run_for_a_moment_that_is_past(home: Path) -> None:
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables.base import TimeRestriction

    from robin_etl.airflow.dag import robin_orders_dag

    now = datetime.now(UTC)
    dag = robin_orders_dag(schedule=f"{now - timedelta(minutes=2):%M %H} * * *", timezone="UTC")
    read_back = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    free = TimeRestriction(earliest=None, latest=None, catchup=read_back.catchup)
    run = read_back.timetable.next_dagrun_info(last_automated_data_interval=None, restriction=free)
    assert run.run_after > now


def test_a_dag_has_the_name_connection_hour_and_asset_that_its_call_gives_it(home: Path) -> None:
    code = (
        "from robin_etl.airflow.dag import robin_orders_dag;"
        "dag = robin_orders_dag('shop_b', 'robin_b', schedule='0 7 * * *', timezone='Asia/Tokyo');"
        "tasks = dag.task_dict;"
        "assert tasks['wait'].robin_conn_id == 'robin_b';"
        "assert [outlet.name for outlet in tasks['report'].outlets] == ['shop_b_reported'];"
        "assert 'robin_b' in dag.doc_md;"
        "print(dag.dag_id, dag.timetable.expression, dag.timetable.timezone)"
    )
    done = airflow(home, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "shop_b 0 7 * * * Asia/Tokyo"
