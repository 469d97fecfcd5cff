"""A day's export, from bytes to rows: read the file as text, batch by batch, and parse the columns.

Reading drops no row. A cell that can't be read becomes null beside its raw text, and the gate's row
rules (`expectations/export.json`) decide what that means. Only a file that is no export at all is an
error here. No more than a batch is held, however long the file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import BinaryIO

import pandas as pd
from upath import UPath

from robin_etl.exceptions import ExportError
from robin_etl.exports.cells import FileCells
from robin_etl.exports.jsonl import read_jsonl
from robin_etl.exports.locations import SUFFIXES
from robin_etl.exports.mapping import Orders, map_cells
from robin_etl.exports.parquet import read_parquet
from robin_etl.exports.profiles import Profile, find_fitting
from robin_etl.exports.streams import Cells, bound, keep_lines, open_export, split_into_blocks, unzip
from robin_etl.exports.text import read_text

# A batch is as many rows as that much text holds.
_BATCH_BYTES = 8 << 20


@dataclass(frozen=True)
class Export:
    """A file, or a batch of it, read: its orders, with the text of every column as it was."""

    path: str
    orders: Orders


def read_export(path: UPath, profile: Profile, day: date, *, most_bytes: int = sys.maxsize) -> Export:
    """One export as a whole; raises what `read_batches` does."""
    batches = [export.orders for export in read_batches(path, profile, day, most_bytes=most_bytes)]
    if len(batches) == 1:
        return Export(str(path), batches[0])
    cells, lines, rows = (
        pd.concat([getattr(batch, name) for batch in batches], ignore_index=True)
        for name in ("cells", "lines", "rows")
    )
    return Export(str(path), Orders(cells, lines, rows, sum(batch.left_out for batch in batches)))


def read_batches(
    path: UPath,
    profile: Profile,
    day: date,
    *,
    batch_bytes: int = _BATCH_BYTES,
    most_bytes: int = sys.maxsize,
    only: pd.Series | None = None,
) -> Iterator[Export]:
    """One export in batches, at least one, in the file's order. With `only`, batches of these orders
    alone, if there are any: the cells of the others are not parsed.

    Raises `ExportMissingError`, or `ExportError` for a file that can't be read as a whole, that holds
    more than `most_bytes` once unzipped, or that changed meanwhile; that may show only after many
    batches.
    """
    before = _find_state(path)
    suffix = find_suffix(path)
    with open_export(path) as stream:
        read = _read_cells(stream, suffix, profile, str(path), batch_bytes, most_bytes, only)
        if profile.grain == "line":
            read = iter([_join(read)])
        read = _check_columns(read, profile, str(path), at_once=suffix != ".jsonl")
        for cells, lines in read if only is None else _choose(read, profile, only):
            yield Export(str(path), map_cells(cells, lines, profile, day))
    if _find_state(path) != before:
        raise ExportError(
            f"{path} changed while it was read. Nothing of it was posted; run again when it is "
            "uploaded whole. ROBIN_ETL_DONE_MARKER makes a run wait for that.",
            path=str(path),
        )


def find_suffix(path: UPath) -> str:
    """Which of the formats it is, by its name; raises `ExportError` for none of them."""
    suffix = next((known for known in SUFFIXES if path.name.lower().endswith(known)), None)
    if suffix is None:
        raise ExportError(
            f"{path} is not an export: its name must end in {', '.join(SUFFIXES)}.", path=str(path)
        )
    return suffix


def _find_state(path: UPath) -> tuple[object, ...] | None:
    """What changes with a file, as far as its storage says: size, time, and which file it is."""
    try:
        state = path.stat()
    except (OSError, NotImplementedError):
        return None
    return tuple(getattr(state, name, None) for name in ("st_size", "st_mtime", "st_ino"))


def _read_cells(
    stream: BinaryIO,
    suffix: str,
    profile: Profile,
    path: str,
    batch_bytes: int,
    most_bytes: int,
    only: pd.Series | None,
) -> Iterator[Cells]:
    if suffix == ".parquet":
        return read_parquet(stream, profile, path, most_bytes)
    read = bound(unzip(stream, path) if suffix == ".csv.gz" else stream.read, path, most_bytes)
    encoding = "utf-8" if suffix == ".jsonl" else profile.encoding
    blocks = split_into_blocks(read, encoding, path, batch_bytes)
    if only is not None and profile.grain == "order":  # other lines of an order may not bear its number
        blocks = keep_lines(blocks, only)
    return read_jsonl(blocks, path) if suffix == ".jsonl" else read_text(blocks, profile, path)


def _join(read: Iterator[Cells]) -> Cells:
    """All of a file: the line items of an order may lie anywhere in it."""
    cells, lines = zip(*read, strict=True)
    return pd.concat(cells, ignore_index=True), pd.concat(lines, ignore_index=True)


def _choose(read: Iterator[Cells], profile: Profile, only: pd.Series) -> Iterator[Cells]:
    """The cells of these orders."""
    for cells, lines in read:
        is_wanted = FileCells(cells, profile).numbers.isin(only).to_numpy()
        if is_wanted.any():
            yield cells[is_wanted].reset_index(drop=True), lines[is_wanted].reset_index(drop=True)


def _check_columns(
    read: Iterator[Cells], profile: Profile, path: str, *, at_once: bool
) -> Iterator[Cells]:
    """The same cells; raises `ExportError` where a column is missing that the profile needs.

    A line of JSON may leave a key out, so only all of them together, not one `at_once`, lack a column.
    """
    seen: set[str] = set()
    rows = 0
    for cells, lines in read:
        seen.update(cells.columns)
        rows += len(cells)
        if at_once:
            _require_columns(seen, profile, path)
        yield cells, lines
    if rows:
        _require_columns(seen, profile, path)


def _require_columns(columns: set[str], profile: Profile, path: str) -> None:
    if (column := profile.find_missing(columns)) is None:
        return
    other = find_fitting(columns)
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
