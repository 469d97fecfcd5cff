"""The only writer of the ledger during a delivery: what senders hand in together is committed together.

A commit waits for the disk, so that one for each entry would be what a fast ROBIN has to wait for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from robin_etl.ledger import Ledger

T = TypeVar("T")


class Books:
    """Writes entries in the order they were handed in; use as a context manager.

    An entry is a call that writes to the ledger. Its future is done once it has been committed, and
    fails with what the entry or the commit raised. Leaving waits for all entries.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._entries: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="books", daemon=True)

    def __enter__(self) -> Books:
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._entries.put(None)
        self._writer.join()

    def enter(self, write: Callable[[], T]) -> Future[T]:
        """Hand in an entry."""
        future: Future[T] = Future()
        self._entries.put((write, future))
        return future

    def _write(self) -> None:
        while (entry := self._entries.get()) is not None:
            together = [entry]
            closing = False
            while True:
                try:
                    following = self._entries.get_nowait()
                except Empty:
                    break
                if following is None:
                    closing = True
                    break
                together.append(following)
            self._commit(together)
            if closing:
                return

    def _commit(self, together: list[tuple[Callable[[], Any], Future[Any]]]) -> None:
        try:
            with self._ledger.transaction():
                results = [write() for write, _ in together]
        except BaseException as error:  # noqa: BLE001 (whoever waits for it raises it)
            for _, future in together:
                future.set_exception(error)
            return
        for (_, future), result in zip(together, results, strict=True):
            future.set_result(result)
