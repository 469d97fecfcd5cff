"""The rows of a file of which nothing is known yet: to find its profile, or to draft one."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
from upath import UPath

from robin_etl.core import columns
from robin_etl.exceptions import ExportError
from robin_etl.exports import layout, spreadsheet
from robin_etl.exports.files import find_suffix, open_text
from robin_etl.exports.json_list import read_json
from robin_etl.exports.jsonl import read_jsonl
from robin_etl.exports.layout import Layout, Record
from robin_etl.exports.mapping import CUT_OFF, SURPLUS
from robin_etl.exports.margins import cut_margins, matches_footer
from robin_etl.exports.parquet import list_fields, make_empty_batch, open_parquet, to_cells
from robin_etl.exports.profiles import Columns, Profile
from robin_etl.exports.streams import (
    Read,
    bound,
    make_size_error,
    open_export,
    split_into_blocks,
)
from robin_etl.exports.text import read_text

_BEGINNING_BYTES = 1 << 18
_BEGINNING_ROWS = 200
_BLOCK_BYTES = 8 << 20
_TAIL = 1 << 14


@dataclass(frozen=True)
class Sample:
    """Rows of a file as text, by its own columns, how it is laid out, its form (`.csv`), and the columns
    that it has several times, of which the first is here.
    """

    rows: pd.DataFrame
    layout: Layout = field(default_factory=Layout)
    suffix: str = ".csv"
    path: str = ""
    repeated: frozenset[str] = frozenset()

    @property
    def columns(self) -> list[str]:
        return list(self.rows.columns)

    @property
    def is_text(self) -> bool:
        """Whether it is delimited text."""
        return self.suffix not in (".jsonl", ".json", ".parquet", ".xlsx")


def take_sample(path: UPath) -> Sample:
    """The first rows; raises `ExportMissingError`, or `ExportError` where there are none to be seen."""
    return replace(_read(path, sys.maxsize, is_whole=False), path=str(path))


def read_everything(path: UPath, most_bytes: int = sys.maxsize) -> Sample:
    """All rows; raises what `take_sample` does, and `ExportError` for more than `most_bytes`."""
    return replace(_read(path, most_bytes, is_whole=True), path=str(path))


def _read(path: UPath, most_bytes: int, *, is_whole: bool) -> Sample:
    suffix, shown = find_suffix(path), str(path)
    with open_export(path) as stream:
        if suffix == ".parquet":
            return _read_parquet(stream, shown, most_bytes, is_whole=is_whole)
        if suffix == ".xlsx":
            return _read_sheet(stream, shown, most_bytes)
        read, suffix = open_text(stream, stream, suffix, shown)
        read = bound(read, shown, most_bytes)
        if suffix in (".jsonl", ".json"):
            if suffix == ".json":
                parts = read_json(read, shown, _BEGINNING_BYTES)
            else:
                blocks = split_into_blocks(read, "utf-8", shown, _BEGINNING_BYTES)
                parts = read_jsonl(blocks, shown)
            wanted = parts if is_whole else islice(parts, 1)
            cells = pd.concat([cells for cells, _ in wanted], ignore_index=True)
            return Sample(cells if is_whole else cells.head(_BEGINNING_ROWS), suffix=suffix)
        content = b"".join(iter(lambda: read(_BLOCK_BYTES), b"")) if is_whole else _read_beginning(read)
        return _read_text(content, suffix, shown, is_whole=is_whole)


def _read_parquet(stream: BinaryIO, path: str, most_bytes: int, *, is_whole: bool) -> Sample:
    with open_parquet(stream, path) as file:
        schema = file.schema_arrow
        kinds = list_fields(schema)
        names = [name for name, kind in kinds.items() if not pa.types.is_nested(kind)]
        parts, left = [to_cells(make_empty_batch(schema, names), names)], most_bytes
        for batch in file.iter_batches(_BEGINNING_ROWS if not is_whole else 100_000, columns=names):
            left -= batch.nbytes
            if left < 0:
                raise make_size_error(path, most_bytes)
            parts.append(to_cells(batch, names))
            if not is_whole:
                break
        rows = pd.concat(parts, ignore_index=True).reindex(columns=list(kinds)).astype(columns.TEXT)
        return Sample(rows, suffix=".parquet")


def _read_sheet(stream: BinaryIO, path: str, most_bytes: int) -> Sample:
    sheets = spreadsheet.open_sheets(stream, path, most_bytes)
    name = max(sheets, key=lambda one: sum(1 for row in sheets[one] if any(cell != "" for cell in row)))
    records = [_make_record(number, row) for number, row in enumerate(sheets[name], start=1)]
    records = [one for one in records if one.filled]
    if not records:
        raise ExportError(f"{path} has no rows in any of its sheets. Write it again.", path=path)
    header = layout.find_header(records[:_BEGINNING_ROWS])
    names = [cell.strip() for cell in records[header].cells]
    below = records[header + 1 :]
    footer = layout.find_footer(below, len(names))
    kept = below[: len(below) - _count_footer(below, footer)]
    frame = pd.DataFrame(
        [[*one.cells, *[""] * len(names)][: len(names)] for one in kept],
        columns=names,
        dtype=columns.TEXT,
    )
    sheet = "" if name == next(iter(sheets)) else name
    found = Layout(lines_above=records[header].line - 1, footer=footer, sheet=sheet)
    return Sample(_drop_nameless(frame), found, ".xlsx", repeated=_find_repeated(names))


def _make_record(number: int, row: Sequence[Any]) -> Record:
    cells = [spreadsheet.to_text(cell, ".") or "" for cell in row]
    return Record(number, cells, ",".join(cells).strip(","))


def _count_footer(records: Sequence[Record], footer: tuple[str, ...]) -> int:
    count = 0
    while footer and count < len(records) and matches_footer(records[-1 - count].text, footer):
        count += 1
    return count


def _read_text(content: bytes, suffix: str, path: str, *, is_whole: bool) -> Sample:
    text, encoding = layout.decode(content)
    if "\n" not in text:  # as old systems end their lines
        text = text.replace("\r", "\n")
    delimiter = layout.find_delimiter(text[:_BEGINNING_BYTES])
    records = layout.split_records(text[:_BEGINNING_BYTES], delimiter, most=_BEGINNING_ROWS)
    if not records:
        raise ExportError(f"{path} has no rows that can be read. Write it again.", path=path)
    at = layout.find_header(records)
    header = records[at]
    found = Layout(delimiter, encoding, header.line - 1)
    if not is_whole:
        cells = [
            [*one.cells, *[""] * len(header.cells)][: len(header.cells)] for one in records[at + 1 :]
        ]
        names = [name.strip() for name in header.cells]
        return Sample(
            _drop_nameless(pd.DataFrame(cells, columns=names, dtype=columns.TEXT)), found, suffix
        )
    tail = _split_tail(text, delimiter, header)
    found = Layout(delimiter, encoding, header.line - 1, layout.find_footer(tail, len(header.cells)))
    profile = _make_reading_profile(found)
    blocks = split_into_blocks(_make_reader(content), encoding, path, _BLOCK_BYTES)
    parts = [cells for cells, _ in read_text(cut_margins(blocks, profile, path), profile, path)]
    repeated = _find_repeated([name.strip() for name in header.cells])
    return Sample(
        _drop_nameless(pd.concat(parts, ignore_index=True), repeated), found, suffix, repeated=repeated
    )


def _split_tail(text: str, delimiter: str, header: Record) -> list[Record]:
    """The last records, below the header."""
    if len(text) > _TAIL:
        start = text.find("\n", len(text) - _TAIL) + 1
        return layout.split_records(text[start:], delimiter, most=_TAIL)
    records = layout.split_records(text, delimiter, most=_TAIL)
    return [one for one in records if one.line > header.line]


def _make_reading_profile(found: Layout) -> Profile:
    """A profile that reads every cell, and maps none."""
    nowhere = Columns(order_number="\0", email_address=("\0",), order_date=("\0",), revenue="[\0]?")
    return Profile(
        name="draft",
        delimiter=found.delimiter,
        encoding=found.encoding,
        lines_above=found.lines_above,
        footer=found.footer,
        columns=nowhere,
    )


def _make_reader(content: bytes) -> Read:
    chunks: Iterator[bytes] = (
        content[at : at + _BLOCK_BYTES] for at in range(0, len(content), _BLOCK_BYTES)
    )
    return lambda _: next(chunks, b"")


def _find_repeated(names: Sequence[str]) -> frozenset[str]:
    return frozenset(name for name in names if name and names.count(name) > 1)


def _drop_nameless(rows: pd.DataFrame, repeated: frozenset[str] = frozenset()) -> pd.DataFrame:
    """Without columns that have no name or another's, and without blank rows."""
    if repeated:
        again = [name for name in rows.columns if re.sub(r"#\d+\Z", "", name) in repeated - {name}]
        rows = rows.drop(columns=again)
    rows = rows.loc[:, ~rows.columns.duplicated()].drop(columns=[SURPLUS, CUT_OFF], errors="ignore")
    rows = rows[[name for name in rows.columns if name]]
    trimmed = rows.apply(columns.trim)
    return rows[trimmed.notna().any(axis=1)].reset_index(drop=True)


def _read_beginning(read: Read) -> bytes:
    """The beginning of a file, up to the end of a line."""
    content = read(_BEGINNING_BYTES)
    return content if len(content) < _BEGINNING_BYTES else content[: content.rfind(b"\n") + 1] or content
