"""What looks for an export while its task is deferred, in Airflow's triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from robin_etl.exports.settling import Settling


class ExportTrigger(BaseTrigger):  # type: ignore[misc]  # Airflow's classes are not followed
    """Fires when an export of the days `first` to `last` is at `location`, and none of them has changed
    for `settle` seconds; or at the `deadline`. Looks every `seconds`.

    Credentials of the storage are not among its arguments, which Airflow keeps in its database: it
    gets them from the connection that the location names.
    """

    def __init__(
        self,
        location: str,
        first: str,
        last: str,
        deadline: str,
        seconds: float,
        settle: float = 0,
        done_marker: str = "",
    ) -> None:
        super().__init__()
        self.location = location
        self.first = first
        self.last = last
        self.deadline = deadline
        self.seconds = seconds
        self.settle = settle
        self.done_marker = done_marker

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Where the class is, and its arguments, as Airflow keeps them."""
        arguments = ("location", "first", "last", "deadline", "seconds", "settle", "done_marker")
        return (
            "robin_etl.airflow.trigger.ExportTrigger",
            {name: getattr(self, name) for name in arguments},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until it is there, or its time is over."""
        from robin_etl.exports.settling import Settling  # noqa: PLC0415 (Airflow must not wait for it)

        deadline = datetime.fromisoformat(self.deadline)
        settling = Settling(self.settle)
        while not (found := await asyncio.to_thread(self._is_there, settling)):
            left = (deadline - datetime.now(UTC)).total_seconds()
            if left <= 0:
                break
            await asyncio.sleep(min(self.seconds, left))
        yield TriggerEvent({"found": found})

    def _is_there(self, settling: Settling) -> bool:
        from robin_etl.airflow.connections import open_storage  # noqa: PLC0415 (likewise)
        from robin_etl.exports import locations  # noqa: PLC0415 (likewise)
        from robin_etl.settings import Settings  # noqa: PLC0415 (likewise)

        settings = open_storage(Settings.of_places(exports=self.location), ("exports",))
        days = locations.list_days(date.fromisoformat(self.first), date.fromisoformat(self.last))
        found = locations.find_exports(self.location, days, settings.path, done_marker=self.done_marker)
        files = [one for those in found.values() for one in those]
        return bool(files) and not settling.find_unsettled(files)
