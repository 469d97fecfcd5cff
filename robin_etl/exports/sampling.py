"""The first rows of a file of which nothing is known yet: to find its profile, or to draft one."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
from upath import UPath

from robin_etl.core import columns
from robin_etl.exports import files

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
    suffix, shown = files.find_format(path), str(path)
    with files.open_export(path, shown) as stream:
        if suffix == ".parquet":
            return _of_parquet(stream, shown)
        if suffix == ".jsonl":
            lines = files.split_into_blocks(stream.read, "utf-8", shown, _BYTES)
            objects, _ = next(files.read_jsonl(lines, shown))
            return Sample(objects.head(_ROWS))
        read = files.unzip(stream, shown) if suffix == ".csv.gz" else stream.read
        content = _begun(read)
        text, encoding = _decoded(content)
    delimiter = max(_DELIMITERS, key=lambda one: len(_records(text, one, most=1)[0]))
    header, *records = _records(text, delimiter, most=_ROWS + 1)
    width = len(header)
    cells = [[*record, *[""] * width][:width] for record in records if record]
    frame = pd.DataFrame(cells, columns=[name.strip() for name in header], dtype=columns.TEXT)
    return Sample(frame.loc[:, ~frame.columns.duplicated()], delimiter, encoding)


def _begun(read: Callable[[int], bytes]) -> bytes:
    """The beginning of a file, up to the end of a line."""
    content = read(_BYTES)
    return content if len(content) < _BYTES else content[: content.rfind(b"\n") + 1] or content


def _decoded(content: bytes) -> tuple[str, str]:
    try:
        return content.decode().removeprefix("\ufeff"), "utf-8"
    except UnicodeDecodeError:
        return content.decode(_WESTERN, errors="replace"), _WESTERN


def _records(text: str, delimiter: str, *, most: int) -> Sequence[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [record for record, _ in zip(reader, range(most), strict=False)] or [[]]
    except csv.Error:
        return [text.partition("\n")[0].split(delimiter)]


def _of_parquet(stream: BinaryIO, path: str) -> Sample:
    with files.open_parquet(stream, path) as file:
        names = [field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)]
        batch = next(file.iter_batches(_ROWS, columns=names), None)
        texts = {
            name: files.to_text(
                file.schema_arrow.field(name).type, None if batch is None else batch[name]
            )
            for name in names
        }
        return Sample(pd.DataFrame(texts, columns=file.schema_arrow.names, dtype=columns.TEXT))
