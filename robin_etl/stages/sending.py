"""A sender for the requests of one run: client, pace, retries and writer put together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from robin_etl import signals
from robin_etl.core import limits
from robin_etl.delivery import (
    AccountPace,
    AccountWindows,
    Client,
    LedgerWriter,
    Pace,
    RetryPolicy,
    Sender,
)
from robin_etl.ledger import Binding, Ledger
from robin_etl.observer import Observer
from robin_etl.settings import Settings
from robin_etl.stages.run import Run


@contextmanager
def open_sender(settings: Settings, run: Run, ledger: Ledger, observer: Observer) -> Iterator[Sender]:
    """A sender that keeps ROBIN's limits, with what was sent within them before. Needs the posting lock.

    A signal to stop ends its delivery. Raises `ConfigurationError` for an address that is none.
    """
    stopping = Event()
    with (
        Client.of(settings) as client,
        _open_pace(settings, ledger, stopping) as pace,
        signals.setting(stopping),
        LedgerWriter(ledger, run.id) as writer,
    ):
        yield Sender(
            client,
            pace,
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


@contextmanager
def _open_pace(settings: Settings, ledger: Ledger, stopping: Event) -> Iterator[Pace | AccountPace]:
    """The pace of the run or, where shops share the account's limits, of all runs on the account."""
    known = limits.parse_limits(settings.rate_limits)
    ages = ledger.deliveries.request_ages(max(limit.seconds for limit in known))
    location = settings.locate_limits()
    if not location:
        yield Pace(known, ages=ages, sleep=stopping.wait)
        return
    binding = Binding.of(settings)
    with AccountWindows(location, f"{binding.address} {binding.account}", ages=ages) as windows:
        yield AccountPace(windows, known, sleep=stopping.wait)
