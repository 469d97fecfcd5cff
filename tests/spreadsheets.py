"""Spreadsheets made by hand, so that what reads them is not what wrote them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from xml.sax.saxutils import escape

_ZERO = datetime.fromisoformat("1899-12-30")
_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_LINKS = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"

Cell = str | float | datetime | None
Rows = Sequence[Sequence[Cell]]


def make_spreadsheet(rows: Rows, **more: Rows) -> bytes:
    """An .xlsx of a sheet `Sheet1`, and of one for each further argument."""
    sheets = {"Sheet1": rows, **more}
    numbers = range(1, len(sheets) + 1)
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_TYPES}.styles+xml"/>'
        + "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{_TYPES}.worksheet+xml"/>'
            for n in numbers
        )
        + "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="r" Type="{relation}/officeDocument" Target="xl/workbook.xml"/>'
        "</Relationships>",
        "xl/workbook.xml": f"<workbook {_MAIN} {_LINKS}><sheets>"
        + "".join(
            f'<sheet name="{name}" sheetId="{n}" r:id="s{n}"/>' for n, name in enumerate(sheets, start=1)
        )
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
        + "".join(
            f'<Relationship Id="s{n}" Type="{relation}/worksheet" Target="worksheets/sheet{n}.xml"/>'
            for n in numbers
        )
        + f'<Relationship Id="y" Type="{relation}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet {_MAIN}><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="22"/>'
        "</cellXfs></styleSheet>",
        **{
            f"xl/worksheets/sheet{n}.xml": f"<worksheet {_MAIN}><sheetData>"
            + "".join(map(_write_row, range(1, len(one) + 1), one))
            + "</sheetData></worksheet>"
            for n, one in enumerate(sheets.values(), start=1)
        },
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{content}')
    return stream.getvalue()


def _write_row(number: int, row: Sequence[Cell]) -> str:
    cells = (_write_cell(f"{chr(65 + at)}{number}", cell) for at, cell in enumerate(row))
    return f'<row r="{number}">{"".join(cells)}</row>'


def _write_cell(place: str, cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return f'<c r="{place}" s="1"><v>{(cell - _ZERO) / timedelta(days=1)!r}</v></c>'
    if isinstance(cell, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{escape(cell)}</t></is></c>'
    return f'<c r="{place}"><v>{cell!r}</v></c>'
