"""What can go wrong at ROBIN, for the sandbox to play: by script, or at random with a seed."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Mapping
from enum import StrEnum


class Fault(StrEnum):
    """One way to answer a request badly. `…_after` applies the orders first, `…_before` does not."""

    ERROR_BEFORE = "error-before"  # 500
    ERROR_AFTER = "error-after"
    RESET_BEFORE = "reset-before"  # the connection breaks without an answer
    RESET_AFTER = "reset-after"
    HANG_BEFORE = "hang-before"  # no answer, and the connection stays open
    HANG_AFTER = "hang-after"
    SLOW_HEADERS = "slow-headers"  # applied, but the answer trickles in before its status is whole
    SLOW_BODY = "slow-body"  # applied and 201, but the body trickles for ever
    ENDLESS = "endless"  # applied and 201, with a body that never ends
    EMPTY = "empty"  # applied and 201, with nothing in it
    NOT_JSON = "not-json"  # applied and 201, with a page of HTML, as from something in between
    SPEAKS_OF_ERRORS = "speaks-of-errors"  # applied and 201, with words of an error
    BUSY_SECONDS = "busy-seconds"  # 429 with Retry-After in seconds
    BUSY_DATE = "busy-date"  # 429 with Retry-After as a date
    REDIRECT = "redirect"  # 302

    @property
    def applies(self) -> bool:
        """Whether ROBIN takes the orders in."""
        return self not in _WITHOUT_EFFECT

    @property
    def loses_answer(self) -> bool:
        """Whether the sender can't know that ROBIN took the orders in."""
        return self in _LOSING


_WITHOUT_EFFECT = {
    *(Fault.ERROR_BEFORE, Fault.RESET_BEFORE, Fault.HANG_BEFORE),
    *(Fault.BUSY_SECONDS, Fault.BUSY_DATE, Fault.REDIRECT),
}
_LOSING = {
    *(Fault.ERROR_AFTER, Fault.RESET_AFTER, Fault.HANG_AFTER, Fault.SLOW_HEADERS),
    Fault.NOT_JSON,
}

# Faults that a run gets over by itself. Others stop it, or leave somebody something to look at.
_LASTING = {Fault.REDIRECT, Fault.NOT_JSON, Fault.SPEAKS_OF_ERRORS}
PASSING = tuple(fault for fault in Fault if fault not in _LASTING)


class Faults:
    """Which fault befalls which request.

    `script` names faults by the number of the request, counted from 1. Of all other requests, the
    `share` meets one of `kinds`, drawn with `seed`. More than `most_orders` in a request are a 413,
    and an order whose number matches `refused` makes it a 400. A busy answer
    asks for `retry_after` seconds.
    """

    def __init__(
        self,
        *,
        script: Mapping[int, Fault] | None = None,
        share: float = 0.0,
        kinds: tuple[Fault, ...] = PASSING,
        seed: int = 0,
        most_orders: int | None = None,
        refused: str | None = None,
        retry_after: int = 1,
    ) -> None:
        self.script = dict(script or {})
        self._share = share
        self._kinds = kinds
        self._random = random.Random(seed)  # noqa: S311 (a seed is the point)
        self._lock = threading.Lock()
        self.requests = 0
        self.most_orders = most_orders
        self.refused = re.compile(refused) if refused else None
        self.retry_after = retry_after
        self.played: list[Fault] = []

    def draw(self) -> Fault | None:
        """The fault for the request that arrives now."""
        with self._lock:
            self.requests += 1
            fault = self.script.get(self.requests)
            if fault is None and self._random.random() < self._share:
                fault = self._random.choice(self._kinds)
            if fault is not None:
                self.played.append(fault)
            return fault
