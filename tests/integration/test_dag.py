"""The DAG in a real Airflow: its paths, and that nothing leaks between its tasks."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from robin_etl.ledger import Ledger
from robin_etl.sandbox.faults import Fault, Faults
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests import processes
from tests.conftest import HEADER, KEY, SECRET, Export, run_days

DAGS = Path(__file__).parents[2] / "dags"

# Airflow reads its settings on import, so it lives in a process of its own. This is that process.
DRIVER = """
import json, os, sys
from datetime import datetime, timedelta, timezone
from airflow.dag_processing.dagbag import DagBag
from airflow.utils.db import initdb

initdb()
from airflow import settings
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.models.asset import AssetEvent
from airflow.models.xcom import XComModel
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.utils.session import create_session
from airflow.utils.types import DagRunType

create = SerializedDAG.create_dagrun

def create_as_asked(dag, **given):
    # A test run is a manual one, unless it stands for another.
    return create(dag, **{**given, "run_type": DagRunType(asked.get("run_type", "manual"))})

SerializedDAG.create_dagrun = create_as_asked
questions = []

def answer_at_once(task, context):
    # A task of a test run can't be parked until somebody answers.
    questions.append({"subject": task.subject, "body": task.body, "options": task.options})
    event = {"chosen_options": [asked["answer"]], "params_input": {}, "responded_by_user": None}
    return task.execute_complete(context, {**event, "responded_at": datetime.now(timezone.utc)})

HITLOperator.execute = answer_at_once
usual = dict(os.environ)

def play(given):
    global asked
    asked = given
    os.environ.update(asked.get("env", {}))
    questions.clear()
    settings.DAGS_FOLDER = asked.get("dags", sys.argv[1])
    # Anew, since a test run leaves its parameters in the DAG.
    bag = DagBag(dag_folder=settings.DAGS_FOLDER)
    assert not bag.import_errors, bag.import_errors
    dag = bag.dags[asked.get("dag", "robin_orders")]
    for task in dag.tasks:
        task.retries = asked.get("retries", 0)
        task.retry_delay = timedelta(0)
        task.retry_exponential_backoff = 0
    day = asked.get("day")
    if "down_since" in asked:  # the run that a scheduler makes next, which made its last one then
        last_made = DataInterval.exact(datetime.fromisoformat(asked["down_since"]))
        as_scheduled = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        made = as_scheduled.timetable.next_dagrun_info(
            last_automated_data_interval=last_made,
            restriction=TimeRestriction(earliest=None, latest=None, catchup=as_scheduled.catchup),
        )
        day = made.logical_date.isoformat()
    try:
        run = dag.test(
            logical_date=datetime.fromisoformat(day).astimezone(timezone.utc) if day else None,
            run_conf=asked.get("conf"),
        )
    except Exception as error:
        return {"state": "refused", "words": str(error)}
    finally:
        os.environ.clear()
        os.environ.update(usual)
    with create_session() as session:
        rows = session.query(XComModel.task_id, XComModel.value).filter(XComModel.run_id == run.run_id)
        xcoms = [[task, str(value)] for task, value in rows.filter(XComModel.dag_id == run.dag_id)]
        events = session.query(AssetEvent).filter(AssetEvent.source_run_id == run.run_id)
        events = list(events.filter(AssetEvent.source_dag_id == run.dag_id))
        extras, assets = [event.extra for event in events], [event.asset.name for event in events]
    states, tries = {}, {}
    for ti in run.get_task_instances():
        states.setdefault(ti.task_id, []).append(str(ti.state))
        tries[ti.task_id] = ti.try_number
    result = {"state": str(run.state), "tasks": states, "tries": tries, "xcoms": xcoms, "events": extras}
    return result | {"day": day, "questions": questions, "assets": assets}

def play_together(several):
    # Each in a process of its own, which has all that this one has imported, but not its connections.
    # What it writes of the DAGs is there already, since it does not ask whether another writes it too.
    import great_expectations, robin_etl.airflow.tasks  # once for all

    settings.DAGS_FOLDER = several[0]["dags"]
    manager = DagBundlesManager()
    manager.sync_bundles_to_db()
    (bundle,) = manager.get_all_dag_bundles()
    bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    sync_bag_to_db(bag, bundle.name, bundle.version)
    settings.dispose_orm()
    children = []
    for asked in several:
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            settings.configure_orm()
            os.write(writing, json.dumps(play(asked)).encode())
            os._exit(0)
        os.close(writing)
        children.append((child, reading))
    results = []
    for child, reading in children:
        with open(reading) as answer:
            results.append(json.loads(answer.read() or '{"state": "died"}'))
        os.waitpid(child, 0)
    settings.configure_orm()
    return {"results": results}

