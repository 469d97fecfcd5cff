"""Exports as Parquet: only the columns that a profile names are read; a field of a struct is a column
`customer.email`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from robin_etl.core import columns, dates
from robin_etl.exceptions import ExportError
from robin_etl.exports.bounds import Measure
from robin_etl.exports.naming import describe_fault
from robin_etl.exports.profiles import Profile
from robin_etl.exports.streams import Cells, make_size_error

_BATCH_ROWS = 100_000

# Types that can stand for the text they would have been in a csv, by the column of ROBIN's that they
# tell; any other is a wrong type.
_TYPES = {
    "order_number": ("string", "integer"),
    "email_address": ("string",),
    "phone_number": ("string", "integer"),
    "webstore_url": ("string",),
    "revenue": ("string", "integer", "floating", "decimal"),
    "profit": ("string", "integer", "floating", "decimal"),
    "order_date": ("string", "timestamp", "date"),
    "status": ("string", "timestamp", "date"),
    "currency": ("string",),
    "word": ("string", "integer", "boolean", "decimal", "floating"),
}
# Formats of dates that are numbers.
_COUNTED_DATES = {dates.SECONDS, dates.MILLISECONDS, dates.SERIAL}


def read_parquet(
    stream: BinaryIO, profile: Profile, path: str, most_bytes: int, measure: Measure
) -> Iterator[Cells]:
    """The cells, at least once.

    Raises `ExportError` for wrong types, or for more than `most_bytes` once it is unpacked.
    """
    with open_parquet(stream, path) as file:
        schema = file.schema_arrow
        fields = list_fields(schema, measure)
        _check_types(fields, profile, path)
        known = [name for name in fields if name in profile.sources]
        nothing = make_empty_batch(fields, known)
        first, left = 1, most_bytes
        for batch in chain(file.iter_batches(_BATCH_ROWS, columns=known), [nothing]):
            if batch is nothing and first > 1:
                return
            left -= batch.nbytes
            if left < 0:
                raise make_size_error(path, most_bytes)
            lines = pd.Series(range(first, first + batch.num_rows), dtype=columns.COUNT)
            yield to_cells(batch, known), lines
            first += batch.num_rows


@contextmanager
def open_parquet(stream: BinaryIO, path: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file; raises `ExportError` wherever it turns out to be none."""
    try:
        yield pq.ParquetFile(stream, buffer_size=1 << 20)
    except MemoryError:  # of which Arrow's is one
        raise
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        # A name of a column may be no text; what Arrow says of a file has no number, as the system has.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ExportError(
            f"{path} is not a readable Parquet file ({describe_fault(error)}). Write it again.",
            path=path,
        ) from error


def list_fields(schema: pa.Schema, measure: Measure) -> dict[str, pa.DataType]:
    """The columns of a file and their types, those of structs by their names with points."""
    found: dict[str, pa.DataType] = {}
    measure.check_width(len(schema), 1)

    def add(name: str, kind: pa.DataType) -> None:
        measure.check_name(len(name))
        if not pa.types.is_struct(kind):
            found.setdefault(name, kind)
            measure.check_width(len(found), 1)
            return
        for field in kind:
            add(f"{name}.{field.name}", field.type)

    for field in schema:
        add(field.name, field.type)
    return found


def make_empty_batch(kinds: Mapping[str, pa.DataType], names: Sequence[str]) -> pa.RecordBatch:
    """These columns of a file, of whose fields `kinds` are the types, without any row."""
    fields = [pa.field(name, kinds[name]) for name in names]
    return pa.RecordBatch.from_arrays(
        [pa.array([], field.type) for field in fields], schema=pa.schema(fields)
    )


def to_cells(batch: pa.RecordBatch, names: Sequence[str]) -> pd.DataFrame:
    """Columns as the text they would be in a csv."""
    texts = {name: _to_text(_take_column(batch, name)) for name in names}
    return pd.DataFrame(texts, index=range(batch.num_rows), dtype=columns.TEXT)


def _take_column(batch: pa.RecordBatch, name: str) -> pa.Array:
    if name in batch.schema.names:
        return batch[name]
    above, _, last = name.rpartition(".")
    struct = _take_column(batch, above)
    # Of a struct that is null, its fields are.
    return pc.struct_field(struct, last)


def _to_text(column: pa.Array) -> pd.Series:
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column = column.cast(pa.timestamp("us", "UTC"), safe=False)  # which drops nanoseconds
    text: pd.Series = column.cast(pa.string()).to_pandas().astype(columns.TEXT)
    return text


def _check_types(fields: Mapping[str, pa.DataType], profile: Profile, path: str) -> None:
    counted = ("integer", "floating") if _COUNTED_DATES.intersection(profile.date_formats) else ()
    for name, kind in fields.items():
        told = profile.sources.get(name, "")
        allowed = _TYPES.get(told, ()) + (counted if told == "order_date" else ())
        if allowed and not _is_one_of(kind, allowed):
            raise ExportError(
                f"{path} has {_name_type(kind)} in column {name}, where it should be one of: "
                f"{', '.join(allowed)}. Write that column as text, then run again.",
                path=path,
                column=name,
            )


def _name_type(kind: pa.DataType) -> str:
    """A type in words; one that is made of others has names in it, which may be anything."""
    return "lists or objects" if pa.types.is_nested(kind) else f"the type {kind}"


def _is_one_of(dtype: pa.DataType, names: tuple[str, ...]) -> bool:
    value_type = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    text = pa.types.is_string(value_type) or pa.types.is_large_string(value_type)
    checks = {
        "string": text or pa.types.is_string_view(value_type) or pa.types.is_null(value_type),
        "integer": pa.types.is_integer(value_type),
        "floating": pa.types.is_floating(value_type),
        "decimal": pa.types.is_decimal(value_type),
        "timestamp": pa.types.is_timestamp(value_type),
        "boolean": pa.types.is_boolean(value_type),
        "date": pa.types.is_date(value_type),
    }
    return any(checks[name] for name in names)
