"""One request to ROBIN's Orders POST, and what its answer means. Knows neither pandas nor retries."""

from __future__ import annotations

import ipaddress
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from http import HTTPStatus
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import HTTPBasicAuth
from urllib3.exceptions import NameResolutionError, NewConnectionError

from robin_etl.exceptions import AnswerError, AuthenticationError, ConfigurationError

ORDERS_PATH = "/dynamic/orders"
_BYTES_READ = 16_384  # of an answer, however long it is
_WORDS_KEPT = 500

# Contacts in a body that is sent, and whatever may be an address in an answer.
_SHORTEST = 5
_CONTACT = re.compile(rb'"(?:email_address|phone_number)":\s*"([^"\\]{%d,})"' % _SHORTEST)
_ADDRESS = re.compile(r"[^\s@\"'<>(),;:\\]+(?:@|%40|\\u0040)[^\s@\"'<>(),;:\\]+")
_HIDDEN = "(contact)"


class Meaning(Enum):
    """What an answer asks of the sender."""

    ACCEPTED = auto()  # acknowledged
    REFUSED = auto()  # nothing was applied; fewer orders may be
    BUSY = auto()  # nothing was applied; again later
    NOT_SENT = auto()  # no connection; again later
    LOST = auto()  # may have been applied; again later


@dataclass(frozen=True)
class Answer:
    """ROBIN's answer, or the lack of one (`status` None). `retry_after` is in seconds, if told."""

    meaning: Meaning
    words: str
    status: int | None = None
    retry_after: float | None = None

    @property
    def again(self) -> bool:
        return self.meaning in (Meaning.BUSY, Meaning.NOT_SENT, Meaning.LOST)


@dataclass(frozen=True)
class _Received:
    status: int
    headers: Mapping[str, str]


class Client:
    """Connections to one ROBIN; use as a context manager. Safe to share between threads.

    `timeout` is in seconds, for a whole request from connecting to the last byte of the answer.
    Raises `ConfigurationError` for a base URL that would carry the secret in clear.
    """

    def __init__(self, base_url: str, api_key: str, api_secret: str, *, timeout: float) -> None:
        self._url = _checked(base_url).rstrip("/") + ORDERS_PATH
        self._timeout = timeout
        self._auth = HTTPBasicAuth(api_key.encode(), api_secret.encode())
        self._idle: SimpleQueue[requests.Session] = SimpleQueue()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        while not self._idle.empty():
            self._idle.get().close()

    def __repr__(self) -> str:
        return f"Client({self._url!r})"

    def post(self, body: bytes) -> Answer:
        """Send one request.

        Raises `AuthenticationError` on 401 and 403, `AnswerError` on every other answer that
        sending again can't change: redirects, 404 and unknown 4xx.
        """
        # Timeouts of a socket are for each packet, and a server may trickle for ever. So the request
        # has a thread of its own, which is left behind with its connection when its time is over.
        got: SimpleQueue[_Received | requests.RequestException | str] = SimpleQueue()
        deadline = time.monotonic() + self._timeout
        threading.Thread(target=self._exchange, args=(body, got), daemon=True).start()
        try:
            received = got.get(timeout=self._timeout)
        except Empty:
            return Answer(Meaning.LOST, f"no answer within {self._timeout:g} s")
        if not isinstance(received, _Received):
            not_sent = isinstance(received, requests.ConnectTimeout) or _was_never_open(received)
            meaning = Meaning.NOT_SENT if not_sent else Meaning.LOST
            return Answer(meaning, f"the connection failed: {type(received).__name__}")
        try:
            words = got.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            words = ""  # the status has said what counts
        return self._answer(received, without_contacts(words if isinstance(words, str) else "", body))

    def _exchange(self, body: bytes, got: SimpleQueue[Any]) -> None:
        """Put what was received, or the error instead; then the answer's first words, or an error."""
        session = self._take_session()
        try:
            with session.post(
                self._url, data=body, timeout=self._timeout, allow_redirects=False, stream=True
            ) as response:
                got.put(_Received(response.status_code, response.headers))
                content = next(response.iter_content(_BYTES_READ), b"")
            got.put(content.decode(errors="replace")[:_WORDS_KEPT])
        except requests.RequestException as error:
            got.put(error)
        else:
            if len(content) < _BYTES_READ:  # and so the connection is at its end and good for more
                self._idle.put(session)
                return
        session.close()

    def _take_session(self) -> requests.Session:
        try:
            return self._idle.get_nowait()
        except Empty:
            session = requests.Session()
            session.auth = self._auth
            session.headers["Content-Type"] = "application/json"
            return session

    def _answer(self, received: _Received, words: str) -> Answer:
        status = received.status
        match status:
            case _ if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                return Answer(Meaning.ACCEPTED, words, status)
            case 400 | 413 | 422:
                return Answer(Meaning.REFUSED, words, status)
            case 429:
                retry_after = _seconds(received.headers.get("Retry-After"))
                return Answer(Meaning.BUSY, words, status, retry_after)
            case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                # A server that failed may have applied the orders before it did.
                return Answer(Meaning.LOST, words, status)
            case 401 | 403:
                raise AuthenticationError(
                    f"ROBIN refused the API key or secret ({status}). Nothing more was sent. Mend "
                    "ROBIN_ETL_API_KEY and ROBIN_ETL_API_SECRET (in Airflow the connection "
                    "robin_default), then run again.",
                    status=status,
                )
        location = received.headers.get("Location")
        where = f", pointing to {location}" if location else ""
        raise AnswerError(
            f"ROBIN answered {status}{where} to POST {self._url}. Nothing more was sent. Look at "
            "the base URL, then run again.",
            status=status,
        )


def without_contacts(words: str, body: bytes) -> str:
    """An answer's words without the contacts that it may repeat from the request: words are kept."""
    if _share_a_text(words, body):
        for contact in {found.decode() for found in _CONTACT.findall(body)}:
            words = words.replace(contact, _HIDDEN)
    return _ADDRESS.sub(_HIDDEN, words)


def _share_a_text(words: str, body: bytes) -> bool:
    """Whether any text as long as the shortest contact is in both: seldom, and quick to see."""
    told = words.encode()
    starts = range(len(told) - _SHORTEST + 1)
    return any(told[at : at + _SHORTEST] in body for at in starts)


def _checked(base_url: str) -> str:
    parts = urlsplit(base_url)
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
    return base_url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _seconds(retry_after: str | None) -> float | None:
    """A Retry-After header, in seconds or as an HTTP date; null where it is neither."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _was_never_open(error: object) -> bool:
    """Whether the connection was refused at once; anything later may have reached ROBIN."""
    if not isinstance(error, requests.ConnectionError) or not error.args:
        return False
    reason = getattr(error.args[0], "reason", None)
    return isinstance(reason, NewConnectionError | NameResolutionError)
