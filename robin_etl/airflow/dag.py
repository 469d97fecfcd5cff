"""The DAG of a shop, made by one call in a file of the DAGs folder.

Imported whenever that file is parsed, so it imports little; a task imports the rest when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import time, timedelta
from typing import Any

from airflow.sdk import (  # type: ignore[attr-defined]  # not all is in its stubs
    DAG,
    Asset,
    AssetAlias,
    CronTriggerTimetable,
    DeadlineAlert,
    task,
    task_group,
)
from airflow.sdk.configuration import conf

from robin_etl.airflow import DEFAULT_CONN_ID, SECRETS, Handed, Shop
from robin_etl.airflow.approval import GuardApproval
from robin_etl.airflow.deadline import ScheduledRunDeadline
from robin_etl.airflow.links import ReportLink
from robin_etl.airflow.notices import Callback, make_degraded_callbacks, make_failure_callbacks
from robin_etl.airflow.params import make_params
from robin_etl.airflow.sensor import ExportSensor

_DOC = """### Tell ROBIN every day which orders of the shop are first, repeat, return and upsell

`wait` for the day's export → `extract` it and let the gate set aside what can't be sent → for each
partition `classify` (compare with what ROBIN has acknowledged) and `validate` → `plan`: add up what is
about to be told → `approve`: where a guard trips, ask somebody → `load`: post the changes inside
ROBIN's limits → `report` → `alert` where the run is degraded.

**A run failed?** Clear it, or trigger it again: it posts what is left, and nothing twice. Only what
may pass is retried by itself; a stop for authentication, validation or configuration fails at once,
and its last log line says what to do.

**`approve` waits?** A guard has tripped: the task says what it saw, and so does the plan in the run's
report. Approve lets it pass in this run alone. Reject, or no answer in time, stops the run, and nothing
is posted: mend the cause and trigger the day again.

**A range** (years of history): trigger it with `from_date` and `to_date`, with `dry_run` first. Days
without an export are passed over. Progress is in the log of `load`.

