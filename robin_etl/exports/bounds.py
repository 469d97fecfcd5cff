"""How much a file may have of what no export has: more would take the machine, and is a sentence
instead.
"""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from robin_etl.exceptions import ExportError

T = TypeVar("T")

_STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Bounds:
    """What a file may have at most: bytes in a line, and in one of JSON; columns; signs in a column's
    name; blank lines; rows of which fewer than one in ten is an order; cells that are missing, since
    lines end before the header does or leave a key out, where nine in ten are; rows that are held as a
    whole, where the items of an order may lie anywhere; rows, cells and bytes for a draft, which looks
    at all; times its packed size, from so many bytes on; bytes of memory for one batch of it; and of a
    spreadsheet the cells of a sheet, bytes of memory and seconds of the processor.
    """

    line_bytes: int = 64 << 20
    object_bytes: int = 16 << 20
    columns: int = 2_000
    name_length: int = 1_000
    # A sheet has 1,048,576 rows, and whoever saves one as text may save all of them.
    blank_lines: int = 1_200_000
    rows_without_orders: int = 1_200_000
    missing_cells: int = 50_000_000
    whole_rows: int = 20_000_000
    drafted_rows: int = 5_000_000
    drafted_cells: int = 60_000_000
    drafted_bytes: int = 1_000_000_000
    packed_times: int = 100
    packed_from: int = 100_000_000
    memory: int = 800 << 20
    sheet_cells: int = 40_000_000
    sheet_memory: int = 1_500 << 20
    sheet_seconds: int = 50


DEFAULT = Bounds()
_ONE_IN = 10


