"""The pace of delivery: all of ROBIN's rate limits at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from robin_etl.core.limits import RateLimit
from robin_etl.delivery.once import Once
from robin_etl.delivery.windows import Windows


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
        self._windows = Windows(limits, ages=ages, now=clock())
        self._clock = clock
        self._sleep = sleep
        self._queue = threading.Lock()  # one waits for the next slot, the others for that one
        self._counting = threading.Lock()
        self._not_before = 0.0

    def expect(self, requests: int) -> None:
        """So many requests are to come: keep them at an even distance where that costs nothing much."""
        with self._counting:
            self._windows.spread(requests)

    def pause(self, seconds: float) -> None:
        """Let nothing leave for so long, since ROBIN asked for it, and keep further apart then."""
        with self._counting:
            self._not_before = max(self._not_before, self._clock() + seconds)
            self._windows.widen()

    def wait(self) -> Callable[[], None]:
        """Return when one more request may leave, or when the sleep was cut short.

        The request counts as under way until what is returned is called: when it leaves, or at the
        latest when it is answered or given up. Only the first call counts.
        """
        with self._queue:
            while (left := self._take_slot()) > 0:
                if self._sleep(left):
                    return _do_nothing
        return Once(self._leave)

    def _take_slot(self) -> float:
        """Seconds until the next try; 0 where a slot was free, which then is taken."""
        with self._counting:
            now = self._clock()
            left = max(self._not_before - now, self._windows.compute_wait(now))
            if left <= 0:
                self._windows.take(now)
            return max(left, 0.0)

    def _leave(self) -> None:
        with self._counting:
            self._windows.leave(self._clock())


def _do_nothing() -> None:
    pass
