"""Delivery: changes through the client into the ledger, chunk by chunk and wave by wave.

Every request is logged as sending before it leaves, and its outcome after. The ledger takes a chunk's
states over only when ROBIN has accepted it, so whatever goes wrong, running again goes on from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from itertools import groupby
from operator import itemgetter
from threading import Event, Lock
from typing import Any, Protocol

import pandas as pd
import tenacity

from robin_etl.core import payload
from robin_etl.core.payload import Chunk
from robin_etl.delivery.client import Answer, Meaning
from robin_etl.delivery.writer import Books
from robin_etl.exceptions import AnswerError, InterruptedRunError, RobinUnavailableError
from robin_etl.ledger import Ledger
from robin_etl.ledger.deliveries import IN_DOUBT, REFUSED, REJECTED

# So many single orders refused and none accepted: the fault is not the orders'.
FIRST_REFUSALS = 20

_LONGEST_WAIT = 60.0
_READY_AT_ONCE = 2_000


class Poster(Protocol):
    """What delivery needs of a client."""

    def post(self, body: bytes) -> Answer: ...


class Pacer(Protocol):
    """What delivery needs of the rate limits."""

    def wait(self) -> None: ...

    def pause(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is tried, and how long between: `backoff` seconds at first, then twice as
    long each time, up to a minute, with jitter. `sleep` takes seconds.

    Being told to wait (429) is no failure and has a count of its own.
    """

    attempts: int
    sleep: Callable[[float], Any]
    backoff: float = 1.0
    patience: int = 100

    def retrying(self, stopping: Event) -> tenacity.Retrying:
        def wait(state: tenacity.RetryCallState) -> float:
            # What ROBIN told everybody to wait, the pace waits for.
            return 0.0 if _answer_of(state).retry_after is not None else backoff(state)

        backoff = tenacity.wait_exponential_jitter(
            multiplier=self.backoff, max=_LONGEST_WAIT, jitter=self.backoff
        )
        return tenacity.Retrying(
            stop=_UsedUp(self.attempts, self.patience) | tenacity.stop_when_event_set(stopping),
            retry=tenacity.retry_if_result(lambda answer: answer.again),
            wait=wait,
            sleep=self.sleep,
            retry_error_callback=_answer_of,
        )


class _UsedUp(tenacity.stop.stop_base):
    """Stops after so many failures, or after being told to wait so often."""

    def __init__(self, attempts: int, patience: int) -> None:
        self._left = {True: patience, False: attempts}

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        busy = _answer_of(retry_state).meaning is Meaning.BUSY
        self._left[busy] -= 1
        return self._left[busy] <= 0


