"""Doubt: what ROBIN may have taken or not is sent again, word for word, before anything is compared.

What was sent stands in the files of the run that sent it. The exports may say something else by now, and
`old_revenue` has to be what ROBIN holds.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import pyarrow as pa

from robin_etl.core import columns, payload
from robin_etl.core.payload import Change, Chunk
from robin_etl.core.words import count
from robin_etl.exceptions import LedgerBusyError, StoppedError
from robin_etl.ledger import Ledger
from robin_etl.ledger.moves import NO_PAYLOAD
from robin_etl.observer import Answered, Event, Observer, Waiting
from robin_etl.settings import Settings
from robin_etl.stages.destination import check_destination
from robin_etl.stages.files import Folder, FrameFile
from robin_etl.stages.records import Loaded
from robin_etl.stages.run import Partition, Run, find_partitions
from robin_etl.stages.sending import open_sender

log = logging.getLogger(__name__)

_NAMED = 10


def settle_before_comparing(
    settings: Settings, run: Run, ledger: Ledger, observer: Observer, *, only_own: bool = False
) -> None:
    """Settle what is in doubt, if anything is and no other run is posting, which then does it.

    `only_own`: whether to look no further than this run's own earlier tries. Raises what `settle_doubt`
    raises, and `LedgerBusyError` where the run is about to write its own files anew, which alone say
    what it sent.
    """
    if run.scope.dry_run or not ledger.doubts.has_open(run.id if only_own else None):
        return
    try:
        with ledger.posting(run.id, run.journals):
            settle_doubt(settings, run, ledger, observer)
    except LedgerBusyError:
        if ledger.doubts.has_open(run.id):
            raise


def settle_doubt(settings: Settings, run: Run, ledger: Ledger, observer: Observer) -> None:
    """Send again what is in doubt; then the ledger holds what ROBIN holds. Needs the posting lock.

    What can't be sent again, or is rejected now, is undecided: ROBIN may hold those orders as before or
    as sent, and the run goes on from before. Raises `BindingError`, and what stops delivery.
    """
    check_destination(settings, run, ledger)
    found = ledger.doubts.take_over(run.id)
    if not found.requests:
        return
    # Before anything is sent, so that the run reports it, however it ends.
    in_doubt = Loaded(interrupted_runs=found.dead, in_doubt=found.orders, doubtful=found.requests)
    note_found(run, replace(in_doubt, erased=found.erased or None))
    chunks, lost = _find_chunks(run, ledger, found.open)
    if chunks:
        with open_sender(settings, run, ledger, _observe_answers(observer)) as sender:
            sender.deliver_chunks(enumerate(chunks), total=sum(map(len, chunks)))
    note_undecided(run, ledger, lost)


def note_undecided(run: Run, ledger: Ledger, lost: tuple[str, ...] = ()) -> None:
    """Close the doubts that are settled by now, or can't be, such as those of the orders `lost`; and
    note which orders ROBIN may hold as before or as sent. Needs the posting lock.
    """
    judged = ledger.doubts.judge(lost)
    named = (run.loaded.find() or Loaded()).undecided
    if undecided := sorted({*judged.undecided} - {*named}):
        log.warning(
            "ROBIN may hold %s at either amount, as before or as sent: %s. The run goes on from before; "
            "compare them with ROBIN's page.",
            count(len(undecided), "order"),
            ", ".join(undecided[:_NAMED]),
        )
    note_found(run, Loaded(doubtful=judged.requests, undecided=judged.undecided))


def find_doubt(ledger: Ledger) -> tuple[str, ...]:
    """The orders that would be sent again, those that a dead run left under way among them."""
    found = ledger.doubts.describe_open()
    return tuple(sorted({*found.orders, *found.under_way}))


def note_found(run: Run, found: Loaded) -> None:
    """Add to what the run's tries at loading have found."""
    if found != Loaded():
        run.loaded.write((run.loaded.find() or Loaded()).add(found))


def _find_chunks(run: Run, ledger: Ledger, rows: pd.DataFrame) -> tuple[list[Chunk], tuple[str, ...]]:
    """The changes of these deliveries as they were sent, request by request, oldest first; and the
    orders of those that can't be sent again: their run's files have them no more, or the ledger holds
    another state by now than they were compared with.
    """
    found: dict[tuple[int, str], Change] = {}
    for run_id, of_run in rows.groupby("run"):
        folder = Folder(run.all_runs.path / str(run_id))
        wanted = {
            (number, wave): (request, kept)
            for request, number, wave, kept in zip(
                of_run["request"],
                of_run["order_number"],
                of_run["wave"],
                of_run["payload"],
                strict=True,
            )
        }
        for change in _read_changes(folder, of_run["order_number"], ledger):
            request, kept = wanted.get((change.order_number, change.wave), (0, ""))
            if request and _is_same(kept, change.kept):
                found[request, change.order_number] = change
    keys = list(zip(rows["request"], rows["order_number"], strict=True))
    chunks: dict[int, Chunk] = {}
    for request, number in keys:
        if (request, number) in found:
            chunks.setdefault(request, []).append(found[request, number])
    lost = sorted(number for request, number in keys if (request, number) not in found)
    return [chunks[request] for request in sorted(chunks)], tuple(lost)


def _read_changes(folder: Folder, numbers: pd.Series, ledger: Ledger) -> Iterator[Change]:
    """The changes of these orders in a run's files that start from what the ledger holds."""
    for frame in _list_changes(folder):
        try:
            parts = [rows[rows["order_number"].isin(numbers)] for rows in frame.read_batches()]
        except (OSError, pa.ArrowException, ValueError, KeyError, StoppedError):
            continue  # cut off, or another version's
        for rows in parts:
            if len(rows):
                yield from payload.make_changes(rows[_starts_from_ledger(rows, ledger)])


def _list_changes(folder: Folder) -> Iterator[FrameFile]:
    if not folder.path.exists():
        return
    for holder in (folder, *find_partitions(folder)):
        frame = Partition.changes.make(holder, Partition.changes.name)
        if frame.exists():
            yield frame


def _starts_from_ledger(rows: pd.DataFrame, ledger: Ledger) -> pd.Series:
    """Which changes were compared with what the ledger holds of their orders."""
    known = ledger.states.rows_of(rows["order_number"])
    held = known[known["is_told"]].set_index("order_number")["revenue"]
    now = rows["order_number"].map(held).astype(columns.CENTS)
    return (
        ((now == rows["old_revenue"]) | (now.isna() & rows["old_revenue"].isna()))
        .fillna(value=False)
        .astype(bool)
    )


def _is_same(logged: str, kept: str) -> bool:
    """Whether a logged payload is that of a change; of one that a ledger made from journals knows
    nothing of, order and wave have to do.
    """
    return logged in (kept, NO_PAYLOAD) or bool(json.loads(logged) == json.loads(kept))


def _observe_answers(observer: Observer) -> Observer:
    """Without the progress of what no plan counts."""

    def observe(event: Event) -> None:
        if isinstance(event, Answered | Waiting):
            observer(event)

    return observe
