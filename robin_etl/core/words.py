"""Numbers and lists in sentences."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 request`, `2 requests`, `12,345 requests`; `plural` where it takes more than an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def name_some(things: Sequence[object], *, most: int = 5) -> str:
    """`2026-11-01, 2026-11-02 and 12 more`: the first so many, and how many others there are."""
    more = f" and {len(things) - most:,} more" if len(things) > most else ""
    return f"{', '.join(map(str, things[:most]))}{more}"
