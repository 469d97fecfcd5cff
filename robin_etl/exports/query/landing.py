"""The file of a day that the answer to a query becomes: every cell as text, as exactly as it came."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime
from decimal import Decimal
from functools import singledispatch
from secrets import token_hex
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from robin_etl import private
from robin_etl.core.words import name_some
from robin_etl.exceptions import ConfigurationError, QueryError, UnavailableError
from robin_etl.exports.naming import name_columns
from robin_etl.exports.profiles import Profile
from robin_etl.exports.query.database import Answer, Rows
from robin_etl.exports.streams import make_size_error

_TEXT = pa.string()
_UTC = pa.timestamp("us", "UTC")
# Types that Arrow writes as we would, where a column has no other.
_PLAIN = {str, int, date, datetime, Decimal, type(None)}


def land_answer(answer: Answer, path: UPath, query: str, profile: Profile, *, most_bytes: int) -> int:
    """Write the answer to the query of that name as the Parquet file `path`; how many rows it has.

    It is written aside and put in place once it is whole. Raises `QueryError` for columns that the
    profile can't read, `ExportError` for more than `most_bytes`, and `UnavailableError` where it can't
    be written.
    """
    _check_names(answer.columns, query, profile)
    schema = pa.schema([(name, _TEXT) for name in answer.columns])
    rows, left = 0, most_bytes
    with _writing_aside(path) as stream, pq.ParquetWriter(stream, schema) as writer:
        for batch in answer.batches:
            table = _to_table(batch, schema)
            left -= table.nbytes
            if left < 0:
                raise make_size_error(str(path), most_bytes)
            writer.write_table(table)
            rows += len(batch)
    return rows


@contextmanager
def _writing_aside(path: UPath) -> Iterator[BinaryIO]:
    """A stream into a file beside `path`, which takes its place once this block has come to its end."""
    aside = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        if private.is_local(path):
            private.make_folder(path.parent)
        with private.open_file(aside) if private.is_local(path) else aside.open("wb") as stream:
            yield stream
        if private.is_local(path):
            aside.replace(path)
        else:
            aside.fs.mv(aside.path, path.path)
    except NotImplementedError as error:
        raise ConfigurationError(
            f"{path} can't be written: its storage only reads. Set ROBIN_ETL_EXPORTS to a place where "
            "the answers of ROBIN_ETL_QUERY can be kept."
        ) from error
    except OSError as error:
        raise UnavailableError(
            f"{path} can't be written ({error}), so the answer to the query was not kept. Make room "
            "there, or set ROBIN_ETL_EXPORTS to a place that can be written; then run again."
        ) from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def _check_names(columns: Sequence[str], query: str, profile: Profile) -> None:
    twice = sorted(name for name, times in Counter(columns).items() if times > 1)
    if twice or not all(columns):
        what = f"the column {name_some(twice)} more than once" if twice else "a column without a name"
        raise QueryError(
            f"The answer to the query {query} has {what}. Name each with AS, then run again.",
            path=query,
        )
    if missing := profile.find_missing(columns):
        nouns = f"column {missing[0]}" if len(missing) == 1 else f"columns {', '.join(missing)}"
        raise QueryError(
            f"The answer to the query {query} has no {nouns}, which the profile {profile.name} needs; "
            f"{name_columns(columns, profile.sources)}. Name what it has so with AS, or map it in a "
            "profile; then run again.",
            path=query,
        )


def _to_table(rows: Rows, schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    return pa.table([_to_text(column) for column in columns], schema=schema)


def _to_text(values: Sequence[Any]) -> pa.Array:
    """Values as text: numbers without an exponent, moments that know their zone in UTC."""
    kinds = set(map(type, values))
    if kinds <= {str, type(None)}:
        return pa.array(values, _TEXT)
    if len(kinds - {type(None)}) == 1 and kinds <= _PLAIN:
        with suppress(pa.ArrowException, OverflowError):
            array = pa.array(values)
            is_aware = pa.types.is_timestamp(array.type) and array.type.tz is not None
            return (array.cast(_UTC) if is_aware else array).cast(_TEXT)
    return pa.array([_write(value) for value in values], _TEXT)


@singledispatch
def _write(value: Any) -> str | None:
    return str(value)


@_write.register
def _write_null(_: None) -> None:
    return None


@_write.register
def _write_flag(value: bool) -> str:
    return "true" if value else "false"


@_write.register
def _write_float(value: float) -> str:
    return format(Decimal(repr(value)), "f") if math.isfinite(value) else str(value)


@_write.register
def _write_decimal(value: Decimal) -> str:
    return format(value, "f") if value.is_finite() else str(value)


@_write.register
def _write_bytes(value: bytes | bytearray | memoryview) -> str:
    content = bytes(value)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.hex()


@_write.register
def _write_json(value: dict | list) -> str:  # type: ignore[type-arg]  # as a register takes them
    return json.dumps(value, ensure_ascii=False, default=str)