for line in sys.stdin:
    given = json.loads(line)
    result = play_together(given["together"]) if "together" in given else play(given)
    print("RESULT " + json.dumps(result), flush=True)
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
        "PYTHONPATH": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        # Of DAGs that run together the one that finds the database locked waits for it.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=120",
        "AIRFLOW_CONN_ROBIN_DEFAULT": json.dumps(connection),
        "ROBIN_ETL_EXPORT_SETTLE": "0",
        "ROBIN_ETL_ON_GUARD": "fail",
        "ROBIN_ETL_EXPORTS": str(shop / "exports"),
        "ROBIN_ETL_LEDGER": str(shop / "ledger.db"),
        "ROBIN_ETL_RUNS": str(shop / "runs"),
        "ROBIN_ETL_MAX_ATTEMPTS": "1",
    }


@pytest.fixture(scope="module")
def module_sandbox() -> Any:
    with Sandbox(Robin(KEY, SECRET, limits=())) as running:
        yield running


# A provider as those of databases are, for SQLite, whose own is not among what tests install.
HOOK = """
from airflow.providers.common.sql.hooks.sql import DbApiHook


class ShopHook(DbApiHook):
    conn_name_attr = "shop_conn_id"
    default_conn_name = "shop_default"
    conn_type = "shop_database"
    hook_name = "Shop"

    @property
    def sqlalchemy_url(self):
        return f"sqlite:///{self.connection.host}"
"""
PROVIDER = """
def describe():
    hook = {"connection-type": "shop_database", "hook-class-name": "shop_database.ShopHook"}
    return {"package-name": "shop", "name": "Shop", "description": "", "connection-types": [hook]}
"""


def install_provider(folder: Path) -> None:
    (folder / "shop_database.py").write_text(HOOK)
    (folder / "shop_provider.py").write_text(PROVIDER)
    about = folder / "shop-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[apache_airflow_provider]\nprovider_info=shop_provider:describe\n"
    )


@pytest.fixture(scope="module")
def airflow(airflow_home: Path, shop: Path, module_sandbox: Sandbox) -> Any:
    """Runs the DAG once; gives its state, its tasks' states and what they handed on."""
    (shop / "exports").mkdir()
    install_provider(airflow_home)
    with processes.started(
        [sys.executable, "-c", DRIVER, str(DAGS)],
        env=environment(airflow_home, shop, module_sandbox.url),
    ) as process:

        def play(**asked: Any) -> dict[str, Any]:
            before = len(process.printed)
            process.say(json.dumps(asked) + "\n")
            line = process.line_with("RESULT ")
            result: dict[str, Any] = json.loads(line.partition("RESULT ")[2])
            (airflow_home / "output.log").write_text(process.printed, encoding="utf-8")
            return {**result, "log": process.printed[before:]}

        yield play
        process.hang_up()  # SIGTERM does not end it once tasks have run in it


@pytest.fixture
def export(shop: Path) -> Export:
    def write(day: str, *rows: str) -> Path:
        path = shop / "exports" / f"orders_{day}.csv"
        lines = ["order_number,email_address,revenue,order_date", *rows]
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


STAGES = (
    *("wait", "extract", "partitions.classify", "partitions.validate"),
    *("plan", "approve", "load", "report", "alert"),
)


def test_a_day_goes_through_all_stages_and_hands_on_paths_and_counts_alone(
    airflow: Play, export: Export, module_sandbox: Sandbox, shop: Path
) -> None:
    export("2026-03-01", "1,ann.person@x.nl,10,2026-03-01", "2,ann.person@x.nl,10,2026-03-02")
    result = airflow(day="2026-03-01")
    assert result["state"] == "success", result["log"]
    assert result["tasks"] == {stage: ["success"] for stage in STAGES}
    assert set(module_sandbox.robin.orders) == {"1", "2"}
    assert [event["outcome"] for event in result["events"]] == ["done"]
    assert "The run is degraded" not in result["log"]
    handed_on = json.dumps(result["xcoms"])
    assert "posted" in handed_on
    for private in (SECRET, KEY, "ann.person"):
        assert private not in handed_on
        assert private not in result["log"]
    assert str(shop / "runs") in handed_on


