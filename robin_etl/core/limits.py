"""ROBIN's rate limits as text and as numbers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_LIMIT = re.compile(r"\s*(\d+)\s*/\s*(s|min|h|d)\s*\Z")


@dataclass(frozen=True)
class RateLimit:
    """At most `requests` within any `seconds`."""

    requests: int
    seconds: int


def parse_limits(text: str) -> tuple[RateLimit, ...]:
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


def compute_least_duration(limits: Iterable[RateLimit], requests: int) -> float:
    """The seconds that so many requests take at least."""
    return max(
        (max(0, requests - 1) // limit.requests * float(limit.seconds) for limit in limits),
        default=0.0,
    )
