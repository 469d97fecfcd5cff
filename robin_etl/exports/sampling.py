"""The first rows of a file of which nothing is known yet: to find its profile, or to draft one."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
from upath import UPath

from robin_etl.core import columns
from robin_etl.exports.files import find_suffix
from robin_etl.exports.jsonl import read_jsonl
from robin_etl.exports.parquet import make_empty_batch, open_parquet, to_cells
from robin_etl.exports.streams import Read, open_export, split_into_blocks, unzip

_BYTES = 1 << 18
_ROWS = 200
_DELIMITERS = ",;\t|"
_WESTERN = "windows-1252"  # what a spreadsheet writes that does not write UTF-8


@dataclass(frozen=True)
class Sample:
    """The first rows of a file as text, by its own columns, and how a csv of them is written."""

    rows: pd.DataFrame
    delimiter: str = ","
    encoding: str = "utf-8"

    @property
    def columns(self) -> list[str]:
        return list(self.rows.columns)


def take_sample(path: UPath) -> Sample:
    """Raises `ExportMissingError`, or `ExportError` for a file that has no rows to be seen."""
    suffix, shown = find_suffix(path), str(path)
    with open_export(path) as stream:
        if suffix == ".parquet":
            return _sample_parquet(stream, shown)
        if suffix == ".jsonl":
            blocks = split_into_blocks(stream.read, "utf-8", shown, _BYTES)
            cells, _ = next(read_jsonl(blocks, shown))
            return Sample(cells.head(_ROWS))
        return _sample_text(unzip(stream, shown) if suffix == ".csv.gz" else stream.read)


def _sample_parquet(stream: BinaryIO, path: str) -> Sample:
    with open_parquet(stream, path) as file:
        schema = file.schema_arrow
        names = [field.name for field in schema if not pa.types.is_nested(field.type)]
        nothing = make_empty_batch(schema, names)
        batch = next(file.iter_batches(_ROWS, columns=names), nothing)
        return Sample(to_cells(batch, names).reindex(columns=schema.names).astype(columns.TEXT))


def _sample_text(read: Read) -> Sample:
    text, encoding = _decode(_read_beginning(read))
    delimiter = max(_DELIMITERS, key=lambda one: len(_split_records(text, one, most=1)[0]))
    header, *records = _split_records(text, delimiter, most=_ROWS + 1)
    width = len(header)
    cells = [[*record, *[""] * width][:width] for record in records if record]
    frame = pd.DataFrame(cells, columns=[name.strip() for name in header], dtype=columns.TEXT)
    return Sample(frame.loc[:, ~frame.columns.duplicated()], delimiter, encoding)


def _read_beginning(read: Read) -> bytes:
    """The beginning of a file, up to the end of a line."""
    content = read(_BYTES)
    return content if len(content) < _BYTES else content[: content.rfind(b"\n") + 1] or content


def _decode(content: bytes) -> tuple[str, str]:
    try:
        return content.decode().removeprefix("\ufeff"), "utf-8"
    except UnicodeDecodeError:
        return content.decode(_WESTERN, errors="replace"), _WESTERN


def _split_records(text: str, delimiter: str, *, most: int) -> Sequence[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [record for record, _ in zip(reader, range(most), strict=False)] or [[]]
    except csv.Error:
        return [text.partition("\n")[0].split(delimiter)]
