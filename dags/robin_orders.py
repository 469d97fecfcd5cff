"""### Tell ROBIN every day which orders of the shop are first, repeat, return and upsell

`wait` for the day's export → `extract` it and let the gate set aside what can't be sent → for each
part `classify` (compare with what ROBIN has acknowledged) and `validate` → `load`: post the changes
inside ROBIN's limits → `report`.

**A run failed?** Clear it, or trigger it again: it posts what is left, and nothing twice. Only what
may pass is retried by itself; a stop for authentication, validation or configuration fails at once,
and its last log line says what to do.

**A range** (years of history): trigger it with `from_date` and `to_date`, with `dry_run` first. Days
without an export are passed over. Progress is in the log of `load`.

Needs the connection `robin_default` of the type ROBIN. Settings come from the run's parameters, the
connection, the Variable `robin_etl` and the environment, in that order.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import (
    Asset,
    AssetAlias,
    CronTriggerTimetable,
    Param,
    dag,
    get_current_context,
    task,
    task_group,
)
from airflow.sdk.configuration import conf

from robin_etl.airflow.sensor import ExportSensor

SCHEDULE = "0 6 * * *"
TIMEZONE = conf.get("core", "default_timezone").replace("utc", "UTC")

# Told to DAGs that are scheduled on it after each run that was not a dry one, with the run's counts.
ORDERS_IN_ROBIN = Asset("robin_orders")
TOLD = AssetAlias("robin_orders_told")

DAY = {"type": ["null", "string"], "format": "date", "section": "Days"}
OVERRIDE = {"section": "Settings of this run"}


def call_on_failure(context: Any) -> None:
    """Hand a failed task to the function that ROBIN_ETL_ON_FAILURE names."""
    from robin_etl.airflow import hook

    hook.call_on_failure(context)


def stage(name: str, told: dict[str, Any], **options: Any) -> dict[str, Any]:
    """One stage of the run that the task before told of."""
    from robin_etl import pipeline
    from robin_etl.airflow import hook
    from robin_etl.airflow.log import TaskLog
    from robin_etl.stages.run import Run

    context = get_current_context()
    with hook.as_task_failures():
        settings = hook.RobinHook().settings(context["params"])
        run = Run.open(told["run"], path_of=settings.path)
        counts = getattr(pipeline, name)(settings, run, observer=TaskLog(), **options).counts()
    hook.log_counts(name, counts)
    return hook.hand_on(run, counts)


def stage_of_part(name: str, part: dict[str, Any]) -> dict[str, Any]:
    """One stage of one part, which is what the UI calls the mapped task."""
    get_current_context()["part"] = f"part {part['part']} of {part['parts']}"
    told = stage(name, part, partition=part["part"])
    return {**told, "part": part["part"], "parts": part["parts"]}


@dag(
    schedule=CronTriggerTimetable(SCHEDULE, timezone=TIMEZONE),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(hours=1),
        "on_failure_callback": call_on_failure,
    },
    params={
        "from_date": Param(None, **DAY, title="From", description="First day of a manual run."),
        "to_date": Param(None, **DAY, title="To", description="Last day of a range, included."),
        "final": Param(
            default=False,
            type="boolean",
            section="Days",
            title="Final versions only",
            description="Of each order only its last version in the range.",
        ),
        "dry_run": Param(
            default=False,
            type="boolean",
            title="Dry run",
            description="Everything but the posts and the ledger; keeps what would be sent.",
        ),
        "allow_corrections": Param(
            default=False,
            type="boolean",
            title="Allow corrections in masses",
            description="Needed once after a new column or a changed mapping.",
        ),
        "exports": Param(
            None,
            type=["null", "string"],
            minLength=1,
            **OVERRIDE,
            title="Exports",
            description="Another folder or URL of the exports than usual.",
        ),
        "profile": Param(
            None,
            type=["null", "string"],
            minLength=1,
            **OVERRIDE,
            title="Profile",
            description="How they are written.",
        ),
        "shards": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=256,
            **OVERRIDE,
            title="Shards",
            description="Parts to split the run into by customer.",
        ),
        "chunk_size": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            **OVERRIDE,
            title="Chunk size",
            description="Orders in a request, at most.",
        ),
    },
    doc_md=__doc__,
    tags=["robin"],
)
def robin_orders() -> None:
    """The DAG."""

    @task
    def extract() -> list[dict[str, Any]]:
        """Read the exports, quarantine what can't be sent, split the rest into parts by customer."""
        from robin_etl import pipeline
        from robin_etl.airflow import hook

        context = get_current_context()
        with hook.as_task_failures():
            settings = hook.RobinHook().settings(context["params"])
            run = hook.run_of(settings, context, timezone=TIMEZONE)
            extracted = pipeline.extract(settings, run)
        hook.log_counts("extract", extracted.counts())
        partitions = len(run.partitions)
        told = hook.hand_on(run, {"parts": partitions})
        return [{**told, "part": part} for part in range(1, partitions + 1)]

    @task(map_index_template="{{ part }}", multiple_outputs=False)
    def classify(part: dict[str, Any]) -> dict[str, Any]:
        """Compare a part with what ROBIN has acknowledged."""
        return stage_of_part("classify", part)

    @task(map_index_template="{{ part }}", multiple_outputs=False)
    def validate(part: dict[str, Any]) -> dict[str, Any]:
        """Let the gate judge what is about to be sent."""
        return stage_of_part("validate", part)

    @task_group(tooltip="One for each part of the run; nothing is posted before all are valid.")
    def parts(part: dict[str, Any]) -> Any:
        return validate(classify(part))

    # One run posts at a time; ROBIN's limits would have the others wait anyway.
    @task(max_active_tis_per_dag=1, multiple_outputs=False)
    def load(extracted: list[dict[str, Any]]) -> dict[str, Any]:
        """Post the changes of all parts, inside ROBIN's limits; only what ROBIN takes is kept."""
        return stage("load", extracted[0])

    @task(outlets=[TOLD], multiple_outputs=False)
    def report(loaded: dict[str, Any], *, outlet_events: Any = None) -> dict[str, Any]:
        """Put all counts together, and tell the DAGs that wait for them."""
        told = {**stage("report", loaded), "report": f"{loaded['run']}/report.html"}
        if not get_current_context()["params"]["dry_run"]:
            outlet_events[TOLD].add(ORDERS_IN_ROBIN, extra=told)
        return told

    wait = ExportSensor(task_id="wait", timezone=TIMEZONE, poke_interval=60)
    extracted = extract()
    loaded = load(extracted)
    wait >> extracted
    parts.expand(part=extracted) >> loaded
    report(loaded)


robin_orders()
