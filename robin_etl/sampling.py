"""The first rows of a file of which nothing is known yet: to find its profile, or to draft one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from robin_etl import exports, orders
from robin_etl.exceptions import ExportError

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


def sampled(path: UPath) -> Sample:
    """Raises `ExportMissingError`, or `ExportError` for a file that has no rows to be seen."""
    suffix, shown = exports.suffix_of(path), str(path)
    with exports.opened(path, shown) as stream:
        if suffix == ".parquet":
            return _of_parquet(pq.ParquetFile(stream))
        read = exports.unzipped(stream, shown) if suffix == ".csv.gz" else stream.read
        content = _begun(read)
        text, encoding = _decoded(content)
    if suffix == ".jsonl":
        return _of_jsonl(text, shown)
    delimiter = max(_DELIMITERS, key=lambda one: len(_records(text, one, most=1)[0]))
    header, *records = _records(text, delimiter, most=_ROWS + 1)
    width = len(header)
    cells = [[*record, *[""] * width][:width] for record in records if record]
    frame = pd.DataFrame(cells, columns=[name.strip() for name in header], dtype=orders.TEXT)
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


def _of_jsonl(text: str, path: str) -> Sample:
    try:
        records = [json.loads(line) for line in text.splitlines()[:_ROWS] if line.strip()]
        return Sample(pd.DataFrame(records).astype(orders.TEXT))
    except (ValueError, TypeError, AttributeError):
        raise ExportError(
            f"{path} is not JSON, one object a line, from its beginning. Write it again.", path=path
        ) from None


def _of_parquet(file: pq.ParquetFile) -> Sample:
    names = file.schema_arrow.names
    batch = next(file.iter_batches(_ROWS), pa.RecordBatch.from_pylist([], file.schema_arrow))
    texts = {name: batch[name].cast(pa.string()).to_pandas() for name in names if _is_text(batch[name])}
    return Sample(pd.DataFrame(texts, columns=names, dtype=orders.TEXT))


def _is_text(column: pa.Array) -> bool:
    return not pa.types.is_nested(column.type)
