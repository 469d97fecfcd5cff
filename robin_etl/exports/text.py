"""Exports as delimited text: quickly where each line is a record, else record by record."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain, groupby, islice

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from robin_etl.core import columns
from robin_etl.exceptions import ExportError
from robin_etl.exports.bounds import Measure
from robin_etl.exports.mapping import SURPLUS, mark_cut_off
from robin_etl.exports.profiles import Profile
from robin_etl.exports.streams import Block, Cells

_QUOTE = b'"'
_MOST_CELLS = 4_000_000  # of records that become cells together
_UNENDED = "unexpected end of data"  # the csv module's words
_CUT_RECORD = [""]  # stands for a record that the end of the file cuts off


def read_text(blocks: Iterator[Block], profile: Profile, path: str, measure: Measure) -> Iterator[Cells]:
    """The cells below the header, at least once; raises `ExportError` for a header that is none."""
    used: list[Block] = []
    header, lines = _read_header(_note(blocks, used), profile, path, measure)
    line, block = used[0]
    first_line, _, body = block.partition(b"\n")
    if lines > 1 or b"\r" in first_line.removesuffix(b"\r"):
        yield from _read_records(chain(used, blocks), profile, header, path, measure, skip=1)
        return
    for start, text in chain([(line + 1, body)], blocks):
        cells = read_lines(text, profile, header)
        if cells is None:
            yield from _read_records(chain([(start, text)], blocks), profile, header, path, measure)
            return
        yield cells, pd.Series(range(start, start + len(cells)), dtype=columns.COUNT)


def read_lines(text: bytes, profile: Profile, header: list[str]) -> pd.DataFrame | None:
    """Lines of which each is one record, quickly; None where they are not."""
    if not text:
        return pd.DataFrame(columns=header, dtype=columns.TEXT)
    if text.count(b"\r") != text.count(b"\r\n") or not _is_well_quoted(text, profile.delimiter):
        return None
    try:
        table = pacsv.read_csv(
            pa.BufferReader(text),
            read_options=pacsv.ReadOptions(column_names=header, block_size=len(text) + 1),
            parse_options=pacsv.ParseOptions(delimiter=profile.delimiter),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.large_string()),
                strings_can_be_null=False,
                check_utf8=False,  # the decoder has
            ),
        )
    except pa.ArrowInvalid:
        return None
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    return table.to_pandas() if lines == len(table) else None


def _is_well_quoted(text: bytes, delimiter: str) -> bool:
    """Whether every quoted cell is quoted whole: only then do all readers of csv agree on it."""
    if _QUOTE not in text:
        return True
    padded = np.frombuffer(b"\n" + text + b"\n", dtype=np.uint8)
    quotes = np.flatnonzero(padded == ord(_QUOTE))
    opening, closing = quotes[::2], quotes[1::2]
    beside = np.frombuffer(b'\r\n"' + delimiter.encode(), dtype=np.uint8)
    if len(opening) != len(closing):
        return False
    return bool(
        np.isin(padded[opening - 1], beside).all() and np.isin(padded[closing + 1], beside).all()
    )


def _note(blocks: Iterator[Block], used: list[Block]) -> Iterator[Block]:
    for block in blocks:
        used.append(block)
        yield block


def _read_header(
    blocks: Iterator[Block], profile: Profile, path: str, measure: Measure
) -> tuple[list[str], int]:
    """The columns' names, and how many lines they take."""
    line, record, end = next(_split_records(blocks, profile, path), (1, [], 1))
    measure.check_width(len(record), line)
    return name_columns(record, profile, path, line), end - line + 1


def name_columns(record: Sequence[str], profile: Profile, path: str, line: int) -> list[str]:
    """The names of a header's cells, each different; raises `ExportError` where they are no header."""
    names = [name.strip() for name in record]
    if not any(names):
        raise ExportError(
            f"{path} has a blank line where the header should be (line {line}). Write it again, or "
            "say in the profile how many lines_above it has.",
            path=path,
        )
    for name in profile.sources:
        if names.count(name) > 1 and profile.repeated_columns == "refuse":
            raise ExportError(
                f"{path} has the column {name} {names.count(name)} times; keep one of them, or say in "
                "the profile that repeated_columns is first.",
                path=path,
                column=name,
            )
    # Others are ignored, whatever they are called, but each needs a name of its own.
    first = {name: at for at, name in reversed(list(enumerate(names)))}
    return [name if first[name] == at else f"{name}#{at}" for at, name in enumerate(names)]


def _read_records(
    blocks: Iterator[Block],
    profile: Profile,
    header: list[str],
    path: str,
    measure: Measure,
    *,
    skip: int = 0,
) -> Iterator[Cells]:
    """The same record by record, for files with blank lines, breaks within cells or surplus cells."""
    counted = _Counted(blocks)
    records = islice(_split_records(counted, profile, path), skip, None)
    at_once = max(1, _MOST_CELLS // len(header))
    is_first = True
    for _, of_block in groupby(_drop_blank(records, measure), lambda _: counted.number):
        while batch := list(islice(of_block, at_once)):
            is_first = False
            yield _build_cells(batch, profile, header, measure)
    if is_first:
        yield _build_cells([], profile, header, measure)


class _Counted:
    """Blocks, and the `number` of the one that is being read."""

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = blocks
        self.number = 0

    def __iter__(self) -> Iterator[Block]:
        return self

    def __next__(self) -> Block:
        self.number += 1
        return next(self._blocks)


def _drop_blank(
    records: Iterator[tuple[int, list[str], int]], measure: Measure
) -> Iterator[tuple[int, list[str]]]:
    """The records that are not blank lines, each with the line it starts on."""
    for line, record, _ in records:
        if record:
            yield line, record
        else:
            measure.add_blank_line()


def _build_cells(
    batch: Sequence[tuple[int, list[str]]], profile: Profile, header: list[str], measure: Measure
) -> Cells:
    width = len(header)
    present = sum(len(record) for _, record in batch)
    measure.add_cells(present, max(0, width * len(batch) - present), width)
    rows = [
        [
            *record[:width],
            *[""] * (width - len(record)),
            profile.delimiter.join(record[width:]) if any(record[width:]) else None,
        ]
        for _, record in batch
    ]
    cells = pd.DataFrame(rows, columns=[*header, SURPLUS], dtype=columns.TEXT)
    if batch and batch[-1][1] is _CUT_RECORD:
        cells = mark_cut_off(cells)
    return cells, pd.Series([line for line, _ in batch], dtype=columns.COUNT)


def _split_records(
    blocks: Iterator[Block], profile: Profile, path: str
) -> Iterator[tuple[int, list[str], int]]:
    """Each record with the lines that it starts and ends on."""
    first, block = next(blocks)
    texts = (
        io.TextIOWrapper(io.BytesIO(block), encoding="utf-8", newline="")
        for _, block in chain([(first, block)], blocks)
    )
    reader = csv.reader(chain.from_iterable(texts), delimiter=profile.delimiter, strict=True)
    line = first
    try:
        for record in reader:
            end = first + reader.line_num - 1
            yield line, record, end
            line = end + 1
    except csv.Error as error:
        # A quote that the last line opens is that line's own; an earlier one may have swallowed many.
        if str(error) == _UNENDED and first + reader.line_num - 1 == line:
            yield line, _CUT_RECORD, line
            return
        raise ExportError(
            f"{path} can't be read as csv from line {line} on ({error}). Mend that line, then run "
            "again.",
            path=path,
        ) from error
