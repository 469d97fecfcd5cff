"""Processes that tests start: each belongs to the test, has a deadline, and is gone after it.

A process leads a session of its own, so that its children are ended with it, even where the test's own
process dies first (`end_what_is_left`). What it printed is in the failure of a test that waited for it
in vain.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

# Seconds that a machine five times slower than a developer's needs for the longest of them.
DEADLINE = 240.0

# Where each process under way has a file by its number, for the last one of this test run to look into.
RUN = os.environ.setdefault("ROBIN_TESTS_RUN", f"{os.getpid()}")  # the workers inherit it
_UNDER_WAY = Path(__file__).parents[1] / ".cache" / "processes" / RUN

Arguments = Sequence[str | Path]
Completed = subprocess.CompletedProcess[str]


def run(
    arguments: Arguments,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    succeeds: bool | None = None,
    deadline: float = DEADLINE,
) -> Completed:
    """Run a process to its end.

    Fails where it `succeeds` otherwise than told, or is not through by the deadline.
    """
    with subprocess.Popen(
        arguments,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        note(process)
        try:
            printed, complained = process.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            end(process, kindly=False)
            printed, complained = process.communicate()
            raise AssertionError(
                f"{_shown(arguments)} was not through after {deadline:.0f} s. It printed:\n"
                f"{printed}\n{complained}"
            ) from None
        finally:
            end(process, kindly=False)
    done = subprocess.CompletedProcess(list(arguments), process.returncode, printed, complained)
    assert succeeds is None or succeeds == (done.returncode == 0), (
        f"{_shown(arguments)} ended with {done.returncode}. It printed:\n{printed}\n{complained}"
    )
    return done


class Process:
    """A process under way, made with `started`. Its lines, of both streams, are read as they come."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._printed: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    @property
    def printed(self) -> str:
        """All that it has printed until now."""
        return "".join(self._printed)

    def say(self, text: str) -> None:
        """Write to its standard input."""
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(text)
            self._popen.stdin.flush()
        except BrokenPipeError:
            raise AssertionError(f"{self} has ended. It printed:\n{self.printed}") from None

    def hang_up(self) -> None:
        """Close its standard input, which ends a process that lives by it."""
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):
            self._popen.stdin.close()
        self.ended()

    def next_line(self, deadline: float = DEADLINE) -> str:
        """The next line that it prints; empty after the last. Fails where none comes in time."""
        try:
            line = self._lines.get(timeout=deadline)
        except Empty:
            raise AssertionError(f"{self} printed nothing more. Until then:\n{self.printed}") from None
        return line or ""

    def line_with(self, words: str, deadline: float = DEADLINE) -> str:
        """The next line with these words in it; fails where it ends without one."""
        while words not in (line := self.next_line(deadline)):
            assert line, f"{self} ended without {words!r}. It printed:\n{self.printed}"
        return line

    def signal(self, number: int) -> None:
        self._popen.send_signal(number)

    def ended(self, deadline: float = DEADLINE) -> int:
        """Its exit code, once it has ended and all its lines are there."""
        try:
            code = self._popen.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} did not end. It printed:\n{self.printed}") from None
        self._reader.join(deadline)
        return code

    def __str__(self) -> str:
        return _shown(self._popen.args)  # type: ignore[arg-type]  # what it was started with

    def _read(self) -> None:
        stream: IO[str] | None = self._popen.stdout
        assert stream is not None
        for line in stream:
            self._printed.append(line)
            self._lines.put(line)
        self._lines.put(None)


@contextmanager
def started(
    arguments: Arguments,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Process]:
    """A process that is ended with this block, kindly first, with all of its children."""
    with subprocess.Popen(
        arguments,
        env=env,
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
        start_new_session=True,
    ) as popen:
        note(popen)
        try:
            yield Process(popen)
        finally:
            end(popen)


def end(process: subprocess.Popen[str] | subprocess.Popen[bytes], *, kindly: bool = True) -> None:
    """End a session's leader, if it still runs, and whatever else is in that session."""
    if kindly and process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
    file = _UNDER_WAY / f"{process.pid}"
    _kill(file)
    process.wait()
    file.unlink(missing_ok=True)


def note(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Note that a session's leader is under way, until `end` ends it."""
    _UNDER_WAY.mkdir(parents=True, exist_ok=True)
    (_UNDER_WAY / f"{process.pid}").write_text(_start_of(process.pid))


def end_what_is_left() -> None:
    """End the sessions that a test process began and could not end, since it was killed itself."""
    for file in _UNDER_WAY.glob("*"):
        _kill(file)
    shutil.rmtree(_UNDER_WAY, ignore_errors=True)


def _kill(file: Path) -> None:
    """Kill the session that a file notes, but not another one that has got its number since."""
    number = int(file.name)
    start = file.read_text() if file.exists() else ""
    if _start_of(number) in ("", start):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(number, signal.SIGKILL)


def _start_of(number: int) -> str:
    """When the process of this number began, in the machine's ticks; empty where there is none."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def after(code: str, arguments: Arguments) -> Arguments:
    """The same process, which does this in Python first, with `signal` and `resource` at hand."""
    first = f"import os, resource, signal, sys; {code}; os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-I", "-S", "-c", first, *arguments]


def with_sigint(handling: signal.Handlers, arguments: Arguments) -> Arguments:
    """The same process, with SIGINT handled so from its start, whatever the tests were started with."""
    return after(f"signal.signal(signal.SIGINT, signal.{handling.name})", arguments)


def _shown(arguments: Arguments) -> str:
    return " ".join(str(one) if len(str(one)) < 200 else "…" for one in arguments)
