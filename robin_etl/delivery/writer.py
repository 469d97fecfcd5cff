"""The only writer of the ledger during a delivery: what senders hand in together is committed together.

A commit waits for the disk, so that one for each entry would be what a fast ROBIN has to wait for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from robin_etl.core.payload import Chunk
from robin_etl.delivery.answers import Answer
from robin_etl.ledger import Ledger

T = TypeVar("T")

_Entry = tuple[Callable[[], Any], Future[Any]]


class LedgerWriter:
    """Logs the requests of one run in the order they are handed in; use as a context manager.

    Each method hands in an entry. Its future is done once the entry is committed, and fails with what
    the entry or the commit raised. Leaving waits for all entries. Needs the posting lock held.
    """

    def __init__(self, ledger: Ledger, run: str) -> None:
        self._ledger = ledger
        self._run = run
        self._entries: SimpleQueue[_Entry | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)

    def __enter__(self) -> LedgerWriter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._entries.put(None)
        self._thread.join()

    def begin(self, chunk: Chunk, *, unless: threading.Event) -> Future[int | None]:
        """Log a request that is about to leave: its number, or None if `unless` is set by then."""

        def begin() -> int | None:
            return None if unless.is_set() else self._ledger.deliveries.begin(self._run, chunk)

        return self._enter(begin)

    def answer(self, request: int, outcome: str, *, status: int | None, words: str) -> Future[None]:
        """Log the outcome of a request that moves no state."""
        log = self._ledger.deliveries.answer
        return self._enter(partial(log, request, outcome, status=status, words=words))

    def acknowledge(self, request: int, chunk: Chunk, answer: Answer) -> Future[None]:
        """Log a request as accepted, and take over the states that its changes lead to."""
        return self._enter(
            partial(
                self._ledger.acknowledge,
                request,
                chunk,
                status=answer.status,
                words=answer.words,
                speaks_of_errors=answer.speaks_of_errors,
            )
        )

    def flush(self) -> None:
        """Wait until everything that was handed in is committed, or has failed to be."""
        self._enter(lambda: None).result()

    def _enter(self, write: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._entries.put((write, future))
        return future

    def _work(self) -> None:
        is_open = True
        while is_open:
            entries = self._take_entries()
            is_open = None not in entries
            self._commit([entry for entry in entries if entry is not None])

    def _take_entries(self) -> list[_Entry | None]:
        """The next entry to come, and those that were handed in behind it; None is the end."""
        entries = [self._entries.get()]
        with suppress(Empty):
            while True:
                entries.append(self._entries.get_nowait())
        return entries

    def _commit(self, entries: list[_Entry]) -> None:
        try:
            with self._ledger.transaction():
                results = [write() for write, _ in entries]
        except BaseException as error:  # noqa: BLE001 (whoever waits for it raises it)
            for _, future in entries:
                future.set_exception(error)
            return
        for (_, future), result in zip(entries, results, strict=True):
            future.set_result(result)
