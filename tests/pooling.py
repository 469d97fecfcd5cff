"""A pooler of PostgreSQL's sessions in transaction mode, as PgBouncer has it: each transaction of a
client is made in whatever session is free.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa

ENCRYPTION = (80877103, 80877104)  # requests for TLS or GSSAPI, which are answered with no
_END_OF_TURN = (b"Q", b"S")  # a simple query, or a sync behind an extended one


def accept_clients(listener: socket.socket) -> Iterator[socket.socket]:
    """Each client that connects, until the listener is closed."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # closed
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield client


class Pooler:
    """Sessions of a server, handed to a transaction by `choose`, which gives the place of one that is
    free. While `is_sticky`, a client keeps its session, as a pooler in session mode lets it.
    """

    def __init__(self, url: sa.URL, choose: Callable[[int], int], *, is_sticky: bool = False) -> None:
        self.is_sticky = is_sticky
        self._is_swapping = False
        self.sessions = 0
        self._choose = choose
        self._server = f"{url.query['host']}/.s.PGSQL.{url.port or 5432}"
        self._free: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = [self._listener]
        self.url = url.set(host="127.0.0.1", port=self._listener.getsockname()[1], query={})

    def serve(self) -> None:
        for client in accept_clients(self._listener):
            self._open.append(client)
            threading.Thread(target=self._attend, args=(client,), daemon=True).start()

    def close(self) -> None:
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def swap_sessions(self) -> None:
        """Give every transaction from now on a session that nobody had before."""
        self._is_swapping = True

    def _attend(self, client: socket.socket) -> None:
        with suppress(OSError, EOFError):
            start = read_start(client)
            while struct.unpack("!i", start[4:8])[0] in ENCRYPTION:
                client.sendall(b"N")
                start = read_start(client)
            session, greeting = self._open_session(start)
            client.sendall(greeting)
            if not self.is_sticky:
                self._give_back(session)
            self._relay(client, start, session if self.is_sticky else None)

    def _relay(self, client: socket.socket, start: bytes, session: socket.socket | None) -> None:
        state = b"I"  # between transactions
        while True:
            kind, turn = b"", b""
            while kind not in _END_OF_TURN:
                kind, message = read_message(client)
                if kind == b"X":
                    return
                turn += message
            if self._is_swapping and state == b"I":
                session = self._open_session(start)[0]
            session = session or self._take(start)
            session.sendall(turn)
            kind = b""
            while kind != b"Z":
                kind, message = read_message(session)
                client.sendall(message)
            state = message[-1:]
            if state == b"I" and not self.is_sticky:
                self._give_back(session)
                session = None

    def _take(self, start: bytes) -> socket.socket:
        with self._lock:
            if self._free:
                return self._free.pop(self._choose(len(self._free)))
        return self._open_session(start)[0]

    def _give_back(self, session: socket.socket) -> None:
        with self._lock:
            self._free.append(session)

    def _open_session(self, start: bytes) -> tuple[socket.socket, bytes]:
        session = socket.socket(socket.AF_UNIX)
        session.connect(self._server)
        self._open.append(session)
        self.sessions += 1
        session.sendall(start)
        greeting, kind = b"", b""
        while kind != b"Z":
            kind, message = read_message(session)
            greeting += message
        return session, greeting


@contextmanager
def pooled(url: str, choose: Callable[[int], int], *, is_sticky: bool = False) -> Iterator[Pooler]:
    """A pooler before the server of this URL."""
    pooler = Pooler(sa.make_url(url), choose, is_sticky=is_sticky)
    thread = threading.Thread(target=pooler.serve, daemon=True)
    thread.start()
    try:
        yield pooler
    finally:
        pooler.close()
        thread.join()


def read_start(client: socket.socket) -> bytes:
    head = _read_exactly(client, 4)
    return head + _read_exactly(client, struct.unpack("!i", head)[0] - 4)


def read_message(peer: socket.socket) -> tuple[bytes, bytes]:
    head = _read_exactly(peer, 5)
    return head[:1], head + _read_exactly(peer, struct.unpack("!i", head[1:])[0] - 4)


def _read_exactly(peer: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        if not (part := peer.recv(size - len(content))):
            raise EOFError
        content += part
    return content
