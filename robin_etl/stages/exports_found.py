"""Which files a run reads: those of its days, but of a catch-up not those that would stop it."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import date

from upath import UPath

from robin_etl.exceptions import ExportError, GateError
from robin_etl.exports import locations
from robin_etl.exports.locations import ExportFile
from robin_etl.gate import Verdict
from robin_etl.ledger import ExportRecord, Ledger
from robin_etl.redaction import hide_credentials
from robin_etl.settings import Settings
from robin_etl.stages.records import FoundExports
from robin_etl.stages.run import Run

log = logging.getLogger(__name__)

# The files of days.
Found = dict[date, tuple[ExportFile, ...]]


def find_files(settings: Settings, run: Run) -> tuple[Found, tuple[ExportRecord, ...]]:
    """The files of the run's days; and of a catch-up those of days that have two exports.

    Raises `ExportMissingError` where no day has any, and `ExportError` for two of a day.
    """
    scope = run.scope
    if scope.exports:
        return {day: (_look_at(settings.path(path)),) for day, path in scope.exports}, ()
    conflicts: dict[date, ExportError] = {}
    found = locations.find_exports(
        settings.exports,
        scope.days or locations.list_days(scope.first, scope.last),
        settings.path,
        done_marker=settings.done_marker,
        conflicts=conflicts,
    )
    if conflicts and (not scope.days or scope.last in conflicts or not found):
        raise min(conflicts.items())[1]
    if not found:
        raise locations.make_missing_error(settings.exports, scope.first, scope.last)
    for day, error in conflicts.items():
        log.warning("%s stays outstanding: %s", day, error)
    return found, tuple(
        ExportRecord(day, error.path, notes=(f"{day} has two exports, and is left out",))
        for day, error in conflicts.items()
    )


def _look_at(path: UPath) -> ExportFile:
    return locations.look_at(path) or ExportFile(path, hide_credentials(str(path)), None, None, None)


def describe_found(
    settings: Settings,
    run: Run,
    ledger: Ledger,
    found: Found,
    left_out: tuple[ExportRecord, ...] = (),
) -> FoundExports:
    """Which files the run reads, and what it finds of its other days, of which some are `left_out`."""
    scope = run.scope
    files = tuple(_describe_file(day, one) for day, those in found.items() for one in those)
    if scope.exports:
        days = [day for day, _ in scope.exports]
        places = {one.place for one in files}
        with suppress(ExportError):  # another place, which a run of named files does without
            others = locations.find_exports(settings.exports, days, settings.path)
            own = [_describe_file(day, one) for day, those in others.items() for one in those]
            return FoundExports(files, instead_of=tuple(one for one in own if one.place not in places))
        return FoundExports(files)
    if scope.days:
        gone = {*scope.days} - found.keys() - {one.day for one in left_out}
        return FoundExports(files, missing=(*scope.missing, *sorted(gone)), left_out=left_out)
    first, last = min(found), max(found)
    known = {one.day for one in ledger.exports.between(first, last)}
    days = locations.list_days(first, last)
    return FoundExports(files, missing=tuple(day for day in days if day not in found.keys() | known))


def _describe_file(day: date, file: ExportFile) -> ExportRecord:
    return ExportRecord(day, file.place, file.size, file.version)


def find_stopping_days(run: Run, error: ExportError | GateError, found: Found) -> set[date]:
    """The days without which a catch-up can go on, since their exports alone stop it; none where the
    last of its days is among them, or where it would have no other.
    """
    if not run.scope.days:
        return set()
    if isinstance(error, ExportError):
        days = {day for day, those in found.items() if any(str(one.path) == error.path for one in those)}
    else:
        days = find_days_of_broken_rows(run)
    return days if days < found.keys() and run.scope.last not in days else set()


def find_days_of_broken_rows(run: Run) -> set[date]:
    """The days of which more rows are quarantined than the suite allows, each taken by itself."""
    verdict = Verdict.from_json(run.export_verdict.find() or {})
    rows: Counter[date] = Counter()
    broken: Counter[date] = Counter()
    for one in run.found.read().files:
        rows[one.day] += one.rows
        broken[one.day] += one.quarantined
    return {day for day in rows if verdict.are_too_many(broken[day], rows[day])}


def leave_out(export: ExportRecord) -> ExportRecord:
    """What is known of a file that a catch-up leaves out."""
    return replace(export, notes=(f"{export.name} stops a run, and is left out",))
