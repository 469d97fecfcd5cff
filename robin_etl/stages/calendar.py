"""The days of a shop: which are done, which have still to be run and why, and which have no export.

One listing of the exports is compared with what the ledger knows of them; a file is read only where its
size or time differ from what they were.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any

from robin_etl.core.outcomes import DEGRADED, DONE, FINISHED, STOPPED
from robin_etl.core.words import count
from robin_etl.exceptions import ExportError
from robin_etl.exports import locations, profiles, streams
from robin_etl.exports.locations import ExportFile
from robin_etl.ledger import ExportRecord, Ledger, UnchangedExport
from robin_etl.ledger.exports import MISSING
from robin_etl.settings import Settings
from robin_etl.stages.answers import is_over

log = logging.getLogger(__name__)

OUTSTANDING = "outstanding"


@dataclass(frozen=True)
class DayState:
    """A day: `done`, `degraded`, `outstanding` or `missing`; `why`, in words, where it is not done; and
    the run that had to do with it last.
    """

    day: date
    state: str
    why: str = ""
    run: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {**asdict(self), "day": f"{self.day}"}


@dataclass(frozen=True)
class Calendar:
    """The last days, oldest first, and how many `older` ones were never run.

    `unchanged`: the files that were written anew, or moved, with the same bytes.
    """

    days: tuple[DayState, ...] = ()
    older: int = 0
    unchanged: tuple[UnchangedExport, ...] = ()

    def find(self, state: str) -> tuple[DayState, ...]:
        """The days that are in a state."""
        return tuple(one for one in self.days if one.state == state)


def draw_calendar(
    settings: Settings, ledger: Ledger, until: date, *, days: int, is_expected: bool = False
) -> Calendar:
    """So many days back from the newest day until then that the ledger knows or that has an export; or
    from `until`, where its export `is_expected`. None before the first day that the ledger knows.

    Raises `ExportError` where the exports can't be listed.
    """
    known_from = _find_beginning(ledger, until, days)
    is_listed = locations.can_list(settings.exports)
    asked_from = known_from if is_listed else max(known_from, until - timedelta(days=days))
    all_days = locations.list_days(asked_from, until)
    conflicts: dict[date, ExportError] = {}
    found = locations.find_exports(
        settings.exports,
        all_days,
        settings.path,
        done_marker=settings.done_marker,
        conflicts=conflicts,
    )
    records: dict[date, list[ExportRecord]] = defaultdict(list)
    for one in ledger.exports.between(known_from, until):
        records[one.day].append(one)
    newest = until if is_expected else max([*found, *conflicts, *records], default=known_from)
    first = max(known_from, newest - timedelta(days=days))
    shown = locations.list_days(first, newest) if found or records or settings.query else []
    can_be_asked = _find_askable(settings, ledger, shown)
    if settings.query:
        shown = [day for day in shown if day in {*found, *conflicts, *records, *can_be_asked}]
    rejected = ledger.deliveries.rejected_days() if shown else {}
    judged = [
        (DayState(day, OUTSTANDING, "it has two exports", _name_run(records.get(day, ()))), ())
        if day in conflicts
        else _judge(
            day,
            found.get(day, ()),
            records.get(day, ()),
            rejected.get(f"{day}", 0),
            can_be_asked=day in can_be_asked,
        )
        for day in shown
    ]
    return Calendar(
        days=tuple(state for state, _ in judged),
        older=sum(_is_never_read(found[day], records[day]) for day in found if day < first),
        unchanged=tuple(one for _, unchanged in judged for one in unchanged),
    )


def _find_beginning(ledger: Ledger, until: date, days: int) -> date:
    """The first day that the ledger knows. One that holds orders and knows no day, since it was made
    anew from its journals or is of an older version, is taken to have read none of the last days.
    """
    beginning = ledger.exports.first_day()
    if beginning is None and (oldest := ledger.states.oldest_day()) is not None:
        beginning = max(oldest, until - timedelta(days=days))
    return until if beginning is None else min(beginning, until)


def find_days_to_retry(ledger: Ledger) -> tuple[DayState, ...]:
    """The days of which rows are quarantined, rejected, held back or waiting, oldest first."""
    rejected = {
        date.fromisoformat(day): number for day, number in ledger.deliveries.rejected_days().items()
    }
    records: dict[date, list[ExportRecord]] = defaultdict(list)
    for one in ledger.exports.set_aside():
        records[one.day].append(one)
    return tuple(
        DayState(
            day, DEGRADED, _describe_aside(records[day], rejected.get(day, 0)), _name_run(records[day])
        )
        for day in sorted({*records, *rejected})
    )


def _find_askable(settings: Settings, ledger: Ledger, days: Sequence[date]) -> set[date]:
    """The days that a query can be asked for, if there is one: those that are over."""
    if not settings.query:
        return set()
    zone, now = profiles.find_zone(settings), ledger.engine.clock()
    return {day for day in days if is_over(day, zone, now)}


def _judge(
    day: date,
    files: Sequence[ExportFile],
    records: Sequence[ExportRecord],
    rejected: int,
    *,
    can_be_asked: bool = False,
) -> tuple[DayState, tuple[UnchangedExport, ...]]:
    """A day's state, and its files that were written anew or moved and have the same bytes as before."""
    run = _name_run(records)
    finished = [one for one in records if one.outcome in FINISHED]
    if not files and not finished and can_be_asked:
        return DayState(day, OUTSTANDING, "the query was not asked for it yet", run), ()
    if not files and not finished:
        why = "its export is gone" if any(one.outcome == STOPPED for one in records) else "no export"
        return DayState(day, MISSING, why, run), ()
    known = {(one.place, one.size, one.version): one for one in finished}
    differing = [one for one in files if (one.place, one.size, one.version) not in known]
    unchanged = tuple(_find_unchanged(differing, finished))
    same = {one.now.place for one in unchanged}
    unread = [one for one in differing if one.place not in same]
    if unread:
        return DayState(day, OUTSTANDING, _explain_unread(unread, records), run), unchanged
    why = _describe_aside(finished, rejected)
    is_degraded = bool(why) or any(one.outcome == DEGRADED for one in finished)
    return DayState(day, DEGRADED if is_degraded else DONE, why or "", run), unchanged


