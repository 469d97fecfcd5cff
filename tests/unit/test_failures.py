"""What a failed connection says: a sentence for each way to fail, and whether anything was sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from robin_etl.delivery import Client, Meaning


@contextmanager
def listening(treat: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port at which each connection is treated so, once it has said something."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def serve() -> None:
            connection, _ = server.accept()
            kept.append(connection)
            connection.recv(1000)
            treat(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            thread.join(timeout=60)
            for connection in kept:
                connection.close()


def post(url: str, seconds: float = 60) -> tuple[Meaning, str]:
    with Client(url, "key", "secret", timeout=seconds) as client:
        answer = client.post(b"{}")
    return answer.meaning, answer.words


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://robin.invalid", "the name of the host was not found"),
        ("http://127.0.0.1:9", "the connection was refused: nothing listens at that address and port"),
    ],
)
def test_what_never_became_a_connection_is_not_sent_and_named(url: str, words: str) -> None:
    assert post(url) == (Meaning.NOT_SENT, words)


@pytest.mark.parametrize(
    ("scheme", "treat", "words"),
    [
        ("http", socket.socket.close, "the connection was cut before an answer came"),
        (
            "https",
            lambda connection: connection.sendall(b"HTTP/1.1 400 No\r\n\r\n"),
            "no TLS connection came about; the other side may not speak https",
        ),
    ],
)
def test_a_connection_that_broke_may_have_carried_the_request_and_is_named(
    scheme: str, treat: Callable[[socket.socket], None], words: str
) -> None:
    with listening(treat) as port:
        assert post(f"{scheme}://127.0.0.1:{port}") == (Meaning.LOST, words)


def test_an_answer_that_does_not_come_in_time_is_lost() -> None:
    with listening(lambda _: None) as port:
        meaning, words = post(f"http://127.0.0.1:{port}", seconds=0.2)
    assert meaning is Meaning.LOST
    assert words in ("no answer within 0.2 s", "the answer did not come in time")
