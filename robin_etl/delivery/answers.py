"""ROBIN's answers: what each asks of the sender, and its words without what must not be kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus

from robin_etl.exceptions import AnswerError, AuthenticationError

# Contacts in a body that is sent, and whatever may be an address in an answer.
_SHORTEST = 5
_CONTACT = re.compile(rb'"(?:email_address|phone_number)":\s*"([^"\\]{%d,})"' % _SHORTEST)
_ADDRESS = re.compile(r"[^\s@\"'<>(),;:\\]+(?:@|%40|\\u0040)[^\s@\"'<>(),;:\\]+")
_HIDDEN = "(contact)"


class Meaning(Enum):
    """What an answer asks of the sender."""

    ACCEPTED = "accepted"  # acknowledged
    REFUSED = "refused"  # nothing was applied; fewer orders may be
    BUSY = "busy"  # nothing was applied; again later
    NOT_SENT = "not sent"  # no connection; again later
    LOST = "lost"  # may have been applied; again later


@dataclass(frozen=True)
class Answer:
    """ROBIN's answer, or the lack of one (`status` None). `retry_after` is in seconds, if given."""

    meaning: Meaning
    words: str
    status: int | None = None
    retry_after: float | None = None

    @property
    def is_retryable(self) -> bool:
        return self.meaning in (Meaning.BUSY, Meaning.NOT_SENT, Meaning.LOST)

    def describe(self) -> str:
        """The status and the words, as far as there are any."""
        return f"{self.status} {self.words}".strip() if self.status else self.words


def interpret(status: int, headers: Mapping[str, str], words: str, *, url: str) -> Answer:
    """What an answer means, by its status.

    Raises `AuthenticationError` on 401 and 403, `AnswerError` on every other answer that sending again
    can't change: redirects, 404 and unknown 4xx.
    """
    match status:
        case _ if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return Answer(Meaning.ACCEPTED, words, status)
        case 400 | 413 | 422:
            return Answer(Meaning.REFUSED, words, status)
        case 429:
            return Answer(Meaning.BUSY, words, status, parse_retry_after(headers.get("Retry-After")))
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
    location = headers.get("Location")
    where = f", pointing to {location}" if location else ""
    raise AnswerError(
        f"ROBIN answered {status}{where} to POST {url}. Nothing more was sent. Look at "
        "the base URL, then run again.",
        status=status,
    )


def parse_retry_after(header: str | None) -> float | None:
    """The seconds of a Retry-After header, which has them or an HTTP date; None if it has neither."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def hide_contacts(words: str, body: bytes) -> str:
    """An answer's words without the contacts that it may repeat from the request: words are kept."""
    if _share_a_text(words, body):
        for contact in {found.decode() for found in _CONTACT.findall(body)}:
            words = words.replace(contact, _HIDDEN)
    return _ADDRESS.sub(_HIDDEN, words)


def _share_a_text(words: str, body: bytes) -> bool:
    """Whether any text as long as the shortest contact is in both: seldom, and quick to see."""
    encoded = words.encode()
    starts = range(len(encoded) - _SHORTEST + 1)
    return any(encoded[at : at + _SHORTEST] in body for at in starts)
