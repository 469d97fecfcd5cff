"""Exports as a spreadsheet (.xlsx): the cells of one sheet as the text that they would be in a csv."""

from __future__ import annotations

import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

import pandas as pd

from robin_etl.core import columns
from robin_etl.exceptions import ExportError
from robin_etl.exports import sheet_process
from robin_etl.exports.bounds import Measure
from robin_etl.exports.margins import matches_footer
from robin_etl.exports.naming import describe_fault, name_sheets
from robin_etl.exports.profiles import Profile
from robin_etl.exports.sheet_process import FIRST, FULLEST, NAMED
from robin_etl.exports.streams import Cells, make_size_error
from robin_etl.exports.text import name_columns

_AT_ONCE = 1 << 20

Rows = list[list[Any]]


@dataclass(frozen=True)
class Sheet:
    """A sheet: its name, whether it is the first that is visible, and its rows from the first on."""

    name: str
    is_first: bool
    batches: Iterator[Rows]


def read_spreadsheet(
    stream: BinaryIO, profile: Profile, path: str, most_bytes: int, measure: Measure
) -> Iterator[Cells]:
    """The cells below the header, at least once.

    Raises `ExportError` for what is no spreadsheet or lacks the sheet, and for more than `most_bytes`
    once it is unpacked.
    """
    with open_sheet(stream, path, most_bytes, measure, named=profile.sheet, by=profile.name) as sheet:
        batches = _number(sheet.batches)
        above = profile.lines_above
        _, rows = next(batches, (1, []))
        while len(rows) <= above and (more := next(batches, None)):
            rows = rows + more[1]
        header = [to_text(cell, ".") or "" for cell in rows[above]] if len(rows) > above else []
        names = name_columns(header, profile, path, above + 1)
        below: Iterator[tuple[int, Rows]] = chain([(above + 2, rows[above + 1 :])], batches)
        if profile.footer:
            below = _cut_footer(below, profile, path)
        is_first = True
        for line, batch in below:
            if batch or is_first:
                is_first = False
                lines = range(line, line + len(batch))
                yield (
                    to_cells(batch, names, profile.decimal_mark),
                    pd.Series(lines, dtype=columns.COUNT),
                )


@contextmanager
def open_sheet(
    stream: BinaryIO,
    path: str,
    most_bytes: int,
    measure: Measure,
    *,
    named: str = "",
    by: str = "",
    is_fullest: bool = False,
) -> Iterator[Sheet]:
    """The first visible sheet, one that is `named` by a profile, or the fullest.

    Raises `ExportError` for what is no spreadsheet, or is more than one may be.
    """
    bounds = measure.bounds
    _check_size(stream, path, most_bytes)
    which = FULLEST if is_fullest else NAMED if named else FIRST
    limits = (bounds.sheet_memory, bounds.sheet_seconds, bounds.columns, bounds.sheet_cells)
    process = subprocess.Popen(  # noqa: S603 (this Python, and a script of this package)
        [sys.executable, "-P", sheet_process.__file__, which, named, *map(str, limits)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        _send(stream, process)
        values = _receive(process, path, measure)
        head = next(values)
        names = head["names"]
        if "name" not in head:
            raise _make_sheet_error(names, path, named=named, by=by)
        measure.check_sheet(head["rows"], head["columns"])
        yield Sheet(head["name"], head["name"] == names[0], values)
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.kill()
        process.wait()


def _check_size(stream: BinaryIO, path: str, most_bytes: int) -> None:
    try:
        with zipfile.ZipFile(stream) as archive:
            size = sum(one.file_size for one in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise _make_fault_error(describe_fault(error), path) from error
    if size > most_bytes:
        raise make_size_error(path, most_bytes)
    stream.seek(0)


def _send(stream: BinaryIO, process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None  # which it is given
    with suppress(BrokenPipeError):  # that it has ended shows when it is to answer
        while part := stream.read(_AT_ONCE):
            process.stdin.write(part)
        process.stdin.close()


def _receive(process: subprocess.Popen[bytes], path: str, measure: Measure) -> Iterator[Any]:
    """What the process says is there, then the batches of rows."""
    assert process.stdout is not None
    for at, value in enumerate(sheet_process.load(process.stdout)):
        if at and not value:
            return
        if not at and "fault" in value:
            raise _make_fault_error(describe_fault(ValueError(value["fault"])), path)
        yield value
    slow = (-signal.SIGXCPU, -signal.SIGKILL)
    raise measure.make_sheet_error(is_slow=process.wait() in slow)


def _make_fault_error(fault: str, path: str) -> ExportError:
    return ExportError(
        f"{path} is not a readable spreadsheet ({fault}). Save it again as .xlsx, or as .csv.",
        path=path,
    )


def _make_sheet_error(names: Sequence[str], path: str, *, named: str, by: str) -> ExportError:
    if not names:
        return ExportError(f"{path} has no sheet that is visible. Save it again.", path=path)
    return ExportError(
        f"{path} has no sheet {named!r}, which the profile {by} names; {name_sheets(names)}. Name the "
        "one that is meant, or draft the profile anew.",
        path=path,
    )


def to_cells(rows: Sequence[Sequence[Any]], names: Sequence[str], mark: str) -> pd.DataFrame:
    """Rows of a sheet as text, numbers with that decimal mark."""
    texts = {
        name: [to_text(row[at], mark) if at < len(row) else None for row in rows]
        for at, name in enumerate(names)
    }
    return pd.DataFrame(texts, index=range(len(rows)), dtype=columns.TEXT)


def to_text(cell: object, mark: str) -> str | None:
    """A cell as the text that it would be in a csv: `12.5`, `2026-10-31 09:50:26`; None where blank."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        return f"{int(cell)}" if cell.is_integer() else repr(cell).replace(".", mark)
    return f"{cell}"


def _number(batches: Iterator[Rows]) -> Iterator[tuple[int, Rows]]:
    """The batches, each with the line that its first row is."""
    line = 1
    for rows in batches:
        yield line, rows
        line += len(rows)


def _cut_footer(
    batches: Iterator[tuple[int, Rows]], profile: Profile, path: str
) -> Iterator[tuple[int, Rows]]:
    """The same without the footer, and the blank rows around it, at the end."""
    held: list[tuple[int, Rows]] = []
    has_rows = False
    for line, rows in batches:
        kept = len(rows)
        while kept and _may_end(rows[kept - 1], profile):
            kept -= 1
        if kept:
            has_rows = True
            yield from held
            held = []
            yield line, rows[:kept]
        held.append((line + kept, rows[kept:]))
    below = (row for _, rows in held for row in rows)
    if has_rows and not any(any(cell not in (None, "") for cell in row) for row in below):
        raise ExportError(
            f"{path} does not end with the footer that the profile {profile.name} says it has "
            f"({', '.join(profile.footer)}). Write it again, or draft its profile anew.",
            path=path,
        )


def _may_end(row: Sequence[Any], profile: Profile) -> bool:
    """Whether a row is blank, or one of a footer's."""
    text = ",".join(to_text(cell, ".") or "" for cell in row).strip(",")
    return not text or matches_footer(text, profile.footer)
