"""What the DAG's tasks do: the stages of the pipeline, in the run that a DAG run is about."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, timedelta
from hashlib import blake2b
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from robin_etl import pipeline
from robin_etl.airflow import Handed, Shop, lineage, notices
from robin_etl.airflow.days import find_days
from robin_etl.airflow.failures import stop_retries
from robin_etl.airflow.hook import RobinHook
from robin_etl.airflow.log import TaskLog
from robin_etl.airflow.messages import describe_question
from robin_etl.airflow.metrics import Metrics
from robin_etl.core.words import count
from robin_etl.exceptions import GuardError
from robin_etl.ledger import Ledger
from robin_etl.observer import Event, Observer, Result
from robin_etl.settings import Settings
from robin_etl.stages.catch_up import plan_catch_up
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run

log = logging.getLogger(__name__)

# What is handed on beside numbers.
_HANDED = ("outcome", "missing", "outstanding", "to_look_at")

# The types of DAG runs that Airflow starts by itself.
_BY_ITSELF = ("scheduled", "asset_triggered")


def extract(shop: Shop) -> list[Handed]:
    """Start the run and read its exports; the partitions that they were split into."""
    context = get_current_context()
    hook = RobinHook.of(shop)
    with stop_retries():
        settings = hook.get_settings(context["params"])
        run = _start_run(settings, context, timezone=shop["timezone"])
        lineage.note_exports(hook, settings)
        pipeline.extract(settings, run, _watch(context))
    partitions = run.partitions
    return [
        {"run": run.location, "partition": one.number, "partitions": len(partitions)}
        for one in partitions
    ]


def classify(partition: Handed, shop: Shop) -> Handed:
    """Compare a partition with what ROBIN has acknowledged."""
    return _take_partition(pipeline.classify, partition, shop)


def validate(partition: Handed, shop: Shop) -> Handed:
    """Let the gate judge the changes of a partition."""
    return _take_partition(pipeline.validate, partition, shop)


def plan(extracted: list[Handed], shop: Shop) -> Handed:
    """Add up what all partitions are about to tell. Where a guard trips, hand on what `approve` asks
    somebody, or fail, as `ON_GUARD` says.
    """
    location = extracted[0]["run"]
    context = get_current_context()
    settings = RobinHook.of(shop).get_settings(context["params"])
    try:
        return _run_stage(pipeline.plan, location, shop)
    except AirflowFailException as error:
        tripped = error.__cause__
        if not isinstance(tripped, GuardError) or is_dry_run() or settings.on_guard == "fail":
            raise
        log.warning("%s", tripped)
        run = Run.open(location, path_of=settings.path)
        url = notices.note_report(context)
        return {
            "run": location,
            "guards": list(tripped.guards),
            "question": describe_question(run.plan.read(), run.scope, url),
        }


def load(extracted: list[Handed], shop: Shop) -> Handed:
    """Post the changes of all partitions; the guards that somebody has approved may trip."""
    context = get_current_context()
    location = extracted[0]["run"]
    approved = (context["ti"].xcom_pull(task_ids="approve") or {}).get("allow", ())
    if approved:
        _open_run(location, shop).let_pass(approved)
    handed = _run_stage(pipeline.load, location, shop)
    _note_lineage(context, shop)
    if is_dry_run():
        planned = _open_run(location, shop).plan.read()
        log.info(
            "%s would be posted in %s: at least %s under ROBIN's limits.",
            count(planned.changes, "change"),
            count(planned.requests, "request"),
            timedelta(seconds=planned.seconds),
        )
    return handed


def report(loaded: Handed, shop: Shop) -> Handed:
    """Put all counts together; they, the outcome, the outstanding days, and where the run's page is."""
    reported = _run_stage(pipeline.report, loaded["run"], shop)
    page = f"{loaded['run']}/{Run.page.name}"
    log.info("The run's report is %s.", page)
    return {**reported, "report": page}


def is_dry_run() -> bool:
    """Whether the DAG run that is under way posts nothing."""
    return bool(get_current_context()["params"]["dry_run"])


def _note_lineage(context: Mapping[str, Any], shop: Shop) -> None:
    hook = RobinHook.of(shop)
    with stop_retries():
        settings = hook.get_settings(context["params"])
    lineage.note_exports(hook, settings)
    if not is_dry_run():
        lineage.note_robin(hook, settings)


def _watch(context: Mapping[str, Any]) -> Observer:
    """The observer of a stage: the task's log and Airflow's metrics."""
    observers = TaskLog(), Metrics(context["dag_run"].dag_id)

    def observe(event: Event) -> None:
        for observer in observers:
            observer(event)

    return observe


def _open_run(location: str, shop: Shop) -> Run:
    with stop_retries():
        settings = RobinHook.of(shop).get_settings(get_current_context()["params"])
        return Run.open(location, path_of=settings.path)


def _start_run(settings: Settings, context: Mapping[str, Any], *, timezone: str) -> Run:
    """The run that a DAG run is about, in a folder of its own; a task that is tried again goes on in it.

    One that nobody asked for catches up until its day.
    """
    params = context["params"]
    first, last = find_days(context, settings, timezone=timezone)
    options = {
        "final": bool(params.get("final")),
        "dry_run": bool(params.get("dry_run")),
        "allow": tuple(params.get("allow") or ()),
        "refresh": params.get("refresh", False),
    }
    if context["dag_run"].run_type in _BY_ITSELF:
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
    notices.note_report(context)
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


def _take_partition(stage: Callable[..., Result], partition: Handed, shop: Shop) -> Handed:
    """A stage of one partition, which the UI shows by this label."""
    number, of = partition["partition"], partition["partitions"]
    get_current_context()["partition"] = f"partition {number} of {of}"
    counts = _run_stage(stage, partition["run"], shop, number)
    return {**counts, "partition": number, "partitions": of}


def _run_stage(stage: Callable[..., Result], location: str, shop: Shop, *arguments: Any) -> Handed:
    context = get_current_context()
    notices.note_report(context)
    with stop_retries():
        settings = RobinHook.of(shop).get_settings(context["params"])
        run = Run.open(location, path_of=settings.path)
        counts = stage(settings, run, *arguments, observer=_watch(context)).counts()
    handed = {name: value for name, value in counts.items() if isinstance(value, int) or name in _HANDED}
    return {"run": location, **handed}
