"""Writing a journal, as long as the posting lock is held."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from pydantic_core import to_json
from upath import UPath

from robin_etl.exceptions import UnavailableError
from robin_etl.ledger.binding import Binding
from robin_etl.ledger.journal import Journals
from robin_etl.ledger.journal_format import SUFFIX, make_closing, make_head, make_name, mark_moment
from robin_etl.private import is_local, make_folder

_SYNC_EVERY = 1.0  # seconds
_TOGETHER = 16 << 20  # bytes of objects that are put together


class JournalWriter:
    """Writes the journal of one holder of the posting lock; use as a context manager.

    `describe` gives the binding, once it is asked for the first time.
    """

    def __init__(self, journals: Journals, run: str, describe: Callable[[], Binding | None]) -> None:
        self._journals = journals
        self._run = make_name(run)
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
        text = b"".join(to_json(one) + b"\n" for one in (*moves, make_closing(before, after)))
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
        return self._journals.folder / f"{before:012}-{mark_moment()}.{self._run}{SUFFIX}"

    def _make_head(self) -> bytes:
        return make_head(self._journals.ledger, self._run, self._describe())


def _write_all(stream: int, text: bytes) -> None:
    written = 0
    while written < len(text):
        written += os.write(stream, text[written:])
