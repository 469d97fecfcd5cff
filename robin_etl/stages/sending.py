"""A sender for the requests of one run: client, pace, retries and writer put together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from robin_etl import signals
from robin_etl.core import limits
from robin_etl.delivery import Client, LedgerWriter, Pace, RetryPolicy, Sender
from robin_etl.ledger import Ledger
from robin_etl.observer import Observer
from robin_etl.settings import Settings
from robin_etl.stages.run import Run


@contextmanager
def open_sender(settings: Settings, run: Run, ledger: Ledger, observer: Observer) -> Iterator[Sender]:
    """A sender that keeps ROBIN's limits, with what was sent within them before. Needs the posting lock.

    A signal to stop ends its delivery. Raises `ConfigurationError` for an address that is none.
    """
    stopping = Event()
    known = limits.parse_limits(settings.rate_limits)
    ages = ledger.deliveries.request_ages(max(limit.seconds for limit in known))
    with (
        Client.of(settings) as client,
        signals.setting(stopping),
        LedgerWriter(ledger, run.id) as writer,
    ):
        yield Sender(
            client,
            Pace(known, ages=ages, sleep=stopping.wait),
            RetryPolicy(
                settings.max_attempts,
                sleep=stopping.wait,
                backoff=settings.backoff,
                longest_wait=settings.longest_wait,
            ),
            writer,
            chunk_size=settings.chunk_size,
            concurrency=settings.concurrency,
            stopping=stopping,
            observer=observer,
        )
