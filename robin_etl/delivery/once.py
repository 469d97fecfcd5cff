"""What may be called from several threads, and counts once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress


class Once:
    """Calls only once, whoever calls, and however often."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._calls = [call]

    def __call__(self) -> None:
        with suppress(IndexError):
            self._calls.pop()()
