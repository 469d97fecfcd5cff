"""A ROBIN, a network and a sender on a clock of their own: a day of delivery in seconds.

The sender is the real one's windows (`robin_etl.delivery.windows`), asked and told as the real sender
does. What ROBIN counts, and how, is varied: the real one's way of counting is not documented.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from robin_etl.core.limits import RateLimit
from robin_etl.delivery.windows import Windows


class Counts(Protocol):
    """How a server counts against one limit: seconds until a request is welcome, 0 where it is now."""

    def judge(self, now: float) -> float: ...

    def take(self, now: float) -> None: ...


class ByArrival:
    """At most so many arrivals within any window that ends now."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._arrivals: deque[float] = deque(maxlen=limit.requests)

    def judge(self, now: float) -> float:
        if len(self._arrivals) < self._limit.requests:
            return 0.0
        return max(0.0, self._arrivals[0] + self._limit.seconds - now)

    def take(self, now: float) -> None:
        self._arrivals.append(now)


class ByFixedWindow:
    """At most so many in each second, minute, hour and day of the server's clock."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._window, self._used = -1, 0

    def judge(self, now: float) -> float:
        window = int(now // self._limit.seconds)
        if window != self._window or self._used < self._limit.requests:
            return 0.0
        return (window + 1) * self._limit.seconds - now

    def take(self, now: float) -> None:
        window = int(now // self._limit.seconds)
        self._used = self._used + 1 if window == self._window else 1
        self._window = window


class BySlidingWindow:
    """By fixed windows, of which the one before counts by the share that a window ending now has of it:
    what many gateways do, since it needs two numbers only.

    So few as three a second can't be counted by shares; those are counted by arrival.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._exactly = ByArrival(limit) if limit.requests < 20 else None
        self._window, self._used, self._before = -1, 0, 0

    def judge(self, now: float) -> float:
        if self._exactly:
            return self._exactly.judge(now)
        self._move(now)
        share = 1 - (now / self._limit.seconds) % 1
        # By its own rule the request counts as one more.
        return 0.0 if self._before * share + self._used + 1 <= self._limit.requests else 1.0

    def take(self, now: float) -> None:
        if self._exactly:
            self._exactly.take(now)
        self._move(now)
        self._used += 1

    def _move(self, now: float) -> None:
        window = int(now // self._limit.seconds)
        if window != self._window:
            self._before = self._used if window == self._window + 1 else 0
            self._window, self._used = window, 0


class ByTokens:
    """A bucket of so many tokens that fills within the window."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._tokens, self._at = float(limit.requests), 0.0

    def judge(self, now: float) -> float:
        rate = self._limit.requests / self._limit.seconds
        self._tokens = min(self._limit.requests, self._tokens + (now - self._at) * rate)
        self._at = now
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / rate

    def take(self, now: float) -> None:
        self.judge(now)
        self._tokens -= 1


COUNTING: dict[str, Callable[[RateLimit], Counts]] = {
    "by arrival": ByArrival,
    "by fixed window": ByFixedWindow,
    "by sliding window": BySlidingWindow,
    "by tokens": ByTokens,
}


_BUSY = 1 / 50  # of the commits


@dataclass(frozen=True)
class Network:
    """Seconds: each is a least and what is added by chance at most."""

    way: tuple[float, float] = (0.02, 0.025)
    connecting: tuple[float, float] = (0.06, 0.12)  # on top, over a new connection
    answering: tuple[float, float] = (0.1, 0.8)
    logging: tuple[float, float] = (0.002, 0.01)  # the ledger's commit before a request leaves
    busy_disk: tuple[float, float] = (0.1, 0.4)  # on top of that, where the disk is busy

    def draw(self, chance: random.Random, which: str) -> float:
        least, more = getattr(self, which)
        return float(least + chance.random() * more)


@dataclass
class Seen:
    """What came of it: answers by status, and when the last request was answered."""

    answers: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0


def simulate(
    limits: Sequence[RateLimit],
    requests: int,
    *,
    counting: str,
    network: Network,
    senders: int = 4,
    seed: int = 1,
    is_counted_when_taken: bool = False,
) -> Seen:
    """Send so many requests until each is accepted.

    `is_counted_when_taken` is the other way to count, for comparison: by when a slot was taken, however
    long the request then took to leave.
    """
    server = [COUNTING[counting](limit) for limit in limits]
    delivery = _Delivery(limits, requests, server, network, random.Random(seed), is_counted_when_taken)
    return delivery.run(senders)


class _Delivery:
    """Senders and a server, event by event."""

    def __init__(
        self,
        limits: Sequence[RateLimit],
        requests: int,
        server: list[Counts],
        network: Network,
        chance: random.Random,
        is_counted_when_taken: bool,
    ) -> None:
        self._server, self._network, self._chance = server, network, chance
        self._is_counted_when_taken = is_counted_when_taken
        self._windows = Windows(limits, now=0.0)
        if not is_counted_when_taken:
            self._windows.spread(requests)
        # The server's clock is anywhere within its windows.
        self._ahead = (1 + chance.random()) * 86_400
        self._to_send = requests
        self._seen = Seen()
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0
        self._waiting: deque[int] = deque()
        self._is_looking = False
        self._not_before = 0.0
        self._connected: set[int] = set()

    def run(self, senders: int) -> Seen:
        for sender in range(senders):
            self._at(0.0, self._ask, sender)
        while self._events:
            moment, _, what, about = heapq.heappop(self._events)
            what(moment, *about)
        return self._seen

    def _at(self, moment: float, what: Callable[..., None], *about: Any) -> None:
        self._number += 1
        heapq.heappush(self._events, (moment, self._number, what, about))

    def _draw(self, which: str) -> float:
        return self._network.draw(self._chance, which)

    def _ask(self, now: float, sender: int) -> None:
        self._waiting.append(sender)
        if not self._is_looking:
            self._look(now)

    def _look(self, now: float) -> None:
        self._is_looking = False
        while self._waiting and self._to_send:
            if (wait := max(self._not_before - now, self._windows.compute_wait(now))) > 0:
                self._is_looking = True
                self._at(now + wait, self._look)
                return
            self._to_send -= 1
            self._windows.take(now)
            if self._is_counted_when_taken:
                self._windows.leave(now)
            logging = self._draw("logging")
            if self._chance.random() < _BUSY:
                logging += self._draw("busy_disk")
            self._at(now + logging, self._leave, self._waiting.popleft())

    def _leave(self, now: float, sender: int) -> None:
        way = self._draw("way")
        was_open = sender in self._connected
        if not was_open:
            self._connected.add(sender)
            way += self._draw("connecting")
        elif not self._is_counted_when_taken:
            self._windows.leave(now)
        self._at(now + way, self._arrive, sender, was_open)

    def _arrive(self, now: float, sender: int, was_open: bool) -> None:
        there = now + self._ahead
        wait = max(count.judge(there) for count in self._server)
        if not wait:
            for count in self._server:
                count.take(there)
        self._at(now + self._draw("answering"), self._answer, sender, was_open, wait)

    def _answer(self, now: float, sender: int, was_open: bool, wait: float) -> None:
        if not was_open and not self._is_counted_when_taken:
            self._windows.leave(now)
        if wait:
            self._to_send += 1
            self._not_before = max(self._not_before, now + int(wait) + 1)
            if not self._is_counted_when_taken:
                self._windows.widen()
        self._seen.answers[429 if wait else 201] += 1
        self._seen.seconds = now
        self._ask(now, sender)


def compute_best(limits: Sequence[RateLimit], requests: int) -> float:
    """The seconds that no sender can beat: each request the moment that every limit lets it."""
    counts = [ByArrival(limit) for limit in limits]
    now = 0.0
    for _ in range(requests):
        while wait := max(count.judge(now) for count in counts):
            now += wait
        for count in counts:
            count.take(now)
    return now
