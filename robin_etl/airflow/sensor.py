"""Waiting for the export of a DAG run's day.

Imported when a DAG file is parsed, so it imports little; the rest comes when a task runs.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

if TYPE_CHECKING:
    from robin_etl.settings import Settings


class ExportSensor(BaseSensorOperator):  # type: ignore[misc]  # Airflow's classes are not followed
    """Waits until the export of the run's day is there, without taking a worker's slot.

    It waits until `EXPORT_WAIT` seconds after the logical date; a range, or a day that is longer ago,
    is looked for once. Without an export it then fails or skips, as `EXPORT_ABSENT` says. With
    `deferrable=False` it keeps to Airflow's usual `mode` and `poke_interval`.
    """

    def __init__(
        self,
        *,
        timezone: str = "UTC",
        robin_conn_id: str = "robin_default",
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.timezone = timezone
        self.robin_conn_id = robin_conn_id
        self.deferrable = deferrable

    def execute(self, context: Any) -> None:
        """Look for the export, and wait for it if there is time."""
        if self.deferrable:
            self._look_or_defer(context)
        else:
            super().execute(context)

    def poke(self, context: Any) -> bool:
        """Whether the export is there; fails or skips the task once it is too late for it."""
        from robin_etl.airflow import hook
        from robin_etl.exports import locations

        with hook.as_task_failures():
            settings = hook.RobinHook(self.robin_conn_id).settings(context["params"])
            first, last = hook.days_of(context, settings, timezone=self.timezone)
            days = locations.list_days(first, last)
            found = locations.find_exports(
                settings.exports, days, settings.path, done_marker=settings.done_marker
            )
        if found:
            self.log.info("Of %s to %s there are %s exports.", first, last, len(found))
            return True
        if datetime.now(UTC) >= self._deadline(context, settings):
            absent = str(locations.make_missing_error(settings.exports, first, last))
            if settings.export_absent == "skip":
                raise AirflowSkipException(absent)
            raise AirflowFailException(absent)
        self.log.info("There is no export for %s at %s yet.", first, settings.exports)
        return False

    def resume(self, context: Any, event: Any) -> None:  # noqa: ARG002 (Airflow hands it over)
        """Look again: the export has come, or its time is over."""
        self._look_or_defer(context)

    def _look_or_defer(self, context: Any) -> None:
        if self.poke(context):
            return
        from robin_etl.airflow import hook
        from robin_etl.airflow.trigger import ExportTrigger

        settings = hook.RobinHook(self.robin_conn_id).settings(context["params"])
        first, _ = hook.days_of(context, settings, timezone=self.timezone)
        self.defer(
            trigger=ExportTrigger(
                location=settings.exports,
                day=first.isoformat(),
                deadline=self._deadline(context, settings).isoformat(),
                seconds=self.poke_interval,
                done_marker=settings.done_marker,
            ),
            method_name="resume",
        )

    def _deadline(self, context: Any, settings: Settings) -> datetime:
        params, logical_date = context["params"], context["dag_run"].logical_date
        if logical_date is None or params.get("from_date") or params.get("to_date"):
            return datetime.min.replace(tzinfo=UTC)
        deadline: datetime = logical_date + timedelta(seconds=settings.export_wait)
        return deadline
