"""The HTTP statuses that acknowledge a request, as text and as numbers. Pure."""

from __future__ import annotations

_LOWEST, _HIGHEST = 200, 299


def parse_statuses(text: str) -> frozenset[int]:
    """Statuses from text such as `200,201`; raises `ValueError` with a sentence."""
    return frozenset(map(_parse_status, text.split(",")))


def _parse_status(part: str) -> int:
    digits = part.strip()
    if digits.isascii() and digits.isdigit() and _LOWEST <= int(digits) <= _HIGHEST:
        return int(digits)
    raise ValueError(
        f"{digits!r} can't acknowledge a request; write HTTP statuses from {_LOWEST} to {_HIGHEST}, "
        "such as 201 or 200,201"
    )