def test_other_dags_are_told_the_counts_and_where_the_report_is(
    airflow: Play, export: Export, shop: Path
) -> None:
    export("2026-03-02", "e1,e@x.nl,10,2026-03-02", "e2,e@x.nl,10,2026-03-02", "e3,e@x.nl,1,x")
    conf = {"from_date": "2026-03-02"}
    env = {"ROBIN_ETL_EXPECTATIONS": str(lenient_suites(shop))}
    result = airflow(day="2026-05-10", conf=conf, env=env)
    (extra,) = result["events"]
    counts = {"exported": 3, "first": 1, "repeat": 1, "quarantined": 1, "posted": 2, "requests": 1}
    assert counts.items() <= extra.items()
    assert extra["outcome"] == "degraded"
    assert "The run is degraded: 1 row quarantined." in result["log"]
    assert Path(extra["report"]).is_file()
    assert airflow(day="2026-05-11", conf={**conf, "dry_run": True}, env=env)["events"] == []


def lenient_suites(shop: Path) -> Path:
    """The shipped suites, but that let half of the rows be quarantined."""
    folder = shop / "lenient"
    shutil.copytree(DAGS.parent / "expectations", folder, dirs_exist_ok=True)
    suite = json.loads((folder / "export.json").read_text())
    suite["meta"]["max_quarantined"] = 0.5
    (folder / "export.json").write_text(json.dumps(suite))
    return folder


def test_the_same_day_again_posts_nothing(
    airflow: Play, export: Export, module_sandbox: Sandbox
) -> None:
    export("2026-03-01", "1,ann.person@x.nl,10,2026-03-01", "2,ann.person@x.nl,10,2026-03-02")
    airflow(day="2026-03-01")
    before = module_sandbox.robin.read_state()["requests"]
    assert airflow(day="2026-03-01")["state"] == "success"
    assert module_sandbox.robin.read_state()["requests"] == before


def test_a_day_without_orders_succeeds(airflow: Play, export: Export) -> None:
    export("2026-03-05")
    result = airflow(day="2026-03-05")
    assert result["tasks"] == {stage: ["success"] for stage in STAGES}


def test_a_manual_run_over_a_range_takes_its_days_from_the_parameters(
    airflow: Play, export: Export, module_sandbox: Sandbox
) -> None:
    export("2026-04-01", "r1,b@x.nl,10,2026-04-01")
    export("2026-04-03", "r1,b@x.nl,4,2026-04-01", "r2,b@x.nl,4,2026-04-03")
    conf = {"from_date": "2026-04-01", "to_date": "2026-04-05"}
    rehearsed = airflow(day="2026-05-01", conf={**conf, "dry_run": True})
    assert rehearsed["state"] == "success"
    assert "3 changes would be posted in 2 requests: at least 0:00:00 under" in rehearsed["log"]
    assert "The run's report is " in rehearsed["log"]
    assert "r1" not in module_sandbox.robin.orders
    result = airflow(day="2026-05-02", conf={**conf, "final": True})
    assert result["state"] == "success"
    assert "2 changes to post in 1 request:" in result["log"]
    assert "2 of 2 changes are done with" in result["log"]
    assert module_sandbox.robin.orders["r1"]["revenue"] == 4
    assert module_sandbox.robin.read_state()["complaints"] == []


@pytest.mark.parametrize("shards", [1, 4])
def test_a_run_in_partitions_is_classified_and_validated_one_by_one_and_loaded_once(
    airflow: Play, export: Export, module_sandbox: Sandbox, shards: int
) -> None:
    mark = f"s{shards}"
    rows = [f"{mark}-{n},{mark}-{n // 3}@x.nl,{n},2026-08-01T10:{n:02}:00Z" for n in range(60)]
    # The last row of an order wins, under whichever customer it stands.
    rows += [f"{mark}-0,{mark}-19@x.nl,5,2026-08-01T09:00:00Z"]
    export(f"2026-08-0{shards}", *rows)
    result = airflow(day=f"2026-08-0{shards}", conf={"shards": shards})
    assert result["state"] == "success", result["log"]
    for task in ("partitions.classify", "partitions.validate"):
        assert result["tasks"][task] == ["success"] * shards
    assert result["tasks"]["load"] == ["success"]
    held = {n: order for n, order in module_sandbox.robin.orders.items() if n.startswith(mark)}
    firsts = {number for number, order in held.items() if order["is_first_order"]}
    assert len(held) == 60
    assert firsts == {f"{mark}-{3 * n}" for n in range(1, 19)} | {f"{mark}-1", f"{mark}-0"}
    assert module_sandbox.robin.read_state()["complaints"] == []


