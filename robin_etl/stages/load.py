"""Load: post the changes of all partitions, or acknowledge or rehearse them instead."""

from __future__ import annotations

from robin_etl.core import payload
from robin_etl.ledger import Ledger
from robin_etl.observer import Observer, Planned
from robin_etl.settings import Settings
from robin_etl.stages.classify import compare_rows
from robin_etl.stages.contacts import keep_contacts
from robin_etl.stages.destination import bind_ledger, check_destination, check_reader
from robin_etl.stages.doubt import find_doubt, note_found, note_undecided, settle_doubt
from robin_etl.stages.other_shops import count_moves, open_other_shops
from robin_etl.stages.partitioning import write_partitions
from robin_etl.stages.plan import make_plan, read_changes
from robin_etl.stages.records import Loaded
from robin_etl.stages.run import Partition, Run
from robin_etl.stages.sending import open_sender
from robin_etl.stages.validate import validate_changes


def post_changes(settings: Settings, run: Run, ledger: Ledger, observer: Observer) -> None:
    """Post what the partitions have to tell ROBIN; the ledger moves as ROBIN answers.

    Only one run posts at a time. What is in doubt is settled first. Where the ledger has moved since
    classify (by that, another run, or an earlier try of this one), the changes are made, validated and
    planned anew before anything is posted. Raises `BindingError`, `GuardError`, what `Sender.deliver`
    raises, and `LedgerBusyError`.
    """
    with ledger.posting(run.id, run.journals):
        bind_ledger(settings, run, ledger)
        settle_doubt(settings, run, ledger, observer)
        for partition in _renew(settings, run, ledger):
            validate_changes(settings, run, partition)
        plan = make_plan(settings, run, ledger)
        _confirm(run, ledger)
        keep_contacts(settings, run, ledger)
        observer(Planned(plan.changes, plan.requests, plan.seconds))
        with open_sender(settings, run, ledger, observer) as sender:
            try:
                sender.deliver(read_changes(run), total=plan.changes)
            finally:
                note_found(run, Loaded(held_back=tuple(sender.delivered.held_back)))
        note_undecided(run, ledger)


def rehearse_posts(settings: Settings, run: Run, ledger: Ledger) -> Loaded:
    """Keep the bodies that would be posted; touch neither ROBIN nor the ledger.

    Raises `BindingError`.
    """
    check_destination(settings, run, ledger)
    check_reader(settings, run)
    plan = run.plan.read()
    chunks = payload.split_into_chunks(read_changes(run), settings.chunk_size, payload.encode_payloads)
    requests = run.requests.write(payload.encode_body(chunk) for _, chunk in chunks)
    loaded = Loaded(would_post=plan.changes, would_request=requests, would_settle=find_doubt(ledger))
    run.loaded.write(loaded)
    return loaded


def acknowledge_changes(settings: Settings, run: Run, ledger: Ledger, observer: Observer) -> Loaded:
    """Take the changes over into the ledger without posting any, but for what is in doubt, which is
    settled first; raises as `post_changes` does.
    """
    with ledger.posting(run.id, run.journals):
        bind_ledger(settings, run, ledger)
        settle_doubt(settings, run, ledger, observer)
        _renew(settings, run, ledger)
        make_plan(settings, run, ledger)
        _confirm(run, ledger)
        keep_contacts(settings, run, ledger)
        acknowledged = 0
        for partition in run.partitions:
            changes = partition.changes.read()
            ledger.baseline(changes)
            acknowledged += len(changes)
    note_found(run, Loaded(acknowledged=acknowledged))
    return run.loaded.read()


def _renew(settings: Settings, run: Run, ledger: Ledger) -> tuple[Partition, ...]:
    """Make the changes of all partitions anew if the ledger has moved since, or another shop's whose
    orders count; those that were.

    An order may have moved to another customer meanwhile, so the partitions themselves are made anew.
    """
    partitions = run.partitions
    bases = [partition.basis.read() for partition in partitions]
    seen = {basis.revision for basis in bases}
    with open_other_shops(settings) as others:
        has_moved = {basis.elsewhere for basis in bases} != {count_moves(others)}
    if not has_moved and {*seen, run.partitioning.read().revision} == {ledger.states.revision()}:
        return ()
    write_partitions(run, ledger, len(partitions))
    for partition in partitions:
        compare_rows(settings, run, partition, ledger)
    return partitions


def _confirm(run: Run, ledger: Ledger) -> None:
    for partition in run.partitions:
        for confirmed in partition.confirmed.read_batches():
            ledger.confirm(confirmed)
