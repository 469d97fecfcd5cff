"""A task's log, as an observer of a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from math import ceil
from typing import Any

from robin_etl.core.words import count
from robin_etl.observer import Event, Planned, Progressed, StageEnded, Waiting
from robin_etl.redaction import make_printable

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 30.0
_NAMED = 20
_LABELS = {
    "remarks": "ROBIN took the orders and spoke of errors",
    "to_look_at": "The run is degraded",
}


class TaskLog:
    """Writes what a stage came to into the task's log and, while it posts, how far it is.

    Progress is written twice a minute at most, and a wait that is shorter than that only counted, since
    it is how ROBIN's limits are kept. `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._plan: Planned | None = None
        self._done = self._waits = 0
        self._began = self._wrote = 0.0

    def __call__(self, event: Event) -> None:
        match event:
            case Planned():
                self._start(event)
            case Progressed(changes) if self._plan:
                self._advance(changes, self._plan.changes)
            case Waiting(seconds, reason):
                self._waits += 1
                if seconds >= _SECONDS_BETWEEN_LINES:
                    log.info("%s: %s.", reason, timedelta(seconds=ceil(seconds)))
            case StageEnded(stage, result):
                self._end()
                _write_counts(stage, result.counts())
            case _:
                pass

    def _start(self, plan: Planned) -> None:
        if not plan.changes:
            return
        self._plan = plan
        self._began = self._wrote = self._clock()
        log.info(
            "%s to post in %s: at least %s under ROBIN's limits.",
            count(plan.changes, "change"),
            count(plan.requests, "request"),
            timedelta(seconds=plan.seconds),
        )

    def _end(self) -> None:
        if self._waits:
            asked = count(self._waits, "time")
            log.info("ROBIN asked to wait %s; that took time and lost nothing.", asked)
        if self._plan:
            total = count(self._plan.changes, "change")
            log.info("%s of %s are done with.", f"{self._done:,}", total)

    def _advance(self, changes: int, total: int) -> None:
        self._done += changes
        now = self._clock()
        if now - self._wrote < _SECONDS_BETWEEN_LINES or not self._done:
            return
        self._wrote = now
        left = round((now - self._began) / self._done * (total - self._done))
        log.info(
            "%s of %s (%.0f%%), about %s left.",
            f"{self._done:,}",
            count(total, "change"),
            100 * self._done / total,
            timedelta(seconds=left),
        )


def _write_counts(stage: str, counts: Mapping[str, Any]) -> None:
    """The numbers in one line, and each list of names in one of its own."""
    numbers = [f"{name} {value:,}" for name, value in counts.items() if isinstance(value, int) and value]
    log.info("%s: %s.", stage, ", ".join(numbers) or "nothing to do")
    for name, names in counts.items():
        if isinstance(names, tuple | list) and names:
            more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
            log.warning(
                "%s: %s%s.",
                _LABELS.get(name, name.replace("_", " ")),
                make_printable(", ".join(names[:_NAMED])),
                more,
            )
