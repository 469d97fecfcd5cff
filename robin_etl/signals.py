"""SIGINT and SIGTERM: what they do while a command runs, and while it posts.

A shell starts what it puts into the background, and nohup and many a CI runner all they start, with
SIGINT ignored; Python then installs no handler of its own. So the handlers are always installed here.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread
from types import FrameType

_Handler = Callable[[int, FrameType | None], None]


@contextmanager
def interrupting() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise `KeyboardInterrupt` while this lasts."""
    with _handled_by(signal.default_int_handler):
        yield


@contextmanager
def setting(stopping: Event) -> Iterator[None]:
    """Let SIGINT and SIGTERM set `stopping` while this lasts; a second SIGINT interrupts."""

    def stop(number: int, frame: FrameType | None) -> None:
        if stopping.is_set() and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        stopping.set()

    with _handled_by(stop):
        yield


@contextmanager
def _handled_by(handler: _Handler) -> Iterator[None]:
    if current_thread() is not main_thread():  # where no signal arrives, and no handler can be set
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