def test_a_gate_stop_fails_at_once_and_posts_nothing(
    airflow: Play, export: Export, module_sandbox: Sandbox
) -> None:
    export("2026-06-01", "g1,b@x.nl,ten,2026-06-01")
    result = airflow(day="2026-06-01", retries=2)
    assert result["state"] == "failed"
    assert result["tasks"]["extract"] == ["failed"]
    assert result["tries"]["extract"] == 1
    assert result["tasks"]["load"] == ["upstream_failed"]
    assert "1 of 1 rows break a rule" in result["log"]
    assert "g1" not in module_sandbox.robin.orders


OLD_ORDERS = [f"old{n},old{n}@x.nl,10,2024-03-01" for n in range(25)]


def test_a_guard_stops_a_scheduled_run_at_once_and_lets_one_pass_that_names_it(
    airflow: Play, export: Export, module_sandbox: Sandbox
) -> None:
    export("2026-06-10", *OLD_ORDERS)
    before = module_sandbox.robin.read_state()["requests"]
    alone = {"ROBIN_ETL_CATCH_UP_DAYS": "0"}
    stopped = airflow(day="2026-06-10", run_type="scheduled", retries=2, env=alone)
    assert stopped["state"] == "failed"
    assert stopped["tasks"]["plan"] == ["failed"]
    assert stopped["tries"]["plan"] == 1
    assert stopped["tasks"]["load"] == stopped["tasks"]["report"] == ["upstream_failed"]
    assert "The guard old_orders stopped 2026-06-10: 25 of 25 new orders (old0, " in stopped["log"]
    assert "(in Airflow with allow: old_orders)" in stopped["log"]
    assert module_sandbox.robin.read_state()["requests"] == before

    passed = airflow(day="2026-06-10", conf={"allow": ["old_orders"]})
    assert passed["state"] == "success", passed["log"]
    assert {f"old{n}" for n in range(25)} <= set(module_sandbox.robin.orders)


@pytest.mark.parametrize("answer", ["Reject", "Approve"])
def test_where_a_guard_trips_a_person_is_asked_and_nothing_is_posted_unless_approved(
    airflow: Play, export: Export, module_sandbox: Sandbox, shop: Path, answer: str
) -> None:
    rows = [f"ask{n},ask{n}@x.nl,10,2024-01-{n + 1:02}" for n in range(25)]
    export("2026-06-12", *rows)
    before = module_sandbox.robin.read_state()["requests"]
    ask = {"ROBIN_ETL_ON_GUARD": "ask"}
    result = airflow(day="2026-06-12", env=ask, answer=answer)
    (question,) = result["questions"]
    assert question["subject"] == "May this run pass: old_orders?"
    assert question["options"] == ["Approve", "Reject"]
    assert "--allow" not in question["body"]
    assert max(map(len, question["body"].partition("\n```\n")[0].splitlines())) <= 90
    for words in (
        "old_orders: 25 of 25 new orders",
        "| first | 25 | +250.00 |",
        "25 changes of 2026-06-12 in 1 request.",
        "/robin/dags/robin_orders/runs/",
    ):
        assert words in question["body"]
    assert result["tasks"]["plan"] == ["success"]
    with Ledger.open(str(shop / "ledger.db"), read_only=True) as ledger:
        run = ledger.runs.latest(1)[0]
    if answer == "Reject":
        assert result["tasks"]["approve"] == ["failed"]
        assert result["tasks"]["load"] == ["upstream_failed"]
        assert module_sandbox.robin.read_state()["requests"] == before
        assert run.outcome == "stopped"
    else:
        assert result["state"] == "success", result["log"]
        assert {f"ask{n}" for n in range(25)} <= set(module_sandbox.robin.orders)
        assert run.outcome == "done"


