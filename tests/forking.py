"""`robin-etl` without its start: a server that has imported everything forks for each command.

A command is a process as ever, with the caller's arguments, environment, folder, streams and signals;
what it does not do again is import pandas and Great Expectations, which takes longer than most of what
it is asked. What is about its start, its end or its terminal is tested with the installed command.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

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


def main() -> None:
    """Serve as long as standard input is open; each child goes on as the command that it is."""
    from robin_etl.cli import tables  # noqa: F401
    from robin_etl.cli.main import main as robin_etl
    from robin_etl.gate.importing import import_great_expectations
    from robin_etl.sandbox import demo  # noqa: F401

    import_great_expectations()
    assert threading.active_count() == 1, "a process with threads must not fork"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(f"\0{sys.argv[1]}")
        listening.listen(64)
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who attend
        while True:
            ready, _, _ = select.select([listening.fileno(), sys.stdin.fileno()], [], [])
            if sys.stdin.fileno() in ready:  # closed: who started this is gone, killed perhaps
                return
            asking, _ = listening.accept()
            if os.fork() == 0:
                break
            asking.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _become(asking)
    robin_etl()


def _become(asking: socket.socket) -> None:
    """Return in a new process that is what was asked for; in this one, attend to it until its end."""
    content, streams, _, _ = socket.recv_fds(asking, _MOST, _STREAMS)
    request: dict[str, Any] = json.loads(content)
    process = os.fork()
    if process:
        _attend(process, asking)
    asking.close()
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


def _attend(process: int, asking: socket.socket) -> NoReturn:
    """Say which process it is, and how it ended; end it when who asked for it is gone."""
    asking.send(f"{process}".encode())
    ended = os.pidfd_open(process)
    ready, _, _ = select.select([ended, asking.fileno()], [], [])
    if ended not in ready:
        os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if ended in ready:
        asking.send(f"{code}".encode())
    os._exit(0)
