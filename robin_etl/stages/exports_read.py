"""What a run leaves in the ledger of the exports it has read: what they were like, and what is odd."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from statistics import median

from robin_etl.core.outcomes import DEGRADED, DONE, FINISHED, STOPPED
from robin_etl.ledger import ExportRecord, Ledger
from robin_etl.ledger.exports import MISSING
from robin_etl.settings import Settings
from robin_etl.stages.records import Classified, FoundExports, Summary
from robin_etl.stages.run import Run

_USUAL_DAYS = 7


@dataclass(frozen=True)
class _Known:
    """What the ledger knew of a run's days before it: those that finished runs have read, and those that
    others have tried.
    """

    finished: frozenset[date]
    tried: frozenset[date]


def describe_exports(
    settings: Settings, run: Run, ledger: Ledger, classified: Classified
) -> FoundExports:
    """The exports that a run has read, with what somebody has to look at of each."""
    found = run.found.find() or FoundExports()
    if not found.files:
        return found
    known = _look_up_known(run, ledger, found.files)
    copies = _find_copies(found.files, ledger, known)
    files = [replace(one, notes=(*one.notes, *copies.get(one, ()))) for one in found.files]
    if not run.scope.final:  # which tells an order's last version alone, whatever day it was new on
        files = _note_standstill(files, ledger, known, classified, least=settings.guards.empty)
    return replace(found, files=tuple(files))


def record_exports(run: Run, ledger: Ledger, summary: Summary, found: FoundExports) -> None:
    """Keep in the ledger which exports the run has read, and with what end.

    What a finished run has read stays so where a later one stops at the same file.
    """
    waiting = _count_waiting(run, ledger, summary)
    is_odd = bool(summary.warnings or summary.delivered.remarked)
    by_day: dict[date, list[ExportRecord]] = {}
    for one in found.files:
        outcome = _judge(one, summary, is_odd=is_odd, waiting=waiting[one.day])
        by_day.setdefault(one.day, []).append(replace(one, outcome=outcome))
    for day, records in by_day.items():
        new = summary.classified.new_by_day.get(f"{day}", 0)
        records[0] = replace(records[0], new_orders=new, waiting=waiting[day])
    kept = [one for records in by_day.values() for one in records]
    if summary.is_stopped:
        kept = _leave_finished(kept, ledger)
    else:
        kept += (replace(one, outcome=STOPPED) for one in found.left_out)
        kept += (replace(one, outcome=by_day[one.day][0].outcome) for one in found.instead_of)
        kept += (ExportRecord(day, outcome=MISSING) for day in found.missing)
    read_at = ledger.engine.stamp()
    ledger.exports.record(replace(one, run=run.id, read_at=read_at) for one in kept)


def _judge(export: ExportRecord, summary: Summary, *, is_odd: bool, waiting: int) -> str:
    if summary.is_stopped:
        return STOPPED
    return DEGRADED if is_odd or waiting or export.quarantined or export.notes else DONE


def _leave_finished(records: Sequence[ExportRecord], ledger: Ledger) -> list[ExportRecord]:
    """Those of which the ledger does not say that a finished run has read them as they are."""
    if not records:
        return []
    days = [one.day for one in records]
    finished = {
        (one.day, one.place, one.size, one.version)
        for one in ledger.exports.between(min(days), max(days))
        if one.outcome in FINISHED
    }
    return [one for one in records if (one.day, one.place, one.size, one.version) not in finished]


def _count_waiting(run: Run, ledger: Ledger, summary: Summary) -> Counter[date]:
    """The changes of each day that are rejected, held back behind those, or wait for a contact.

    A later day's row may bring a rejected order through, and leave blank what only this day's says.
    """
    waiting = Counter(
        {date.fromisoformat(day): number for day, number in summary.classified.waiting_by_day.items()}
    )
    rejected = ledger.deliveries.rejected_days(run=run.id) if summary.delivered.rejected else {}
    waiting.update({date.fromisoformat(day): orders for day, orders in rejected.items()})
    if held_back := summary.delivered.held_back:
        for partition in run.partitions:
            for frame in partition.changes.read_batches(["order_number", "day"]):
                days = frame["day"][frame["order_number"].isin(held_back)].value_counts()
                waiting.update({date.fromisoformat(str(day)): int(n) for day, n in days.items()})
    return waiting


def _look_up_known(run: Run, ledger: Ledger, files: Sequence[ExportRecord]) -> _Known:
    first, last = min(one.day for one in files), max(one.day for one in files)
    finished = {one.day for one in ledger.exports.between(first, last) if one.outcome in FINISHED}
    return _Known(frozenset(finished), frozenset(ledger.runs.days_tried(first, last, but=run.id)))


def _find_copies(
    files: Sequence[ExportRecord], ledger: Ledger, known: _Known
) -> Mapping[ExportRecord, tuple[str, ...]]:
    """Of the files whose bytes are another day's, which day that is.

    Of two such days the later one is the copy, unless it was read before.
    """
    days: dict[str, set[date]] = {}
    earlier = ledger.exports.with_digests([one.digest for one in files if one.digest and one.rows])
    for one in earlier:
        days.setdefault(one.digest or "", set()).add(one.day)
    copies: dict[ExportRecord, tuple[str, ...]] = {}
    for one in files:
        if not one.digest or not one.rows:
            continue
        same = days.setdefault(one.digest, set())
        others = [
            day for day in same if day < one.day or (day > one.day and one.day not in known.finished)
        ]
        if others:
            copies[one] = (f"{one.name} is byte for byte the export of {min(others)}",)
        same.add(one.day)
    return copies


def _note_standstill(
    files: Sequence[ExportRecord],
    ledger: Ledger,
    known: _Known,
    classified: Classified,
    *,
    least: int,
) -> list[ExportRecord]:
    """The files; of a day that is read for the first time and brings no new order, where the days before
    had at `least` so many, the first says so.
    """
    before = ledger.exports.new_orders(files[0].day, _USUAL_DAYS)[::-1]
    noted: list[ExportRecord] = []
    seen: set[date] = set()
    for one in files:
        if one.day in seen:
            noted.append(one)
            continue
        seen.add(one.day)
        new = classified.new_by_day.get(f"{one.day}", 0)
        usual = median(before[-_USUAL_DAYS:]) if before else 0
        is_first_time = one.day not in known.finished | known.tried
        if is_first_time and not new and usual >= least:
            words = f"{one.name} brings no new order, where the days before had {usual:,.0f}"
            noted.append(replace(one, notes=(*one.notes, words)))
        else:
            noted.append(one)
        before.append(new)
    return noted
