"""
Delivery: changes through the client into the ledger, chunk by chunk and wave by wave.

Every request is logged as sending before it leaves, and its outcome after. The ledger takes a chunk's
states over only when ROBIN has accepted it, so whatever goes wrong, running again goes on from there.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd
import tenacity

from robin_etl import payload
from robin_etl.client import Answer, Meaning
from robin_etl.exceptions import AnswerError, RobinUnavailableError
from robin_etl.ledger import IN_DOUBT, REFUSED, REJECTED, Delivery, Ledger, LoggedRequest
from robin_etl.orders import KINDS

# So many single orders refused and none accepted: the fault is not the orders'.
FIRST_REFUSALS = 20

_LONGEST_WAIT = 60.0


class Poster(Protocol):
    """What delivery needs of a client."""

    def post(self, body: bytes) -> Answer: ...


class Waiter(Protocol):
    """What delivery needs of the rate limits."""

    def wait(self) -> None: ...


@dataclass(frozen=True)
class RetryPolicy:
    """How often, and how long between: `sleep` takes seconds."""

    attempts: int
    sleep: Callable[[float], Any] = time.sleep

    def retrying(self) -> tenacity.Retrying:
        backoff = tenacity.wait_exponential_jitter(initial=1, max=_LONGEST_WAIT)

        def wait(state: tenacity.RetryCallState) -> float:
            answer: Answer = state.outcome.result() if state.outcome else Answer(Meaning.LOST, "")
            told = answer.retry_after
            return backoff(state) if told is None else told

        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts),
            retry=tenacity.retry_if_result(lambda answer: answer.again),
            wait=wait,
            sleep=self.sleep,
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )


@dataclass
class Delivered:
    """
    What came of a delivery, as it goes: numbers of changes and requests, and orders by name.

    `rejected`: ROBIN's words by order number. `held_back`: orders whose earlier change was rejected.
    `in_doubt`: orders that ROBIN may have seen twice.
    """

    posted: int = 0
    requests: int = 0
    by_kind: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    rejected: dict[str, str] = field(default_factory=dict)
    held_back: set[str] = field(default_factory=set)
    in_doubt: set[str] = field(default_factory=set)


class Sender:
    """
    Delivers the changes of one run. Needs the ledger's posting lock held.

    `progress` is called with the number of changes done with after each answer.
    """

    def __init__(
        self,
        client: Poster,
        ledger: Ledger,
        pace: Waiter,
        *,
        run: str,
        chunk_size: int,
        retry: RetryPolicy,
        progress: Callable[[int], Any] = lambda _: None,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._pace = pace
        self._run = run
        self._chunk_size = chunk_size
        self._retry = retry
        self._progress = progress
        self.delivered = Delivered()

    def deliver(self, changes: pd.DataFrame) -> Delivered:
        """
        Send every change once.

        Raises `AuthenticationError`, `AnswerError` or `RobinUnavailableError` where the run has to
        stop; what was acknowledged until then is in the ledger.
        """
        for _, wave in payload.waves(changes):
            blocked = wave["order_number"].isin(self.delivered.rejected)
            self.delivered.held_back |= set(wave["order_number"][blocked])
            self._progress(int(blocked.sum()))
            self._deliver_wave(wave[~blocked])
        return self.delivered

    def _deliver_wave(self, changes: pd.DataFrame) -> None:
        queue = deque(payload.chunks(changes, self._chunk_size))
        while queue:
            chunk = queue.popleft()
            if len(chunk) > self._chunk_size:
                queue.extendleft(reversed(list(payload.chunks(chunk, self._chunk_size))))
                continue
            answer = self._send(chunk)
            if answer.meaning is Meaning.REFUSED and len(chunk) > 1:
                half = (len(chunk) + 1) // 2
                if answer.status == 413:
                    self._chunk_size = half
                queue.extendleft([chunk.iloc[half:], chunk.iloc[:half]])

    def _send(self, chunk: pd.DataFrame) -> Answer:
        """Send one chunk until there is an answer that settles it."""
        told = payload.payloads(chunk)
        body = payload.body(told)
        deliveries = [
            Delivery(order["order_number"], kind, int(wave), payload.without_contact(order))
            for order, kind, wave in zip(told, chunk["kind"], chunk["wave"], strict=True)
        ]
        answer: Answer = self._retry.retrying()(self._attempt, chunk, deliveries, body)
        if answer.again:
            raise RobinUnavailableError(
                f"ROBIN did not accept a request in {self._retry.attempts} attempts (last: "
                f"{_shown(answer)}). {self.delivered.posted} changes of this run are acknowledged; "
                "run again when ROBIN is back, and it goes on from there."
            )
        return answer

    def _attempt(self, chunk: pd.DataFrame, deliveries: list[Delivery], body: bytes) -> Answer:
        self._pace.wait()
        request = self._ledger.sending(self._run, deliveries)
        self.delivered.requests += 1
        try:
            answer = self._client.post(body)
        except AnswerError as error:
            self._ledger.answered(request, REFUSED, status=error.status, words=str(error))
            raise
        self._log(request, chunk, answer)
        return answer

    def _log(self, request: LoggedRequest, chunk: pd.DataFrame, answer: Answer) -> None:
        status, words = answer.status, answer.words
        match answer.meaning:
            case Meaning.ACCEPTED:
                self._ledger.accepted(request, chunk, status=status or 0, words=words)
                self.delivered.posted += len(chunk)
                for kind, count in chunk["kind"].value_counts().items():
                    self.delivered.by_kind[str(kind)] += int(count)
                self._progress(len(chunk))
            case Meaning.REFUSED if len(chunk) == 1:
                self._ledger.answered(request, REJECTED, status=status, words=words)
                self._reject(chunk["order_number"].iloc[0], answer)
            case Meaning.REFUSED | Meaning.BUSY | Meaning.NOT_SENT:
                self._ledger.answered(request, REFUSED, status=status, words=words)
            case Meaning.LOST:
                self._ledger.answered(request, IN_DOUBT, status=status, words=words)
                self.delivered.in_doubt |= set(chunk["order_number"])

    def _reject(self, order_number: str, answer: Answer) -> None:
        self.delivered.rejected[order_number] = answer.words
        self._progress(1)
        if not self.delivered.posted and len(self.delivered.rejected) >= FIRST_REFUSALS:
            raise AnswerError(
                f"ROBIN refused the first {FIRST_REFUSALS} orders one by one (last: "
                f"{_shown(answer)}), so the fault is not the orders'. Nothing was accepted; ask "
                "ROBIN what it wants, then run again.",
                status=answer.status or 0,
            )


def _shown(answer: Answer) -> str:
    return f"{answer.status} {answer.words}".strip() if answer.status else answer.words
