"""Reading a spreadsheet in a process of its own, whose memory and time are bounded: a small file may
hold more than any machine has, and what reads it then ends with its process.

Run as a script, by itself: it imports nothing of the package. The file comes on standard input, and what
is in it goes to standard output, as `marshal` writes it: first what there is, then batches of rows.
"""

from __future__ import annotations

import datetime as dt
import marshal
import resource
import sys
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import IO, Any, BinaryIO

_HALF_SECOND = dt.timedelta(milliseconds=500)
_MOST_CELLS = 500_000  # of a batch
_PLAIN = frozenset((str, float, bool, type(None)))

# Which sheet: the first, the one with most rows that are not blank, or one by its name.
FIRST, FULLEST, NAMED = "first", "fullest", "named"


def main() -> None:
    """Read as the arguments say: which sheet, its name, bytes of memory, seconds of the processor, and
    the most columns and cells.
    """
    which, name, *bounds = sys.argv[1:]
    memory, seconds, columns, cells = map(int, bounds)
    content = sys.stdin.buffer.read()
    _lower(resource.RLIMIT_DATA, memory + len(content))
    _lower(resource.RLIMIT_CPU, seconds)
    stream = sys.stdout.buffer
    try:
        _write(content, which, name, columns, cells, stream)
    except MemoryError:
        sys.exit(1)
    except BaseException as error:  # what reads it panics, as Rust calls it, at some damage
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        marshal.dump({"fault": f"{error}"[:1_000]}, stream)


def _lower(limit: int, most: int) -> None:
    hard = resource.getrlimit(limit)[1]
    resource.setrlimit(limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _write(
    content: bytes, which: str, name: str, most_columns: int, most_cells: int, stream: BinaryIO
) -> None:
    import python_calamine  # noqa: PLC0415 (only this process needs it)

    workbook = python_calamine.CalamineWorkbook.from_filelike(BytesIO(content))
    names = [
        sheet.name
        for sheet in workbook.sheets_metadata
        if sheet.visible == python_calamine.SheetVisibleEnum.Visible
    ]
    if which == FULLEST and len(names) > 1:
        filled = {one: _count_filled(workbook.get_sheet_by_name(one)) for one in names}
        name = max(filled, key=lambda one: filled[one])
    elif which != NAMED and names:
        name = names[0]
    if name not in names:
        marshal.dump({"names": names}, stream)
        return
    sheet = workbook.get_sheet_by_name(name)
    last_row, last_column = sheet.end or (-1, -1)
    rows, columns = last_row + 1, last_column + 1
    marshal.dump({"names": names, "name": name, "columns": columns, "rows": rows}, stream)
    if columns > most_columns or rows * columns > most_cells:
        return
    # A row that it gives begins at the first column that has anything in it.
    ahead = [None] * (sheet.start or (0, 0))[1]
    at_once = max(1, _MOST_CELLS // (columns or 1))
    cells = sheet.iter_rows()
    while batch := [ahead + [_to_plain(cell) for cell in row] for row in islice(cells, at_once)]:
        marshal.dump(batch, stream)
    marshal.dump([], stream)  # so that an end too soon is seen


def _count_filled(sheet: Any) -> int:
    return sum(1 for row in sheet.iter_rows() if any(cell != "" for cell in row))


def _to_plain(cell: Any) -> Any:
    """A cell as text, number or truth; None where blank."""
    if cell == "":
        return None
    if type(cell) in _PLAIN:
        return cell
    if isinstance(cell, dt.datetime):
        # A sheet counts days, of which a second is a fraction that is not exact.
        return f"{(cell + _HALF_SECOND).replace(microsecond=0)}"
    return f"{cell}"


def load(stream: IO[bytes]) -> Iterator[Any]:
    """What is written, one value after the other."""
    while True:
        try:
            yield marshal.load(stream)  # noqa: S302 (our own process writes it)
        except EOFError:
            return


if __name__ == "__main__":
    main()
