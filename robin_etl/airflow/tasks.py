"""What the DAG's tasks do: the stages of the pipeline, in the run that a DAG run is about."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC
from hashlib import blake2b
from typing import Any

from airflow.sdk import get_current_context

from robin_etl import pipeline
from robin_etl.airflow import Handed
from robin_etl.airflow.days import find_days
from robin_etl.airflow.failures import stop_retries
from robin_etl.airflow.hook import RobinHook
from robin_etl.airflow.log import TaskLog
from robin_etl.ledger import Ledger
from robin_etl.observer import Result
from robin_etl.settings import Settings
from robin_etl.stages.catch_up import plan_catch_up
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run

log = logging.getLogger(__name__)

# What is handed on beside numbers.
_HANDED = ("outcome", "missing", "outstanding")


def extract(conn_id: str, timezone: str) -> list[Handed]:
    """Start the run and read its exports; the partitions that they were split into."""
    context = get_current_context()
    with stop_retries():
        settings = RobinHook(conn_id).get_settings(context["params"])
        run = _start_run(settings, context, timezone=timezone)
        pipeline.extract(settings, run, TaskLog())
    partitions = run.partitions
    return [
        {"run": run.location, "partition": one.number, "partitions": len(partitions)}
        for one in partitions
    ]


def classify(partition: Handed, conn_id: str) -> Handed:
    """Compare a partition with what ROBIN has acknowledged."""
    return _take_partition(pipeline.classify, partition, conn_id)


def validate(partition: Handed, conn_id: str) -> Handed:
    """Let the gate judge the changes of a partition."""
    return _take_partition(pipeline.validate, partition, conn_id)


def plan(extracted: list[Handed], conn_id: str) -> Handed:
    """Add up what all partitions are about to tell, and stop where a guard does."""
    return _run_stage(pipeline.plan, extracted[0]["run"], conn_id)


def load(extracted: list[Handed], conn_id: str) -> Handed:
    """Post the changes of all partitions."""
    return _run_stage(pipeline.load, extracted[0]["run"], conn_id)


def report(loaded: Handed, conn_id: str) -> Handed:
    """Put all counts together; they, the outcome, the outstanding days, and where the run's page is."""
    reported = _run_stage(pipeline.report, loaded["run"], conn_id)
    return {**reported, "report": f"{loaded['run']}/report.html"}


def is_dry_run() -> bool:
    """Whether the DAG run that is under way posts nothing."""
    return bool(get_current_context()["params"]["dry_run"])


def _start_run(settings: Settings, context: Mapping[str, Any], *, timezone: str) -> Run:
    """The run that a DAG run is about, in a folder of its own; a task that is tried again goes on in it.

    A scheduled one catches up until its day.
    """
    params = context["params"]
    first, last = find_days(context, settings, timezone=timezone)
    options = {
        "final": params.get("final", False),
        "dry_run": params.get("dry_run", False),
        "allow": tuple(params.get("allow") or ()),
    }
    if context["dag_run"].run_type == "scheduled":
        with Ledger.open(settings.ledger, read_only=options["dry_run"]) as ledger:
            planned = plan_catch_up(settings, ledger, last)
            if not options["dry_run"]:
                ledger.exports.renew(planned.unchanged)
        if planned.days:
            log.info("This run catches up: %s.", planned.describe())
        scope = planned.make_scope("airflow", with_own=True, **options)
    else:
        scope = Scope(
            command="airflow", first=first, last=last, is_history=_is_history(context), **options
        )
    run_id = _make_run_id(context, f"{first}" if first == last else f"{first}_{last}")
    run = Run.start(settings.runs, scope, id=run_id, path_of=settings.path)
    log.info("This run's files are in %s.", run.location)
    return run


def _make_run_id(context: Mapping[str, Any], days: str) -> str:
    """The same for each try of a task, and another once the DAG run is cleared."""
    dag_run = context["dag_run"]
    cleared = getattr(dag_run, "clear_number", 0) or 0
    of_airflow = f"{dag_run.dag_id}\n{dag_run.run_id}\n{cleared}"
    digest = blake2b(of_airflow.encode(), digest_size=3).hexdigest()
    return f"{days}.{dag_run.run_after.astimezone(UTC):%Y%m%dT%H%M%S}.{digest}"


def _is_history(context: Mapping[str, Any]) -> bool:
    """Whether a DAG run says that its orders may be old: a range by hand, or Airflow's own backfill."""
    params = context["params"]
    is_range = bool(params.get("from_date") and params.get("to_date"))
    return is_range or context["dag_run"].run_type == "backfill"


def _take_partition(stage: Callable[..., Result], partition: Handed, conn_id: str) -> Handed:
    """A stage of one partition, which the UI shows by this label."""
    number, of = partition["partition"], partition["partitions"]
    get_current_context()["partition"] = f"partition {number} of {of}"
    counts = _run_stage(stage, partition["run"], conn_id, number)
    return {**counts, "partition": number, "partitions": of}


def _run_stage(stage: Callable[..., Result], location: str, conn_id: str, *arguments: Any) -> Handed:
    context = get_current_context()
    with stop_retries():
        settings = RobinHook(conn_id).get_settings(context["params"])
        run = Run.open(location, path_of=settings.path)
        counts = stage(settings, run, *arguments, observer=TaskLog()).counts()
    handed = {name: value for name, value in counts.items() if isinstance(value, int) or name in _HANDED}
    return {"run": location, **handed}
