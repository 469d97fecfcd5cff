"""A day's export, from bytes to rows: read the file as text, batch by batch, and parse the columns.

Reading drops no row. A cell that can't be read becomes null beside its raw text, and the gate's row
rules (`expectations/export.json`) decide what that means. Only a file that is no export at all is an
error here. No more than a batch is held, however long the file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import BinaryIO

import pandas as pd
from upath import UPath

from robin_etl.exceptions import ExportError
from robin_etl.exports import archives, bounds, choosing
from robin_etl.exports.bounds import Bounds, Measure
from robin_etl.exports.cells import FileCells
from robin_etl.exports.fitting import check_style, require_columns
from robin_etl.exports.json_list import read_json
from robin_etl.exports.jsonl import read_jsonl
from robin_etl.exports.locations import PLAIN, SUFFIXES, ExportFile, look_at
from robin_etl.exports.mapping import CUT_OFF, Orders, map_cells, mark_cut_off
from robin_etl.exports.margins import cut_margins
from robin_etl.exports.parquet import read_parquet
from robin_etl.exports.profiles import Profile
from robin_etl.exports.spreadsheet import read_spreadsheet
from robin_etl.exports.streams import (
    Block,
    Cells,
    DigestingReader,
    Read,
    bound,
    keep_lines,
    notice_end,
    open_export,
    split_into_blocks,
)
from robin_etl.exports.text import read_text

# A batch is as many rows as that much text holds.
_BATCH_BYTES = 8 << 20

# Spreadsheets of other forms, which are not read.
_OTHER_SHEETS = (".xls", ".xlsm", ".xlsb", ".ods", ".numbers")


@dataclass(frozen=True)
class Ending:
    """What is known of a file once it is read to its end: the file as it was, the `digest` of its bytes,
    and whether its text ends within a line, None of a format that shows by itself whether it is whole.
    """

    file: ExportFile | None
    digest: str
    is_within_line: bool | None


@dataclass(frozen=True)
class Export:
    """A file, or a batch of it, read: its orders, with the text of every column as it was. The last
    batch of a file that is read whole has its `ending`, and `is_cut_off` where the file ends within it.
    """

    path: str
    orders: Orders
    ending: Ending | None = None
    is_cut_off: bool = False


def read_export(path: UPath, profile: Profile, day: date, *, most_bytes: int = sys.maxsize) -> Export:
    """One export as a whole; raises what `read_batches` does."""
    batches = list(read_batches(path, profile, day, most_bytes=most_bytes))
    if len(batches) == 1:
        return batches[0]
    orders = [batch.orders for batch in batches]
    cells, lines, rows = (
        pd.concat([getattr(one, name) for one in orders], ignore_index=True)
        for name in ("cells", "lines", "rows")
    )
    whole = Orders(cells, lines, rows, choosing.add_counts(one.left_out for one in orders))
    return replace(batches[-1], orders=whole)


def read_batches(
    path: UPath,
    profile: Profile,
    day: date,
    *,
    batch_bytes: int = _BATCH_BYTES,
    most_bytes: int = sys.maxsize,
    only: pd.Series | None = None,
    within: Bounds = bounds.DEFAULT,
) -> Iterator[Export]:
    """One export in batches, at least one, in the file's order. With `only`, batches of these orders
    alone, if there are any: the cells of the others are not parsed.

    The row within which the text of a file ends has `cut_off`. Raises `ExportMissingError`, or
    `ExportError` for a file that can't be read as a whole, that holds more than `most_bytes` once
    unzipped, that is not `within` the bounds of an export, or that changed meanwhile; that may show
    only after many batches.
    """
    before = look_at(path)
    suffix = find_suffix(path)
    with open_export(path) as stream:
        measure = Measure(str(path), within)
        source = _Source(stream, suffix, str(path), measure)
        read = source.read_cells(profile, batch_bytes, most_bytes, only)
        if only is not None or profile.grain == "line":
            read = measure.bound_each(read)
        if profile.grain == "line":
            read = iter([_join(read, profile, day, measure)])
        read = _check_columns(read, profile, str(path), at_once=not suffix.startswith(".json"))
        if only is not None:
            for cells, lines in _choose(read, profile, only):
                yield Export(str(path), map_cells(cells, lines, profile, day))
        for orders, is_last in _map(read, source, profile, day) if only is None else ():
            if not is_last:
                yield Export(str(path), orders)
        found = source.find_digest() if only is None else ""
    if look_at(path) != before:
        raise ExportError(
            f"{path} changed while it was read. Nothing of it was posted; run again when it is "
            "uploaded whole. ROBIN_ETL_DONE_MARKER makes a run wait for that.",
            path=str(path),
        )
    if only is None:
        is_cut_off = source.is_within_line or bool(orders.rows[CUT_OFF].notna().any())
        yield Export(str(path), orders, Ending(before, found, source.is_within_line), is_cut_off)


def find_suffix(path: UPath) -> str:
    """Which of the formats it is, by its name; raises `ExportError` for none of them."""
    name = path.name.lower()
    suffix = max((known for known in SUFFIXES if name.endswith(known)), key=len, default=None)
    if suffix is None:
        advice = " Save it as .xlsx or .csv there." if name.endswith(_OTHER_SHEETS) else ""
        raise ExportError(
            f"{path} is not an export: its name ends in none of {', '.join(PLAIN)} (.gz or .zip "
            f"behind), .zip, .parquet or .xlsx.{advice}",
            path=str(path),
        )
    return suffix


def open_text(
    stream: BinaryIO, digesting: BinaryIO | DigestingReader, suffix: str, path: str, measure: Measure
) -> tuple[Read, str]:
    """Reads the text of a file, unpacked, and tells which of the plain forms it is.

    What can be read from the first byte on is read through `digesting`.
    """
    if suffix.endswith(archives.ZIP):
        return archives.open_zip(stream, path, PLAIN, measure)
    if suffix.endswith(archives.GZIP):
        return archives.unzip(digesting, path, measure), suffix.removesuffix(archives.GZIP)
    return digesting.read, suffix


class _Source:
    """The bytes of an export, and what shows of them on the way to their end."""

    def __init__(self, stream: BinaryIO, suffix: str, path: str, measure: Measure) -> None:
        self._stream = stream
        self._suffix = suffix
        self.path = path
        self.measure = measure
        self._bytes = DigestingReader(stream)
        self.is_within_line: bool | None = None

    def read_cells(
        self, profile: Profile, batch_bytes: int, most_bytes: int, only: pd.Series | None
    ) -> Iterator[Cells]:
        """The cells of the file; with `only`, of these orders and perhaps of others."""
        measure = self.measure
        if self._suffix == ".parquet":
            return read_parquet(self._stream, profile, self.path, most_bytes, measure)
        if self._suffix == ".xlsx":
            return read_spreadsheet(self._stream, profile, self.path, most_bytes, measure)
        read, suffix = open_text(self._stream, self._bytes, self._suffix, self.path, measure)
        read = bound(read, self.path, most_bytes)
        if suffix == ".json":
            return read_json(read, self.path, batch_bytes, measure, profile.sources)
        encoding = "utf-8" if suffix == ".jsonl" else profile.encoding
        blocks = split_into_blocks(read, encoding, self.path, batch_bytes, measure)
        if suffix == ".jsonl":
            return read_jsonl(self._sieve(blocks, profile, only), self.path, measure, profile.sources)
        blocks = cut_margins(blocks, profile, self.path)
        blocks = self._sieve(blocks, profile, only)
        return read_text(notice_end(blocks, self._notice), profile, self.path, measure)

    def _sieve(
        self, blocks: Iterator[Block], profile: Profile, only: pd.Series | None
    ) -> Iterator[Block]:
        """The blocks without lines that bear none of the numbers, where each line bears its own."""
        return blocks if only is None or profile.grain == "line" else keep_lines(blocks, only)

    def find_digest(self) -> str:
        """The digest of all bytes; of a form that is not read in their order it is made anew."""
        if self._suffix.endswith((".parquet", ".xlsx", archives.ZIP)):
            self._stream.seek(0)
        return self._bytes.finish()

    def _notice(self, is_within_line: bool) -> None:
        self.is_within_line = is_within_line


def _look_ahead(read: Iterator[Cells]) -> Iterator[tuple[pd.DataFrame, pd.Series, bool]]:
    """The same, and whether each is the last; it is not given before the file is read to its end."""
    before: Cells | None = None
    for one in read:
        if before is not None:
            yield *before, False
        before = one
    if before is not None:
        yield *before, True


def _map(
    read: Iterator[Cells], source: _Source, profile: Profile, day: date
) -> Iterator[tuple[Orders, bool]]:
    """The orders of each batch, and whether it is the last."""
    measure, is_first = source.measure, True
    is_bounded = profile.grain == "order"
    mapped = _map_each(read, source, profile, day)
    for cells, orders, is_last in measure.bound_each(mapped) if is_bounded else mapped:
        if is_bounded:
            measure.add_rows(len(cells), _count_orders(orders, len(cells)))
        if is_first:
            check_style(cells, orders.rows, profile, source.path)
            is_first = False
        yield orders, is_last


def _map_each(
    read: Iterator[Cells], source: _Source, profile: Profile, day: date
) -> Iterator[tuple[pd.DataFrame, Orders, bool]]:
    for cells, lines, is_last in _look_ahead(read):
        marked = mark_cut_off(cells) if is_last and source.is_within_line else cells
        yield cells, map_cells(marked, lines, profile, day), is_last


def _join(read: Iterator[Cells], profile: Profile, day: date, measure: Measure) -> Cells:
    """All of a file: the line items of an order may lie anywhere in it."""
    parts: list[Cells] = []
    rows = 0
    for cells, lines in read:
        parts.append((cells, lines))
        before, rows = rows, rows + len(cells)
        measure.check_whole(rows)
        if before <= measure.bounds.rows_without_orders < rows:
            orders = map_cells(*_concatenate(parts), profile, day)
            measure.add_rows(rows, rows if _count_orders(orders, rows) else 0)
    return _concatenate(parts)


def _concatenate(parts: Sequence[Cells]) -> Cells:
    cells, lines = zip(*parts, strict=True)
    return pd.concat(cells, ignore_index=True), pd.concat(lines, ignore_index=True)


def _count_orders(orders: Orders, rows: int) -> int:
    """How many of so many rows are orders, as far as they can be read, or were left out by a profile."""
    is_read = orders.rows[["order_number", "revenue", "order_date"]].notna().all(axis=1)
    return int(is_read.sum()) + (rows - len(is_read) if orders.left_out else 0)


def _choose(read: Iterator[Cells], profile: Profile, only: pd.Series) -> Iterator[Cells]:
    """The cells of these orders."""
    for cells, lines in read:
        is_wanted = FileCells(cells, profile).numbers.isin(only).to_numpy()
        if is_wanted.any():
            yield cells[is_wanted].reset_index(drop=True), lines[is_wanted].reset_index(drop=True)


def _check_columns(
    read: Iterator[Cells], profile: Profile, path: str, *, at_once: bool
) -> Iterator[Cells]:
    """The same cells; raises `ExportError` where a column is missing that the profile needs.

    A line of JSON may leave a key out, so only all of them together, not one `at_once`, lack a column.
    """
    seen: dict[str, None] = {}  # in the order of the file
    rows = 0
    for cells, lines in read:
        seen.update(dict.fromkeys(cells.columns))
        rows += len(cells)
        if at_once:
            require_columns(seen, profile, path)
        yield cells, lines
    if rows:
        require_columns(seen, profile, path)
