"""The pace of delivery: all of ROBIN's rate limits at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from robin_etl.core.limits import RateLimit

# Requests that left one window apart can arrive a little closer together than that.
JITTER = 0.03


class Pace:
    """Holds all senders of a run back so that every limit is kept. Safe to share between threads.

    `clock` and `sleep` are in seconds; `sleep` may return early, and a true value then means that
    there is nothing more to wait for. `ages` are the seconds since each request that earlier runs sent.
    """

    def __init__(
        self,
        limits: Iterable[RateLimit],
        *,
        ages: Iterable[float] = (),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        rates = [Rate(limit.requests, round(limit.seconds * 1000)) for limit in limits]
        self._bucket = InMemoryBucket(rates)
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._not_before = 0.0
        now = clock()
        for age in sorted(ages, reverse=True):
            self._bucket.put(RateItem("request", round((now - age) * 1000)))

    def pause(self, seconds: float) -> None:
        """Let nothing leave for so long, whoever asks."""
        self._not_before = max(self._not_before, self._clock() + seconds)

    def wait(self) -> None:
        """Return when one more request may leave, or when the sleep was cut short."""
        with self._lock:
            while (left := self._left()) > 0:
                if self._sleep(left):
                    return

    def _left(self) -> float:
        """Seconds until the next try; 0 where a request may leave, which then counts."""
        now = self._clock()
        if self._not_before > now:
            return self._not_before - now
        item = RateItem("request", round(now * 1000))
        self._bucket.leak(item.timestamp)
        if self._bucket.put(item):
            return 0.0
        milliseconds = self._bucket.waiting(item)
        assert isinstance(milliseconds, int)  # awaitable only for a bucket elsewhere
        return max(0, milliseconds) / 1000 + JITTER
