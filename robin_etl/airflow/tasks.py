"""What the DAG's tasks do: the stages of the pipeline, in the run that a DAG run is about."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from airflow.sdk import get_current_context

from robin_etl import pipeline
from robin_etl.airflow import Handed
from robin_etl.airflow.days import find_days
from robin_etl.airflow.failures import stop_retries
from robin_etl.airflow.hook import RobinHook
from robin_etl.airflow.log import TaskLog
from robin_etl.observer import Result
from robin_etl.settings import Settings
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run

log = logging.getLogger(__name__)


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
    """Put all counts together; they, the outcome, and where the run's page is."""
    reported = _run_stage(pipeline.report, loaded["run"], conn_id)
    return {**reported, "report": f"{loaded['run']}/report.html"}


def is_dry_run() -> bool:
    """Whether the DAG run that is under way posts nothing."""
    return bool(get_current_context()["params"]["dry_run"])


def _start_run(settings: Settings, context: Mapping[str, Any], *, timezone: str) -> Run:
    """The run that a DAG run is about, in a folder of its own."""
    params = context["params"]
    first, last = find_days(context, settings, timezone=timezone)
    run = Run.start(
        settings.runs,
        Scope(
            command="airflow",
            first=first,
            last=last,
            final=params.get("final", False),
            dry_run=params.get("dry_run", False),
            allow=tuple(params.get("allow") or ()),
            is_history=_is_history(context),
        ),
        path_of=settings.path,
    )
    log.info("This run's files are in %s.", run.location)
    return run


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
    handed = {
        name: value for name, value in counts.items() if isinstance(value, int) or name == "outcome"
    }
    return {"run": location, **handed}
