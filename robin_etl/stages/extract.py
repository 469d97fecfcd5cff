"""Extract: read the run's exports, let the gate set rows aside, and write the rest in partitions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from statistics import median
from typing import TypeVar

import pandas as pd
import pyarrow as pa
from pydantic_core import to_json

from robin_etl.core import columns, customers, partition
from robin_etl.core.words import name_some
from robin_etl.exceptions import ExportError, GateError
from robin_etl.exports import files, profiles
from robin_etl.exports.choosing import add_counts
from robin_etl.exports.files import Export
from robin_etl.exports.profiles import Profile
from robin_etl.gate import EXPORT_SUITE, Suite, SuiteCheck, load_suite
from robin_etl.ledger import ExportRecord, Ledger
from robin_etl.ledger.binding import fingerprint_customer_key
from robin_etl.settings import Settings
from robin_etl.stages.answers import land_answers
from robin_etl.stages.exports_found import (
    Found,
    describe_found,
    find_days_of_broken_rows,
    find_files,
    find_stopping_days,
    leave_out,
)
from robin_etl.stages.line_ends import LineEnds
from robin_etl.stages.nameless import CustomerFinder
from robin_etl.stages.partitioning import write_partitions
from robin_etl.stages.records import Extracted, ReadBy
from robin_etl.stages.run import Run

log = logging.getLogger(__name__)

T = TypeVar("T")

# What says where a row was, and why it was set aside.
_PLACE = ("file", "line", "rules")

_NO_BOUND = 1e15  # more than any amount that is read

# Small exports are checked together, up to so many rows or cells: the gate has a price for each time
# is asked.
_CHECKED_ROWS = 250_000
_CHECKED_CELLS = 20_000_000
_CHECKED_BYTES = 200 << 20
# Of rows that are set aside, and are held until all are read.
_MOST_HELD_BYTES = 200 << 20


@dataclass(frozen=True)
class _Batch:
    """A batch of the file of that number, counted from 0."""

    file: int
    export: Export


@dataclass(frozen=True)
class _Counted:
    """How many rows were read, and how many orders left out, by reason or without a customer; and
    of each file what it was like.
    """

    rows: int
    left_out: Mapping[str, int]
    without_customer: int
    files: tuple[ExportRecord, ...]


def extract_exports(settings: Settings, run: Run, ledger: Ledger) -> Extracted:
    """Leave the run's rows, in partitions, and its quarantine.

    Raises `BindingError`, `ExportMissingError`, `ExportError` or `GateError`.
    """
    profile = profiles.load_configured(settings)
    land_answers(settings, run.scope, profile, ledger.engine.clock)
    found, left_out = find_files(settings, run)
    while True:
        kept = describe_found(settings, run, ledger, found, left_out)
        run.found.write(kept)
        try:
            extracted = _read_exports(settings, run, ledger, profile, found)
            break
        except (ExportError, GateError) as error:
            days = find_stopping_days(run, error, found)
            if not days:
                raise
            log.warning("%s stays outstanding: %s", name_some(sorted(days)), error)
            left_out += tuple(leave_out(one) for one in kept.files if one.day in days)
            found = {day: those for day, those in found.items() if day not in days}
    shards = settings.shards
    number = partition.choose_number(extracted.exported) if shards == "auto" else shards
    write_partitions(run, ledger, number)
    return extracted


def _read_exports(
    settings: Settings, run: Run, ledger: Ledger, profile: Profile, found: Found
) -> Extracted:
    """Read these files and let the gate judge them; raises `ExportError` or `GateError`."""
    kept = run.found.read()
    suite = load_suite(settings.path(settings.expectations) / EXPORT_SUITE)
    check = SuiteCheck(suite, {"fewest_rows": _compute_fewest_rows(ledger, suite, len(found))})
    exports = _read_together(settings, profile, found, LineEnds(ledger))
    counted = _write_rows(
        exports, make_finder(profile, ledger), check, run, key=settings.digest_key(), files=kept.files
    )
    run.found.write(replace(kept, files=counted.files))
    worth = run.exported.read(["revenue", "broken"])
    revenues = worth["revenue"][~worth["broken"]]
    verdict = check.finish(run.exported.read, {"most_revenue": compute_most(suite, revenues, ledger)})
    pa.default_memory_pool().release_unused()
    run.export_verdict.write(verdict.to_json())
    extracted = Extracted(
        files=len(kept.files),
        exported=counted.rows,
        left_out=sum(counted.left_out.values()),
        left_out_by=counted.left_out,
        without_customer=counted.without_customer,
        quarantined=verdict.broken_rows,
        warnings=verdict.warnings,
        highest=None if revenues.isna().all() else int(revenues.max()),
        read_by=describe_reading(profile),
        customer_key=fingerprint_customer_key(settings),
    )
    run.extracted.write(extracted)
    for rule in verdict.warnings:
        log.warning("The rule %s of %s warns about %s.", rule, suite.name, run.title)
    verdict.stop_unless_passed(
        f"the export of {run.title}",
        # A bad row a day holds none of many days back, as it would not day by day.
        is_right_in_parts=bool(run.scope.days) and not find_days_of_broken_rows(run),
    )
    return extracted


def _write_rows(
    read: Iterable[list[_Batch]],
    finder: CustomerFinder,
    check: SuiteCheck,
    run: Run,
    *,
    key: bytes,
    files: tuple[ExportRecord, ...],
) -> _Counted:
    """Write the rows of all exports, those that break a rule marked and in the quarantine too."""
    quarantine = []
    kept = list(files)
    rows_read = without_customer = held_bytes = 0
    left_out: Mapping[str, int] = {}
    with run.exported.writing() as write:
        for together in read:
            settled = [finder.settle(batch.export) for batch in together]
            exports = [export for export, _ in settled]
            rows = pd.concat([export.orders.rows for export in exports], ignore_index=True)
            rows.index += rows_read
            broken = check.check_batch(rows)
            try:
                check.stop_at_nearly_all_broken(
                    f"the export of {run.title}", are_large=held_bytes > _MOST_HELD_BYTES
                )
            except GateError as error:  # which is the file's that is being read, whatever was before
                raise ExportError(f"{error}", path=together[-1].export.path) from error
            for batch, export, own in zip(
                together, exports, _split_broken(exports, broken, rows_read), strict=True
            ):
                quarantine.append(_collect_broken(export, own))
                held_bytes += _count_bytes(quarantine[-1])
                kept[batch.file] = _add_to_record(kept[batch.file], export, len(own))
            rows["broken"] = pd.array(rows.index.isin(broken.index), dtype=columns.FLAG)
            write(customers.add_digests(rows, key=key))
            rows_read += len(rows)
            left_out = add_counts((left_out, *(export.orders.left_out for export in exports)))
            without_customer += sum(count for _, count in settled)
    _keep_quarantine(run, [frame for frame in quarantine if len(frame)])
    return _Counted(rows_read, left_out, without_customer, tuple(kept))


def _keep_quarantine(run: Run, broken_rows: list[pd.DataFrame]) -> None:
    nothing = pd.DataFrame(columns=[*_PLACE])
    run.quarantine.write(pd.concat(broken_rows, ignore_index=True) if broken_rows else nothing)
    run.quarantined_rows.write(line for frame in broken_rows for line in _write_lines(frame))


def _write_lines(broken_rows: pd.DataFrame) -> Iterator[bytes]:
    """Rows as JSON, a line each, their cells in an object of their own; one that is null is left out."""
    names = broken_rows.columns[len(_PLACE) :]
    for file, line, rules, *cells in broken_rows.itertuples(index=False, name=None):
        present = {name: cell for name, cell in zip(names, cells, strict=True) if not pd.isna(cell)}
        yield to_json({"file": file, "line": line, "rules": rules, "cells": present})


def _add_to_record(record: ExportRecord, export: Export, quarantined: int) -> ExportRecord:
    """What is known of a file, with what a further batch of it says."""
    record = replace(
        record,
        rows=record.rows + len(export.orders.rows),
        quarantined=record.quarantined + quarantined,
    )
    ending, notes = export.ending, record.notes
    if ending is None:
        return record
    if export.is_cut_off:
        notes = (*notes, f"{record.name} ends within a line")
    record = replace(record, digest=ending.digest, ends_within_line=ending.is_within_line, notes=notes)
    if ending.file is None:
        return record
    return replace(record, size=ending.file.size, version=ending.file.version)


def make_finder(profile: Profile, ledger: Ledger) -> CustomerFinder:
    """What finds whose the rows without a contact are, as the profile and the ledger say."""
    return CustomerFinder(
        lambda numbers: ledger.states.customers_of(numbers)["order_number"],
        leave_out=profile.without_contact == "leave_out",
    )


def _compute_fewest_rows(ledger: Ledger, suite: Suite, count: int) -> int:
    """How many rows the guard on volume wants of so many days, going by the last ones."""
    usual = ledger.exports.row_counts(suite.volume.days)
    return int(suite.volume.least_share * median(usual) * count) if usual else 0


def describe_reading(profile: Profile) -> ReadBy:
    """What rows are read by, where that is a profile which settings have filled."""
    said = profile.model_dump_json(exclude_defaults=True, exclude={"name", "title"})
    return ReadBy(
        profile=profile.name,
        mapping=blake2b(said.encode(), digest_size=8).hexdigest(),
        timezone=profile.timezone,
        currency=profile.currency.code if profile.currency else "",
        webstore_url=profile.webstore_url,
        order_prefix=profile.order_prefix,
    )


def compute_most(suite: Suite, revenues: pd.Series, ledger: Ledger | None = None) -> float:
    """The revenue, in cents, beyond which the suite warns, going by the last runs or, without any, by
    these revenues of the export's own.
    """
    amount = suite.amount
    highest = [one for one in ledger.runs.highest_revenues(amount.days) if one] if ledger else []
    if highest:
        most = amount.times * median(highest)
    else:
        # Of two, the lower one: the other may be what is to be found.
        own = revenues[revenues > 0].quantile(interpolation="lower")
        most = 0.0 if pd.isna(own) else amount.times_own * float(own)
    return most or _NO_BOUND


def _read_together(
    settings: Settings,
    profile: Profile,
    found: Found,
    line_ends: LineEnds,
) -> Iterator[list[_Batch]]:
    """The exports in batches of a size that is worth checking; at least one, if there is a file."""
    in_order = [(day, one) for day, those in found.items() for one in those]

    def read() -> Iterator[_Batch]:
        for number, (day, file) in enumerate(in_order):
            most = settings.max_export_size
            for export in files.read_batches(file.path, profile, day, most_bytes=most):
                yield _Batch(number, line_ends.judge(export))

    return gather(read(), lambda batch: batch.export)


def gather(batches: Iterable[T], find: Callable[[T], Export]) -> Iterator[list[T]]:
    """Batches together, as many as are worth checking and can be held; `find` gives one's export."""
    together: list[T] = []
    rows = cells = size = 0
    for batch in batches:
        together.append(batch)
        orders = find(batch).orders
        rows, cells = rows + len(orders.rows), cells + orders.cells.size
        size += _count_bytes(orders.cells)
        if rows >= _CHECKED_ROWS or cells >= _CHECKED_CELLS or size >= _CHECKED_BYTES:
            yield together
            together, rows, cells, size = [], 0, 0, 0
    if together:
        yield together


def _count_bytes(cells: pd.DataFrame) -> int:
    return int(cells.memory_usage(index=False).sum())


def _split_broken(exports: list[Export], broken: pd.Series, start: int) -> Iterator[pd.Series]:
    """The broken rows of each export, with the rules, by their place in it. `start` is the place of the
    first row of `exports` in the index of `broken`.
    """
    for export in exports:
        own = broken[(broken.index >= start) & (broken.index < start + len(export.orders.rows))]
        yield own.set_axis(own.index - start)
        start += len(export.orders.rows)


def _collect_broken(export: Export, broken: pd.Series) -> pd.DataFrame:
    """The broken rows as they were, behind the file, line and rules that say where and why."""
    cells = export.orders.cells.loc[broken.index].reset_index(drop=True)
    cells.insert(0, "rules", broken.array)
    cells.insert(0, "line", export.orders.lines.loc[broken.index].array)
    cells.insert(0, "file", Path(export.path).name)
    return cells