@pytest.mark.parametrize(
    ("choice", "state", "posted"), [("", "success", 0), ("notify", "success", 1), ("fail", "failed", 1)]
)
def test_a_degraded_run_does_at_its_end_what_the_setting_says(
    airflow: Play,
    own_shop: tuple[Settings, dict[str, str]],
    airflow_home: Path,
    choice: str,
    state: str,
    posted: int,
) -> None:
    settings, env = own_shop
    rows = [f"degraded-{choice}-{n},d{n}@x.nl,1,2026-09-01" for n in range(12)]
    path = Path(settings.exports) / "orders_2026-09-01.csv"
    path.write_text("\n".join([HEADER, *rows, "degraded,,1,2026-09-01", ""]))
    told = airflow_home / f"told-{choice}"
    (airflow_home / "degraded_alerts.py").write_text(
        "import os\nfrom pathlib import Path\n"
        "def notify(context):\n"
        '    Path(os.environ["TOLD"]).write_text(str(context["exception"]))\n'
    )
    env |= {"TOLD": str(told), "ROBIN_ETL_ON_FAILURE": "degraded_alerts:notify"}
    if choice:
        env["ROBIN_ETL_ON_DEGRADED"] = choice
    result = airflow(day="2026-09-01", env=env)
    assert result["tasks"]["report"] == ["success"]
    assert result["tasks"]["alert"] == [state]
    assert [event["outcome"] for event in result["events"]] == ["degraded"]
    assert told.exists() == bool(posted)
    if posted:
        assert "The run is degraded: 1 row quarantined. See " in told.read_text()


@pytest.mark.parametrize(
    ("conf", "run_type", "is_history"),
    [
        ({"from_date": "2026-06-11"}, "manual", False),
        ({"from_date": "2026-06-11", "to_date": "2026-06-11"}, "manual", True),
        ({}, "backfill", True),
    ],
    ids=["a manual day", "a range of one day", "airflow's backfill"],
)
def test_a_range_and_a_backfill_say_that_their_orders_are_history_and_a_day_does_not(
    airflow: Play, export: Export, shop: Path, conf: dict[str, Any], run_type: str, is_history: bool
) -> None:
    export("2026-06-11", "h1,h1@x.nl,10,2024-03-01")
    guards = json.dumps({"old_orders": 0, "no_history": 0})
    env = {"ROBIN_ETL_GUARDS": guards, "ROBIN_ETL_LEDGER": str(shop / "empty-ledger.db")}
    result = airflow(day="2026-06-11", run_type=run_type, conf={**conf, "dry_run": True}, env=env)
    assert result["tasks"]["plan"] == ["success" if is_history else "failed"], result["log"]
    for guard in ("old_orders", "no_history"):
        assert (f"The guard {guard} stopped 2026-06-11: " in result["log"]) != is_history


def test_a_header_without_rows_after_a_week_of_orders_is_red_unless_a_backfill_asks_for_it(
    airflow: Play, export: Export, shop: Path, module_sandbox: Sandbox
) -> None:
    # A ledger of its own has run files of its own: beside another's journals it is taken for lost.
    ledger, runs = str(shop / "busy-ledger.db"), str(shop / "busy-runs")
    settings = Settings.read(
        base_url=module_sandbox.url,
        api_key=KEY,
        api_secret=SECRET,
        exports=str(shop / "exports"),
        ledger=ledger,
        runs=runs,
        rate_limits="100000/s",
    )
    for day in range(12, 19):
        placed = f"2026-06-{day}"
        export(placed, *(f"{day}-{n},b{n}@x.nl,10,{placed}" for n in range(100)))
    run_days(settings, "2026-06-12", "2026-06-18")
    export("2026-06-19")
    env = {"ROBIN_ETL_LEDGER": ledger, "ROBIN_ETL_RUNS": runs}
    asked: dict[str, Any] = {"day": "2026-06-19", "env": env}
    stopped = airflow(**asked, run_type="scheduled")
    assert stopped["state"] == "failed"
    assert stopped["tasks"]["plan"] == ["failed"]
    assert "the export has no rows, and the days before had 100" in stopped["log"]
    assert airflow(**asked, run_type="backfill")["state"] == "success"


def test_a_refused_key_fails_at_once_and_tells_whom_the_setting_names(
    airflow: Play, export: Export, module_sandbox: Sandbox, airflow_home: Path
) -> None:
    export("2026-06-02", "k1,k@x.nl,1,2026-06-02")
    (airflow_home / "alerts.py").write_text(
        "from pathlib import Path\n"
        "def notify(context):\n"
        '    words = f\'{context["task_instance"].task_id}: {context["exception"]}\'\n'
        f"    Path({str(airflow_home / 'alert')!r}).write_text(words)\n"
    )
    wrong = {"conn_type": "robin", "host": module_sandbox.url, "login": KEY, "password": "wrong"}
    before = module_sandbox.robin.read_state()["requests"]
    result = airflow(
        day="2026-06-02",
        retries=2,
        env={
            "AIRFLOW_CONN_ROBIN_DEFAULT": json.dumps(wrong),
            "ROBIN_ETL_ON_FAILURE": "alerts:notify",
        },
    )
    assert result["tasks"]["load"] == ["failed"]
    assert result["tries"]["load"] == 1
    assert module_sandbox.robin.read_state()["requests"] == before + 1
    assert (airflow_home / "alert").read_text().startswith("load: ROBIN refused the API key or secret")