def _answer_of(state: tenacity.RetryCallState) -> Answer:
    assert state.outcome is not None
    answer: Answer = state.outcome.result()
    return answer


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

    Needs the ledger's posting lock held. `progress` is called with the number of changes done with
    after each answer. Setting `stopping` ends the delivery: what is in flight is awaited and
    acknowledged, nothing new leaves.
    """

    def __init__(
        self,
        client: Poster,
        ledger: Ledger,
        pace: Pacer,
        *,
        run: str,
        chunk_size: int,
        concurrency: int,
        retry: RetryPolicy,
        stopping: Event,
        progress: Callable[[int], Any] = lambda _: None,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._pace = pace
        self._run = run
        self._chunk_size = chunk_size
        self._concurrency = concurrency
        self._retry = retry
        self._stopping = stopping
        self._progress = progress
        self._books = Books(ledger)
        self._lock = Lock()  # of what senders note in `delivered`
        self._was_accepted = False  # whether ROBIN has taken any request of this run
        self._unwritten: BaseException | None = None
        self.delivered = Delivered()

    def deliver(self, changes: Iterable[pd.DataFrame], *, total: int) -> Delivered:
        """Send every change once: frames of `total` changes in all, wave by wave.

        Raises `AuthenticationError`, `AnswerError` or `RobinUnavailableError` where the run has to
        stop, `InterruptedRunError` where it was told to; what was acknowledged is in the ledger.
        """
        # A little at a time, since senders stand still while a whole frame is made ready.
        little = (
            frame.iloc[at : at + _READY_AT_ONCE]
            for frame in changes
            for at in range(0, len(frame), _READY_AT_ONCE)
        )
        chunks = payload.split_into_chunks(little, self._chunk_size, payload.make_changes)
        with self._books, ThreadPoolExecutor(self._concurrency, thread_name_prefix="sender") as senders:
            for _, wave in groupby(chunks, key=itemgetter(0)):
                self._deliver_wave((chunk for _, chunk in wave), senders)
                if self._stopping.is_set():
                    left = total - self.delivered.posted - len(self.delivered.rejected)
                    raise InterruptedRunError(
                        f"The run was told to stop. {self.delivered.posted} of its changes are "
                        f"acknowledged, {left} are left; run again, and it goes on from there."
                    )
        return self.delivered

    def _deliver_wave(self, chunks: Iterator[Chunk], senders: ThreadPoolExecutor) -> None:
        queue: deque[Chunk] = deque()
        in_flight: dict[Future[Answer | None], Chunk] = {}
        failures: list[BaseException] = []
        while True:
            while len(in_flight) < self._width() and not self._stopping.is_set():
                if (due := self._next(queue, chunks)) is None:
                    break
                in_flight[senders.submit(self._send, due)] = due
            if not in_flight:
                break
            done, _ = wait(in_flight, return_when=FIRST_COMPLETED)
            for future in done:
                chunk = in_flight.pop(future)
                if error := future.exception():
                    failures.append(error)
                elif (answer := future.result()) and _wants_halves(answer, chunk):
                    queue.extendleft(self._halves(chunk, answer))
        # Acknowledgements are handed in without waiting; before the next wave they all have to be there.
        self._books.enter(lambda: None).result()
        if self._unwritten:
            raise self._unwritten
        if failures:
            raise failures[0]

    def _next(self, queue: deque[Chunk], chunks: Iterator[Chunk]) -> Chunk | None:
        """The next chunk to send, of the size that is allowed by now; None after the last."""
        while (chunk := queue.popleft() if queue else next(chunks, None)) is not None:
            if len(chunk) > self._chunk_size:
                queue.extendleft(reversed(payload.slice_chunk(chunk, self._chunk_size)))
            elif len(chunk := self._unblocked(chunk)):
                return chunk
        return None

    def _unblocked(self, chunk: Chunk) -> Chunk:
        """A chunk without the orders of which ROBIN rejected an earlier change."""
        if not self.delivered.rejected:
            return chunk
        rejected = self.delivered.rejected
        blocked = {change.order_number for change in chunk if change.order_number in rejected}
        self.delivered.held_back |= blocked
        self._progress(len(blocked))
        return [change for change in chunk if change.order_number not in blocked]

    def _width(self) -> int:
        """How many requests may be under way: one, until ROBIN has accepted one.

        Then one more than may be in flight, which is ready when a sender is.
        """
        return self._concurrency + 1 if self._was_accepted else 1

    def _halves(self, chunk: Chunk, answer: Answer) -> list[Chunk]:
        """The two halves, the first one last, as they are put before the queue."""
        half = (len(chunk) + 1) // 2
        if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            self._chunk_size = min(self._chunk_size, half)
        return [chunk[half:], chunk[:half]]

    def _send(self, chunk: Chunk) -> Answer | None:
        """Send one chunk until there is an answer that settles it; None if it was told to stop."""
        try:
            return self._sent(chunk)
        except BaseException:
            # Before the next chunk takes this one's place.
            self._stopping.set()
            raise

    def _sent(self, chunk: Chunk) -> Answer | None:
        retrying = self._retry.retrying(self._stopping)
        answer: Answer = retrying(
            self._attempt, chunk, payload.encode_body(change.payload for change in chunk)
        )
        if answer.again and self._stopping.is_set():
            return None
        if answer.again:
            raise RobinUnavailableError(
                f"ROBIN did not accept a request in {self._retry.attempts} attempts (last: "
                f"{_shown(answer)}). {self.delivered.posted} changes of this run are acknowledged; "
                "run again when ROBIN is back, and it goes on from there."
            )
        return answer

    def _attempt(self, chunk: Chunk, body: bytes) -> Answer:
        self._pace.wait()
        request = self._books.enter(partial(self._begin, chunk)).result()
        if request is None:
            return Answer(Meaning.NOT_SENT, "told to stop")
        try:
            answer = self._client.post(body)
        except AnswerError as error:
            self._stopping.set()  # before any other sender takes its next breath
            self._note(request, REFUSED, error.status, str(error))
            raise
        if answer.meaning is Meaning.BUSY and answer.retry_after is not None:
            self._pace.pause(answer.retry_after)
        self._log(request, chunk, answer)
        return answer

    def _begin(self, chunk: Chunk) -> int | None:
        if self._stopping.is_set():
            return None
        request = self._ledger.deliveries.begin(self._run, chunk)
        self.delivered.requests += 1
        return request

    def _note(self, request: int, outcome: str, status: int | None, words: str) -> None:
        """Log the outcome of a request that moved no state, and wait until it is."""
        write = partial(self._ledger.deliveries.answer, request, outcome, status=status, words=words)
        self._books.enter(write).result()

    def _log(self, request: int, chunk: Chunk, answer: Answer) -> None:
        status, words = answer.status, answer.words
        match answer.meaning:
            case Meaning.ACCEPTED:
                self._was_accepted = True
                write = partial(self._ledger.acknowledge, request, chunk, status=status, words=words)
                self._books.enter(write).add_done_callback(partial(self._acknowledged, len(chunk)))
            case Meaning.REFUSED if len(chunk) == 1:
                self._note(request, REJECTED, status, words)
                self._reject(chunk[0].order_number, answer)
            case Meaning.REFUSED | Meaning.BUSY | Meaning.NOT_SENT:
                self._note(request, REFUSED, status, words)
            case Meaning.LOST:
                self._note(request, IN_DOUBT, status, words)
                with self._lock:
                    self.delivered.in_doubt |= {change.order_number for change in chunk}

    def _acknowledged(self, changes: int, written: Future[None]) -> None:
        """Called by the writer of the books once an acceptance is committed, or failed to be."""
        if error := written.exception():
            self._unwritten = self._unwritten or error
            self._stopping.set()
            return
        self.delivered.posted += changes
        self._progress(changes)

    def _reject(self, order_number: str, answer: Answer) -> None:
        with self._lock:
            self.delivered.rejected[order_number] = answer.words
        self._progress(1)
        if not self._was_accepted and len(self.delivered.rejected) >= FIRST_REFUSALS:
            raise AnswerError(
                f"ROBIN refused the first {FIRST_REFUSALS} orders one by one (last: "
                f"{_shown(answer)}), so the fault is not the orders'. Nothing was accepted; ask "
                "ROBIN what it wants, then run again.",
                status=answer.status or 0,
            )


def _wants_halves(answer: Answer, chunk: Chunk) -> bool:
    return answer.meaning is Meaning.REFUSED and len(chunk) > 1


def _shown(answer: Answer) -> str:
    return f"{answer.status} {answer.words}".strip() if answer.status else answer.words
