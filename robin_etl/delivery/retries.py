"""How often a request is tried, and how long between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any

import tenacity

from robin_etl.delivery.answers import Answer, Meaning

_LONGEST_WAIT = 60.0


@dataclass(frozen=True)
class RetryPolicy:
    """`attempts` for a request, with `backoff` seconds between at first, then twice as long each time,
    up to a minute, with jitter. `sleep` takes seconds.

    Being asked to wait (429) is no failure; a request is sent again up to `patience` times for it,
    unless ROBIN asks for more than `longest_wait` seconds.
    """

    attempts: int
    sleep: Callable[[float], Any]
    backoff: float = 1.0
    patience: int = 100
    longest_wait: float = 3600.0

    def call(self, attempt: Callable[[], Answer], *, stopping: Event) -> Answer:
        """Attempt until an answer settles it, all attempts are used up or `stopping` is set; the last
        answer.
        """
        backoff = tenacity.wait_exponential_jitter(
            multiplier=self.backoff, max=_LONGEST_WAIT, jitter=self.backoff
        )

        def choose_wait(state: tenacity.RetryCallState) -> float:
            # For how long ROBIN asks everybody to wait, the pace waits.
            return 0.0 if _get_answer(state).retry_after is not None else backoff(state)

        retrying = tenacity.Retrying(
            stop=_UsedUp(self.attempts, self.patience) | tenacity.stop_when_event_set(stopping),
            retry=tenacity.retry_if_result(lambda answer: answer.is_retryable),
            wait=choose_wait,
            sleep=self.sleep,
            retry_error_callback=_get_answer,
        )
        answer: Answer = retrying(attempt)
        return answer


class _UsedUp(tenacity.stop.stop_base):
    """Stops after so many failures, or after being asked to wait so often."""

    def __init__(self, attempts: int, patience: int) -> None:
        self._left = {True: patience, False: attempts}

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        is_busy = _get_answer(retry_state).meaning is Meaning.BUSY
        self._left[is_busy] -= 1
        return self._left[is_busy] <= 0


def _get_answer(state: tenacity.RetryCallState) -> Answer:
    assert state.outcome is not None
    answer: Answer = state.outcome.result()
    return answer