def test_a_robin_that_was_away_is_tried_again(
    airflow: Play, export: Export, module_sandbox: Sandbox
) -> None:
    export("2026-06-03", "w1,w@x.nl,1,2026-06-03")
    robin = module_sandbox.robin
    robin.faults = Faults(script={1: Fault.ERROR_BEFORE})
    result = airflow(day="2026-06-03", retries=1)
    assert result["state"] == "success", result["log"]
    assert result["tries"]["load"] == 2
    assert robin.orders["w1"]["revenue"] == 1


def test_a_range_that_was_cut_off_goes_on_where_it_stopped(
    airflow: Play, export: Export, module_sandbox: Sandbox
) -> None:
    for day in range(1, 6):
        export(f"2026-09-0{day}", f"z{day},z{day}@x.nl,{day},2026-09-0{day}")
    robin = module_sandbox.robin
    robin.faults = Faults(script={3: Fault.ERROR_BEFORE})
    before = robin.read_state()
    conf = {"from_date": "2026-09-01", "to_date": "2026-09-30", "chunk_size": 1}
    result = airflow(day="2026-05-21", retries=1, conf=conf)
    assert result["state"] == "success", result["log"]
    assert result["tries"]["load"] == 2
    assert "5 changes to post in 5 requests" in result["log"]
    assert "2 changes to post in 2 requests" in result["log"]  # the third was in doubt, and sent first
    after = robin.read_state()
    assert set(after["orders"]) - set(before["orders"]) == {f"z{day}" for day in range(1, 6)}
    assert after["repeats"] == before["repeats"]


def test_a_run_beside_another_that_posts_fails_with_a_sentence_and_is_tried_again(
    airflow: Play, export: Export, module_sandbox: Sandbox, shop: Path
) -> None:
    export("2026-06-04", "l1,l@x.nl,1,2026-06-04")
    with Ledger.open(str(shop / "ledger.db")) as ledger, ledger.lock.hold("the scheduled run"):
        result = airflow(day="2026-06-04", retries=1)
    assert result["tasks"]["load"] == ["failed"]
    assert result["tries"]["load"] == 2
    assert "Another run is posting against this ledger" in result["log"]
    assert "the scheduled run" in result["log"]
    assert airflow(day="2026-06-04")["state"] == "success"
    assert module_sandbox.robin.orders["l1"]["revenue"] == 1


@pytest.fixture
def own_shop(tmp_path: Path, module_sandbox: Sandbox) -> tuple[Settings, dict[str, str]]:
    """Settings of a shop of the test's own, and the environment that says so to Airflow."""
    places = {name: str(tmp_path / name) for name in ("exports", "ledger", "runs")}
    (tmp_path / "exports").mkdir()
    own = Settings.read(base_url=module_sandbox.url, api_key=KEY, api_secret=SECRET, **places)
    return own, {f"ROBIN_ETL_{name.upper()}": place for name, place in places.items()}


def write_orders(settings: Settings, day: date, revenue: int = 10) -> None:
    """The export of a day, with one order that bears its name."""
    path = Path(settings.exports) / f"orders_{day}.csv"
    path.write_text(f"{HEADER}\noutage-{day},c{day}@x.nl,{revenue},{day}\n")


def test_after_days_without_a_scheduler_its_first_run_does_all_of_them_and_its_log_says_so(
    airflow: Play, own_shop: tuple[Settings, dict[str, str]], module_sandbox: Sandbox
) -> None:
    settings, env = own_shop
    days = [datetime.now(UTC).date() - timedelta(days=back) for back in range(5, -1, -1)]
    for day in days:
        write_orders(settings, day)
    run_days(settings, f"{days[0]}")
    result = airflow(down_since=f"{days[0]}T06:00:00+00:00", run_type="scheduled", env=env)
    assert result["state"] == "success", result["log"]
    own = date.fromisoformat(result["day"][:10])  # today, or yesterday before six o'clock
    assert own >= days[-2]
    missed = [day for day in days[1:] if day <= own]
    named = ", ".join(f"{day} (never read)" for day in missed)
    assert f"This run catches up: {named}." in result["log"]
    held = {number for number in module_sandbox.robin.orders if number.startswith("outage")}
    assert held == {f"outage-{day}" for day in (days[0], *missed)}
    (extra,) = result["events"]
    assert (extra["first"], extra["outstanding"], extra["missing"]) == (len(missed), [], [])


