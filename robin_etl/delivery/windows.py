"""The windows of ROBIN's rate limits, and what of them is used. Pure: time comes in as numbers.

ROBIN counts a request when it arrives, which a sender cannot see. What it can see is when a request
leaves. So a request counts in every window from when its slot is taken, and from when it has left it
does so for the length of the window and a margin.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

from robin_etl.core.limits import RateLimit

# Seconds by which requests on open connections may arrive closer together than they left.
MARGIN = 0.025
# How much longer a delivery may take for being spread evenly.
_COST_OF_EVENNESS = 0.05
# How soon to look again where every slot is taken by a request that has not left yet.
_LOOK_AGAIN = 0.02
_NO_TIME = 1e-6


class Windows:
    """What is used of every limit at once; `ages` are the seconds since each earlier request left.

    Moments are in seconds, of any one clock.
    """

    def __init__(self, limits: Iterable[RateLimit], *, ages: Iterable[float] = (), now: float) -> None:
        self._limits = tuple(sorted(limits, key=lambda limit: limit.seconds))
        self._most = max((limit.requests for limit in self._limits), default=0)
        self._margin = MARGIN
        self._left = sorted(now - age for age in ages)
        self._taken = 0
        self._spacing = 0.0
        self._next = now

    def compute_wait(self, now: float) -> float:
        """Seconds until a slot may be free; 0 where one is."""
        longest = self._next - now
        for limit in self._limits:
            free = limit.requests - self._taken
            if free <= 0:
                longest = max(longest, _LOOK_AGAIN)
            elif len(self._left) >= free:
                longest = max(longest, self._left[-free] + limit.seconds + self._margin - now)
        return longest if longest > _NO_TIME else 0.0

    def take(self, now: float) -> None:
        """Take a slot for a request that is about to leave."""
        self._taken += 1
        self._next = now + self._spacing

    def leave(self, now: float) -> None:
        """A request for which a slot was taken leaves now, or has arrived by now."""
        self._taken -= 1
        insort(self._left, now)
        if len(self._left) > 2 * self._most:
            del self._left[: -self._most]

    def spread(self, requests: int) -> None:
        """Keep so many requests that are to come at an even distance, where a limit can't hold them all.

        They take as long anyway, and a ROBIN that takes the requests of a window for evenly spread, as
        many gateways do, counts right then. A limit that is much lower than the shorter ones together
        is left to them: a day's, of which ten hours may use all.
        """
        self._spacing = compute_spacing(self._limits, requests) or self._spacing

    def widen(self) -> None:
        """Keep requests further apart from now on: ROBIN says that the limits were not kept.

        It may count otherwise than by arrival, or the way to it is more uneven than the margin.
        """
        self._margin = widen_margin(self._margin, self._limits)


def compute_spacing(limits: Iterable[RateLimit], requests: int) -> float:
    """The seconds between so many requests that are spread evenly; 0 where every limit can hold them."""
    shortest, *others = sorted(limits, key=lambda limit: limit.seconds)
    rate, spacing = shortest.requests / shortest.seconds, 0.0
    for limit in others:
        own = limit.requests / limit.seconds
        # Over just less than two windows evenness costs most.
        if requests > limit.requests and (1 + own / rate) / 2 >= 1 - _COST_OF_EVENNESS:
            rate, spacing = own, 1 / own
    return spacing


def widen_margin(margin: float, limits: Iterable[RateLimit]) -> float:
    """The next wider margin; at most half of the shortest window."""
    widest = min((limit.seconds for limit in limits), default=0) / 2
    return min(margin + MARGIN, max(widest, MARGIN))
