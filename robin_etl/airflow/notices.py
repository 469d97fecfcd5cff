"""Who is told of a run that failed, is degraded or late, and in which words.

Imported when a DAG file is parsed, so it imports little. `SUBJECT` and `TEXT` are Jinja, for Airflow's
notifiers of failed and degraded runs; `LATE_SUBJECT` and `LATE_TEXT` for the callback of a deadline,
which Airflow gives less to go by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk.exceptions import AirflowException

from robin_etl.airflow import Shop
from robin_etl.airflow.links import make_run_url

SUBJECT = "{{ robin.dag }}: the run is {{ robin.outcome }}"
TEXT = "{{ robin.sentence }} {{ robin.report or robin.log }}"
LATE_SUBJECT = "{{ dag_run.dag_id }}: the run is late"
LATE_TEXT = (
    "The run {{ dag_run.dag_run_id }} was not done by {{ deadline.deadline_time }}, so that ROBIN may "
    "not know today's orders yet. It is {{ dag_run.state }}: look at its tasks."
)

# Under these names a task leaves to its callbacks, in its context, where the report is, and of what a
# degraded run consists.
REPORT, DEGRADED = "robin_report", "robin_degraded"

Callback = Callable[[Any], object]


@dataclass(frozen=True)
class Notice:
    """What there is to say of a run: its `outcome` is failed or degraded; `report` is the address of its
    page, or empty where it has none; `log` that of the task's log.
    """

    dag: str
    run: str
    task: str
    outcome: str
    sentence: str
    report: str
    log: str


def make_failure_callbacks(shop: Shop, notifiers: Iterable[Callback]) -> list[Callback]:
    """What Airflow calls when a task has failed for good: `ON_FAILURE`, then the notifiers."""

    def call_on_failure(context: Any) -> None:
        from robin_etl.airflow import failures  # noqa: PLC0415 (see above)

        failures.notify(add_notice(context), shop)

    return [call_on_failure, *(_hand_notice(notifier) for notifier in notifiers)]


def make_degraded_callbacks(notifiers: Iterable[Callback]) -> list[Callback]:
    """What Airflow calls when `alert` is through: the notifiers, where a run is degraded and that is to
    be told.
    """

    def hand_degraded(notifier: Callback) -> Callback:
        def call(context: Any) -> None:
            if words := context.get(DEGRADED):
                notifier(add_notice({**context, "exception": words}))

        return call

    return [hand_degraded(notifier) for notifier in notifiers]


def add_notice(context: Mapping[str, Any]) -> dict[str, Any]:
    """A callback's context with its `Notice` as `robin`."""
    return {**context, "robin": make_notice(context)}


def note_report(context: Any) -> str:
    """Leave the address of the run's report to the task's callbacks."""
    url = make_run_url(context["dag_run"].dag_id, context["dag_run"].run_id)
    context[REPORT] = url
    return url


def make_notice(context: Mapping[str, Any]) -> Notice:
    """The notice of a task's context. The sentence is one that Airflow or robin-etl has written; what
    any other library says may quote a file, and is left to the log.
    """
    task, error = context["ti"], context.get("exception")
    if isinstance(error, str | AirflowException):
        sentence = f"{error}"
    else:
        sentence = f"The task {task.task_id} failed ({type(error).__name__}); its log says why."
    return Notice(
        dag=task.dag_id,
        run=task.run_id,
        task=task.task_id,
        outcome="degraded" if isinstance(error, str) else "failed",
        sentence=sentence,
        report=context.get(REPORT) or "",
        log=getattr(task, "log_url", None) or "",
    )


def _hand_notice(notifier: Callback) -> Callback:
    def call(context: Any) -> None:
        notifier(add_notice(context))

    return call
