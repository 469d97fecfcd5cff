"""The only writer of the ledger during a delivery: what senders hand in together is committed together.

A commit waits for the disk, and writes every page that it touched. So what somebody waits for is written
at once, and what nobody waits for a moment later, with all that has come until then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from robin_etl.ledger import Ledger

T = TypeVar("T")

# How long, in seconds, entries that nobody waits for may wait, and how many of them.
LONGEST = 0.1
MOST = 100
_LONG_SINCE = 0.0


class _Entry(NamedTuple):
    write: Callable[[], Any]
    future: Future[Any]
    due: float | None  # by time.monotonic; at once without


class Books:
    """Writes entries into the ledger; use as a context manager.

    An entry is a call that writes. Its future is done once it has been committed, and fails with what
    the entry or the commit raised. Leaving waits for all entries. `longest` is in seconds.
    """

    def __init__(self, ledger: Ledger, *, longest: float = LONGEST) -> None:
        self._ledger = ledger
        self._longest = longest
        # A None at the end.
        self._handed_in: SimpleQueue[_Entry | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="books", daemon=True)

    def __enter__(self) -> Books:
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._handed_in.put(None)
        self._writer.join()

    def enter(self, write: Callable[[], T]) -> Future[T]:
        """Hand in an entry that is written at once."""
        return self._hand_in(write, None)

    def enter_later(self, write: Callable[[], T]) -> Future[T]:
        """Hand in an entry that may wait for others, `longest` seconds at most."""
        return self._hand_in(write, time.monotonic() + self._longest)

    def settle(self) -> None:
        """Return when all that was handed in is committed; raises what that raised."""
        self._hand_in(lambda: None, _LONG_SINCE).result()

    def _hand_in(self, write: Callable[[], T], due: float | None) -> Future[T]:
        future: Future[T] = Future()
        self._handed_in.put(_Entry(write, future, due))
        return future

    def _write(self) -> None:
        later: list[_Entry] = []
        is_closing = False
        while not is_closing:
            came = self._what_came(later[0].due if later else None)
            is_closing = None in came
            entries = [entry for entry in came if entry is not None]
            later += [entry for entry in entries if entry.due is not None]
            together = [entry for entry in entries if entry.due is None]
            now = time.monotonic()
            is_due = any(entry.due <= now for entry in later if entry.due is not None)
            if is_due or is_closing or len(later) >= MOST:
                together, later = later + together, []
            if together:
                self._commit(together)

    def _what_came(self, until: float | None) -> list[_Entry | None]:
        """What was handed in, at least one unless `until` passes."""
        came = []
        timeout = None if until is None else max(0.0, until - time.monotonic())
        with suppress(Empty):
            came.append(self._handed_in.get(timeout=timeout))
            while True:
                came.append(self._handed_in.get_nowait())
        return came

    def _commit(self, together: list[_Entry]) -> None:
        try:
            with self._ledger.together():
                results = [entry.write() for entry in together]
        except BaseException as error:  # noqa: BLE001 (whoever waits for it raises it)
            for entry in together:
                entry.future.set_exception(error)
            return
        for entry, result in zip(together, results, strict=True):
            entry.future.set_result(result)
