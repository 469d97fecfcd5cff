"""Whether an export is still being written, as far as looking at it from outside can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from robin_etl.exports.locations import ExportFile


def _now() -> datetime:
    return datetime.now(UTC)


class Settling:
    """Watches files until each has not changed for so many seconds: by the time that its storage says,
    or as seen by looking again, where the storage says none or has another clock. Whoever can't look
    again takes what has no time as it is: `looks_again` is false then.
    """

    def __init__(
        self, seconds: float, clock: Callable[[], datetime] = _now, *, looks_again: bool = True
    ) -> None:
        self._seconds = seconds
        self._looks_again = looks_again
        self._clock = clock
        self._seen: dict[ExportFile, datetime] = {}

    def find_unsettled(self, files: Iterable[ExportFile]) -> list[ExportFile]:
        """Those that may still be written."""
        now = self._clock()
        watched = (one for one in files if self._looks_again or one.changed_at)
        return [one for one in watched if self._compute_age(one, now) < self._seconds]

    def _compute_age(self, file: ExportFile, now: datetime) -> float:
        since = self._seen.setdefault(file, now)
        return (now - min(since, file.changed_at or since)).total_seconds()
