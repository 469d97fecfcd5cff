"""One request to ROBIN's Orders POST. Knows neither pandas nor retries."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import HTTPBasicAuth

from robin_etl.core.statuses import parse_statuses
from robin_etl.delivery.answers import ACCEPTED, Answer, Meaning, interpret
from robin_etl.delivery.failures import describe_failure, was_open
from robin_etl.delivery.words import clean, drop_last_word, find_secrets
from robin_etl.exceptions import ConfigurationError
from robin_etl.settings import Settings

ORDERS_PATH = "/dynamic/orders"
_BYTES_READ = 16_384  # of an answer, however long it is
_KEPT_OPEN = 5.0  # seconds that any usual server keeps an idle connection open


@dataclass(frozen=True)
class _Received:
    """The head of an answer; its words follow."""

    status: int
    headers: Mapping[str, str]


class Client:
    """Connections to one ROBIN; use as a context manager. Safe to share between threads.

    `timeout` is in seconds, for a whole request from connecting to the last byte of the answer.
    Raises `ConfigurationError` for a base URL that would carry the secret in clear.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        api_secret: str,
        *,
        timeout: float,
        accepted: Container[int] = ACCEPTED,
    ) -> None:
        check_address(base_url)
        self._url = base_url.rstrip("/") + ORDERS_PATH
        self._timeout = timeout
        self._accepted = accepted
        self._auth = HTTPBasicAuth(api_key.encode(), api_secret.encode())
        self._idle: SimpleQueue[tuple[requests.Session, float]] = SimpleQueue()  # and when it was used

    @classmethod
    def of(cls, settings: Settings) -> Client:
        """A client for the ROBIN that the settings name; raises `ConfigurationError`."""
        return cls(
            settings.base_url,
            *settings.credentials(),
            timeout=settings.timeout,
            accepted=parse_statuses(settings.accepted_statuses),
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        while not self._idle.empty():
            self._idle.get()[0].close()

    def __repr__(self) -> str:
        return f"Client({self._url!r})"

    def post(self, body: bytes, leave: Callable[[], None] = lambda: None) -> Answer:
        """Send one request; raises what `answers.interpret` raises.

        `leave` is called when the request leaves, and over a new connection when its answer begins:
        nobody sees how long connecting took.
        """
        # Timeouts of a socket are for each packet, and a server may trickle for ever. So the request
        # has a thread of its own, which is left behind with its connection when its time is over.
        got: SimpleQueue[_Received | requests.RequestException | str] = SimpleQueue()
        deadline = time.monotonic() + self._timeout
        threading.Thread(target=self._exchange, args=(body, leave, got), daemon=True).start()
        try:
            received = got.get(timeout=self._timeout)
        except Empty:
            return Answer(Meaning.LOST, f"no answer within {self._timeout:g} s")
        if isinstance(received, requests.RequestException):
            meaning = Meaning.LOST if was_open(received) else Meaning.NOT_SENT
            return Answer(meaning, describe_failure(received))
        assert isinstance(received, _Received)  # the head of an answer comes before its words
        try:
            words = got.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            words = None
        return interpret(
            received.status,
            received.headers,
            words if isinstance(words, str) else None,
            url=self._url,
            accepted=self._accepted,
            clean=partial(clean, body=body, secrets=self._find_secrets()),
        )

    def _find_secrets(self) -> tuple[str, ...]:
        key, secret = self._auth.username, self._auth.password
        assert isinstance(key, bytes)
        assert isinstance(secret, bytes)
        return find_secrets(key.decode(), secret.decode())

    def _exchange(self, body: bytes, leave: Callable[[], None], got: SimpleQueue[Any]) -> None:
        """Put what was received, or the error instead; then the answer's first words, or an error."""
        session, is_open = self._take_session()
        if is_open:
            leave()
        try:
            with session.post(
                self._url, data=body, timeout=self._timeout, allow_redirects=False, stream=True
            ) as response:
                leave()
                got.put(_Received(response.status_code, response.headers))
                content = b""
                for part in response.iter_content(_BYTES_READ):
                    content += part
                    if len(content) >= _BYTES_READ:
                        break
            words = content.decode(errors="replace")
            got.put(words if len(content) < _BYTES_READ else drop_last_word(words))
        except requests.RequestException as error:
            got.put(error)
        else:
            if len(content) < _BYTES_READ:  # and so the connection is at its end and good for more
                self._idle.put((session, time.monotonic()))
                return
        session.close()

    def _take_session(self) -> tuple[requests.Session, bool]:
        """A session, and whether its connection is open beyond doubt."""
        try:
            session, used_at = self._idle.get_nowait()
        except Empty:
            session = requests.Session()
            session.auth = self._auth
            session.headers["Content-Type"] = "application/json"
            return session, False
        return session, time.monotonic() - used_at < _KEPT_OPEN


def check_address(base_url: str) -> None:
    """Raise `ConfigurationError` for an address that is none, or that the secret must not be sent to."""
    try:
        parts = urlsplit(base_url)
        _ = parts.port  # which is read only now
    except ValueError:
        raise ConfigurationError(
            f"ROBIN_ETL_BASE_URL must be an https:// address, not {base_url!r}."
        ) from None
    if parts.username or parts.password:
        raise ConfigurationError(
            "ROBIN_ETL_BASE_URL must not hold credentials; put them into ROBIN_ETL_API_KEY and "
            "ROBIN_ETL_API_SECRET."
        )
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ConfigurationError(f"ROBIN_ETL_BASE_URL must be an https:// address, not {base_url!r}.")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ConfigurationError(
            f"ROBIN_ETL_BASE_URL is {base_url!r}: plain http would send the secret in clear. Use "
            "https://; only a sandbox on this machine may do without."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
