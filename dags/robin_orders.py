"""Tell ROBIN every day which orders of the shop are first, repeat, return and upsell.

Wiring only: each task runs one stage of `robin_etl.pipeline`, as the command line does. Tasks pass the
run's folder and counts. Everything heavy is imported inside the tasks, so that this file parses fast.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task
from airflow.sdk.configuration import conf

TIMEZONE = conf.get("core", "default_timezone").replace("utc", "UTC")
DAY = {"type": ["null", "string"], "format": "date"}


@dag(
    schedule=CronTriggerTimetable("0 6 * * *", timezone=TIMEZONE),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    params={
        "from_date": Param(None, **DAY, description="First day of a manual run."),
        "to_date": Param(None, **DAY, description="Last day of a range, included."),
        "final": Param(default=False, type="boolean", description="Only each order's last version."),
        "dry_run": Param(default=False, type="boolean", description="Everything but posts and ledger."),
    },
    doc_md=__doc__,
    tags=["robin"],
)
def robin_orders() -> None:
    @task
    def extract() -> dict[str, Any]:
        from robin_etl import hooks, pipeline
        from robin_etl.runs import Run

        context = get_current_context()
        params = context["params"]
        with hooks.as_task_failures():
            settings = hooks.settings_of()
            first, last = hooks.days_of(
                params,
                context["dag_run"].logical_date,
                timezone=TIMEZONE,
                lag_days=settings.export_lag_days,
            )
            run = Run.start(
                settings.runs,
                command="airflow",
                first=first,
                last=last,
                final=params["final"],
                dry_run=params["dry_run"],
            )
            return hooks.passed_on(run, pipeline.extract(settings, run))

    def stage(name: str, folder: str) -> dict[str, Any]:
        from robin_etl import hooks, pipeline
        from robin_etl.runs import Run

        with hooks.as_task_failures():
            run = Run.open(folder)
            return hooks.passed_on(run, getattr(pipeline, name)(hooks.settings_of(), run))

    @task
    def classify(extracted: dict[str, Any]) -> dict[str, Any]:
        return stage("classify", extracted["folder"])

    @task
    def validate(classified: dict[str, Any]) -> dict[str, Any]:
        return stage("validate", classified["folder"])

    @task
    def load(validated: dict[str, Any]) -> dict[str, Any]:
        return stage("load", validated["folder"])

    @task
    def report(loaded: dict[str, Any]) -> dict[str, Any]:
        summary = stage("report", loaded["folder"])
        for name, value in summary.items():
            print(f"{name:>17}  {value}")
        return summary

    report(load(validate(classify(extract()))))


robin_orders()
