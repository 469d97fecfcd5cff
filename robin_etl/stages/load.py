"""Load: post the changes of all partitions, or acknowledge or rehearse them instead."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

from robin_etl import signals
from robin_etl.core import columns, limits, payload
from robin_etl.delivery import Client, LedgerWriter, Pace, RetryPolicy, Sender
from robin_etl.ledger import Ledger
from robin_etl.observer import Observer, Planned
from robin_etl.settings import Settings
from robin_etl.stages.classify import compare_rows
from robin_etl.stages.contacts import keep_contacts
from robin_etl.stages.destination import bind_ledger, check_destination, check_reader
from robin_etl.stages.extract import write_partitions
from robin_etl.stages.plan import make_plan, read_changes
from robin_etl.stages.records import Loaded
from robin_etl.stages.run import Partition, Run
from robin_etl.stages.validate import validate_changes


def post_changes(settings: Settings, run: Run, ledger: Ledger, observer: Observer) -> None:
    """Post what the partitions have to tell ROBIN; the ledger moves as ROBIN answers.

    Only one run posts at a time. Where the ledger has moved since classify (another run, or an earlier
    try of this one), the changes are made, validated and planned anew before anything is posted. Raises
    `BindingError`, `GuardError`, what `Sender.deliver` raises, and `LedgerBusyError`.
    """
    with ledger.lock.hold(run.id), Client.of(settings) as client:
        bind_ledger(settings, run, ledger)
        interrupted = ledger.deliveries.settle_interrupted(run.id)
        _add(run, Loaded(interrupted_runs=interrupted.runs, in_doubt=interrupted.orders))
        for partition in _renew(settings, run, ledger):
            validate_changes(settings, run, partition)
        plan = make_plan(settings, run, ledger)
        _confirm(run, ledger)
        keep_contacts(settings, run, ledger)
        observer(Planned(plan.changes, plan.requests, plan.seconds))
        stopping = Event()
        pace = _make_pace(settings, ledger, stopping)
        retry = RetryPolicy(settings.max_attempts, sleep=stopping.wait, backoff=settings.backoff)
        with signals.setting(stopping), LedgerWriter(ledger, run.id) as writer:
            sender = Sender(
                client,
                pace,
                retry,
                writer,
                chunk_size=settings.chunk_size,
                concurrency=settings.concurrency,
                stopping=stopping,
                observer=observer,
            )
            try:
                sender.deliver(read_changes(run), total=plan.changes)
            finally:
                _add(run, Loaded(held_back=tuple(sender.delivered.held_back)))


def rehearse_posts(settings: Settings, run: Run, ledger: Ledger) -> Loaded:
    """Keep the bodies that would be posted; touch neither ROBIN nor the ledger.

    Raises `BindingError`.
    """
    check_destination(settings, run, ledger)
    check_reader(settings, run)
    plan = run.plan.read()
    chunks = payload.split_into_chunks(read_changes(run), settings.chunk_size, payload.encode_payloads)
    requests = run.requests.write(payload.encode_body(chunk) for _, chunk in chunks)
    loaded = Loaded(would_post=plan.changes, would_request=requests)
    run.loaded.write(loaded)
    return loaded


def acknowledge_changes(settings: Settings, run: Run, ledger: Ledger) -> Loaded:
    """Take the changes over into the ledger without posting any; raises `BindingError`."""
    with ledger.lock.hold(run.id):
        bind_ledger(settings, run, ledger)
        _renew(settings, run, ledger)
        make_plan(settings, run, ledger)
        _confirm(run, ledger)
        keep_contacts(settings, run, ledger)
        acknowledged = 0
        for partition in run.partitions:
            changes = partition.changes.read()
            ledger.states.baseline(changes)
            acknowledged += len(changes)
    loaded = Loaded(acknowledged=acknowledged)
    run.loaded.write(loaded)
    return loaded


def _renew(settings: Settings, run: Run, ledger: Ledger) -> tuple[Partition, ...]:
    """Make the changes of all partitions anew if the ledger has moved since; those that were.

    An order may have moved to another customer meanwhile, so the partitions themselves are made anew.
    """
    partitions = run.partitions
    seen = {partition.basis.read().revision for partition in partitions}
    if {*seen, run.partitioning.read().revision} == {ledger.states.revision()}:
        return ()
    write_partitions(run, ledger, len(partitions))
    for partition in partitions:
        compare_rows(settings, run, partition, ledger)
    return partitions


def _confirm(run: Run, ledger: Ledger) -> None:
    for partition in run.partitions:
        for confirmed in partition.confirmed.read_batches():
            ledger.states.acknowledge(columns.iterate_states(confirmed))


def _make_pace(settings: Settings, ledger: Ledger, stopping: Event) -> Pace:
    """ROBIN's limits, with what was sent within them before."""
    known = limits.parse_limits(settings.rate_limits)
    ages = ledger.deliveries.request_ages(max(limit.seconds for limit in known))
    return Pace(known, ages=ages, sleep=stopping.wait)


def _add(run: Run, found: Loaded) -> None:
    """Add to what the run's tries at loading have found."""
    kept = run.loaded.find() or Loaded()
    run.loaded.write(
        replace(
            kept,
            interrupted_runs=_merge(kept.interrupted_runs, found.interrupted_runs),
            in_doubt=_merge(kept.in_doubt, found.in_doubt),
            held_back=_merge(kept.held_back, found.held_back),
        )
    )


def _merge(kept: tuple[str, ...], found: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*kept, *found}))
