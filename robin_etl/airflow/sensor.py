"""Waiting for the export of a DAG run's day.

Imported when a DAG file is parsed, so it imports little; the rest comes when a task runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from robin_etl.airflow import DEFAULT_CONN_ID

# An export that is there is given so many times EXPORT_SETTLE to settle, however late it is.
_PATIENCE = 10

if TYPE_CHECKING:
    from datetime import date

    from robin_etl.exports.settling import Settling
    from robin_etl.settings import Settings


class ExportSensor(BaseSensorOperator):  # type: ignore[misc]  # Airflow's classes are not followed
    """Waits until the export of the run's day is there, and has not changed for `EXPORT_SETTLE` seconds,
    without taking a worker's slot.

    It waits until `EXPORT_WAIT` seconds after the logical date or, where a run was asked for today's
    export, after that. What is longer ago is looked for once, and waited for only while it still
    changes. Without an export it then fails or skips, as `EXPORT_ABSENT` says. With `deferrable=False`
    it keeps to Airflow's usual `mode` and `poke_interval`.
    """

    def __init__(
        self,
        *,
        timezone: str = "UTC",
        robin_conn_id: str = DEFAULT_CONN_ID,
        settings: Mapping[str, Any] | None = None,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.timezone = timezone
        self.robin_conn_id = robin_conn_id
        self.settings = dict(settings or {})
        self.deferrable = deferrable
        self._settling: Settling | None = None

    def execute(self, context: Any) -> None:
        """Look for the export, and wait for it if there is time."""
        if not self.deferrable:
            super().execute(context)
        elif not self.poke(context):
            self._defer(context)

    def poke(self, context: Any) -> bool:
        """Whether the export is there and settled; fails or skips the task once it is too late."""
        from robin_etl.airflow.failures import stop_retries
        from robin_etl.exports.settling import Settling

        with stop_retries():
            settings, first, last = self._read(context)
            if self._settling is None:  # kept while the task pokes in one process
                is_kept = self.deferrable or self.mode == "poke"
                self._settling = Settling(settings.settle_seconds, looks_again=is_kept)
            return self._look(context, settings, first, last, self._settling)

    def resume(self, context: Any, event: Any) -> None:
        """Go on: the export has come and settled, or its time is over."""
        from robin_etl.airflow.failures import stop_retries
        from robin_etl.core.words import name_days
        from robin_etl.exports.settling import Settling

        with stop_retries():
            settings, first, last = self._read(context)
            settling = Settling(0 if event["found"] else settings.settle_seconds)
            if self._look(context, settings, first, last, settling):
                return
            if not event["found"] and datetime.now(UTC) >= self._deadline(context, settings, last):
                raise AirflowFailException(
                    f"The export of {name_days(first, last)} at {settings.exports} still changes. "
                    "Nothing was read; clear this task once it is uploaded whole."
                )
        self._defer(context)

    def _read(self, context: Any) -> tuple[Settings, date, date]:
        from robin_etl.airflow.days import find_days
        from robin_etl.airflow.hook import RobinHook

        hook = RobinHook(self.robin_conn_id, settings=self.settings)
        settings = hook.get_settings(context["params"])
        return settings, *find_days(context, settings, timezone=self.timezone)

    def _look(
        self, context: Any, settings: Settings, first: date, last: date, settling: Settling
    ) -> bool:
        from robin_etl.core.words import count, name_days, name_some
        from robin_etl.exports import locations

        if settings.query:
            self.log.info("Nothing to wait for: extract asks %s.", settings.query)
            return True
        found = locations.find_exports(
            settings.exports,
            locations.list_days(first, last),
            settings.path,
            done_marker=settings.done_marker,
        )
        days = name_days(first, last)
        files = [one for those in found.values() for one in those]
        if unsettled := settling.find_unsettled(files):
            names = name_some([one.name for one in unsettled])
            self.log.info("%s may still be written: it has only just changed.", names)
            return False
        if files:
            self.log.info("Found %s of %s.", count(len(files), "export"), days)
            return True
        if datetime.now(UTC) >= self._deadline(context, settings, last):
            absent = str(locations.make_missing_error(settings.exports, first, last))
            if settings.export_absent == "skip":
                raise AirflowSkipException(absent)
            raise AirflowFailException(absent)
        self.log.info("There is no export of %s at %s yet.", days, settings.exports)
        return False

    def _defer(self, context: Any) -> None:
        from robin_etl.airflow.trigger import ExportTrigger

        settings, first, last = self._read(context)
        soonest = datetime.now(UTC) + timedelta(seconds=_PATIENCE * settings.settle_seconds)
        self.defer(
            trigger=ExportTrigger(
                location=settings.exports,
                first=first.isoformat(),
                last=last.isoformat(),
                deadline=max(self._deadline(context, settings, last), soonest).isoformat(),
                seconds=min(self.poke_interval, settings.settle_seconds or self.poke_interval),
                settle=settings.settle_seconds,
                done_marker=settings.done_marker,
            ),
            method_name="resume",
        )

    def _deadline(self, context: Any, settings: Settings, last: date) -> datetime:
        """Until when an export is waited for: from the logical date on, or where a run was asked for
        today's, from then on; not at all for days that are past.
        """
        from robin_etl.airflow.days import is_for_today

        params, dag_run = context["params"], context["dag_run"]
        begins = dag_run.logical_date
        if begins is None or params.get("from_date") or params.get("to_date"):
            if not is_for_today(last, settings, timezone=self.timezone):
                return datetime.min.replace(tzinfo=UTC)
            begins = dag_run.run_after
        deadline: datetime = begins + timedelta(seconds=settings.export_wait)
        return deadline
