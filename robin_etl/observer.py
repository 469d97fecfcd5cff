"""What a run says while it goes: events, and whoever watches is called with each of them.

The stages do not know who watches. An observer is any callable that takes one event; a progress bar, the
lines of a log and a test are such.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Result(Protocol):
    """What came of a stage."""

    def counts(self) -> dict[str, Any]:
        """Numbers, or names of orders or rules, by name."""
        ...


@dataclass(frozen=True)
class StageStarted:
    """A stage begins; `partition` counts from 1 where it takes one of several."""

    stage: str
    partition: int | None = None


@dataclass(frozen=True)
class StageEnded:
    """A stage is through; `result` is what came of it."""

    stage: str
    result: Result
    partition: int | None = None


@dataclass(frozen=True)
class Planned:
    """So many changes are about to be posted, in so many requests; `seconds` is the least it takes."""

    changes: int
    requests: int
    seconds: float


@dataclass(frozen=True)
class Progressed:
    """So many more changes are done with: acknowledged, rejected or held back."""

    changes: int


@dataclass(frozen=True)
class Answered:
    """ROBIN has answered a request, or has not: what that means, and the HTTP status, if there was any.

    `meaning` is accepted, refused, busy, not sent, lost, or stop, where nothing more is sent.
    """

    meaning: str
    status: int | None


@dataclass(frozen=True)
class Waiting:
    """Nothing is sent for so many seconds, and why."""

    seconds: float
    reason: str


Event = StageStarted | StageEnded | Planned | Progressed | Answered | Waiting
Observer = Callable[[Event], None]


def ignore(_: Event) -> None:
    """The observer that nobody watches through."""
