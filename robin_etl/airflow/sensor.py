"""Waiting for the export of a DAG run's day.

Imported when a DAG file is parsed, so it imports little; the rest comes when a task runs.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from robin_etl.airflow import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from datetime import date

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
        robin_conn_id: str = DEFAULT_CONN_ID,
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
        from robin_etl.airflow.failures import stop_retries

        with stop_retries():
            settings, first, last = self._read(context)
            return self._look(context, settings, first, last)

    def resume(self, context: Any, event: Any) -> None:  # noqa: ARG002 (Airflow hands it over)
        """Look again: the export has come, or its time is over."""
        self._look_or_defer(context)

    def _read(self, context: Any) -> tuple[Settings, date, date]:
        from robin_etl.airflow.days import find_days
        from robin_etl.airflow.hook import RobinHook

        settings = RobinHook(self.robin_conn_id).get_settings(context["params"])
        return settings, *find_days(context, settings, timezone=self.timezone)

    def _look(self, context: Any, settings: Settings, first: date, last: date) -> bool:
        from robin_etl.core.words import count
        from robin_etl.exports import locations

        found = locations.find_exports(
            settings.exports,
            locations.list_days(first, last),
            settings.path,
            done_marker=settings.done_marker,
        )
        days = f"{first}" if first == last else f"{first} to {last}"
        if found:
            self.log.info("Found %s of %s.", count(len(found), "export"), days)
            return True
        if datetime.now(UTC) >= self._deadline(context, settings):
            absent = str(locations.make_missing_error(settings.exports, first, last))
            if settings.export_absent == "skip":
                raise AirflowSkipException(absent)
            raise AirflowFailException(absent)
        self.log.info("There is no export of %s at %s yet.", days, settings.exports)
        return False

    def _look_or_defer(self, context: Any) -> None:
        if self.poke(context):
            return
        from robin_etl.airflow.trigger import ExportTrigger

        settings, first, _ = self._read(context)
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
