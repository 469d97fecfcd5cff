"""What looks for an export while its task is deferred, in Airflow's triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class ExportTrigger(BaseTrigger):  # type: ignore[misc]  # Airflow's classes are not followed
    """Fires when the export of `day` is at `location`, or at the `deadline`; looks every `seconds`.

    Credentials of the storage are not among its arguments, which Airflow keeps in its database: it
    gets them from the connection that the location names.
    """

    def __init__(
        self, location: str, day: str, deadline: str, seconds: float, done_marker: str = ""
    ) -> None:
        super().__init__()
        self.location = location
        self.day = day
        self.deadline = deadline
        self.seconds = seconds
        self.done_marker = done_marker

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Where the class is, and its arguments, as Airflow keeps them."""
        arguments = ("location", "day", "deadline", "seconds", "done_marker")
        return (
            "robin_etl.airflow.trigger.ExportTrigger",
            {name: getattr(self, name) for name in arguments},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until it is there, or its time is over."""
        deadline = datetime.fromisoformat(self.deadline)
        while not (found := await asyncio.to_thread(self._is_there)):
            left = (deadline - datetime.now(UTC)).total_seconds()
            if left <= 0:
                break
            await asyncio.sleep(min(self.seconds, left))
        yield TriggerEvent({"found": found})

    def _is_there(self) -> bool:
        from upath import UPath  # noqa: PLC0415 (the triggerer's loop must not wait for imports)

        from robin_etl.airflow.connections import open_storage  # noqa: PLC0415 (likewise)
        from robin_etl.exports import locations  # noqa: PLC0415 (likewise)
        from robin_etl.settings import Settings  # noqa: PLC0415 (likewise)

        settings = open_storage(Settings.read(exports=self.location), ("exports",))

        def fresh(location: str) -> UPath:
            path = settings.path(location)
            path.fs.invalidate_cache()  # a listing of a minute ago knows no new file
            return path

        days = [date.fromisoformat(self.day)]
        return bool(locations.find_exports(self.location, days, fresh, done_marker=self.done_marker))
