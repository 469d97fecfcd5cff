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
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from pydantic_core import to_json
from upath import UPath

from robin_etl.core import columns
from robin_etl.exceptions import UnavailableError
from robin_etl.ledger.binding import Binding
from robin_etl.ledger.moves import SENDING, SNAPSHOT_END, Eraser, Move, conform_move, parse_line
from robin_etl.private import is_local, make_folder, resolve_local

_SUFFIX = ".jsonl"
_SNAPSHOT_SUFFIX = f".snapshot{_SUFFIX}"
_UNFINISHED = ".new"
_TAIL = 65_536
_SYNC_EVERY = 1.0  # seconds
_TOGETHER = 16 << 20  # bytes of objects that are put together


@dataclass(frozen=True)
class Transaction:
    """What was written together, by which run and when: moves, each with its name first; and the
    revision of the ledger `before` and `after`. Of a snapshot, which is replayed a part at a time, only
    the last part `is_whole`: by it the ledger gets there.
    """

    run: str
    at: str
    before: int
    after: int
    moves: tuple[Move, ...]
    is_whole: bool = True


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
        files = [path for path in self.folder.iterdir() if path.name.endswith(_SUFFIX)]
        return sorted(files, key=lambda path: str(path.name))

    def find_newest(self) -> Newest | None:
        """The last transaction; None where there is none. The cost is a listing and one short read."""
        newest: Newest | None = None
        begin = -1
        for path in reversed(self.list_files()):
            if newest is not None and _read_begin(path) < begin:
                break
            # Of those that begin at one revision, a clock that was set back may name the newest first.
            closing = _read_last_closing(path)
            if closing is not None and (newest is None or closing["after"] > newest.after):
                newest, begin = Newest(_name_run(path), closing["after"]), _read_begin(path)
        return newest

    def read(self, *, since: int = 0) -> Iterator[Transaction]:
        """The transactions that end at this revision or behind it, oldest first."""
        files = self.list_files()
        begins = [_read_begin(path) for path in files]
        for at, path in enumerate(files):
            if at + 1 == len(files) or begins[at + 1] >= since:
                for transaction in _read_transactions(path):
                    if transaction.after >= since:
                        yield transaction

    def find_gaps(self, *, since: int = 0) -> list[Gap]:
        """What the journals lack behind this revision, going by where each begins and ends, and which no
        snapshot makes up for.
        """
        gaps: list[Gap] = []
        reached, last_run = since, None
        for path in self.list_files():
            if (closing := _read_last_closing(path)) is None or closing["after"] <= since:
                last_run = _name_run(path) if closing else last_run
                continue
            if _is_snapshot(path):
                gaps.clear()
            elif (begin := _read_begin(path)) > reached:
                gaps.append(Gap(reached, begin, last_run, _name_run(path)))
            reached, last_run = max(reached, closing["after"]), _name_run(path)
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
        name = f"{revision:012}-{_mark_moment()}.{_make_name(run)}{_SNAPSHOT_SUFFIX}"
        try:
            self._write_whole(name, _list_lines(_make_head(self.ledger, run, binding), parts, revision))
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


class JournalWriter:
    """Writes the journal of one holder of the posting lock; use as a context manager.

    `describe` gives the binding, once it is asked for the first time.
    """

    def __init__(self, journals: Journals, run: str, describe: Callable[[], Binding | None]) -> None:
        self._journals = journals
        self._run = _make_name(run)
        self._describe = describe
        self._stream: int | None = None  # of a local file
        self._synced = time.monotonic()
        self._parts: list[tuple[UPath, bytes]] = []
        self._last = 0  # the revision after the last transaction
        self._is_torn = False  # whether the last line may be cut off

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if self._stream is not None:
            os.fdatasync(self._stream)
            os.close(self._stream)
        if kind is None:
            self._put_together()

    def write(self, moves: Sequence[Sequence[Any]], *, before: int, after: int) -> None:
        """Write the moves of a transaction and the revision before and after it.

        Raises `UnavailableError` where that can't be done: then the transaction may not be committed.
        """
        closing = {"before": before, "after": after, "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"}
        text = b"".join(to_json(one) + b"\n" for one in (*moves, closing))
        self._last = after
        try:
            if is_local(self._journals.folder):
                self._append(b"\n" + text if self._is_torn else text, before)
            else:
                self._put(text, before)
            self._is_torn = False
        except OSError as error:
            self._is_torn = True
            raise UnavailableError(
                f"The journal in {self._journals.folder} can't be written ({error}), and without it "
                "nothing may be acknowledged. Make room for the run's files, then run again: what is in "
                "doubt by this is sent again first."
            ) from error

    def withdraw(self) -> None:
        """Say of the last transaction that it was not committed, as far as that can be done: what was to
        leave by it is else taken for what may have left.
        """
        if self._is_torn:
            return  # it is in no journal
        text = to_json({"withdrawn": self._last}) + b"\n"
        with suppress(OSError):
            if self._stream is not None:
                _write_all(self._stream, text)
            elif self._parts:
                path, before = self._parts[-1]
                self._parts[-1] = (path, before + text)
                path.write_bytes(before + text)

    def _append(self, text: bytes, before: int) -> None:
        if self._stream is None:
            folder = self._journals.folder
            make_folder(folder)
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
            self._stream = os.open(str(self._name(before)), flags, 0o600)
            text = self._make_head() + text
        _write_all(self._stream, text)
        if (now := time.monotonic()) - self._synced >= _SYNC_EVERY:
            os.fdatasync(self._stream)
            self._synced = now

    def _put(self, text: bytes, before: int) -> None:
        path = self._name(before)
        text = self._make_head() + text
        path.write_bytes(text)
        self._parts.append((path, text))
        if sum(len(part) for _, part in self._parts) > _TOGETHER:
            self._put_together()

    def _put_together(self) -> None:
        """Make the objects written until now one; what a crash leaves twice is read as it was."""
        if len(self._parts) > 1:
            (first, _), *others = self._parts
            first.write_bytes(b"".join(text for _, text in self._parts))
            for path, _ in others:
                path.unlink()
        self._parts.clear()

    def _name(self, before: int) -> UPath:
        # Two writers may begin at one revision; the moment says who was first.
        return self._journals.folder / f"{before:012}-{_mark_moment()}.{self._run}{_SUFFIX}"

    def _make_head(self) -> bytes:
        return _make_head(self._journals.ledger, self._run, self._describe())


