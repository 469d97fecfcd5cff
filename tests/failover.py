"""What stands before a database in PostgreSQL, such as an address that moves from one server to another
when the first one dies.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum

import sqlalchemy as sa

from tests.pooling import ENCRYPTION, accept_clients, read_message, read_start

_COMMIT = b"Q" + struct.pack("!i", len(b"COMMIT\0") + 4) + b"COMMIT\0"
_ROLLBACK = b"Q" + struct.pack("!i", len(b"ROLLBACK\0") + 4) + b"ROLLBACK\0"
_COMPLETE = b"C" + struct.pack("!i", len(b"COMMIT\0") + 4) + b"COMMIT\0"


class Death(StrEnum):
    """How a server dies at a commit, and what answers at its address then."""

    GONE = "gone"  # before it commits; nothing answers until it is mended
    UNANSWERED = "unanswered"  # it commits and dies before it says so; another that has all answers
    LAGGING = "lagging"  # it commits and says so, and dies; another that lacks that commit answers
    BEHIND = "behind"  # before it commits; a copy from before the run answers


class Address:
    """An address at which `database` of a server answers until the commit `dies_at`, counted from 1."""

    def __init__(self, url: sa.URL) -> None:
        assert url.database is not None
        self.database = url.database
        self.commits = 0
        self.death: Death | None = None
        self.dies_at = 0
        self.copy = ""  # the database that answers once a server died behind it
        self._is_down = self._is_dying = False
        self._server = f"{url.query['host']}/.s.PGSQL.{url.port or 5432}"
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.set(host="127.0.0.1", port=self._listener.getsockname()[1], query={})

    @property
    def has_died(self) -> bool:
        return bool(self.dies_at) and self.commits >= self.dies_at

    def kill_at(self, commit: int, death: Death, *, copy: str) -> None:
        """Let the server die so at this commit from now on; 0 for never."""
        self.commits, self.dies_at, self.death, self.copy = 0, commit, death, copy
        self._is_dying = False

    def mend(self) -> None:
        """Let what answers do so for ever."""
        self.dies_at, self._is_down = 0, False

    def serve(self) -> None:
        for client in accept_clients(self._listener):
            if self._is_down:
                client.close()
            else:
                threading.Thread(target=self._attend, args=(client,), daemon=True).start()

    def close(self) -> None:
        self._cut()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _attend(self, client: socket.socket) -> None:
        session = socket.socket(socket.AF_UNIX)
        with self._lock:
            self._open |= {client, session}
        try:
            with suppress(OSError, EOFError):
                self._relay(client, session)
        finally:
            with self._lock:
                self._open -= {client, session}
            client.close()
            session.close()

    def _relay(self, client: socket.socket, session: socket.socket) -> None:
        start = read_start(client)
        while struct.unpack("!i", start[4:8])[0] in ENCRYPTION:
            client.sendall(b"N")
            start = read_start(client)
        session.connect(self._server)
        session.sendall(_name_database(start, self.database))
        client.sendall(_read_until_ready(session))
        while True:
            turn = _read_turn(client)
            if turn is None or self._is_dying:
                self._die_of(turn)
                return
            if turn == _COMMIT and self._is_last():
                self._end(turn, client, session)
                continue
            session.sendall(turn)
            client.sendall(_read_until_ready(session))

    def _is_last(self) -> bool:
        with self._lock:
            self.commits += 1
            return self.commits == self.dies_at

    def _end(self, commit: bytes, client: socket.socket, session: socket.socket) -> None:
        """Die at this commit."""
        match self.death:
            case Death.LAGGING:
                session.sendall(_ROLLBACK)
                answered = _read_until_ready(session)
                client.sendall(_COMPLETE + answered[-6:])
                self._is_dying = True
                return
            case Death.UNANSWERED:
                session.sendall(commit)
                _read_until_ready(session)
            case Death.GONE:
                self._is_down = True
            case _:
                self.database = self.copy
        self._cut()

    def _die_of(self, turn: bytes | None) -> None:
        if turn is not None:
            self._is_dying = False
            self._cut()

    def _cut(self) -> None:
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


@contextmanager
def served(url: str) -> Iterator[Address]:
    """An address before the database of this URL."""
    address = Address(sa.make_url(url))
    thread = threading.Thread(target=address.serve, daemon=True)
    thread.start()
    try:
        yield address
    finally:
        address.close()
        thread.join()


def _name_database(start: bytes, database: str) -> bytes:
    """The start of a session, with this database."""
    words = start[8:].rstrip(b"\0").split(b"\0")
    said = dict(zip(words[::2], words[1::2], strict=True)) | {b"database": database.encode()}
    content = b"".join(name + b"\0" + value + b"\0" for name, value in said.items()) + b"\0"
    return struct.pack("!i", len(content) + 8) + start[4:8] + content


def _read_turn(client: socket.socket) -> bytes | None:
    """What a client sends until it waits for an answer; None where it takes its leave."""
    kind, turn = b"", b""
    while kind not in (b"Q", b"S"):
        kind, message = read_message(client)
        if kind == b"X":
            return None
        turn += message
    return turn


def _read_until_ready(session: socket.socket) -> bytes:
    kind, answered = b"", b""
    while kind != b"Z":
        kind, message = read_message(session)
        answered += message
    return answered
