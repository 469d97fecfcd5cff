"""Delivery: changes through the client into the ledger, chunk by chunk and wave by wave.

Every request is logged as sending before it leaves, and its outcome after. The ledger takes a chunk's
states over only when ROBIN has accepted it, so whatever goes wrong, running again goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from itertools import groupby
from operator import itemgetter
from threading import Event, Lock
from typing import Protocol

import pandas as pd

from robin_etl import observer as events
from robin_etl.core import payload
from robin_etl.core.payload import Chunk
from robin_etl.core.words import count
from robin_etl.delivery.answers import Answer, Meaning
from robin_etl.delivery.chunks import ChunkQueue
from robin_etl.delivery.retries import RetryPolicy
from robin_etl.delivery.writer import LedgerWriter
from robin_etl.exceptions import AnswerError, InterruptedRunError, NotRobinError, RobinUnavailableError
from robin_etl.ledger.deliveries import IN_DOUBT, REFUSED, REJECTED

# So many single orders refused and none accepted: the fault is not the orders'.
FIRST_REFUSALS = 20

_MADE_AT_ONCE = 2_000


class Poster(Protocol):
    """What delivery needs of a client."""

    def post(self, body: bytes, leave: Callable[[], None]) -> Answer: ...


class Pacer(Protocol):
    """What delivery needs of the rate limits."""

    def wait(self) -> Callable[[], None]: ...

    def pause(self, seconds: float) -> None: ...

    def expect(self, requests: int) -> None: ...


@dataclass
class Delivered:
    """What came of a delivery, as it goes: numbers of changes and requests, and orders by name.

    `rejected`: ROBIN's words by order number. `held_back`: orders whose earlier change was rejected.
    `in_doubt`: orders that ROBIN may have seen twice.
    """

    posted: int = 0
    requests: int = 0
    rejected: dict[str, str] = field(default_factory=dict)
    held_back: set[str] = field(default_factory=set)
    in_doubt: set[str] = field(default_factory=set)


class Sender:
    """Delivers the changes of one run, with up to `concurrency` requests in flight.

    Needs an open writer. `observer` is called with each answer, with waits that ROBIN asks for, and with
    changes that are done with: one event at a time, from whichever thread. Setting `stopping` ends the
    delivery: what is in flight is awaited and acknowledged, nothing new leaves.
    """

    def __init__(
        self,
        client: Poster,
        pace: Pacer,
        retries: RetryPolicy,
        writer: LedgerWriter,
        *,
        chunk_size: int,
        concurrency: int,
        stopping: Event,
        observer: events.Observer = events.ignore,
    ) -> None:
        self._client = client
        self._pace = pace
        self._retries = retries
        self._writer = writer
        self._chunk_size = chunk_size
        self._concurrency = concurrency
        self._stopping = stopping
        self._observer = observer
        self._queue = ChunkQueue(chunk_size)
        self._lock = Lock()  # of what senders note in `delivered`
        self._observing = Lock()
        self._was_accepted = False  # whether ROBIN has taken any request of this run
        self._unwritten: BaseException | None = None
        self.delivered = Delivered()

    def deliver(self, changes: Iterable[pd.DataFrame], *, total: int) -> Delivered:
        """Send every change once: frames of `total` changes in all, wave by wave.

        Raises `AuthenticationError`, `AnswerError` or `RobinUnavailableError` where the run has to
        stop, `InterruptedRunError` where `stopping` was set; what was acknowledged is in the ledger.
        """
        # A little at a time, since senders stand still while a whole frame is made ready.
        little = (
            frame.iloc[at : at + _MADE_AT_ONCE]
            for frame in changes
            for at in range(0, len(frame), _MADE_AT_ONCE)
        )
        chunks = payload.split_into_chunks(little, self._chunk_size, payload.make_changes)
        return self.deliver_chunks(chunks, total=total)

    def deliver_chunks(self, chunks: Iterable[tuple[int, Chunk]], *, total: int) -> Delivered:
        """The same for changes that are ready to leave: requests with the waves they belong to."""
        self._pace.expect(total // self._chunk_size)
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="sender") as senders:
            for _, wave in groupby(chunks, key=itemgetter(0)):
                self._deliver_wave((chunk for _, chunk in wave), senders)
                if self._stopping.is_set():
                    left = total - self.delivered.posted - len(self.delivered.rejected)
                    raise InterruptedRunError(
                        f"The run was told to stop, with {count(self.delivered.posted, 'change')} "
                        f"acknowledged and {left:,} left; run again, and it goes on from there."
                    )
        return self.delivered

    # In the thread that delivers

    def _deliver_wave(self, chunks: Iterator[Chunk], senders: ThreadPoolExecutor) -> None:
        self._queue.start_wave(chunks)
        in_flight: dict[Future[Answer | None], Chunk] = {}
        failures: list[BaseException] = []
        while True:
            self._fill(in_flight, senders)
            if not in_flight:
                break
            done, _ = wait(in_flight, return_when=FIRST_COMPLETED)
            for future in done:
                chunk = in_flight.pop(future)
                if error := future.exception():
                    failures.append(error)
                elif (answer := future.result()) and _wants_halves(answer, chunk):
                    is_too_large = answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                    self._queue.put_halves(chunk, is_too_large=is_too_large)
        # Acknowledgements are handed in without waiting; before the next wave they all have to be there.
        self._writer.flush()
        if self._unwritten:
            raise self._unwritten
        if failures:
            raise failures[0]

    def _fill(self, in_flight: dict[Future[Answer | None], Chunk], senders: ThreadPoolExecutor) -> None:
        """Put requests under way: one, until ROBIN has accepted one; then as many as there are senders
        and one more, which is ready when a sender is.
        """
        while len(in_flight) < (self._concurrency + 1 if self._was_accepted else 1):
            if self._stopping.is_set() or (chunk := self._take_chunk()) is None:
                return
            in_flight[senders.submit(self._send, chunk)] = chunk

    def _take_chunk(self) -> Chunk | None:
        """The next chunk with any change that may be sent; None after the last."""
        while (chunk := self._queue.take()) is not None:
            if chunk := self._hold_back(chunk):
                return chunk
        return None

    def _hold_back(self, chunk: Chunk) -> Chunk:
        """A chunk without the orders of which ROBIN rejected an earlier change."""
        if not self.delivered.rejected:
            return chunk
        rejected = self.delivered.rejected
        blocked = {change.order_number for change in chunk if change.order_number in rejected}
        self.delivered.held_back |= blocked
        self._notify(events.Progressed(len(blocked)))
        return [change for change in chunk if change.order_number not in blocked]

    # In the threads of the senders

    def _send(self, chunk: Chunk) -> Answer | None:
        """Send one chunk until there is an answer that settles it; None if it was stopped."""
        try:
            body = payload.encode_body(change.payload for change in chunk)
            answer = self._retries.call(partial(self._attempt, chunk, body), stopping=self._stopping)
            if not answer.is_retryable:
                return answer
            if self._stopping.is_set():
                return None
            raise RobinUnavailableError(
                f"ROBIN did not accept a request in {count(self._retries.attempts, 'attempt')} (last: "
                f"{answer.describe()}). It has acknowledged {count(self.delivered.posted, 'change')} of "
                "this run; run again when ROBIN is back, and it goes on from there."
            )
        except BaseException:
            # Before the next chunk takes this one's place.
            self._stopping.set()
            raise

    def _attempt(self, chunk: Chunk, body: bytes) -> Answer:
        leave = self._pace.wait()
        try:
            return self._send_once(chunk, body, leave)
        finally:
            leave()  # whatever came of it

    def _send_once(self, chunk: Chunk, body: bytes, leave: Callable[[], None]) -> Answer:
        request = self._writer.begin(chunk, unless=self._stopping).result()
        if request is None:
            return Answer(Meaning.NOT_SENT, "stopped before it left")
        with self._lock:
            self.delivered.requests += 1
        try:
            answer = self._client.post(body, leave)
        except AnswerError as error:
            self._stopping.set()  # before any other sender takes its next breath
            if isinstance(error, NotRobinError):
                self._log_in_doubt(request, chunk, error.status, error.words)
            else:
                self._log(request, REFUSED, error.status, f"{error}")
            self._notify(events.Answered("stop", error.status))
            raise
        if answer.retry_after is not None and answer.retry_after <= self._retries.longest_wait:
            self._pace.pause(answer.retry_after)
        self._settle(request, chunk, answer)  # before an observer can fail
        self._notify(events.Answered(answer.meaning.value, answer.status))
        if answer.retry_after is not None:
            self._stop_at_long_wait(answer.retry_after)
            self._notify(events.Waiting(answer.retry_after, "ROBIN asks to wait"))
        self._stop_at_first_refusals(answer)
        return answer

    def _settle(self, request: int, chunk: Chunk, answer: Answer) -> None:
        """Log what came of a request, and note what came of its orders."""
        match answer.meaning:
            case Meaning.ACCEPTED:
                self._was_accepted = True
                written = self._writer.acknowledge(request, chunk, answer)
                written.add_done_callback(partial(self._count_acknowledged, len(chunk)))
            case Meaning.REFUSED if len(chunk) == 1:
                self._log(request, REJECTED, answer.status, answer.words)
                with self._lock:
                    self.delivered.rejected[chunk[0].order_number] = answer.words
                self._notify(events.Progressed(1))
            case Meaning.REFUSED | Meaning.BUSY | Meaning.NOT_SENT:
                self._log(request, REFUSED, answer.status, answer.words)
            case Meaning.LOST:
                self._log_in_doubt(request, chunk, answer.status, answer.words)

    def _log_in_doubt(self, request: int, chunk: Chunk, status: int | None, words: str) -> None:
        """Log that ROBIN may have taken a request, or may not, and note its orders."""
        self._log(request, IN_DOUBT, status, words)
        with self._lock:
            self.delivered.in_doubt |= {change.order_number for change in chunk}

    def _log(self, request: int, outcome: str, status: int | None, words: str) -> None:
        """Log the outcome of a request that moved no state, and wait until it is."""
        self._writer.answer(request, outcome, status=status, words=words).result()

    def _stop_at_long_wait(self, seconds: float) -> None:
        if seconds > self._retries.longest_wait:
            until = datetime.now(UTC) + timedelta(seconds=seconds)
            raise RobinUnavailableError(
                f"ROBIN asks to be sent nothing before {until:%Y-%m-%d %H:%M} UTC, and a run waits "
                f"{self._retries.longest_wait:g} seconds at most (ROBIN_ETL_LONGEST_WAIT). It has "
                f"acknowledged {count(self.delivered.posted, 'change')} of this run; run again then, "
                "and it goes on from there."
            )

    def _stop_at_first_refusals(self, answer: Answer) -> None:
        if not self._was_accepted and len(self.delivered.rejected) >= FIRST_REFUSALS:
            raise AnswerError(
                f"ROBIN refused the first {FIRST_REFUSALS} orders one by one (last: "
                f"{answer.describe()}), so the fault is not the orders'. Nothing was accepted; ask "
                "ROBIN what it wants, then run again.",
                status=answer.status or 0,
            )

    # In the thread of the writer

    def _count_acknowledged(self, changes: int, written: Future[None]) -> None:
        if error := written.exception():
            self._unwritten = self._unwritten or error
            self._stopping.set()
            return
        self.delivered.posted += changes
        self._notify(events.Progressed(changes))

    # In any of them

    def _notify(self, event: events.Event) -> None:
        with self._observing:
            self._observer(event)


def _wants_halves(answer: Answer, chunk: Chunk) -> bool:
    return answer.meaning is Meaning.REFUSED and len(chunk) > 1