Needs the connection `{conn_id}` of the type ROBIN. Settings come from the run's parameters, the DAG's
file, the connection, the Variable `{conn_id}` and the environment, in that order.
"""


def robin_orders_dag(
    dag_id: str = "robin_orders",
    conn_id: str = DEFAULT_CONN_ID,
    schedule: Any = "0 6 * * *",
    timezone: str | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    notifiers: Sequence[Callback] = (),
    due: time | None = None,
    on_late: Any = None,
) -> DAG:
    """The DAG that tells ROBIN of one shop's orders; a file with three calls serves three shops.

    `schedule` is a cron expression in `timezone`, which also says when a day begins (by default
    Airflow's own), or anything else that Airflow takes, such as a list of assets. `settings` are the
    shop's, by their names in lower case (`{"exports": …, "profile": …}`); a secret belongs in the
    connection. After each run that was not a dry one, the asset named as the DAG has its outcome and
    counts.

    `notifiers` are Airflow's own, or other callables of one context: they are called for a task that
    has failed for good, and for a degraded run where `ON_DEGRADED` is `notify`; in their templates
    `robin` is a `Notice`. A scheduled run that is not done when it is `due`, in `timezone`, calls
    `on_late`, one of Airflow's callbacks of a deadline. Raises `ValueError` for a secret among the
    settings, and where only one of `due` and `on_late` is given.
    """
    timezone = timezone or conf.get("core", "default_timezone").replace("utc", "UTC")
    if secrets := SECRETS & {name.lower() for name in settings or {}}:
        raise ValueError(f"{', '.join(sorted(secrets))}: a secret belongs in the connection {conn_id}")
    if (due is None) != (on_late is None):
        raise ValueError("due and on_late belong together: by when, and what is called otherwise")
    shop: Shop = {"conn_id": conn_id, "timezone": timezone, "settings": dict(settings or {})}
    if isinstance(schedule, str):
        # Of itself Airflow starts a DAG's first run for up to a tenth of a day after its moment.
        schedule = CronTriggerTimetable(schedule, timezone=timezone, run_immediately=timedelta())
    with DAG(
        dag_id,
        schedule=schedule,
        catchup=False,
        max_active_runs=1,
        default_args={
            "retries": 3,
            "retry_delay": timedelta(minutes=5),
            "retry_exponential_backoff": 2,
            "max_retry_delay": timedelta(hours=1),
            "on_failure_callback": make_failure_callbacks(shop, notifiers),
        },
        deadline=_make_deadline(due, timezone, on_late),
        params=make_params(),
        doc_md=_DOC.format(conn_id=conn_id),
        tags=["robin"],
    ) as dag:
        wait = ExportSensor(
            task_id="wait",
            robin_conn_id=conn_id,
            settings=shop["settings"],
            timezone=timezone,
            poke_interval=60,
        )
        extracted = extract(shop)
        classified = partitions.partial(shop=shop).expand(partition=extracted)
        planned = plan(extracted, shop)
        approve = GuardApproval(task_id="approve", shop=shop)
        loaded = load(extracted, shop)
        wait >> extracted
        classified >> planned >> approve >> loaded
        reported = report.override(outlets=[_alias_of(dag_id)])(loaded, shop, dag_id)
        for told in (planned, loaded, reported):
            told.operator.operator_extra_links = (ReportLink(),)
        alert.override(on_success_callback=make_degraded_callbacks(notifiers))(reported, shop)
    return dag


@task
def extract(shop: Shop) -> list[Handed]:
    """Read the exports, quarantine what can't be sent, split the rest into partitions by customer."""
    from robin_etl.airflow import tasks

    return tasks.extract(shop)


@task(map_index_template="{{ partition }}", multiple_outputs=False)
def classify(partition: Handed, shop: Shop) -> Handed:
    """Compare a partition with what ROBIN has acknowledged."""
    from robin_etl.airflow import tasks

    return tasks.classify(partition, shop)


@task(map_index_template="{{ partition }}", multiple_outputs=False)
def validate(partition: Handed, shop: Shop) -> Handed:
    """Let the gate judge what is about to be sent."""
    from robin_etl.airflow import tasks

    return tasks.validate(partition, shop)


@task_group(tooltip="One for each partition of the run; nothing is posted before all are valid.")
def partitions(partition: Handed, shop: Shop) -> Any:
    """The two stages that take a partition each."""
    return validate(classify(partition, shop), shop)


@task(multiple_outputs=False)
def plan(extracted: list[Handed], shop: Shop) -> Handed:
    """Add up what is about to be told; where a guard trips, somebody is asked, or the run fails."""
    from robin_etl.airflow import tasks

    return tasks.plan(extracted, shop)


# One run posts at a time; ROBIN's limits would have the others wait anyway.
@task(max_active_tis_per_dag=1, multiple_outputs=False)
def load(extracted: list[Handed], shop: Shop) -> Handed:
    """Post the changes of all partitions inside ROBIN's limits; only what ROBIN takes is kept."""
    from robin_etl.airflow import tasks

    return tasks.load(extracted, shop)


@task(multiple_outputs=False)
def report(loaded: Handed, shop: Shop, asset: str, *, outlet_events: Any = None) -> Handed:
    """Put all counts together, and pass them to the DAGs that wait for them."""
    from robin_etl.airflow import tasks

    reported = tasks.report(loaded, shop)
    if not tasks.is_dry_run():
        outlet_events[_alias_of(asset)].add(Asset(asset), extra=reported)
    return reported


@task(retries=0)
def alert(reported: Handed, shop: Shop) -> None:
    """Of a degraded run tell somebody, or fail, as `ON_DEGRADED` says."""
    from robin_etl.airflow import alerting

    alerting.alert(reported, shop)


def _alias_of(asset: str) -> AssetAlias:
    """What stands for the asset as an outlet, since an outlet itself has an event after every run."""
    return AssetAlias(f"{asset}_reported")


def _make_deadline(due: time | None, timezone: str, on_late: Any) -> DeadlineAlert | None:
    if due is None:
        return None
    reference = ScheduledRunDeadline(due.isoformat(), timezone)
    return DeadlineAlert(reference, timedelta(), on_late, name=f"due at {due:%H:%M}")
