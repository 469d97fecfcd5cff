"""Extract: the run's exports, judged by the gate, written down in parts that belong together."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from upath import UPath

from robin_etl.core import columns, customers, partition
from robin_etl.exports import files, locations, profiles
from robin_etl.exports.files import Export
from robin_etl.gate import EXPORT_SUITE, Suite, SuiteCheck, load_suite
from robin_etl.ledger import Ledger
from robin_etl.settings import Settings
from robin_etl.stages.run import Folder, Run

log = logging.getLogger(__name__)

# What is written of each row: `broken` where a row rule quarantined it.
ROWS_DTYPES = {**columns.EXPORTED_DTYPES, **columns.CONTACT_DTYPES, "broken": columns.FLAG}

# Small exports are judged together, up to so many rows: the gate has a price for each time it is asked.
_JUDGED_ROWS = 250_000


def extracted(settings: Settings, run: Run, ledger: Ledger) -> dict[str, Any]:
    """Leave `exported`, in parts, and `quarantine`; the counts.

    Raises `ExportMissingError`, `ExportError` or `GateError`.
    """
    files = _files(settings, run)
    suite = load_suite(settings.path(settings.expectations) / EXPORT_SUITE)
    check = SuiteCheck(suite, {"fewest_rows": _fewest_rows(ledger, suite, len(files))})
    quarantine = []
    rows_read = left_out = 0
    with run.files.writing_frames("exported") as write:
        for read in _gathered(settings, files):
            rows = pd.concat([export.orders.rows for export in read], ignore_index=True)
            rows.index += rows_read
            broken = check.check_batch(rows)
            quarantine.append(_quarantine(read, broken, rows_read))
            rows["broken"] = pd.array(rows.index.isin(broken.index), dtype=columns.FLAG)
            write(customers.add_digests(rows, key=settings.digest_key()))
            rows_read += len(rows)
            left_out += sum(export.orders.left_out for export in read)
    verdict = check.finish(lambda columns: run.files.read_frame("exported", columns))
    pa.default_memory_pool().release_unused()
    run.files.write_json("verdict_export", verdict.to_json())
    run.files.write_csv("quarantine", pd.concat(quarantine, ignore_index=True))
    counts = {
        "files": len(files),
        "exported": rows_read,
        "left_out": left_out,
        "quarantined": verdict.broken_rows,
        "warnings": list(verdict.warnings),
    }
    run.files.write_json("extract", counts)
    for rule in verdict.warnings:
        log.warning("The rule %s of %s warns about %s.", rule, suite.name, run.title)
    verdict.stop_unless_passed(f"the export of {run.title}")
    split(
        run, ledger, partition.choose_number(rows_read) if settings.shards == "auto" else settings.shards
    )
    return {**counts, "parts": len(parts(run))}


def parts(run: Run) -> list[Folder]:
    """The folders of the parts that extract has split the run into: the run's own if it is but one."""
    number = run.files.read_json("parts").get("number", 1)
    return [run.part(at) for at in range(1, number + 1)] if number > 1 else [run.files]


def split(run: Run, ledger: Ledger, number: int) -> None:
    """Write what was exported anew, in so many parts that can each be reconciled by itself."""
    revision = ledger.states.revision()
    if number > 1:
        parts_of_rows = _parts_of_rows(run, ledger, number)
        with ExitStack() as stack:
            writers = []
            for part in range(1, number + 1):
                run.part(part).make()
                writers.append(stack.enter_context(run.part(part).writing_frames("exported")))
                writers[-1](columns.make_empty(ROWS_DTYPES))
            done = 0
            for frame in run.files.reading_frames("exported", list(ROWS_DTYPES)):
                rows = columns.conform(frame, ROWS_DTYPES)
                for index, own in rows.groupby(parts_of_rows[done : done + len(rows)]):
                    writers[int(str(index))](own)
                done += len(rows)
    run.files.write_json("parts", {"number": number, "revision": revision})


def _parts_of_rows(run: Run, ledger: Ledger, number: int) -> partition.Partitions:
    rows = run.files.read_json("extract")["exported"]
    of_orders, of_customers = np.empty((2, rows), dtype=np.uint64)
    known_orders, known_customers = [of_orders[:0]], [of_customers[:0]]
    done = 0
    for frame in run.files.reading_frames("exported", ["order_number", "email", "phone"]):
        numbers, here = frame["order_number"], slice(done, done + len(frame))
        of_orders[here] = partition.hash_keys(numbers)
        of_customers[here] = partition.hash_keys(customers.identify_customers(frame))
        known = ledger.states.customers_of(numbers.dropna())
        known_orders.append(partition.hash_keys(known["order_number"]))
        known_customers.append(partition.hash_keys(known["customer"]))
        done += len(frame)
    both = (np.concatenate(known_orders), np.concatenate(known_customers))
    return partition.assign_partitions(of_orders, of_customers, both, number)


def _files(settings: Settings, run: Run) -> dict[date, UPath]:
    if run.exports:
        return {date.fromisoformat(day): settings.path(path) for day, path in run.exports}
    days = locations.list_days(run.first, run.last)
    found = locations.find_exports(
        settings.exports, days, settings.path, done_marker=settings.done_marker
    )
    if not found:
        raise locations.make_missing_error(settings.exports, run.first, run.last)
    return found


def _fewest_rows(ledger: Ledger, suite: Suite, files: int) -> int:
    """How many rows the guard on volume wants of so many files, going by the last runs."""
    usual = ledger.runs.rows_per_day(suite.volume.days)
    return int(suite.volume.least_share * median(usual) * files) if usual else 0


def _gathered(settings: Settings, found: dict[date, UPath]) -> Iterator[list[Export]]:
    """The exports in batches of a size that is worth judging; at least one, if there is a file."""
    profile = profiles.load_configured(settings)
    gathered: list[Export] = []
    for day, path in found.items():
        for batch in files.read_batches(path, profile, day, most_bytes=settings.max_export_size):
            gathered.append(batch)
            if sum(len(export.orders.rows) for export in gathered) >= _JUDGED_ROWS:
                yield gathered
                gathered = []
    if gathered:
        yield gathered


def _quarantine(read: list[Export], broken: pd.Series, start: int) -> pd.DataFrame:
    """The broken rows as they were, behind the file, line and rules that say where and why.

    `start` is the place of the first row of `read` in the index of `broken`.
    """
    found = [pd.DataFrame(columns=["file", "line", "rules"])]
    for export in read:
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
