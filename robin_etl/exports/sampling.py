"""The rows of a file of which nothing is known yet: to find its profile, or to draft one."""

from __future__ import annotations

import re
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
from upath import UPath

from robin_etl.core import columns
from robin_etl.exceptions import ExportError
from robin_etl.exports import layout, spreadsheet
from robin_etl.exports.bounds import DEFAULT, Bounds, Measure
from robin_etl.exports.files import find_suffix, open_text
from robin_etl.exports.json_list import read_json
from robin_etl.exports.jsonl import read_jsonl
from robin_etl.exports.layout import Layout, Record
from robin_etl.exports.mapping import CUT_OFF, SURPLUS
from robin_etl.exports.margins import cut_margins, matches_footer
from robin_etl.exports.parquet import list_fields, make_empty_batch, open_parquet, to_cells
from robin_etl.exports.profiles import Columns, Profile
from robin_etl.exports.spreadsheet import Rows, open_sheet
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
_TAIL_ROWS = 1_000
_MOST_CELLS = 4_000_000  # of a batch


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


def take_sample(path: UPath, most_bytes: int = sys.maxsize, *, within: Bounds = DEFAULT) -> Sample:
    """The first rows; raises `ExportMissingError`, or `ExportError` where there are none to be seen."""
    return replace(_read(path, most_bytes, within, is_whole=False), path=str(path))


def read_everything(path: UPath, most_bytes: int = sys.maxsize, *, within: Bounds = DEFAULT) -> Sample:
    """All rows; raises what `take_sample` does, and `ExportError` for more than `most_bytes`, or more
    than a draft can look at.
    """
    return replace(_read(path, most_bytes, within, is_whole=True), path=str(path))


def _read(path: UPath, most_bytes: int, within: Bounds, *, is_whole: bool) -> Sample:
    suffix, shown = find_suffix(path), str(path)
    measure = Measure(shown, within)
    with open_export(path) as stream:
        if suffix == ".parquet":
            return _read_parquet(stream, shown, most_bytes, measure, is_whole=is_whole)
        if suffix == ".xlsx":
            return _read_sheet(stream, shown, most_bytes, measure, is_whole=is_whole)
        read, suffix = open_text(stream, stream, suffix, shown, measure)
        read = bound(read, shown, most_bytes)
        if suffix in (".jsonl", ".json"):
            return _read_objects(read, suffix, shown, measure, is_whole=is_whole)
        if is_whole:
            return _read_text(_read_chunks(read, measure), suffix, shown, measure)
        return _read_beginning_of_text(_read_beginning(read), suffix, shown)


def _read_objects(read: Read, suffix: str, path: str, measure: Measure, *, is_whole: bool) -> Sample:
    if suffix == ".json":
        found = read_json(read, path, _BEGINNING_BYTES, measure)
    else:
        blocks = split_into_blocks(read, "utf-8", path, _BEGINNING_BYTES, measure)
        found = read_jsonl(blocks, path, measure)
    parts: list[pd.DataFrame] = []
    for cells, _ in measure.bound_each(found):
        parts.append(cells)
        if not is_whole:
            break
        measure.add_drafted(len(cells), measure.names)
    cells = pd.concat(parts, ignore_index=True)
    return Sample(cells if is_whole else cells.head(_BEGINNING_ROWS), suffix=suffix)


