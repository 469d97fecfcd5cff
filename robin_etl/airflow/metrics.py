"""Airflow's metrics of a run, as an observer of it: StatsD or OpenTelemetry, whichever Airflow has.

Each name begins with `robin.` and the DAG's id, since plain StatsD has no tags; the id is a tag as well.
docs/deployment.md lists them with their units.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from airflow.sdk.observability import stats

from robin_etl.core.columns import KINDS
from robin_etl.observer import Answered, Event, StageEnded, StageStarted, Waiting

COUNTED = (
    *("exported", "quarantined", *KINDS, "unchanged", "posted", "rejected"),
    *("in_doubt", "undecided", "held_back"),
)


class Stats(Protocol):
    """What is used of Airflow's `stats`."""

    def incr(self, stat: str, count: int = ..., *, tags: dict[str, str]) -> None: ...
    def timing(self, stat: str, dt: float, *, tags: dict[str, str]) -> None: ...
    def gauge(self, stat: str, value: float, *, tags: dict[str, str]) -> None: ...


class Metrics:
    """Sends what a stage takes, how ROBIN answers, what waits it asks for, and what a run came to.

    `clock` gives seconds.
    """

    def __init__(
        self, dag_id: str, to: Stats = stats, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._prefix = f"robin.{dag_id}"
        self._tags = {"dag_id": dag_id}
        self._to = to
        self._clock = clock
        self._began = clock()

    def __call__(self, event: Event) -> None:
        match event:
            case StageStarted():
                self._began = self._clock()
            case Answered(meaning):
                self._count(f"requests.{meaning.replace(' ', '_')}", 1)
            case Waiting(seconds):
                self._time("waited", seconds)
            case StageEnded(stage, result):
                self._time(f"{stage}.duration", self._clock() - self._began)
                if stage == "report":
                    self._send_outcome(result.counts())
            case _:
                pass

    def _send_outcome(self, counts: Mapping[str, Any]) -> None:
        self._count(f"outcome.{counts['outcome']}", 1)
        for name in COUNTED:
            self._count(name, counts.get(name) or 0)
        outstanding = len(counts.get("outstanding", ()))
        self._to.gauge(f"{self._prefix}.outstanding", outstanding, tags=self._tags)

    def _count(self, name: str, count: int) -> None:
        if count:
            self._to.incr(f"{self._prefix}.{name}", count, tags=self._tags)

    def _time(self, name: str, seconds: float) -> None:
        self._to.timing(f"{self._prefix}.{name}", 1000 * seconds, tags=self._tags)
