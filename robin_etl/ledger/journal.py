"""Journals: what ROBIN acknowledged, kept beside the runs' files, so that a ledger can be lost.

Whoever holds the posting lock of a ledger keeps a journal of what it writes into it: every request,
what came of it, and the states of orders under digests, without a contact. A journal is a text: a line
for each **move** of a transaction, and behind them a line that closes it, with the ledger's revision
before and after. It is written before the transaction is committed. So after a crash it may be one
transaction ahead of the ledger; what it says is true, since ROBIN has answered, or may have. Where a
transaction could not be committed, a line says that it is **withdrawn**: what was to leave by it never
did.

On a local disk a journal is synced once a second and at its end: a sync for each transaction would cost
delivery a fifth. A loss of power may cut off its last second. The ledger itself has it, and the next
holder of the lock writes a **snapshot** (`robin_etl.ledger.snapshot`): a journal with all that the
ledger holds, from which on nothing before it is needed.

The journals of one ledger are in a folder by its name, each under the revision that it begins at, and so
in order; a number that follows no other's shows that one is missing. Object storage can't append: there
each transaction is an object, and those of one writer are put together as it ends.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from upath import UPath

from robin_etl.exceptions import UnavailableError
from robin_etl.ledger.binding import Binding
from robin_etl.ledger.journal_format import (
    SNAPSHOT_SUFFIX,
    SUFFIX,
    Transaction,
    is_snapshot,
    list_lines,
    make_head,
    make_name,
    mark_moment,
    name_run,
    read_begin,
    read_last_closing,
    read_transactions,
)
from robin_etl.ledger.moves import Eraser, parse_line
from robin_etl.private import is_local, make_folder, resolve_local

_UNFINISHED = ".new"


@dataclass(frozen=True)
class Newest:
    """The last transaction of the newest journal: by which run, and the revision after it."""

    run: str
    after: int


@dataclass(frozen=True)
class Gap:
    """What journals lack: the revisions behind `after` up to `before`, written after the run
    `later_than` (None at the beginning) and before the run `earlier_than`.
    """

    after: int
    before: int
    later_than: str | None
    earlier_than: str

    def describe(self) -> str:
        """The same in words."""
        if self.later_than is None:
            return (
                f"The journals begin at revision {self.before}, with the run {self.earlier_than}: what "
                "was acknowledged before is not in them."
            )
        return (
            f"The journals lack the revisions {self.after + 1} to {self.before}, written after the run "
            f"{self.later_than} and before the run {self.earlier_than}."
        )


class Journals:
    """The journals of the ledger with this name (`Ledger.id`), in a folder under `root`."""

    def __init__(self, root: UPath, ledger: str) -> None:
        self.ledger = ledger
        self.folder = resolve_local(root) / ledger

    def list_files(self) -> list[UPath]:
        """All of them, oldest first."""
        if not is_local(self.folder):
            self.folder.fs.invalidate_cache()  # another process may have written since it was listed
        if not self.folder.exists():
            return []
        files = [path for path in self.folder.iterdir() if path.name.endswith(SUFFIX)]
        return sorted(files, key=lambda path: str(path.name))

    def find_newest(self) -> Newest | None:
        """The last transaction; None where there is none. The cost is a listing and one short read."""
        newest: Newest | None = None
        begin = -1
        for path in reversed(self.list_files()):
            if newest is not None and read_begin(path) < begin:
                break
            # Of those that begin at one revision, a clock that was set back may name the newest first.
            closing = read_last_closing(path)
            if closing is not None and (newest is None or closing["after"] > newest.after):
                newest, begin = Newest(name_run(path), closing["after"]), read_begin(path)
        return newest

    def read(self, *, since: int = 0) -> Iterator[Transaction]:
        """The transactions that end at this revision or behind it, oldest first."""
        files = self.list_files()
        begins = [read_begin(path) for path in files]
        for at, path in enumerate(files):
            if at + 1 == len(files) or begins[at + 1] >= since:
                for transaction in read_transactions(path):
                    if transaction.after >= since:
                        yield transaction

    def find_gaps(self, *, since: int = 0) -> list[Gap]:
        """What the journals lack behind this revision, going by where each begins and ends, and which no
        snapshot makes up for.
        """
        gaps: list[Gap] = []
        reached, last_run = since, None
        for path in self.list_files():
            if (closing := read_last_closing(path)) is None or closing["after"] <= since:
                last_run = name_run(path) if closing else last_run
                continue
            if is_snapshot(path):
                gaps.clear()
            elif (begin := read_begin(path)) > reached:
                gaps.append(Gap(reached, begin, last_run, name_run(path)))
            reached, last_run = max(reached, closing["after"]), name_run(path)
        return gaps

    def read_binding(self) -> Binding | None:
        """What the ledger was bound to, as its newest journal says."""
        for path in reversed(self.list_files()):
            with path.open("rb") as stream:
                head = parse_line(stream.readline())
            if isinstance(head, dict) and head.get("address"):
                return Binding(head["address"], head["account"], head["customer_key"])
        return None

    def blank(self, numbers: Collection[str], digest: str | None, *, is_removed: bool) -> int:
        """Blank what was sent of these orders, and where they are to be removed drop their states, and
        those of the customer with this digest; how many of either there were.
        """
        eraser = Eraser(numbers, digest, is_removed=is_removed)
        self._remove_unfinished()
        for path in self.list_files():
            lines = path.read_bytes().splitlines(keepends=True)
            new = [eraser.edit(line) for line in lines]
            if new != lines:
                _replace(path, b"".join(new))
        return eraser.erased

    def write_snapshot(
        self, run: str, binding: Binding | None, parts: Iterable[Sequence[Any]], *, revision: int
    ) -> None:
        """Write the parts of a snapshot, of which the last one ends it, as a journal: whole or not at
        all. Raises `UnavailableError` where that can't be done.
        """
        name = f"{revision:012}-{mark_moment()}.{make_name(run)}{SNAPSHOT_SUFFIX}"
        try:
            self._write_whole(name, list_lines(make_head(self.ledger, run, binding), parts, revision))
        except OSError as error:
            raise UnavailableError(
                f"What the journals in {self.folder} lack of the ledger can't be written ({error}), and "
                "without it nothing may be posted. Make room for the run's files, then run again."
            ) from error

    def _write_whole(self, name: str, lines: Iterable[bytes]) -> None:
        if not is_local(self.folder):
            with (self.folder / name).open("wb") as stream:
                stream.writelines(lines)
            return
        make_folder(self.folder)
        _write_new(self.folder / name, lines)

    def _remove_unfinished(self) -> None:
        """Remove what a crash has left of files that were to be written whole."""
        if is_local(self.folder) and self.folder.exists():
            for path in self.folder.iterdir():
                if path.name.endswith(_UNFINISHED):
                    path.unlink()


def list_ledgers(root: UPath) -> list[str]:
    """The names of the ledgers that have journals here."""
    return sorted(path.name for path in root.iterdir() if path.is_dir()) if root.exists() else []


def _replace(path: UPath, content: bytes) -> None:
    if not is_local(path):
        path.write_bytes(content)
        return
    _write_new(path, [content])


def _write_new(path: UPath, lines: Iterable[bytes]) -> None:
    """Write a local file under another name, and let it take this one's place when it is whole."""
    new = path.with_name(f"{path.name}{_UNFINISHED}")
    stream = os.open(str(new), os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with os.fdopen(stream, "wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