def test_a_manual_run_of_a_day_is_of_that_day_alone_and_names_what_is_outstanding(
    airflow: Play, own_shop: tuple[Settings, dict[str, str]]
) -> None:
    settings, env = own_shop
    for day in range(1, 4):
        write_orders(settings, date(2026, 9, day))
    run_days(settings, "2026-09-01")
    (extra,) = airflow(day="2026-09-03", env=env)["events"]
    assert (extra["first"], extra["outstanding"]) == (1, ["2026-09-02"])


def test_a_query_is_asked_through_a_connection_and_nothing_is_waited_for(
    airflow: Play,
    own_shop: tuple[Settings, dict[str, str]],
    module_sandbox: Sandbox,
    tmp_path: Path,
) -> None:
    _, env = own_shop
    database = tmp_path / "shop-of-secrets.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create table orders (number, email, total, placed_on)")
        connection.execute("insert into orders values ('of-query', 'a@x.nl', 10, '2026-09-01')")
    (tmp_path / "orders.sql").write_text(
        "select number as order_number, email as email_address, total as revenue, "
        "placed_on as order_date from orders where placed_on = :day"
    )
    env |= {
        "ROBIN_ETL_QUERY": str(tmp_path / "orders.sql"),
        "ROBIN_ETL_QUERY_CONN_ID": "warehouse",
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "shop_database", "host": str(database)}),
    }
    result = airflow(day="2026-09-02", env=env)
    assert result["tasks"] == {stage: ["success"] for stage in STAGES}, result["log"]
    assert module_sandbox.robin.orders["of-query"]["revenue"] == 10
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("update orders set total = 8")
    (extra,) = airflow(day="2026-09-02", conf={"refresh": True}, env=env)["events"]
    assert extra["return"] == 1
    assert "shop-of-secrets" not in json.dumps(result["xcoms"]) + result["log"]


def test_an_export_that_has_only_just_changed_is_waited_for(
    airflow: Play, own_shop: tuple[Settings, dict[str, str]]
) -> None:
    settings, env = own_shop
    write_orders(settings, date(2026, 9, 1))
    ahead = datetime.now(UTC).timestamp() + 3600  # by a clock that is an hour ahead of ours
    os.utime(Path(settings.exports) / "orders_2026-09-01.csv", (ahead, ahead))
    result = airflow(day="2026-09-01", env={**env, "ROBIN_ETL_EXPORT_SETTLE": "1"})
    assert result["state"] == "success", result["log"]
    assert "orders_2026-09-01.csv may still be written" in result["log"]
    assert "Pausing task as DEFERRED" in result["log"]


def test_an_export_that_never_stops_changing_fails_with_a_sentence(
    airflow: Play, own_shop: tuple[Settings, dict[str, str]]
) -> None:
    settings, env = own_shop
    write_orders(settings, date(2026, 9, 1))
    path = Path(settings.exports) / "orders_2026-09-01.csv"
    is_over = threading.Event()

    def keep_writing() -> None:
        while not is_over.wait(0.01):
            path.touch()

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        result = airflow(day="2026-09-01", env={**env, "ROBIN_ETL_EXPORT_SETTLE": "0.2"})
    finally:
        is_over.set()
        writer.join()
    assert result["tasks"]["wait"] == ["failed"]
    assert f"The export of 2026-09-01 at {settings.exports} still changes." in result["log"]


def test_a_missing_export_fails_with_a_sentence_or_skips_as_the_setting_says(airflow: Play) -> None:
    failed = airflow(day="2026-07-01", retries=2)
    assert failed["state"] == "failed"
    assert failed["tries"]["wait"] == 1
    assert "There is no export for 2026-07-01" in failed["log"]
    skipped = airflow(day="2026-07-02", env={"ROBIN_ETL_EXPORT_ABSENT": "skip"})
    assert skipped["state"] == "success"
    assert skipped["tasks"]["wait"] == skipped["tasks"]["extract"] == ["skipped"]
    assert skipped["tasks"]["load"] == skipped["tasks"]["report"] == ["skipped"]


