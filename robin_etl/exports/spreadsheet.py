"""Exports as a spreadsheet (.xlsx): the cells of one sheet as the text that they would be in a csv."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any, BinaryIO

import pandas as pd

from robin_etl.core import columns
from robin_etl.exceptions import ExportError
from robin_etl.exports.margins import matches_footer
from robin_etl.exports.naming import describe_fault
from robin_etl.exports.profiles import Profile
from robin_etl.exports.streams import Cells, make_size_error
from robin_etl.exports.text import name_columns

_BATCH_ROWS = 100_000
_HALF_SECOND = dt.timedelta(milliseconds=500)

Rows = list[list[Any]]


def read_spreadsheet(stream: BinaryIO, profile: Profile, path: str, most_bytes: int) -> Iterator[Cells]:
    """The cells below the header, at least once.

    Raises `ExportError` for what is no spreadsheet or lacks the sheet, and for more than `most_bytes`
    once it is unpacked.
    """
    sheets = open_sheets(stream, path, most_bytes)
    if profile.sheet not in ("", *sheets):
        raise ExportError(
            f"{path} has no sheet {profile.sheet!r}, which the profile {profile.name} names; its sheets "
            f"are: {', '.join(sheets)}.",
            path=path,
        )
    rows = sheets[profile.sheet or next(iter(sheets))]
    above = profile.lines_above
    header = [to_text(cell, ".") or "" for cell in rows[above]] if len(rows) > above else []
    names = name_columns(header, profile, path, above + 1)
    below = rows[above + 1 :]
    if profile.footer:
        below = _cut_footer(below, profile, path)
    for start in range(0, len(below) or 1, _BATCH_ROWS):
        batch = below[start : start + _BATCH_ROWS]
        lines = range(above + 2 + start, above + 2 + start + len(batch))
        yield to_cells(batch, names, profile.decimal_mark), pd.Series(lines, dtype=columns.COUNT)


def open_sheets(stream: BinaryIO, path: str, most_bytes: int) -> dict[str, Rows]:
    """The rows of each visible sheet by its name, the first row of a sheet first.

    Raises `ExportError` for what is no spreadsheet.
    """
    import python_calamine  # noqa: PLC0415 (only a spreadsheet needs it)

    content = stream.read()
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            if sum(one.file_size for one in archive.infolist()) > most_bytes:
                raise make_size_error(path, most_bytes)
        workbook = python_calamine.CalamineWorkbook.from_filelike(BytesIO(content))
        names = [
            sheet.name
            for sheet in workbook.sheets_metadata
            if sheet.visible == python_calamine.SheetVisibleEnum.Visible
        ]
        sheets = {
            name: workbook.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in names
        }
    except ExportError:
        raise
    except BaseException as error:  # its reader panics, as Rust calls it, at some damage
        if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)):
            raise
        raise ExportError(
            f"{path} is not a readable spreadsheet ({describe_fault(error)}). Save it again as .xlsx, "
            "or as .csv.",
            path=path,
        ) from error
    if not sheets:
        raise ExportError(f"{path} has no sheet that is visible. Save it again.", path=path)
    return sheets


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
    if isinstance(cell, dt.datetime):
        # A sheet counts days, of which a second is a fraction that is not exact.
        return f"{(cell + _HALF_SECOND).replace(microsecond=0)}"
    return f"{cell}"


def _cut_footer(rows: Rows, profile: Profile, path: str) -> Rows:
    kept = len(rows)
    has_footer = False
    for at in range(len(rows) - 1, -1, -1):
        text = ",".join(to_text(cell, ".") or "" for cell in rows[at]).strip(",")
        if text and not matches_footer(text, profile.footer):
            break
        has_footer |= bool(text)
        kept = at
    if kept and not has_footer:
        raise ExportError(
            f"{path} does not end with the footer that the profile {profile.name} says it has "
            f"({', '.join(profile.footer)}). Write it again, or draft its profile anew.",
            path=path,
        )
    return rows[:kept]
