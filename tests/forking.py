"""`robin-etl` without its start: a server that has imported everything forks for each command.

A command is a process as ever, with the caller's arguments, environment, folder, streams and signals;
what it does not do again is import pandas and Great Expectations, which takes longer than most of what
it is asked. What is about its start, its end or its terminal is tested with the installed command.
"""

from __future__ import annotations

import atexit
import json
import os
import secrets
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import processes

_STREAMS = 3
_MOST = 1_000_000  # bytes of a request: arguments and environment

# The command that is called: it hands over its streams, passes signals on, and ends as the other does.
_CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({address!r})
    request = dict(arguments=sys.argv[1:], folder=os.getcwd(), environment=dict(os.environ))
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    socket.send_fds(server, [json.dumps(dict(request, ignored=ignored)).encode()], [0, 1, 2])
    process = int(server.recv(100))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(process, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    code = int(server.recv(100))
sys.exit(code if code >= 0 else 128 - code)
"""


@contextmanager
def command(folder: Path) -> Iterator[Path]:
    """The path of a `robin-etl` in this folder that works while this lasts.

    Where processes can't be forked and watched so, it is the installed one.
    """
    if not hasattr(os, "pidfd_open"):
        yield Path(sys.executable).with_name("robin-etl")
        return
    address = f"\0robin-etl-{secrets.token_hex(16)}"  # no file: their paths may be short only
    path = folder / "robin-etl"
    path.write_text(_CLIENT.format(python=sys.executable, address=address))
    path.chmod(0o700)
    # OpenBLAS alone would start threads, and a process with threads must not fork.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    serving = "from tests import forking; forking.main()"
    starting = [sys.executable, "-c", serving, address[1:]]
    with processes.started(starting, env=environment) as server:
        server.line_with("ready")
        yield path


@dataclass(frozen=True)
class _Asked:
    """A command under way: its process, what becomes readable when it ends, and who asked for it."""

    process: int
    ended: int
    asking: socket.socket

    def close(self) -> None:
        os.close(self.ended)
        self.asking.close()


def main() -> None:
    """Serve as long as standard input is open; each child goes on as the command that it is."""
    from robin_etl.cli.main import main as robin_etl
    from tests import failing, prepared  # noqa: F401

    assert threading.active_count() == 1, "a process with threads must not fork"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening,
        selectors.PollSelector() as waited_for,
    ):
        listening.bind(f"\0{sys.argv[1]}")
        listening.listen(64)
        waited_for.register(listening, selectors.EVENT_READ)
        waited_for.register(sys.stdin, selectors.EVENT_READ)
        print("ready", flush=True)
        request = _serve(listening, waited_for)
    if request:
        _become(*request)
        if failing.COMMITS in os.environ:
            failing.arrange()
        _run_to_its_end(robin_etl)


def _serve(
    listening: socket.socket, waited_for: selectors.BaseSelector
) -> tuple[dict[str, Any], list[int]] | None:
    """Return in each new process what is asked of it and with which streams; in this one, at its end.

    Who asked is told which process it is and how it ended. It is killed when they are gone.
    """
    while True:
        (key, _), *_ = waited_for.select()
        if key.fileobj is sys.stdin:  # closed: who started this is gone, killed perhaps
            return None
        if key.data:
            _say_how_it_ended(key.data, waited_for)
            continue
        asking, _ = listening.accept()
        content, streams, _, _ = socket.recv_fds(asking, _MOST, _STREAMS)
        process = os.fork()
        if process == 0:
            asking.close()
            for asked in {other.data for other in waited_for.get_map().values() if other.data}:
                asked.close()
            return json.loads(content), streams
        for stream in streams:
            os.close(stream)
        asked = _Asked(process, os.pidfd_open(process), asking)
        for either in (asked.ended, asked.asking):
            waited_for.register(either, selectors.EVENT_READ, asked)
        with suppress(ConnectionError):
            asking.send(f"{process}".encode())


def _say_how_it_ended(asked: _Asked, waited_for: selectors.BaseSelector) -> None:
    """Do so, of a process that has ended or whose asker is gone."""
    for either in (asked.ended, asked.asking):
        waited_for.unregister(either)
    os.kill(asked.process, signal.SIGKILL)  # nothing to one that has ended
    code = os.waitstatus_to_exitcode(os.waitpid(asked.process, 0)[1])
    with suppress(ConnectionError):
        asked.asking.send(f"{code}".encode())
    asked.close()


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Take on the folder, environment, streams, signals and arguments of who asked."""
    for at, stream in enumerate(streams):
        os.dup2(stream, at)
        os.close(stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", 1 if os.isatty(1) else -1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.SIG_IGN if request["ignored"] else signal.default_int_handler)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.argv = ["robin-etl", *request["arguments"]]


def _run_to_its_end(command: Callable[[], None]) -> None:
    """Run it and exit, but without taking the process apart: all that it shares would be copied."""
    try:
        command()
    except SystemExit as ended:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(ended.code or 0))
