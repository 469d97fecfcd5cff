"""A day's export, from bytes to rows: find the file, read it as text, parse the columns.

Reading drops no row. A cell that can't be read becomes null beside its raw text, and the gate's row
rules (`expectations/export.json`) decide what that means. Only a file that is no export at all is an
error here.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from robin_etl import orders
from robin_etl.exceptions import ConfigurationError, ExportError, ExportMissingError
from robin_etl.profiles import Profile

SUFFIXES = (".csv", ".csv.gz", ".jsonl", ".parquet")
DEFAULT_NAME = "orders_{date}"

_DATE_FIELD = re.compile(r"\{date(?::([^{}]*))?\}")
_SURPLUS = "surplus_cells"

# Types that can stand for the text they would have been in a csv; any other is a wrong type.
_PARQUET_TYPES = {
    "order_number": ("string", "integer"),
    "email_address": ("string",),
    "phone_number": ("string", "integer"),
    "webstore_url": ("string",),
    "revenue": ("string", "integer", "floating", "decimal"),
    "profit": ("string", "integer", "floating", "decimal"),
    "order_date": ("string", "timestamp", "date"),
}


@dataclass(frozen=True)
class Export:
    """One file, read.

    `cells`: every column as text, as it was. `lines`: the line (in Parquet, the row) each record
    starts on. `rows`: the parsed columns (`orders.EXPORTED_DTYPES`) with `revenue_text`,
    `profit_text`, `order_date_text` beside them and `surplus_cells`, what stood beyond the header's
    last column. All three have one index, 0 to the number of records.
    """

    path: str
    cells: pd.DataFrame
    lines: pd.Series
    rows: pd.DataFrame


def days_between(first: date, last: date) -> list[date]:
    """Every day of a range, both ends included; raises `ConfigurationError` where it runs backwards."""
    if last < first:
        raise ConfigurationError(f"The range ends ({last}) before it begins ({first}).")
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def find(location: str, days: Iterable[date]) -> dict[date, UPath]:
    """The files of those days that exist, under a folder or URL, or one with `{date}` in it.

    `{date}` may carry a strftime format, as in `{date:%Y%m%d}`. In a folder the name is
    `orders_{date}` with any of `SUFFIXES`; two for one day raise `ExportError`.
    """
    if _DATE_FIELD.search(location):
        named = {day: UPath(_dated(location, day)) for day in days}
        return {day: path for day, path in named.items() if path.exists()}
    found: dict[date, UPath] = {}
    folder = UPath(location)
    for day in days:
        name = _dated(DEFAULT_NAME, day)
        present = [path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").exists()]
        if len(present) > 1:
            names = " and ".join(path.name for path in present)
            raise ExportError(
                f"There are two exports for {day} in {location}: {names}. Keep the one that counts.",
                path=str(folder),
            )
        if present:
            found[day] = present[0]
    return found


def missing(location: str, first: date, last: date) -> ExportMissingError:
    """The error for a range of days without any export."""
    when = f"{first}" if first == last else f"any day from {first} to {last}"
    where = location if _DATE_FIELD.search(location) else f"{location}/{DEFAULT_NAME}.*"
    return ExportMissingError(
        f"There is no export for {when} at {where}. "
        "Run again when it is there, or set ROBIN_ETL_EXPORTS to where it is.",
        location=location,
    )


def read(path: UPath, profile: Profile, day: date) -> Export:
    """Read one export; raises `ExportError` for a file that can't be read as a whole."""
    shown = str(path)
    suffix = next((known for known in SUFFIXES if path.name.lower().endswith(known)), None)
    if suffix is None:
        raise ExportError(
            f"{shown} is not an export: its name must end in {', '.join(SUFFIXES)}.", path=shown
        )
    data = _content(path)
    if not data:
        raise ExportError(
            f"{shown} is empty, without even a header. Write it again, then run again.", path=shown
        )
    if suffix == ".parquet":
        cells, lines = _read_parquet(data, shown)
    elif suffix == ".jsonl":
        cells, lines = _read_jsonl(_utf8(data, "utf-8", shown), shown)
    else:
        plain = _unzipped(data, shown) if suffix == ".csv.gz" else data
        cells, lines = _read_csv(_utf8(plain, profile.encoding, shown), profile, shown)
    for column in orders.REQUIRED_COLUMNS:
        # A line of JSON may leave a key out, so no line at all has no header to lack a column.
        if column not in cells.columns and not (suffix == ".jsonl" and cells.empty):
            raise ExportError(
                f"{shown} has no column {column}; its columns are: {', '.join(cells.columns)}. "
                "Add it to the export, or choose the profile that names it.",
                path=shown,
                column=column,
            )
    return Export(shown, cells, lines, _parsed(cells, profile, day))


def _parsed(cells: pd.DataFrame, profile: Profile, day: date) -> pd.DataFrame:
    nothing = pd.Series(index=cells.index, dtype=orders.TEXT)
    text = {
        column: orders.trimmed(cells[column]) if column in cells.columns else nothing
        for column in (*orders.EXPORT_COLUMNS, _SURPLUS)
    }
    return pd.DataFrame(
        {
            "order_number": text["order_number"],
            "day": pd.Series(day.isoformat(), index=cells.index, dtype=orders.TEXT),
            "email_address": orders.addresses(text["email_address"]),
            "phone_number": text["phone_number"],
            "revenue": orders.cents(text["revenue"]),
            "profit": orders.cents(text["profit"]),
            "order_date": orders.moments(text["order_date"], profile.timezone),
            "webstore_url": text["webstore_url"],
            "revenue_text": text["revenue"],
            "profit_text": text["profit"],
            "order_date_text": text["order_date"],
            _SURPLUS: text[_SURPLUS],
        }
    )