class Measure:
    """Counts what a file has had so far; raises `ExportError` once it is beyond its bounds."""

    def __init__(self, path: str, bounds: Bounds = DEFAULT) -> None:
        self.bounds = bounds
        self._path = path
        self._names: set[str] = set()
        self._blank_lines = self._missing = self._present = 0
        self._rows = self._orders = 0

    def check_line(self, size: int, line: int, *, is_object: bool = False) -> None:
        """A line of so many bytes, at least."""
        most = self.bounds.object_bytes if is_object else self.bounds.line_bytes
        if size > most:
            raise self._refuse(
                f"has a line of more than {most:,} bytes (line {line}). It is no export, or its lines "
                "end in another way; write it again."
            )

    def check_object(self, size: int, line: int) -> None:
        """What begins on a line and has not ended after so many bytes."""
        if size > self.bounds.object_bytes:
            raise self._refuse(
                f"has a value of more than {self.bounds.object_bytes:,} bytes (from line {line} on), or "
                "is not JSON there. Write it again, with an object for each order."
            )

    def add_blank_line(self) -> None:
        """One more line with nothing in it."""
        self._blank_lines += 1
        if self._blank_lines > self.bounds.blank_lines:
            raise self._refuse(
                f"has more than {self.bounds.blank_lines:,} blank lines. It is no export; write it "
                "again."
            )

    def check_width(self, columns: int, line: int) -> None:
        """A line, or a file of which it is the first, of so many columns."""
        if columns > self.bounds.columns:
            raise self._refuse(
                f"has {columns:,} columns on line {line}, and an export may have "
                f"{self.bounds.columns:,}. Look at its delimiter, or write it again."
            )

    def check_name(self, length: int) -> None:
        """A column's name of so many signs."""
        if length > self.bounds.name_length:
            raise self._refuse(
                f"has a column whose name has more than {self.bounds.name_length:,} signs. "
                " Write it again, with its values less deep in objects within objects."
            )

    def add_names(self, names: Iterable[str], line: int) -> None:
        """The columns of a line, in a form where each line may have others."""
        self._names.update(names)
        self.check_width(len(self._names), line)

    @property
    def names(self) -> int:
        """How many columns `add_names` was told of."""
        return len(self._names)

    def add_cells(self, present: int, missing: int, columns: int) -> None:
        """Cells of so many columns that are there, and those that their lines lack."""
        self._present += present
        self._missing += missing
        if self._missing > max(self.bounds.missing_cells, (_ONE_IN - 1) * self._present):
            raise self._refuse(
                f"has {columns:,} columns, and lines that lack nearly all of them: more than "
                f"{self.bounds.missing_cells:,} cells are missing. Look at its header, or write it "
                "again."
            )

    def add_rows(self, rows: int, orders: int) -> None:
        """So many more rows, of which so many are orders."""
        self._rows += rows
        self._orders += orders
        if self._rows > self.bounds.rows_without_orders and self._orders * _ONE_IN < self._rows:
            raise self._refuse(
                f"is no export: of its first {self._rows:,} rows {self._orders:,} have an order number, "
                "a revenue and a date that can be read. Look at it, or draft a profile for it."
            )

    def check_whole(self, rows: int) -> None:
        """So many rows that have to be held together."""
        if rows > self.bounds.whole_rows:
            raise self._refuse(
                f"has more than {self.bounds.whole_rows:,} rows, which have to be read as a whole, "
                "since the items of an order may lie anywhere in it. Export fewer days into a file."
            )

    def add_drafted(self, rows: int, columns: int) -> None:
        """So many more rows, all of whose cells a draft looks at."""
        self._rows += rows
        most = self.bounds
        if self._rows > most.drafted_rows or self._rows * columns > most.drafted_cells:
            raise self._refuse(
                f"has more than {most.drafted_rows:,} rows or {most.drafted_cells:,} cells, and a draft "
                "looks at each. Draft the profile from an export of fewer days."
            )

    def check_drafted_bytes(self, size: int) -> None:
        """So many bytes of text, all of which a draft looks at."""
        if size > self.bounds.drafted_bytes:
            raise self._refuse(
                f"has more than {self.bounds.drafted_bytes:,} bytes of text, and a draft looks at each. "
                "Draft the profile from an export of fewer days."
            )

    def check_packing(self, unpacked: int, packed: int) -> None:
        """So many bytes that so many packed ones have become."""
        if unpacked > max(self.bounds.packed_from, self.bounds.packed_times * packed):
            raise self._refuse(
                f"unpacks to more than {self.bounds.packed_times:,} times its size, as no export does. "
                "Unpack it yourself and look at it."
            )

    def check_sheet(self, rows: int, columns: int) -> None:
        """A sheet of so many rows and columns, from its first cell to the farthest."""
        self.check_width(columns, 1)
        if rows * columns > self.bounds.sheet_cells:
            raise self._refuse(
                f"has a sheet of {rows:,} rows and {columns:,} columns: more than "
                f"{self.bounds.sheet_cells:,} cells. Remove what is far below its rows, or save it as "
                ".csv."
            )

    def make_sheet_error(self, *, is_slow: bool) -> ExportError:
        """The error for a spreadsheet whose reading takes too much memory, or too long."""
        bounds = self.bounds
        much = f"{bounds.sheet_seconds} s" if is_slow else f"{bounds.sheet_memory >> 20:,} MiB of memory"
        return self._refuse(f"takes more than {much} to be read as a spreadsheet. Save it as .csv.")

    @contextmanager
    def bounding_memory(self) -> Iterator[None]:
        """While this lasts, no more memory is taken than the bounds say; raises `ExportError`."""
        try:
            with _LIMIT.hold(self.bounds.memory):
                yield
        except MemoryError as error:
            raise self._refuse(
                f"takes more than {self.bounds.memory >> 20:,} MiB of memory for one part of it, as "
                "no export does. Look at it, or write it again."
            ) from error

    def bound_each(self, parts: Iterator[T]) -> Iterator[T]:
        """The same parts, each of which is made within the bound on memory."""
        while True:
            with self.bounding_memory():
                try:
                    part = next(parts)
                except StopIteration:
                    return
            yield part

    def _refuse(self, fault: str) -> ExportError:
        return ExportError(f"{self._path} {fault}", path=self._path)


class _MemoryLimit:
    """The limit that the system has for this process's own memory, lowered for a while.

    It is the whole process's, threads included; of several that hold it, the first one's counts.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._before = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    @contextmanager
    def hold(self, more: int) -> Iterator[None]:
        """While this lasts, only so many bytes `more` than now can be taken, where the system says how
        many that are.
        """
        with self._lock:
            self._holders += 1
            if self._holders == 1:
                self._lower(more)
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    resource.setrlimit(resource.RLIMIT_DATA, self._before)

    def _lower(self, more: int) -> None:
        self._before = soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        held = _read_data_size()
        if held is None:
            return
        most = held + more
        if soft == resource.RLIM_INFINITY or most < soft:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _read_data_size() -> int | None:
    """The bytes that this process has taken of its own; None where the system does not say."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[5]) * resource.getpagesize()
    except OSError:
        return None


_LIMIT = _MemoryLimit()
