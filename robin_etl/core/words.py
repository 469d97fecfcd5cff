"""Numbers and lists in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 request`, `2 requests`, `12,345 requests`; `plural` where it takes more than an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def name_left_out(left_out: Mapping[str, int]) -> list[str]:
    """How many orders are left out, by reason: `2 pending orders`, `3 orders in another currency`."""
    words = {
        "pending": ("pending order", None),
        "other currency": ("order in another currency", "orders in another currency"),
    }
    named = []
    for reason, number in left_out.items():
        noun, plural = words.get(reason, (f"order by its {reason}", f"orders by their {reason}"))
        named.append(count(number, noun, plural))
    return named


def name_some(things: Sequence[object], *, most: int = 5) -> str:
    """`2026-11-01, 2026-11-02 and 12 more`: the first so many, and how many others there are."""
    more = f" and {len(things) - most:,} more" if len(things) > most else ""
    return f"{', '.join(map(str, things[:most]))}{more}"


def name_days(first: date, last: date) -> str:
    """`2026-11-01`, or `2026-11-01 to 2026-11-04`."""
    return f"{first}" if first == last else f"{first} to {last}"