def _find_unchanged(
    differing: Sequence[ExportFile], finished: Sequence[ExportRecord]
) -> Iterator[UnchangedExport]:
    """Of the files that were written anew or moved, those whose bytes a finished run has read."""
    known = [one for one in finished if one.digest]
    sizes = {one.size for one in known}
    if not known:
        return
    for file in differing:
        if file.size is not None and file.size not in sizes:
            continue
        try:
            digest = streams.digest(file.path)
        except ExportError as error:
            log.warning("%s", error)
            continue
        same = [one for one in known if one.digest == digest]
        if same:
            before = next((one for one in same if one.place == file.place), same[0])
            now = replace(before, place=file.place, size=file.size, version=file.version)
            yield UnchangedExport(before, now)
            if len(same) > 1:  # files of one day with the same bytes each stand for one
                known.remove(before)


def _explain_unread(unread: Sequence[ExportFile], records: Sequence[ExportRecord]) -> str:
    by_place = {one.place: one for one in records if one.place}
    if not by_place:
        return "never read"
    outcomes = [by_place[one.place].outcome if one.place in by_place else None for one in unread]
    if STOPPED in outcomes:
        return "its run stopped"
    if None not in outcomes:
        return "changed since it was read"
    return f"{count(outcomes.count(None), 'further file')} never read"


def _is_never_read(files: Sequence[ExportFile], records: Sequence[ExportRecord]) -> bool:
    return bool(files) and not any(one.outcome in FINISHED for one in records)


def _name_run(records: Sequence[ExportRecord]) -> str | None:
    """The run that had to do with a day last."""
    return max(records, key=lambda one: one.read_at).run if records else None


def _describe_aside(records: Sequence[ExportRecord], rejected: int) -> str:
    """What of a day somebody has to look at, in words."""
    quarantined, waiting = (
        sum(getattr(one, name) for one in records) for name in ("quarantined", "waiting")
    )
    counted = (
        f"{count(quarantined, 'row')} quarantined" if quarantined else "",
        f"{count(rejected, 'order')} rejected" if rejected else "",
        f"{count(waiting - rejected, 'change')} waiting" if waiting > rejected else "",
    )
    notes = (note for one in records for note in one.notes)
    return ", ".join(filter(None, (*counted, *notes)))
