"""Bytes that claim to be an answer of ROBIN's, a setting or an address: each is understood, or an error
that says why, and no secret or contact is in what is said.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from robin_etl.core import limits, statuses
from robin_etl.delivery.answers import interpret
from robin_etl.delivery.client import check_address
from robin_etl.delivery.words import clean, find_secrets
from robin_etl.exceptions import AnswerError, ConfigurationError, LedgerError
from robin_etl.exports.expressions import parse_expression
from robin_etl.ledger.location import parse_location
from robin_etl.redaction import hide_credentials, make_printable
from robin_etl.settings import Settings, connection_in

CONTACT = "ann.one@shop.example"
SECRET = "s3cret-0f-the-shop"
BODY = f'{{"orders":[{{"order_number":"1","email_address":"{CONTACT}"}}]}}'.encode()
HEADERS = ("Retry-After", "Content-Type", "Location")
TEN_YEARS = 10 * 366 * 86_400

# A setting of text, each with what else reads it.
TEXTS = (
    *("base_url", "exports", "ledger", "runs", "expectations", "profile", "rate_limits", "timezone"),
    *("accepted_statuses", "currency", "webstore_url", "customer_key", "contact_key", "done_marker"),
)


def answer(data: bytes) -> None:
    """The first bytes choose the status and where a contact and the secret stand; then come three
    headers and the body, a line each.
    """
    if len(data) < 4:
        return
    lines = data[4:].decode(errors="replace").split("\n", len(HEADERS))
    words = lines.pop()
    for at, text in ((data[2], CONTACT), (data[3], SECRET)):
        words = f"{words[:at]} {text} {words[at:]}"
    headers = dict(zip(HEADERS, lines, strict=False))
    status = 100 + int.from_bytes(data[:2], "big") % 500
    cleaning = partial(clean, body=BODY, secrets=find_secrets("key", SECRET))
    try:
        understood = interpret(status, headers, words, url="https://a.example", clean=cleaning)
    except AnswerError as error:
        said = str(error)
    else:
        said = understood.words
        wait = understood.retry_after
        assert wait is None or 0 <= wait <= TEN_YEARS
        assert len(said) <= 501
    assert CONTACT not in said
    assert SECRET not in said
    assert said == make_printable(said)


def setting(data: bytes) -> None:
    """The first byte chooses the setting; the rest is its text, and of an address a part behind the
    password.
    """
    if not data:
        return
    name = TEXTS[data[0] % len(TEXTS)]
    text = data[1:].decode(errors="replace")
    readers = (connection_in, parse_location, check_address, limits.parse_limits)
    for read in (*readers, statuses.parse_statuses, parse_expression):
        with suppress(ConfigurationError, LedgerError, ValueError):
            read(text)
    for address in (f"postgresql://user:{SECRET}@{text}", f"user:{SECRET}@{text}"):
        if text[:1].isalnum():
            assert SECRET not in hide_credentials(address), address
    try:
        settings = Settings.read(**{name: text})
    except ConfigurationError:
        return
    assert name in repr(settings)
    assert settings.path("exports/a.csv")
