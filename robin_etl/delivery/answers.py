"""ROBIN's answers: what each asks of the sender."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from http import HTTPStatus

from robin_etl.delivery.words import cut, is_page, make_harmless, speaks_of_errors
from robin_etl.exceptions import AnswerError, AuthenticationError, NotRobinError

_WORDS_KEPT = 500
_WORDS_SHOWN = 120

_DIGITS = re.compile("[0-9]+")
_DIGITS_READ = 12
_TEN_YEARS = 10 * 365 * 24 * 3600
_HTTP_DATES = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")
ACCEPTED = frozenset((HTTPStatus.CREATED,))  # what ROBIN's documentation calls created


class Meaning(Enum):
    """What an answer asks of the sender."""

    ACCEPTED = "accepted"  # acknowledged
    REFUSED = "refused"  # nothing was applied; fewer orders may be
    BUSY = "busy"  # nothing was applied; again later
    NOT_SENT = "not sent"  # no connection; again later
    LOST = "lost"  # may have been applied; again later


@dataclass(frozen=True)
class Answer:
    """ROBIN's answer, or the lack of one (`status` None). `retry_after` is in seconds, if given.

    `speaks_of_errors`: whether it is accepted, and its words speak of errors all the same.
    """

    meaning: Meaning
    words: str
    status: int | None = None
    retry_after: float | None = None
    speaks_of_errors: bool = False

    @property
    def is_retryable(self) -> bool:
        return self.meaning in (Meaning.BUSY, Meaning.NOT_SENT, Meaning.LOST)

    def describe(self) -> str:
        """The status and the words, as far as there are any."""
        return f"{self.status} {self.words}".strip() if self.status else self.words


def interpret(
    status: int,
    headers: Mapping[str, str],
    said: str | None,
    *,
    url: str,
    accepted: Container[int] = ACCEPTED,
    clean: Callable[[str], str] = make_harmless,
) -> Answer:
    """What an answer means, by its status and by what it `said`, which is None where that did not come.
    `clean` makes what it says fit to keep and to show.

    Raises `AuthenticationError` on 401 and 403; `NotRobinError` on a 2xx that is none of those that are
    `accepted`, or a page of HTML; `AnswerError` on every other answer that sending again can't change:
    redirects, 404 and unknown 4xx.
    """
    harmless = clean(said or "")
    words = cut(harmless, _WORDS_KEPT)
    match status:
        case _ if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            content_type = headers.get("Content-Type") or ""
            if status not in accepted or is_page(content_type, said):
                raise _make_not_robin_error(status, clean(content_type), harmless, url, accepted)
            if said and speaks_of_errors(said):
                words = cut(harmless, _WORDS_KEPT, around_errors=True)
                return Answer(Meaning.ACCEPTED, words, status, speaks_of_errors=True)
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
    where = f", pointing to {cut(clean(location), _WORDS_SHOWN)}" if location else ""
    raise AnswerError(
        f"ROBIN answered {status}{where} to POST {url}. Nothing more was sent. Look at "
        "the base URL, then run again.",
        status=status,
    )


def _make_not_robin_error(
    status: int, content_type: str, harmless: str, url: str, accepted: Container[int]
) -> NotRobinError:
    shown = cut(harmless, _WORDS_SHOWN)
    kind = cut(content_type, _WORDS_SHOWN) or "no content type"
    begins = f'beginning with "{shown}"' if shown else "without any text"
    if status in accepted:
        why, gateway = "a page of HTML is no answer of ROBIN's", ""
    else:
        why = "this status acknowledges nothing"
        gateway = (
            f" If a gateway is meant to answer {status} for ROBIN, add that to "
            "ROBIN_ETL_ACCEPTED_STATUSES."
        )
    return NotRobinError(
        f"POST {url} was answered by what is not ROBIN: {status}, {kind}, {begins}; {why}. Nothing is "
        "acknowledged by it, and nothing more was sent; whether ROBIN has what was sent is in doubt. "
        "Look at ROBIN_ETL_BASE_URL, and for a proxy or a login page on the way."
        f"{gateway} Then run again.",
        status=status,
        words=cut(harmless, _WORDS_KEPT),
    )


def parse_retry_after(header: str | None) -> float | None:
    """The seconds of a Retry-After header, as RFC 9110 has it: digits, or a date of HTTP in one of its
    three forms. None for what is neither; ten years for anything beyond.
    """
    text = (header or "").strip()
    if _DIGITS.fullmatch(text):
        return float(min(int(text), _TEN_YEARS) if len(text) <= _DIGITS_READ else _TEN_YEARS)
    moment = _parse_http_date(text)
    if moment is None:
        return None
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), float(_TEN_YEARS))


def _parse_http_date(text: str) -> datetime | None:
    """A moment in one of the forms that HTTP's dates have, all of them in UTC."""
    for form in _HTTP_DATES:
        try:
            moment = datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        if "%y" in form and moment.year > datetime.now(UTC).year + 50:  # as RFC 9110 has it
            return moment.replace(year=moment.year - 100)
        return moment
    return None
