"""What an answer says: a stranger's text, made harmless to keep and show, and judged.

Contacts and secrets are taken out of the whole of it before it is cut.
"""

from __future__ import annotations

import json
import re
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Iterable
from html import unescape
from typing import Any
from urllib.parse import unquote

from robin_etl.redaction import make_printable

# Contacts in a body that is sent, and whatever may be an address in an answer.
_SHORTEST = 5
_CONTACT = re.compile(rb'"(?:email_address|phone_number)":\s*"([^"\\]{%d,})"' % _SHORTEST)
# As long as a local part may be, and no longer: a search must not take the square of an answer's length.
_ADDRESS = re.compile(r"[^\s@\"'<>(),;:\\]{1,200}(?:@|%40|\\u0040)[^\s@\"'<>(),;:\\]+")
_HIDDEN, _HIDDEN_SECRET = "(contact)", "(secret)"
# How a header repeats the credentials, whoever's they are.
_AUTHORIZATION = re.compile(r"\b(?:Basic|Bearer)\s+[A-Za-z0-9+/=_.~-]{8,}", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_URL_SAFE = str.maketrans("-_", "+/")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([\"'\\/]))")
_ESCAPED_AT_MOST = 3
_LONGEST_WORD = 400

_TAG = re.compile(r"<[!/?a-zA-Z][^<>]*>")
_BRACKETS = str.maketrans("<>", "()")
_PAGE = re.compile(
    r"[\s\ufeff]*(?:<\?xml[^>]*>\s*|<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html|html|head|body|title|meta)\b",
    re.IGNORECASE | re.DOTALL,
)
_PAGE_TYPES = ("text/html", "application/xhtml+xml")

# Words that speak of errors; then the same words where they say that there are none.
_FAULT = (
    r"(?:errors?|fail(?:s|ed|ures?)?|invalid|reject(?:ed|ions?)?|refus(?:ed|als?)|denied|exceptions?"
    r"|unsuccessful|unable|could not|cannot|not (?:accepted|valid|processed|created|saved|allowed))"
)
_BETWEEN = (
    r"(?:(?:orders?|rows?|items?|records?|any|of|them|validation|such|were|was|are|is|has|have|been)\s+)"
    r"{0,4}"
)
_SPEAKS = re.compile(rf"\b{_FAULT}\b", re.IGNORECASE)
_FREE = re.compile(
    rf"(?:\b(?:no|not|zero|none|nothing|never|without)|(?<![\d.,])0(?:\s*(?:/|of|out of)\s*\d+)?)\s+"
    rf"{_BETWEEN}{_FAULT}\b"
    rf"|\b{_FAULT}[\"']?\s*[:=]\s*"
    r"(?:0(?![\d.,]*[1-9])|none\b|no\b|null\b|false\b|\[\s*\]|\{\s*\}|\"\")"
    rf"|\b{_FAULT}[- ]free\b",
    re.IGNORECASE,
)
_UNSUCCESSFUL = re.compile(r"[\"'](?:success|ok)[\"']\s*:\s*false\b", re.IGNORECASE)

# Words of keys in JSON. The values of an order's own fields are the shop's words, not ROBIN's.
_KEY_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_FAULT_KEY = re.compile(r"error|fail|invalid|reject|refus|denied|exception|unsuccess")
_GOOD_KEYS = frozenset(("success", "successful", "succeeded", "ok", "valid", "accepted"))
_NEGATIONS = frozenset(("no", "not", "without"))
_STATUS_KEYS = frozenset(("status", "statuscode", "httpstatus"))
_ORDER_KEYS = frozenset(
    ("ordernumber", "emailaddress", "phonenumber", "webstoreurl", "orderdate", "revenue", "profit")
)
_NOTHING = frozenset(("", "0", "false", "no", "none", "null"))
_FIRST_ERROR_STATUS = 400


def clean(words: str, *, body: bytes = b"", secrets: Iterable[str] = ()) -> str:
    """What a stranger said, fit to keep and to show: without secrets, without contacts, those of the
    request's `body` and others, and harmless. The whole of it, however these are written.
    """
    text = _decode(words)
    contacts = (
        {found.decode() for found in _CONTACT.findall(body)} if _share_a_text(text, body) else set()
    )
    text = _BASE64.sub(lambda found: _hide_encoded(found[0], contacts, secrets), text)
    text = _AUTHORIZATION.sub(_HIDDEN_SECRET, text)
    for secret in secrets:
        text = text.replace(secret, _HIDDEN_SECRET)
    for contact in contacts:
        text = text.replace(contact, _HIDDEN)
    return make_harmless(_ADDRESS.sub(_HIDDEN, text))


def find_secrets(key: str, secret: str) -> tuple[str, ...]:
    """What must not be kept of an answer that repeats the credentials of its request."""
    both = b64encode(f"{key}:{secret}".encode()).decode()
    return tuple(one for one in (both, f"{key}:{secret}", secret, key) if len(one) >= _SHORTEST)


def drop_last_word(words: str) -> str:
    """Words that were cut off somewhere, without the last one, which may be half of anything."""
    kept = re.sub(r"[^\s\"'<>(),;]*\Z", "", words[-_LONGEST_WORD:])
    return words[:-_LONGEST_WORD] + kept


def _decode(words: str) -> str:
    """Words without the escapes that HTML, JSON and URLs have, and without marks that can't be seen."""
    for _ in range(_ESCAPED_AT_MOST):
        text = unquote(_ESCAPE.sub(_undo_escape, unescape(words)))
        if text == words:
            break
        words = text
    if words.isascii():
        return words
    return "".join(sign for sign in words if unicodedata.category(sign) != "Cf")


def _undo_escape(found: re.Match[str]) -> str:
    return found[3] or chr(int(found[1] or found[2], 16))


def _hide_encoded(word: str, contacts: Iterable[str], secrets: Iterable[str]) -> str:
    """A word, or what stands for it where it is the base64 of a secret or contact."""
    padded = word.rstrip("=").translate(_URL_SAFE)
    try:
        text = b64decode(padded + "=" * (-len(padded) % 4)).decode()
    except ValueError:
        return word
    if any(secret in text for secret in secrets):
        return _HIDDEN_SECRET
    return _HIDDEN if _ADDRESS.search(text) or any(one in text for one in contacts) else word


def make_harmless(words: str) -> str:
    """Words without markup, control characters and marks that can't be seen, in one line."""
    return " ".join(make_printable(_TAG.sub(" ", words).translate(_BRACKETS)).split())


def cut(words: str, most: int, *, around_errors: bool = False) -> str:
    """The beginning of the words, or the part that speaks of errors; `…` stands for what is left out."""
    start = 0
    if around_errors and len(words) > most and (found := _find_errors(words)) is not None:
        start = max(0, min(found - most // 4, len(words) - most))
    part = words[start : start + most]
    return f"{'…' if start else ''}{part}{'…' if start + most < len(words) else ''}"


def is_page(content_type: str, words: str | None) -> bool:
    """Whether an answer is a page of HTML; `words` are None where they did not come."""
    if words is not None and not words.strip():
        return False
    if content_type.partition(";")[0].strip().lower() in _PAGE_TYPES:
        return True
    return bool(words and _PAGE.match(words))


def speaks_of_errors(words: str) -> bool:
    """Whether the words of an answer speak of errors: in JSON by its keys and texts, else as text."""
    try:
        return _content_speaks(json.loads(words))
    except (ValueError, RecursionError):
        return _find_errors(words) is not None


def _content_speaks(content: Any) -> bool:
    match content:
        case dict():
            return any(_entry_speaks(f"{key}", value) for key, value in content.items())
        case list():
            return any(map(_content_speaks, content))
        case str():
            return _find_errors(content) is not None
    return False


def _entry_speaks(key: str, value: Any) -> bool:
    words = {word.lower() for word in _KEY_WORD.findall(key)}
    joined = "".join(sign for sign in key.lower() if sign.isalpha())
    if joined in _ORDER_KEYS:
        return False
    if not words & _NEGATIONS:
        if any(map(_FAULT_KEY.match, words)):
            return _says_something(value)
        if words & _GOOD_KEYS and _is_false(value):
            return True
    if joined in _STATUS_KEYS and isinstance(value, int) and value >= _FIRST_ERROR_STATUS:
        return True
    return _content_speaks(value)


def _is_false(value: Any) -> bool:
    return value is False or (isinstance(value, str) and value.strip().lower() == "false")


def _says_something(value: Any) -> bool:
    """Whether there is anything in a value, at whatever depth, but zeros and nothings."""
    match value:
        case dict():
            return any(map(_says_something, value.values()))
        case list():
            return any(map(_says_something, value))
        case str():
            text = value.strip().lower()
            return text not in _NOTHING and not _FREE.fullmatch(text)
    return bool(value)


def _find_errors(words: str) -> int | None:
    """Where the words begin to speak of errors; None where they do not."""
    # Of the same length, so that places stay.
    asserted = _FREE.sub(lambda found: " " * len(found[0]), words)
    found = _SPEAKS.search(asserted) or _UNSUCCESSFUL.search(asserted)
    return found.start() if found else None


def _share_a_text(words: str, body: bytes) -> bool:
    """Whether any text as long as the shortest contact is in both: seldom, and quick to see."""
    encoded = words.encode()
    starts = range(len(encoded) - _SHORTEST + 1)
    return any(encoded[at : at + _SHORTEST] in body for at in starts)
