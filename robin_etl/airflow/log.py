"""A run in the log of an Airflow task: an observer of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from robin_etl.core.words import count
from robin_etl.observer import Event, Planned, Progressed, StageEnded

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 30.0


class TaskLog:
    """Logs the plan, and how far the posting is: twice a minute at most. `clock` is in seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._planned = 0
        self._done = 0
        self._began = self._logged_at = 0.0

    def __call__(self, event: Event) -> None:
        """Log what an event changes."""
        match event:
            case Planned(changes, requests, seconds):
                self._planned, self._done = changes, 0
                self._began = self._logged_at = self._clock()
                log.info(
                    "%s to post in %s: at least %s under ROBIN's limits.",
                    count(changes, "change"),
                    count(requests, "request"),
                    timedelta(seconds=seconds),
                )
            case Progressed(changes):
                self._advance(changes)
            case StageEnded("load"):
                log.info("%s of %s changes are done.", f"{self._done:,}", f"{self._planned:,}")

    def _advance(self, changes: int) -> None:
        self._done += changes
        now = self._clock()
        if now - self._logged_at >= _SECONDS_BETWEEN_LINES and self._done:
            self._logged_at = now
            seconds = (now - self._began) / self._done * (self._planned - self._done)
            left = timedelta(seconds=round(seconds))
            share = 100 * self._done / self._planned
            log.info("%s of %s changes (%.0f%%), about %s left.", self._done, self._planned, share, left)
