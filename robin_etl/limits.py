"""ROBIN's rate limits, all windows at once."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pyrate_limiter import InMemoryBucket, Rate, RateItem

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_LIMIT = re.compile(r"\s*(\d+)\s*/\s*(s|min|h|d)\s*\Z")

# Requests that left one window apart can arrive a little closer together than that.
JITTER = 0.02


@dataclass(frozen=True)
class RateLimit:
    """At most `requests` within any `seconds`."""

    requests: int
    seconds: int


def parse(text: str) -> tuple[RateLimit, ...]:
    """Limits from text such as `3/s,180/min`; raises `ValueError` with a sentence."""
    limits = []
    for part in text.split(","):
        found = _LIMIT.match(part)
        if found is None or int(found[1]) < 1:
            raise ValueError(
                f"{part.strip()!r} is no rate limit; write numbers by s, min, h or d, such as "
                "3/s,180/min,10000/h,100000/d"
            )
        limits.append(RateLimit(int(found[1]), _SECONDS[found[2]]))
    return tuple(sorted(limits, key=lambda limit: limit.seconds))


def duration(limits: Iterable[RateLimit], requests: int) -> float:
    """The seconds that so many requests take at least."""
    return max(
        (max(0, requests - 1) // limit.requests * float(limit.seconds) for limit in limits),
        default=0.0,
    )


class Pace:
    """Holds a sender back so that every limit is kept. `clock` and `sleep` are in seconds."""

    def __init__(
        self,
        limits: Iterable[RateLimit],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        rates = [Rate(limit.requests, round(limit.seconds * 1000)) for limit in limits]
        self._bucket = InMemoryBucket(rates)
        self._clock = clock
        self._sleep = sleep

    def wait(self) -> None:
        """Return when one more request may leave."""
        while True:
            item = RateItem("request", round(self._clock() * 1000))
            self._bucket.leak(item.timestamp)
            if self._bucket.put(item):
                return
            milliseconds = self._bucket.waiting(item)
            assert isinstance(milliseconds, int)  # awaitable only for a bucket elsewhere
            self._sleep(max(0, milliseconds) / 1000 + JITTER)
