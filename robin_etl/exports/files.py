"""A day's export, from bytes to rows: read the file as text, batch by batch, and parse the columns.

Reading drops no row. A cell that can't be read becomes null beside its raw text, and the gate's row
rules (`expectations/export.json`) decide what that means. Only a file that is no export at all is an
error here. No more than a batch is held, however long the file.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import chain, islice
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from upath import UPath

from robin_etl.core import columns
from robin_etl.exceptions import ExportError, ExportMissingError
from robin_etl.exports import profiles
from robin_etl.exports.locations import SUFFIXES
from robin_etl.exports.mapping import SURPLUS, Mapped, map_cells
from robin_etl.exports.profiles import Profile

# A batch is as many rows as that much text holds, or so many where there is no text.
_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 100_000

_QUOTE = b'"'

# More of either is no export, and would take memory without bound.
_MOST_LINE_BYTES = 64 << 20
_MOST_COLUMNS = 10_000

# Types that can stand for the text they would have been in a csv, by the column of ROBIN's that they
# tell; any other is a wrong type.
_PARQUET_TYPES = {
    "order_number": ("string", "integer"),
    "email_address": ("string",),
    "phone_number": ("string", "integer"),
    "webstore_url": ("string",),
    "revenue": ("string", "integer", "floating", "decimal"),
    "profit": ("string", "integer", "floating", "decimal"),
    "order_date": ("string", "timestamp", "date"),
    "status": ("string", "timestamp", "date"),
    "currency": ("string",),
}

# Cells and the line each record starts on.
_Cells = tuple[pd.DataFrame, pd.Series]
# The number of the first line, and whole lines in UTF-8.
_Block = tuple[int, bytes]


@dataclass(frozen=True)
class Export(Mapped):
    """A file, or a batch of it, read: its orders, with the text of every column as it was."""

    path: str


def read_export(path: UPath, profile: Profile, day: date, *, most_bytes: int = sys.maxsize) -> Export:
    """One export as a whole; raises what `read_batches` does."""
    parts = list(read_batches(path, profile, day, most_bytes=most_bytes))
    if len(parts) == 1:
        return parts[0]
    cells, lines, rows = (
        pd.concat([getattr(part, name) for part in parts], ignore_index=True)
        for name in ("cells", "lines", "rows")
    )
    left_out = sum(part.left_out for part in parts)
    return Export(cells, lines, rows, left_out, parts[0].path)


def read_batches(
    path: UPath,
    profile: Profile,
    day: date,
    *,
    batch_bytes: int = _BATCH_BYTES,
    most_bytes: int = sys.maxsize,
) -> Iterator[Export]:
    """One export in batches, at least one, in the file's order.

    Raises `ExportMissingError`, or `ExportError` for a file that can't be read as a whole, that holds
    more than `most_bytes` once unzipped, or that changed meanwhile; that may show only after many
    batches.
    """
    shown = str(path)
    before = _state_of(path)
    suffix = find_format(path)
    with open_export(path, shown) as stream:
        if suffix == ".parquet":
            read = _read_parquet(stream, profile, shown, most_bytes)
        elif suffix == ".jsonl":
            source = _bounded(stream.read, shown, most_bytes)
            read = read_jsonl(split_into_blocks(source, "utf-8", shown, batch_bytes), shown)
        else:
            unbounded = unzip(stream, shown) if suffix == ".csv.gz" else stream.read
            source = _bounded(unbounded, shown, most_bytes)
            read = _read_csv(
                split_into_blocks(source, profile.encoding, shown, batch_bytes), profile, shown
            )
        if profile.grain == "line":
            read = iter([_whole(read)])
        seen: set[str] = set()
        rows = 0
        for cells, lines in read:
            seen.update(cells.columns)
            rows += len(cells)
            if suffix != ".jsonl":
                _check_columns(seen, profile, shown)
            found = map_cells(cells, lines, profile, day)
            yield Export(found.cells, found.lines, found.rows, found.left_out, shown)
        # A line of JSON may leave a key out, so only all of them together lack a column.
        if rows:
            _check_columns(seen, profile, shown)
    if _state_of(path) != before:
        raise ExportError(
            f"{shown} changed while it was read. Nothing of it was posted; run again when it is "
            "uploaded whole. ROBIN_ETL_DONE_MARKER makes a run wait for that.",
            path=shown,
        )


def _state_of(path: UPath) -> tuple[object, ...] | None:
    """What changes with a file, as far as its storage tells: size, time, and which file it is."""
    try:
        state = path.stat()
    except (OSError, NotImplementedError):
        return None
    return tuple(getattr(state, name, None) for name in ("st_size", "st_mtime", "st_ino"))


def _bounded(read: Callable[[int], bytes], path: str, most: int) -> Callable[[int], bytes]:
    left = most

    def bounded(size: int) -> bytes:
        nonlocal left
        data = read(size)
        left -= len(data)
        if left < 0:
            raise _too_large(path, most)
        return data

    return bounded


def _too_large(path: str, most: int) -> ExportError:
    return ExportError(
        f"{path} holds more than {most:,} bytes once unzipped. Set ROBIN_ETL_MAX_EXPORT_SIZE higher if "
        "that is meant.",
        path=path,
    )


def _whole(read: Iterator[_Cells]) -> _Cells:
    """All of a file: the line items of an order may lie anywhere in it."""
    parts = list(read)
    cells, lines = zip(*parts, strict=True)
    return pd.concat(cells, ignore_index=True), pd.concat(lines, ignore_index=True)


def _check_columns(columns: set[str], profile: Profile, path: str) -> None:
    if (column := profile.find_missing(columns)) is None:
        return
    other = profiles.find_fitting(columns)
    advice = other.unusable if other else ""
    if other and not advice:
        advice = f"It fits the profile {other.name}: set ROBIN_ETL_PROFILE to that."
    raise ExportError(
        f"{path} has no column {column}, which the profile {profile.name} needs; its columns are: "
        f"{', '.join(sorted(columns))}. "
        + (advice or "Add it to the export, or choose the profile that fits it."),
        path=path,
        column=column,
    )


def find_format(path: UPath) -> str:
    """Which of the formats it is, by its name; raises `ExportError` for none of them."""
    suffix = next((known for known in SUFFIXES if path.name.lower().endswith(known)), None)
    if suffix is None:
        raise ExportError(
            f"{path} is not an export: its name must end in {', '.join(SUFFIXES)}.", path=str(path)
        )
    return suffix


@contextmanager
def open_export(path: UPath, shown: str) -> Iterator[BinaryIO]:
    """The file's bytes, of which there is at least one."""
    try:
        with path.open("rb") as stream:
            if not stream.read(1):
                raise ExportError(
                    f"{shown} is empty, without even a header. Write it again, then run again.",
                    path=shown,
                )
            stream.seek(0)
            yield stream
    except FileNotFoundError:
        raise ExportMissingError(f"There is no file {path}.", location=shown) from None
    except OSError as error:
        raise ExportError(f"{shown} can't be read: {error}.", path=shown) from error


