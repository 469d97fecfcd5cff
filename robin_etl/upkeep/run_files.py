"""Erasing a customer from whatever lies under the folder of all runs, in whatever state it is."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import pandas as pd
import pyarrow as pa
from upath import UPath

from robin_etl.core import columns
from robin_etl.exceptions import RobinEtlError
from robin_etl.ledger import Ledger
from robin_etl.private import is_link
from robin_etl.stages.files import Folder, FrameFile, LinesFile, TableFile
from robin_etl.stages.pages import INDEX, write_page
from robin_etl.stages.records import Summary
from robin_etl.stages.run import Partition, Run, find_runs, locate_journals
from robin_etl.upkeep.customer import Customer

_FRAMES = {one.name for one in (Run.exported, Partition.rows, Partition.changes, Partition.confirmed)}
# What a killed process leaves of a file that it was about to replace.
_UNFINISHED = ".new"
_AT_ONCE = 1 << 20
_LONGEST = 2_000  # bytes that a contact takes, however it is written

# What reading a file of another's, or half of one, raises: more than its own library says.
_UNREADABLE = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError),
    *(pa.ArrowException, RobinEtlError),
)


@dataclass(frozen=True)
class ErasedFiles:
    """What became of files under the folder of all runs, named as they are below it: how many `rows` or
    orders of the customer were taken out of how many `files`; those that were `removed` whole, since
    they can't be read or can't be written without the customer; those that are `left`, each with why;
    and the `runs` whose pages have to be drawn anew.
    """

    rows: int = 0
    files: int = 0
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()


def find_numbers(root: Folder, customer: Customer) -> pd.Series:
    """The numbers of the customer's orders, as files of runs name them; some may be in several."""
    found = [pd.Series(dtype=columns.TEXT)]
    for path in _list_files(root.path):
        if path.name in _FRAMES and not is_link(path):
            with suppress(*_UNREADABLE):
                found.append(_find_numbers(FrameFile(Folder(path.parent), path.name, {}), customer))
    return pd.concat(found, ignore_index=True).dropna()


def _find_numbers(frame: FrameFile, customer: Customer) -> pd.Series:
    found = [rows["order_number"][customer.is_in(rows)] for rows in frame.read_batches_as_they_are()]
    return pd.concat([pd.Series(dtype=columns.TEXT), *found], ignore_index=True).astype(columns.TEXT)


def erase_from_files(root: Folder, customer: Customer, delivered: Collection[str]) -> ErasedFiles:
    """Erase a customer, whose orders were in requests of the runs `delivered`; journals stay."""
    eraser = _Eraser(root, customer)
    for folder in find_runs(root):
        eraser.erase_from_run(folder, has_remarks=folder.path.name in delivered)
    eraser.look_beside_runs()
    return eraser.erased


def draw_pages_anew(
    root: Folder, customer: Customer, ledger: Ledger, erased: ErasedFiles
) -> ErasedFiles:
    """Draw the pages of `erased.runs` from what is left; one that can't be drawn is removed."""
    eraser = _Eraser(root, customer, erased)
    for name in erased.runs:
        eraser.draw_page_anew(name, ledger)
    return eraser.erased