def _make_name(run: str) -> str:
    return run.replace("/", "_").replace(" ", "-")


def _mark_moment() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"


def _make_head(ledger: str, run: str, binding: Binding | None) -> bytes:
    said = binding.as_json() if binding else {}
    head = {"ledger": ledger, "run": run, "states": columns.STATE_COLUMNS}
    return to_json({**head, **said}) + b"\n"


def _list_lines(head: bytes, parts: Iterable[Sequence[Any]], revision: int) -> Iterator[bytes]:
    """The lines of a snapshot."""
    yield head
    for part in parts:
        yield to_json(part) + b"\n"
        closing = {
            "before": revision,
            "after": revision,
            "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        }
        is_whole = part[0] == SNAPSHOT_END
        yield to_json(closing if is_whole else {**closing, "is_whole": False}) + b"\n"


def _write_all(stream: int, text: bytes) -> None:
    written = 0
    while written < len(text):
        written += os.write(stream, text[written:])


def _is_snapshot(path: UPath) -> bool:
    return str(path.name).endswith(_SNAPSHOT_SUFFIX)


def _name_run(path: UPath) -> str:
    return str(path.name).partition(".")[2].removesuffix(_SUFFIX).removesuffix(".snapshot")


def _read_begin(path: UPath) -> int:
    return int(str(path.name).partition("-")[0])


def _is_closing(value: Any) -> bool:
    return isinstance(value, dict) and "after" in value


def _is_withdrawn(line: bytes, after: int) -> bool:
    """Whether a line says of the transaction before it, which ended at this revision, that it was not
    committed.
    """
    return line.startswith(b'{"withdrawn"') and parse_line(line) == {"withdrawn": after}


def _read_last_closing(path: UPath) -> dict[str, Any] | None:
    """The last line that closes a transaction; None where none does."""
    size = path.stat().st_size
    reach = _TAIL
    while True:
        with path.open("rb") as stream:
            stream.seek(max(0, size - reach))
            lines = stream.read().splitlines()
        for line in reversed(lines if reach >= size else lines[1:]):
            if line.startswith(b'{"before"') and _is_closing(value := parse_line(line)):
                found: dict[str, Any] = value
                return found if found.get("is_whole", True) else None
        if reach >= size:
            return None
        reach *= 16


def _read_transactions(path: UPath) -> Iterator[Transaction]:
    """The transactions of a journal that were written whole."""
    if _is_snapshot(path) and _read_last_closing(path) is None:
        return
    run, moves = _name_run(path), list[Move]()
    last: Transaction | None = None  # which the next line may withdraw
    named: tuple[str, ...] = columns.STATE_COLUMNS
    with path.open("rb") as stream:
        for line in stream:
            if last is not None:
                is_withdrawn = _is_withdrawn(line, last.after)
                yield _drop_sendings(last) if is_withdrawn else last
                last = None
                if is_withdrawn:
                    continue
            value = parse_line(line)
            if isinstance(value, list):
                moves.append(value if named == columns.STATE_COLUMNS else conform_move(value, named))
            elif _is_closing(value):
                is_whole = value.get("is_whole", True)
                revisions = value["before"], value["after"]
                last = Transaction(run, value["at"], *revisions, tuple(moves), is_whole)
                moves = []
            else:  # a head, or what a crash has cut off
                moves = []
                if isinstance(value, dict) and "states" in value:
                    named = tuple(value["states"])
    if last is not None:
        yield last


def _drop_sendings(transaction: Transaction) -> Transaction:
    """A transaction without what was to leave by it; what it acknowledges ROBIN has said."""
    kept = tuple(move for move in transaction.moves if move[0] != SENDING)
    return replace(transaction, moves=kept)


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
