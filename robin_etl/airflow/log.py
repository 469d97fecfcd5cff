"""A task's log, as an observer of a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from robin_etl.core.limits import compute_least_duration, parse_limits
from robin_etl.core.words import count
from robin_etl.observer import Event, Planned, Progressed, StageEnded

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 30.0
_NAMED = 20


class TaskLog:
    """Writes what a stage came to into the task's log and, while it posts, how far it is.

    Progress is written twice a minute at most. `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changes = self._done = 0
        self._began = self._wrote = 0.0

    def __call__(self, event: Event) -> None:
        match event:
            case Planned(changes, requests, seconds):
                self._start(changes, requests, seconds)
            case Progressed(changes):
                self._advance(changes)
            case StageEnded(stage, counts):
                if stage == "load" and self._began:
                    log.info("%s of %s are done with.", f"{self._done:,}", self._total)
                _write_counts(stage, counts)
            case _:
                pass

    @property
    def _total(self) -> str:
        return count(self._changes, "change")

    def _start(self, changes: int, requests: int, seconds: float) -> None:
        self._changes = changes
        self._began = self._wrote = self._clock()
        least = timedelta(seconds=seconds)
        log.info(
            "%s to post in %s: at least %s under ROBIN's limits.",
            self._total,
            count(requests, "request"),
            least,
        )

    def _advance(self, changes: int) -> None:
        self._done += changes
        now = self._clock()
        if now - self._wrote < _SECONDS_BETWEEN_LINES or not self._done:
            return
        self._wrote = now
        left = round((now - self._began) / self._done * (self._changes - self._done))
        log.info(
            "%s of %s (%.0f%%), about %s left.",
            f"{self._done:,}",
            self._total,
            100 * self._done / self._changes,
            timedelta(seconds=left),
        )


def _write_counts(stage: str, counts: Mapping[str, Any]) -> None:
    """The numbers in one line, and each list of names in one of its own."""
    numbers = [f"{name} {value:,}" for name, value in counts.items() if isinstance(value, int) and value]
    log.info("%s: %s.", stage, ", ".join(numbers) or "nothing to do")
    for name, names in counts.items():
        if isinstance(names, Sequence) and not isinstance(names, str) and names:
            more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
            log.warning("%s: %s%s.", name.replace("_", " "), ", ".join(names[:_NAMED]), more)


def watch_load(observe: TaskLog, settings: Any) -> Any:
    """Until the stages take an observer: what they take instead."""

    @contextmanager
    def watched(plan: Any) -> Iterator[Callable[[int], Any]]:
        least = compute_least_duration(parse_limits(settings.rate_limits), plan.requests)
        observe(Planned(plan.changes, plan.requests, least))
        yield lambda done: observe(Progressed(done))

    return watched