class _Eraser:
    """Takes a customer out of files; `erased` says what has become of them."""

    def __init__(self, root: Folder, customer: Customer, erased: ErasedFiles | None = None) -> None:
        self._root = root
        self._customer = customer
        self.erased = erased or ErasedFiles()

    def erase_from_run(self, folder: Folder, *, has_remarks: bool) -> None:
        """Take them out of every file of a run; what of it can't be read is removed."""
        page = folder.path / Run.page.name
        is_redrawn = has_remarks
        for path in _list_files(folder.path):
            if path == page:
                continue
            try:
                count = self._erase_from(path, has_remarks=has_remarks)
            except _UNREADABLE:
                if path.exists() or is_link(path):  # and was not cleared away meanwhile
                    self._remove(path)
                continue
            is_redrawn |= bool(count) and path.suffix == ".json"
            self._add(rows=count if path.suffix != ".json" else 0, files=int(bool(count)))
        if is_link(page) or (page.is_file() and (is_redrawn or self._is_named_on(page))):
            self.erased = replace(self.erased, runs=(*self.erased.runs, folder.path.name))

    def _is_named_on(self, page: UPath) -> bool:
        try:
            return _is_in_file(page, self._customer)
        except FileNotFoundError:
            return False  # it was cleared away meanwhile
        except OSError:
            return True  # which nobody can say

    def look_beside_runs(self) -> None:
        """Say of which files under the folder of all runs they have the customer and are no run's."""
        runs = {folder.path.name for folder in find_runs(self._root)}
        journals = locate_journals(self._root.path).name
        for path in _list_files(self._root.path):
            top = self._name(path).partition("/")[0]
            is_journal = top == journals and path.name.endswith(".jsonl")
            if top in runs or is_journal or is_link(path):
                continue
            try:
                if top == journals and path.name.endswith(_UNFINISHED):
                    self._remove(path)
                elif _is_in_file(path, self._customer):
                    if path.name == INDEX:
                        self._remove(path)  # the next run draws it
                    else:
                        self._leave(path, "it is no file of a run; look at it yourself")
            except FileNotFoundError:
                continue
            except OSError as error:
                self._leave(path, f"it can't be read ({error.strerror})")

    def draw_page_anew(self, name: str, ledger: Ledger) -> None:
        """Draw the page of the run with this name from what is left of it."""
        folder = self._root.path / name
        page = folder / Run.page.name
        try:
            if is_link(page):
                raise ValueError("a link")
            run = Run.open(str(folder), path_of=lambda _: folder)
            record = ledger.runs.find(run.id)
            summary = Summary.parse(run.summary.find() or {})
            if summary is None:
                raise ValueError("no summary")
            stopped = (record.words if record else None) or "why is not kept"
            write_page(run, ledger, summary, stopped=stopped if summary.is_stopped else None)
            is_left = _is_in_file(page, self._customer)
        except _UNREADABLE:
            is_left = True
        if is_left:
            self._remove(page)

    def _erase_from(self, path: UPath, *, has_remarks: bool) -> int:
        """How many rows, orders or records of the customer a file had, which it has no more.

        Raises one of `_UNREADABLE` where it can't be read, or still has the customer in it.
        """
        folder, name = Folder(path.parent), str(path.name)
        if is_link(path) or name.endswith(_UNFINISHED):
            raise ValueError("a link, or half of a file")
        if name in _FRAMES:
            return FrameFile(folder, name, {}).drop_rows(self._customer.is_in)
        count = 0
        if name == Run.quarantine.name:
            _check_whole(folder.read(name))
            table: TableFile = Run.quarantine.make(folder, name)
            count = table.drop_rows(self._customer.is_named_in)
        elif name == Run.quarantined_rows.name:
            count = _drop_lines(Run.quarantined_rows.make(folder, name), self._customer)
        elif name == Run.requests.name:
            count = _drop_orders(Run.requests.make(folder, name), self._customer)
        elif path.suffix == ".json":
            count = _blank_record(folder, name, self._customer, without_remarks=has_remarks)
        elif _is_binary(folder.read(name)):
            raise ValueError("no file of a run")
        if _is_in_file(path, self._customer):
            raise ValueError("it has the customer still")
        return count

    def _remove(self, path: UPath) -> None:
        """Remove a file, and what a rewriting that failed has left beside it."""
        beside = path.with_name(f"{path.name}{_UNFINISHED}")
        there = [one for one in (path, beside) if one.exists() or is_link(one)]
        try:
            for one in there:
                with suppress(FileNotFoundError):
                    one.unlink()
        except OSError as error:
            self._leave(path, f"it can't be read, nor removed ({error.strerror})")
            return
        if not there:
            return
        self.erased = replace(self.erased, removed=(*self.erased.removed, self._name(path)))

    def _leave(self, path: UPath, why: str) -> None:
        self.erased = replace(self.erased, left=(*self.erased.left, f"{self._name(path)}: {why}"))

    def _add(self, *, rows: int, files: int) -> None:
        self.erased = replace(self.erased, rows=self.erased.rows + rows, files=self.erased.files + files)

    def _name(self, path: UPath) -> str:
        return str(path)[len(str(self._root.path)) :].lstrip("/")


def _list_files(folder: UPath) -> Iterator[UPath]:
    """Every file at any depth, and links as themselves; of a folder that is cleared away, none."""
    try:
        paths = sorted(folder.iterdir(), key=str)
    except (FileNotFoundError, NotADirectoryError):
        return
    for path in paths:
        if not is_link(path) and path.is_dir():
            yield from _list_files(path)
        else:
            yield path


def _is_in_file(path: UPath, customer: Customer) -> bool:
    """Whether the bytes of a file, which is no Parquet, have the contact in them."""
    kept = b""
    with path.open("rb") as stream:
        while part := stream.read(_AT_ONCE):
            if customer.is_in_bytes(kept + part):
                return True
            kept = (kept + part)[-_LONGEST:]
    return False


def _is_binary(content: bytes) -> bool:
    return b"\0" in content


def _check_whole(content: bytes) -> None:
    """Raise `ValueError` for lines of which the last is cut off: half a contact is none to be found."""
    if not content.endswith(b"\n"):
        raise ValueError("cut off")


def _blank_record(folder: Folder, name: str, customer: Customer, *, without_remarks: bool) -> int:
    record = json.loads(folder.read(name))
    new = customer.blank(record, without_remarks=without_remarks)
    if new == record:
        return 0
    folder.write(name, json.dumps(new, indent=2, ensure_ascii=False).encode() + b"\n")
    return 1


def _drop_lines(rows: LinesFile, customer: Customer) -> int:
    """Take the customer's rows out of those that are kept as they were; how many they were."""
    lines = rows.read()
    cells = pd.DataFrame([json.loads(line)["cells"] for line in lines], dtype=columns.TEXT)
    is_theirs = customer.is_named_in(cells)
    if is_theirs.any():
        rows.write(line for line, drop in zip(lines, is_theirs, strict=True) if not drop)
    return int(is_theirs.sum())


def _drop_orders(requests: LinesFile, customer: Customer) -> int:
    """Take the customer's orders out of the bodies that a dry run would send; how many they were."""
    bodies, dropped = [], 0
    for line in requests.read():
        body = json.loads(line)
        kept = [order for order in body["orders"] if not customer.has(order)]
        dropped += len(body["orders"]) - len(kept)
        bodies.append(json.dumps({"orders": kept}, ensure_ascii=False, separators=(",", ":")).encode())
    if dropped:
        requests.write(bodies)
    return dropped
