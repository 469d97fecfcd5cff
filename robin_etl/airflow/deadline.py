"""By when a scheduled run has to be done, as a reference of Airflow's deadlines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from airflow.sdk import BaseDeadlineReference  # type: ignore[attr-defined]  # not in its stubs


@dataclass(eq=False)
class ScheduledRunDeadline(BaseDeadlineReference):  # type: ignore[misc]  # Airflow's classes are not followed
    """The next time that it is `due` (as `09:00`) in `timezone` after a scheduled run's logical date.

    None for a run that was backfilled, triggered by hand or started by an asset: nobody waits for it by
    the clock. Airflow evaluates it in its own services, as a run is made.
    """

    due: str = "09:00"
    timezone: str = "UTC"

    required_kwargs: ClassVar[set[str]] = {"dag_id", "run_id"}

    def serialize_reference(self) -> dict[str, Any]:
        """What Airflow keeps of it."""
        return {"reference_type": self.reference_name, "due": self.due, "timezone": self.timezone}

    @classmethod
    def deserialize_reference(cls, reference_data: dict[str, Any]) -> ScheduledRunDeadline:
        """The reference that Airflow kept."""
        return cls(due=reference_data["due"], timezone=reference_data["timezone"])

    def _evaluate_with(self, *, session: Any, dag_id: str, run_id: str) -> datetime | None:
        # The models are of Airflow's services, and a DAG file is parsed without them.
        import sqlalchemy as sa  # noqa: PLC0415
        from airflow.models import DagRun  # noqa: PLC0415

        query = sa.select(DagRun.run_type, DagRun.logical_date)
        found = session.execute(query.where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).one()
        if found.run_type != "scheduled" or found.logical_date is None:
            return None
        return find_due(found.logical_date, time.fromisoformat(self.due), self.timezone)


def find_due(moment: datetime, due: time, timezone: str) -> datetime:
    """The next time after a moment at which it is `due` there."""
    zone = ZoneInfo(timezone)
    local = moment.astimezone(zone)
    day = local.date() + timedelta(days=int(local.time() >= due))
    return datetime.combine(day, due, tzinfo=zone)