def _read_parquet(
    stream: BinaryIO, path: str, most_bytes: int, measure: Measure, *, is_whole: bool
) -> Sample:
    with open_parquet(stream, path) as file:
        kinds = list_fields(file.schema_arrow, measure)
        names = [name for name, kind in kinds.items() if not pa.types.is_nested(kind)]
        parts, left = [to_cells(make_empty_batch(kinds, names), names)], most_bytes
        at_once = min(100_000, _MOST_CELLS // (len(names) or 1)) if is_whole else _BEGINNING_ROWS
        for batch in measure.bound_each(file.iter_batches(at_once, columns=names)):
            left -= batch.nbytes
            if left < 0:
                raise make_size_error(path, most_bytes)
            measure.add_drafted(batch.num_rows, len(names))
            with measure.bounding_memory():
                parts.append(to_cells(batch, names))
            if not is_whole:
                break
        rows = pd.concat(parts, ignore_index=True).reindex(columns=list(kinds)).astype(columns.TEXT)
        return Sample(rows, suffix=".parquet")


def _read_sheet(
    stream: BinaryIO, path: str, most_bytes: int, measure: Measure, *, is_whole: bool
) -> Sample:
    with open_sheet(stream, path, most_bytes, measure, is_fullest=True) as sheet:
        numbered = _make_records(sheet.batches)
        records = list(islice(numbered, _BEGINNING_ROWS))
        if not records:
            raise ExportError(f"{path} has no rows in any of its sheets. Write it again.", path=path)
        header = records[layout.find_header(records)]
        names = [cell.strip() for cell in header.cells]
        below = chain((one for one in records if one.line > header.line), numbered if is_whole else ())
        # The last of them may be a footer, which only shows at the end.
        last: deque[Record] = deque(maxlen=_TAIL_ROWS)
        parts = [_build_frame([], names)]
        at_once = max(1, _MOST_CELLS // len(names))
        while batch := list(islice(below, at_once)):
            measure.add_drafted(len(batch), len(names))
            last.extend(batch)
            parts.append(_build_frame(batch, names))
    footer = layout.find_footer(list(last), len(names))
    frame = pd.concat(parts, ignore_index=True)
    frame = frame.head(len(frame) - _count_footer(list(last), footer))
    found = Layout(
        lines_above=header.line - 1, footer=footer, sheet="" if sheet.is_first else sheet.name
    )
    repeated = _find_repeated(names)
    return Sample(_drop_nameless(frame), found, ".xlsx", repeated=repeated)


def _build_frame(records: Sequence[Record], names: Sequence[str]) -> pd.DataFrame:
    width = len(names)
    rows = [[*one.cells, *[""] * (width - len(one.cells))][:width] for one in records]
    return pd.DataFrame(rows, columns=list(names), dtype=columns.TEXT)


def _make_records(batches: Iterator[Rows]) -> Iterator[Record]:
    """The rows of a sheet that are not blank, each with its line."""
    for number, row in enumerate(chain.from_iterable(batches), start=1):
        cells = [spreadsheet.to_text(cell, ".") or "" for cell in row]
        if any(map(str.strip, cells)):
            yield Record(number, cells, ",".join(cells).strip(","))


def _count_footer(records: Sequence[Record], footer: tuple[str, ...]) -> int:
    count = 0
    while footer and count < len(records) and matches_footer(records[-1 - count].text, footer):
        count += 1
    return count


def _read_chunks(read: Read, measure: Measure) -> list[bytes]:
    """All of a text, in pieces."""
    chunks: list[bytes] = []
    size = 0
    while chunk := read(_BLOCK_BYTES):
        size += len(chunk)
        measure.check_drafted_bytes(size)
        chunks.append(chunk)
    return chunks


def _read_beginning_of_text(content: bytes, suffix: str, path: str) -> Sample:
    found, records, at = _find_layout(*layout.decode([content]), path)
    names = [name.strip() for name in records[at].cells]
    cells = [[*one.cells, *[""] * len(names)][: len(names)] for one in records[at + 1 :]]
    return Sample(_drop_nameless(pd.DataFrame(cells, columns=names, dtype=columns.TEXT)), found, suffix)


def _read_text(chunks: list[bytes], suffix: str, path: str, measure: Measure) -> Sample:
    """All rows of a text, whose pieces are gone then: two copies of it would take too much memory."""
    text, encoding = layout.decode(chunks)
    found, records, at = _find_layout(text, encoding, path)
    header = records[at]
    measure.check_width(len(header.cells), header.line)
    footer = layout.find_footer(_split_tail(chunks, found, header), len(header.cells))
    found = replace(found, footer=footer)
    profile = _make_reading_profile(found)
    blocks = split_into_blocks(_make_reader(chunks), encoding, path, _BLOCK_BYTES, measure)
    parts: list[pd.DataFrame] = []
    repeated = _find_repeated([name.strip() for name in header.cells])
    cells = read_text(cut_margins(blocks, profile, path), profile, path, measure)
    for part, _ in measure.bound_each(cells):
        measure.add_drafted(len(part), part.shape[1])
        parts.append(_drop_nameless(part, repeated))
    return Sample(pd.concat(parts, ignore_index=True), found, suffix, repeated=repeated)


def _find_layout(text: str, encoding: str, path: str) -> tuple[Layout, list[Record], int]:
    """How a text is laid out, going by its beginning; its first records, and which is the header."""
    if "\n" not in text:  # as old systems end their lines
        text = text.replace("\r", "\n")
    delimiter = layout.find_delimiter(text)
    records = layout.split_records(text, delimiter, most=_BEGINNING_ROWS)
    if not records:
        raise ExportError(f"{path} has no rows that can be read. Write it again.", path=path)
    at = layout.find_header(records)
    return Layout(delimiter, encoding, records[at].line - 1), records, at


def _split_tail(chunks: Sequence[bytes], found: Layout, header: Record) -> list[Record]:
    """The last records, below the header."""
    text, is_whole = layout.decode_end(chunks, found.encoding, _TAIL * 4)
    if "\n" not in text:
        text = text.replace("\r", "\n")
    if not is_whole or len(text) > _TAIL:
        start = text.find("\n", len(text) - _TAIL) + 1
        return layout.split_records(text[start:], found.delimiter, most=_TAIL)
    records = layout.split_records(text, found.delimiter, most=_TAIL)
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


def _make_reader(chunks: list[bytes]) -> Read:
    """Reads pieces one after the other, each of which is gone then."""
    chunks.reverse()
    return lambda _: chunks.pop() if chunks else b""


def _find_repeated(names: Sequence[str]) -> frozenset[str]:
    return frozenset(name for name, times in Counter(names).items() if name and times > 1)


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