def test_an_export_that_may_still_come_is_waited_for_until_its_time_is_over(airflow: Play) -> None:
    for seconds in ("2", "30"):  # on a slow machine the first may be over before it is looked
        now = datetime.now(UTC).isoformat()
        result = airflow(day=now, env={"ROBIN_ETL_EXPORT_WAIT": seconds})
        if "Pausing task as DEFERRED" in result["log"]:
            break
    assert result["tasks"]["wait"] == ["failed"]
    assert "There is no export" in result["log"]
    assert "Pausing task as DEFERRED" in result["log"]


@pytest.mark.parametrize(
    "conf",
    [
        {"from_date": "yesterday"},
        {"shards": 0},
        {"chunk_size": "many"},
        {"dry_run": "perhaps"},
        {"allow": ["nonsense"]},
        {"allow": "scale"},
    ],
)
def test_nonsense_is_refused_before_anything_runs(airflow: Play, conf: dict[str, Any]) -> None:
    result = airflow(day="2026-03-01", conf=conf)
    assert result["state"] == "refused"
    assert next(iter(conf)) in result["words"]


def test_a_range_that_runs_backwards_fails_with_a_sentence(airflow: Play) -> None:
    result = airflow(day="2026-05-20", conf={"from_date": "2026-04-02", "to_date": "2026-04-01"})
    assert result["tasks"]["wait"] == ["failed"]
    assert "to_date (2026-04-01) is before from_date (2026-04-02)" in result["log"]


def test_a_manual_run_without_a_day_fails_with_a_sentence(airflow: Play) -> None:
    result = airflow(day=None)
    assert result["state"] == "failed"
    assert "This manual run names no day" in result["log"]


def test_after_all_that_no_secret_and_no_address_is_in_airflow_the_ledger_or_a_report(
    airflow_home: Path, shop: Path
) -> None:
    data_files = {
        *("exported.parquet", "changes.parquet", "requests.jsonl"),
        *("quarantine.csv", "quarantine.jsonl"),
    }
    kept = [path for path in (*airflow_home.rglob("*"), *shop.glob("ledger*")) if path.is_file()]
    kept += [
        path for path in (shop / "runs").rglob("*") if path.is_file() and path.name not in data_files
    ]
    assert any(path.name == "airflow.db" for path in kept)
    assert any(path.suffix == ".log" for path in kept)
    assert any(path.name == "report.html" for path in kept)
    for path in kept:
        content = path.read_bytes()
        assert SECRET.encode() not in content, path
        assert b"@x.nl" not in content, path


def test_a_ledger_that_belongs_to_another_robin_account_or_customer_key_fails_extract_at_once(
    airflow: Play, export: Export, module_sandbox: Sandbox
) -> None:
    export("2026-06-10", "d1,d@x.nl,1,2026-06-10")
    assert airflow(day="2026-06-10")["state"] == "success"
    export("2026-06-11", "d2,d@x.nl,1,2026-06-11")
    usual = {"conn_type": "robin", "host": module_sandbox.url, "login": KEY, "password": SECRET}
    with Sandbox(Robin(KEY, SECRET, limits=())) as other:
        for changed, is_dry, words in (
            ({"host": other.url}, False, f"belongs to the ROBIN at {module_sandbox.url}"),
            ({"login": "another-key"}, True, "belongs to another API key"),
            (
                {"extra": {"customer_key_secret": "another"}},
                False,
                "The customer key of the ledger was none",
            ),
        ):
            env = {"AIRFLOW_CONN_ROBIN_DEFAULT": json.dumps({**usual, **changed})}
            conf = {"from_date": "2026-06-11", "dry_run": is_dry}
            result = airflow(day="2026-06-11", retries=2, env=env, conf=conf)
            assert result["tasks"]["extract"] == ["failed"]
            assert result["tries"]["extract"] == 1
            assert words in result["log"]
        assert other.robin.read_state()["requests"] == 0
    assert "d2" not in module_sandbox.robin.orders


def test_a_201_that_speaks_of_errors_shows_its_words_in_the_log_and_its_count_to_others(
    airflow: Play, export: Export, module_sandbox: Sandbox
) -> None:
    export("2026-06-12", "e9,e9@x.nl,1,2026-06-12")
    module_sandbox.robin.faults = Faults(script={1: Fault.SPEAKS_OF_ERRORS})
    result = airflow(day="2026-06-12")
    assert result["tasks"]["load"] == ["success"]
    assert "ROBIN took the orders and spoke of errors: " in result["log"]
    assert "something is not right" in result["log"]
    (extra,) = result["events"]
    assert extra["remarked"] == 1
    assert "something is not right" not in json.dumps(result["xcoms"])