def unzip(stream: BinaryIO, path: str) -> Callable[[int], bytes]:
    """Reads what a gzip file holds; raises `ExportError` where it breaks off."""
    unzipped = gzip.GzipFile(fileobj=stream)

    def read(size: int) -> bytes:
        try:
            return unzipped.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ExportError(
                f"{path} is not a whole gzip file: after {unzipped.tell()} bytes of text "
                f"({stream.tell()} bytes compressed) it breaks off ({error}). Upload it again.",
                path=path,
            ) from error

    return read


def split_into_blocks(
    read: Callable[[int], bytes], encoding: str, path: str, size: int
) -> Iterator[_Block]:
    """Whole lines in UTF-8 without a byte order mark, about `size` bytes at a time, at least once,
    each block with the number of its first line.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, line, rest = 0, 1, b""
    is_first = True
    while True:
        data = read(size)
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            at = offset - pending + error.start
            line += rest.count(b"\n") + error.object.count(b"\n", 0, error.start)
            raise ExportError(
                f"{path} is not {encoding}: byte {at} (line {line}) is "
                f"0x{error.object[error.start]:02x}. Write it in {encoding}, or name its encoding in a "
                "profile.",
                path=path,
            ) from error
        offset += len(data)
        block = rest + text.encode()
        if is_first:
            block = block.removeprefix(codecs.BOM_UTF8)
        end = len(block) if not data else block.rfind(b"\n") + 1
        block, rest = block[:end], block[end:]
        if len(rest) > _MOST_LINE_BYTES:
            raise ExportError(
                f"{path} has a line of more than {_MOST_LINE_BYTES:,} bytes (line {line}). It is no "
                "export, or its lines end in another way; write it again.",
                path=path,
            )
        if block or (is_first and not data):
            yield line, block
            line += block.count(b"\n")
            is_first = False
        if not data:
            return


def _read_csv(blocks: Iterator[_Block], profile: Profile, path: str) -> Iterator[_Cells]:
    used: list[_Block] = []
    header, lines = _header(_noted(blocks, used), profile, path)
    line, block = used[0]
    first_line, _, body = block.partition(b"\n")
    if lines > 1 or b"\r" in first_line.removesuffix(b"\r"):
        yield from _read_uneven_csv(chain(used, blocks), profile, header, path, skip=1)
        return
    for start, text in chain([(line + 1, body)], blocks):
        cells = _read_even_csv(text, profile, header)
        if cells is None:
            yield from _read_uneven_csv(chain([(start, text)], blocks), profile, header, path)
            return
        yield cells, pd.Series(range(start, start + len(cells)), dtype=columns.COUNT)


def _read_even_csv(text: bytes, profile: Profile, header: list[str]) -> pd.DataFrame | None:
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


def _noted(blocks: Iterator[_Block], used: list[_Block]) -> Iterator[_Block]:
    for block in blocks:
        used.append(block)
        yield block


def _header(blocks: Iterator[_Block], profile: Profile, path: str) -> tuple[list[str], int]:
    """The columns' names, and how many lines they take."""
    line, record, ends = next(_records(blocks, profile, path), (1, [], 1))
    names = [name.strip() for name in record]
    if not any(names):
        raise ExportError(
            f"{path} begins with a blank line where the header should be. Write it again.",
            path=path,
        )
    _check_width(len(names), line, path)
    for name in profile.sources:
        if names.count(name) > 1:
            raise ExportError(
                f"{path} has the column {name} {names.count(name)} times; keep one of them.",
                path=path,
                column=name,
            )
    # Others are ignored, whatever they are called, but each needs a name of its own.
    first = {name: at for at, name in reversed(list(enumerate(names)))}
    unique = [name if first[name] == at else f"{name}#{at}" for at, name in enumerate(names)]
    return unique, ends - line + 1


