"""The DAG of a shop, made by one call in a file of the DAGs folder.

Imported whenever that file is parsed, so it imports little; a task imports the rest when it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetAlias, CronTriggerTimetable, task, task_group
from airflow.sdk.configuration import conf

from robin_etl.airflow import DEFAULT_CONN_ID, Handed
from robin_etl.airflow.params import make_params
from robin_etl.airflow.sensor import ExportSensor

_DOC = """### Tell ROBIN every day which orders of the shop are first, repeat, return and upsell

`wait` for the day's export → `extract` it and let the gate set aside what can't be sent → for each
partition `classify` (compare with what ROBIN has acknowledged) and `validate` → `plan`: add up what is
about to be told, and stop where a guard does → `load`: post the changes inside ROBIN's limits →
`report`.

**A run failed?** Clear it, or trigger it again: it posts what is left, and nothing twice. Only what
may pass is retried by itself; a stop for authentication, validation or configuration fails at once,
and its last log line says what to do.

**A guard stopped `plan`?** Its log says what it saw, and so does the plan in the run's report. Mend the
cause and trigger the day again; or, if it is meant, trigger its days with that guard in `allow`.
To clear it does not help: the run keeps its parameters.

**A range** (years of history): trigger it with `from_date` and `to_date`, with `dry_run` first. Days
without an export are passed over. Progress is in the log of `load`.

Needs the connection `{conn_id}` of the type ROBIN. Settings come from the run's parameters, the
connection, the Variable `robin_etl` and the environment, in that order.
"""


def robin_orders_dag(
    dag_id: str = "robin_orders",
    conn_id: str = DEFAULT_CONN_ID,
    schedule: str = "0 6 * * *",
    timezone: str | None = None,
) -> DAG:
    """The DAG that tells ROBIN of one shop's orders.

    `schedule` is a cron expression in `timezone`, which also says when a day begins; by default
    Airflow's own. After each run that was not a dry one, the asset named as the DAG has its outcome and
    counts.
    """
    timezone = timezone or conf.get("core", "default_timezone").replace("utc", "UTC")
    with DAG(
        dag_id,
        schedule=CronTriggerTimetable(schedule, timezone=timezone),
        catchup=False,
        max_active_runs=1,
        default_args={
            "retries": 3,
            "retry_delay": timedelta(minutes=5),
            "retry_exponential_backoff": 2,
            "max_retry_delay": timedelta(hours=1),
            "on_failure_callback": _make_failure_callback(conn_id),
        },
        params=make_params(),
        doc_md=_DOC.format(conn_id=conn_id),
        tags=["robin"],
    ) as dag:
        wait = ExportSensor(task_id="wait", robin_conn_id=conn_id, timezone=timezone, poke_interval=60)
        extracted = extract(conn_id, timezone)
        classified = partitions.partial(conn_id=conn_id).expand(partition=extracted)
        planned = plan(extracted, conn_id)
        loaded = load(extracted, conn_id)
        wait >> extracted
        classified >> planned >> loaded
        report.override(outlets=[_alias_of(dag_id)])(loaded, conn_id, dag_id)
    return dag


@task
def extract(conn_id: str, timezone: str) -> list[Handed]:
    """Read the exports, quarantine what can't be sent, split the rest into partitions by customer."""
    from robin_etl.airflow import tasks

    return tasks.extract(conn_id, timezone)


@task(map_index_template="{{ partition }}", multiple_outputs=False)
def classify(partition: Handed, conn_id: str) -> Handed:
    """Compare a partition with what ROBIN has acknowledged."""
    from robin_etl.airflow import tasks

    return tasks.classify(partition, conn_id)


@task(map_index_template="{{ partition }}", multiple_outputs=False)
def validate(partition: Handed, conn_id: str) -> Handed:
    """Let the gate judge what is about to be sent."""
    from robin_etl.airflow import tasks

    return tasks.validate(partition, conn_id)


@task_group(tooltip="One for each partition of the run; nothing is posted before all are valid.")
def partitions(partition: Handed, conn_id: str) -> Any:
    """The two stages that take a partition each."""
    return validate(classify(partition, conn_id), conn_id)


@task(multiple_outputs=False)
def plan(extracted: list[Handed], conn_id: str) -> Handed:
    """Add up what is about to be told; stop where a guard does."""
    from robin_etl.airflow import tasks

    return tasks.plan(extracted, conn_id)


# One run posts at a time; ROBIN's limits would have the others wait anyway.
@task(max_active_tis_per_dag=1, multiple_outputs=False)
def load(extracted: list[Handed], conn_id: str) -> Handed:
    """Post the changes of all partitions inside ROBIN's limits; only what ROBIN takes is kept."""
    from robin_etl.airflow import tasks

    return tasks.load(extracted, conn_id)


@task(multiple_outputs=False)
def report(loaded: Handed, conn_id: str, asset: str, *, outlet_events: Any = None) -> Handed:
    """Put all counts together, and pass them to the DAGs that wait for them."""
    from robin_etl.airflow import tasks

    reported = tasks.report(loaded, conn_id)
    if not tasks.is_dry_run():
        outlet_events[_alias_of(asset)].add(Asset(asset), extra=reported)
    return reported


def _alias_of(asset: str) -> AssetAlias:
    """What stands for the asset as an outlet, since an outlet itself has an event after every run."""
    return AssetAlias(f"{asset}_reported")


def _make_failure_callback(conn_id: str) -> Callable[[Any], None]:
    def call_on_failure(context: Any) -> None:
        from robin_etl.airflow import failures

        failures.call_on_failure(context, conn_id)

    return call_on_failure
