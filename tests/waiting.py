"""Waiting for a state, with a deadline that says what was waited for."""

from __future__ import annotations

from collections.abc import Iterator

import tenacity


def until(
    seconds: float, *, while_raising: type[Exception] | tuple[type[Exception], ...], pause: float = 0.1
) -> Iterator[tenacity.AttemptManager]:
    """Attempts, a `pause` apart, until one raises none of these; then what the last one raised."""
    yield from tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(while_raising),
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_fixed(pause),
        reraise=True,
    )