def _check_width(columns: int, line: int, path: str) -> None:
    if columns > _MOST_COLUMNS:
        raise ExportError(
            f"{path} has {columns:,} columns on line {line}, and an export may have {_MOST_COLUMNS:,}. "
            "Look at its delimiter, or write it again.",
            path=path,
        )


def _read_uneven_csv(
    blocks: Iterator[_Block], profile: Profile, header: list[str], path: str, *, skip: int = 0
) -> Iterator[_Cells]:
    """The same record by record, for files with blank lines, breaks within cells or surplus cells."""
    width = len(header)
    records = islice(_records(blocks, profile, path), skip, None)
    told = ((line, record) for line, record, _ in records if record)
    is_first = True
    while (batch := list(islice(told, _BATCH_ROWS))) or is_first:
        is_first = False
        rows = [
            [
                *record[:width],
                *[""] * (width - len(record)),
                profile.delimiter.join(record[width:]) or None,
            ]
            for _, record in batch
        ]
        cells = pd.DataFrame(rows, columns=[*header, SURPLUS], dtype=columns.TEXT)
        yield cells, pd.Series([line for line, _ in batch], dtype=columns.COUNT)


def _records(
    blocks: Iterator[_Block], profile: Profile, path: str
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
            ends = first + reader.line_num - 1
            yield line, record, ends
            line = ends + 1
    except csv.Error as error:
        raise ExportError(
            f"{path} can't be read as csv from line {line} on ({error}). Mend that line, then run "
            "again.",
            path=path,
        ) from error


def read_jsonl(lines_of: Iterator[_Block], path: str) -> Iterator[_Cells]:
    """One object a line. Numbers stay the text they are, so that no digit or zero is lost."""
    decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
    for first, block in lines_of:
        lines: list[int] = []
        records: list[dict[str, object]] = []
        for number, line in enumerate(block.split(b"\n"), start=first):
            if line.strip():
                lines.append(number)
                records.append(_json_record(decoder, line, number, path))
        yield pd.DataFrame(records, dtype=columns.TEXT), pd.Series(lines, dtype=columns.COUNT)


def _json_record(decoder: json.JSONDecoder, line: bytes, number: int, path: str) -> dict[str, object]:
    try:
        record = decoder.decode(line.decode())
    except (ValueError, RecursionError) as error:
        raise ExportError(
            f"{path} is not JSON on line {number} ({error}). Mend that line, then run again.",
            path=path,
        ) from error
    if not isinstance(record, dict):
        raise ExportError(
            f"{path} has something else than an object on line {number}. Write one object "
            "for each order.",
            path=path,
        )
    _check_width(len(record), number, path)
    return {f"{_json_text(key)}": _json_text(value) for key, value in record.items()}


def _json_text(value: object) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    # JSON can escape half a character, which is no text anywhere else.
    return text if text.isascii() else text.encode(errors="replace").decode()


@contextmanager
def open_parquet(stream: BinaryIO, path: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file; raises `ExportError` wherever it turns out to be none."""
    try:
        yield pq.ParquetFile(stream, buffer_size=1 << 20)
    except pa.ArrowException as error:
        raise ExportError(
            f"{path} is not a readable Parquet file ({error}). Write it again.", path=path
        ) from error


def _read_parquet(stream: BinaryIO, profile: Profile, path: str, most: int) -> Iterator[_Cells]:
    with open_parquet(stream, path) as file:
        schema = file.schema_arrow
        _check_types(schema, profile, path)
        known = [name for name in schema.names if name in profile.sources]
        first, left = 1, most
        for batch in chain(file.iter_batches(_BATCH_ROWS, columns=known), [None]):
            if batch is None and first > 1:
                return
            rows = 0 if batch is None else batch.num_rows
            left -= 0 if batch is None else batch.nbytes
            if left < 0:
                raise _too_large(path, most)
            lines = pd.Series(range(first, first + rows), dtype=columns.COUNT)
            texts = {
                name: to_text(schema.field(name).type, None if batch is None else batch[name])
                for name in known
            }
            yield pd.DataFrame(texts, index=lines.index, dtype=columns.TEXT), lines
            first += rows


def _check_types(schema: pa.Schema, profile: Profile, path: str) -> None:
    for field in schema:
        allowed = _PARQUET_TYPES.get(profile.sources.get(field.name, ""), ())
        if allowed and not _is_one_of(field.type, allowed):
            raise ExportError(
                f"{path} has the type {field.type} in column {field.name}, where it should be one of: "
                f"{', '.join(allowed)}. Write that column as text, then run again.",
                path=path,
                column=field.name,
            )


def _is_one_of(dtype: pa.DataType, names: tuple[str, ...]) -> bool:
    value_type = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    text = pa.types.is_string(value_type) or pa.types.is_large_string(value_type)
    checks = {
        "string": text or pa.types.is_string_view(value_type) or pa.types.is_null(value_type),
        "integer": pa.types.is_integer(value_type),
        "floating": pa.types.is_floating(value_type),
        "decimal": pa.types.is_decimal(value_type),
        "timestamp": pa.types.is_timestamp(value_type),
        "date": pa.types.is_date(value_type),
    }
    return any(checks[name] for name in names)


def to_text(dtype: pa.DataType, column: pa.Array | None) -> pd.Series:
    """A column as the text it would be in a csv; None stands for one without rows."""
    column = pa.array([], dtype) if column is None else column
    if pa.types.is_timestamp(dtype) and dtype.tz is not None:
        column = column.cast(pa.timestamp("us", "UTC"))
    text: pd.Series = column.cast(pa.string()).to_pandas().astype(columns.TEXT)
    return text
