"""Extract: read the run's exports, let the gate set rows aside, and write the rest in partitions."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import pyarrow as pa
from upath import UPath

from robin_etl.core import columns, customers, partition
from robin_etl.exports import files, locations, profiles
from robin_etl.exports.files import Export
from robin_etl.exports.profiles import Profile
from robin_etl.gate import EXPORT_SUITE, Suite, SuiteCheck, load_suite
from robin_etl.ledger import Ledger
from robin_etl.ledger.binding import fingerprint_customer_key
from robin_etl.settings import Settings
from robin_etl.stages.nameless import CustomerFinder
from robin_etl.stages.records import Extracted, Partitioning, ReadBy
from robin_etl.stages.run import ROW_DTYPES, Run

log = logging.getLogger(__name__)

_NO_BOUND = 1e15  # more than any amount that is read

# Small exports are checked together, up to so many rows: the gate has a price for each time it is asked.
_CHECKED_ROWS = 250_000


@dataclass(frozen=True)
class _Counted:
    """How many rows were read, and how many orders left out, by their status or without a customer."""

    rows: int = 0
    left_out: int = 0
    without_customer: int = 0


def extract_exports(settings: Settings, run: Run, ledger: Ledger) -> Extracted:
    """Leave the run's rows, in partitions, and its quarantine.

    Raises `BindingError`, `ExportMissingError`, `ExportError` or `GateError`.
    """
    profile = profiles.load_configured(settings)
    found = _find_files(settings, run)
    suite = load_suite(settings.path(settings.expectations) / EXPORT_SUITE)
    check = SuiteCheck(suite, {"fewest_rows": _compute_fewest_rows(ledger, suite, len(found))})
    exports = _read_together(settings, profile, found)
    counted = _write_rows(exports, make_finder(profile, ledger), check, run, key=settings.digest_key())
    worth = run.exported.read(["revenue", "broken"])
    revenues = worth["revenue"][~worth["broken"]]
    verdict = check.finish(run.exported.read, {"most_revenue": compute_most(suite, revenues, ledger)})
    pa.default_memory_pool().release_unused()
    run.export_verdict.write(verdict.to_json())
    extracted = Extracted(
        files=len(found),
        exported=counted.rows,
        left_out=counted.left_out,
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
    verdict.stop_unless_passed(f"the export of {run.title}")
    shards = settings.shards
    write_partitions(run, ledger, partition.choose_number(counted.rows) if shards == "auto" else shards)
    return extracted


def _write_rows(
    read: Iterable[list[Export]], finder: CustomerFinder, check: SuiteCheck, run: Run, *, key: bytes
) -> _Counted:
    """Write the rows of all exports, those that break a rule marked and in the quarantine too."""
    quarantine = []
    rows_read = left_out = without_customer = 0
    with run.exported.writing() as write:
        for together in read:
            settled = [finder.settle(export) for export in together]
            exports = [export for export, _ in settled]
            rows = pd.concat([export.orders.rows for export in exports], ignore_index=True)
            rows.index += rows_read
            broken = check.check_batch(rows)
            quarantine.append(_collect_broken(exports, broken, rows_read))
            rows["broken"] = pd.array(rows.index.isin(broken.index), dtype=columns.FLAG)
            write(customers.add_digests(rows, key=key))
            rows_read += len(rows)
            left_out += sum(export.orders.left_out for export in exports)
            without_customer += sum(count for _, count in settled)
    run.quarantine.write(pd.concat(quarantine, ignore_index=True))
    return _Counted(rows_read, left_out, without_customer)


def make_finder(profile: Profile, ledger: Ledger) -> CustomerFinder:
    """What finds whose the rows without a contact are, as the profile and the ledger say."""
    return CustomerFinder(
        lambda numbers: ledger.states.customers_of(numbers)["order_number"],
        leave_out=profile.without_contact == "leave_out",
    )


def write_partitions(run: Run, ledger: Ledger, number: int) -> None:
    """Write what was exported anew, in so many partitions that can each be compared by itself."""
    revision = ledger.states.revision()
    if number > 1:
        with ExitStack() as stack:
            writers = []
            for one in run.split(number):
                one.folder.make()
                writers.append(stack.enter_context(one.rows.writing()))
                writers[-1](columns.make_empty(ROW_DTYPES))
            assigned = _assign_rows(run, ledger, number)
            done = 0
            for rows in run.exported.read_batches(ROW_DTYPES):
                for index, own in rows.groupby(assigned[done : done + len(rows)]):
                    writers[int(str(index))](own)
                done += len(rows)
    run.partitioning.write(Partitioning(number, revision))


def _assign_rows(run: Run, ledger: Ledger, number: int) -> partition.Partitions:
    """The partition of each row, counted from 0."""
    rows = run.extracted.read().exported
    of_orders, of_customers = np.empty((2, rows), dtype=np.uint64)
    known_orders, known_customers = [of_orders[:0]], [of_customers[:0]]
    done = 0
    for frame in run.exported.read_batches(["order_number", "email", "phone"]):
        numbers, here = frame["order_number"], slice(done, done + len(frame))
        of_orders[here] = partition.hash_keys(numbers)
        of_customers[here] = partition.hash_keys(customers.identify_customers(frame))
        known = ledger.states.customers_of(numbers.dropna())
        known_orders.append(partition.hash_keys(known["order_number"]))
        known_customers.append(partition.hash_keys(known["customer"]))
        done += len(frame)
    known_pairs = (np.concatenate(known_orders), np.concatenate(known_customers))
    return partition.assign_partitions(of_orders, of_customers, known_pairs, number)


def _find_files(settings: Settings, run: Run) -> dict[date, UPath]:
    scope = run.scope
    if scope.exports:
        return {day: settings.path(path) for day, path in scope.exports}
    days = locations.list_days(scope.first, scope.last)
    found = locations.find_exports(
        settings.exports, days, settings.path, done_marker=settings.done_marker
    )
    if not found:
        raise locations.make_missing_error(settings.exports, scope.first, scope.last)
    return found


def _compute_fewest_rows(ledger: Ledger, suite: Suite, count: int) -> int:
    """How many rows the guard on volume wants of so many files, going by the last runs."""
    usual = ledger.runs.rows_per_day(suite.volume.days)
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
    settings: Settings, profile: Profile, found: dict[date, UPath]
) -> Iterator[list[Export]]:
    """The exports in batches of a size that is worth checking; at least one, if there is a file."""
    together: list[Export] = []
    for day, path in found.items():
        for batch in files.read_batches(path, profile, day, most_bytes=settings.max_export_size):
            together.append(batch)
            if sum(len(export.orders.rows) for export in together) >= _CHECKED_ROWS:
                yield together
                together = []
    if together:
        yield together


def _collect_broken(exports: list[Export], broken: pd.Series, start: int) -> pd.DataFrame:
    """The broken rows as they were, behind the file, line and rules that say where and why.

    `start` is the place of the first row of `exports` in the index of `broken`.
    """
    found = [pd.DataFrame(columns=["file", "line", "rules"])]
    for export in exports:
        own = broken[(broken.index >= start) & (broken.index < start + len(export.orders.rows))]
        if len(own):
            at = own.index - start
            cells = export.orders.cells.loc[at].reset_index(drop=True)
            cells.insert(0, "rules", own.array)
            cells.insert(0, "line", export.orders.lines.loc[at].array)
            cells.insert(0, "file", Path(export.path).name)
            found.append(cells)
        start += len(export.orders.rows)
    return pd.concat(found, ignore_index=True) if len(found) > 1 else found[0]