def _dated(pattern: str, day: date) -> str:
    return _DATE_FIELD.sub(lambda field: format(day, field[1] or "%Y-%m-%d"), pattern)


def _content(path: UPath) -> bytes:
    try:
        return bytes(path.read_bytes())
    except FileNotFoundError:
        raise ExportMissingError(f"There is no file {path}.", location=str(path)) from None
    except OSError as error:
        raise ExportError(f"{path} can't be opened: {error}.", path=str(path)) from error


def _unzipped(data: bytes, path: str) -> bytes:
    stream = gzip.GzipFile(fileobj=io.BytesIO(data))
    parts: list[bytes] = []
    try:
        while part := stream.read(1 << 20):
            parts.append(part)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ExportError(
            f"{path} is not a whole gzip file: after {sum(map(len, parts))} bytes of text "
            f"(of {len(data)} bytes compressed) it breaks off ({error}). Upload it again.",
            path=path,
        ) from error
    return b"".join(parts)


def _utf8(data: bytes, encoding: str, path: str) -> bytes:
    """The same text in UTF-8 without a byte order mark."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ExportError(
            f"{path} is not {encoding}: byte {error.start} (line {line}) is "
            f"0x{data[error.start]:02x}. Write it in {encoding}, or name its encoding in a profile.",
            path=path,
        ) from error
    utf8 = data if encoding == "utf-8" else text.encode()
    return utf8.removeprefix(codecs.BOM_UTF8)


def _read_csv(data: bytes, profile: Profile, path: str) -> tuple[pd.DataFrame, pd.Series]:
    header = _header(data, profile, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            cells = pd.read_csv(
                io.BytesIO(data),
                sep=profile.delimiter,
                dtype=orders.TEXT,
                header=0,
                names=header,
                index_col=False,
                keep_default_na=False,
                na_values=[],
            )
        except (pd.errors.ParserError, pd.errors.ParserWarning):
            return _read_uneven_csv(data, profile, header, path)
    breaks = data.count(b"\n") + (not data.endswith(b"\n"))
    if breaks == len(cells) + 1 and data.count(b"\r") == data.count(b"\r\n"):
        return cells, pd.Series(range(2, len(cells) + 2), dtype=orders.COUNT)
    return _read_uneven_csv(data, profile, header, path)


def _header(data: bytes, profile: Profile, path: str) -> list[str]:
    names = [name.strip() for name in next(_records(data, profile, path), (1, []))[1]]
    if not any(names):
        raise ExportError(
            f"{path} begins with a blank line where the header should be. Write it again.",
            path=path,
        )
    for name in orders.EXPORT_COLUMNS:
        if names.count(name) > 1:
            raise ExportError(
                f"{path} has the column {name} {names.count(name)} times; keep one of them.",
                path=path,
                column=name,
            )
    # Others are ignored, whatever they are called, but each needs a name of its own.
    return [name if names.index(name) == at else f"{name}#{at}" for at, name in enumerate(names)]


def _read_uneven_csv(
    data: bytes, profile: Profile, header: list[str], path: str
) -> tuple[pd.DataFrame, pd.Series]:
    """The same record by record, for files with blank lines, breaks within cells or surplus cells."""
    width = len(header)
    lines: list[int] = []
    records: list[list[str | None]] = []
    for line, record in _records(data, profile, path):
        if record:
            lines.append(line)
            surplus = profile.delimiter.join(record[width:]) or None
            records.append([*record[:width], *[""] * (width - len(record)), surplus])
    cells = pd.DataFrame(records[1:], columns=[*header, _SURPLUS], dtype=orders.TEXT)
    return cells, pd.Series(lines[1:], dtype=orders.COUNT)


def _records(data: bytes, profile: Profile, path: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line that it starts on."""
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="")
    reader = csv.reader(text, delimiter=profile.delimiter, strict=True)
    line = 1
    try:
        for record in reader:
            yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        raise ExportError(
            f"{path} can't be read as csv from line {line} on ({error}). Mend that line, then run "
            "again.",
            path=path,
        ) from error


def _read_jsonl(data: bytes, path: str) -> tuple[pd.DataFrame, pd.Series]:
    """One object a line. Numbers stay the text they are, so that no digit or zero is lost."""
    decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
    lines: list[int] = []
    records: list[dict[str, object]] = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = decoder.decode(line.decode())
        except ValueError as error:
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
        lines.append(number)
        records.append({key: _json_text(value) for key, value in record.items()})
    return pd.DataFrame(records, dtype=orders.TEXT), pd.Series(lines, dtype=orders.COUNT)


def _json_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _read_parquet(data: bytes, path: str) -> tuple[pd.DataFrame, pd.Series]:
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        raise ExportError(
            f"{path} is not a readable Parquet file ({error}). Write it again.", path=path
        ) from error
    columns = {}
    for name in table.column_names:
        column = table[name]
        if (allowed := _PARQUET_TYPES.get(name)) and not _is_one_of(column.type, allowed):
            raise ExportError(
                f"{path} has the type {column.type} in column {name}, where it should be one of: "
                f"{', '.join(allowed)}. Write that column as text, then run again.",
                path=path,
                column=name,
            )
        if name in orders.EXPORT_COLUMNS:
            columns[name] = _parquet_text(column)
    lines = pd.Series(range(1, table.num_rows + 1), dtype=orders.COUNT)
    return pd.DataFrame(columns, index=lines.index, dtype=orders.TEXT), lines


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


def _parquet_text(column: pa.ChunkedArray) -> pd.Series:
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column = column.cast(pa.timestamp("us", "UTC"))
    text: pd.Series = column.cast(pa.string()).to_pandas().astype(orders.TEXT)
    return text
