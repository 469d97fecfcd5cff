"""What an answer means and says: what is ROBIN's, what speaks of errors, what is kept of its words."""

from __future__ import annotations

import html
import json
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from functools import partial
from html import unescape
from urllib.parse import quote, unquote

import pytest

from robin_etl.core.statuses import parse_statuses
from robin_etl.delivery.answers import Meaning, interpret
from robin_etl.delivery.words import (
    clean,
    cut,
    drop_last_word,
    find_secrets,
    is_page,
    make_harmless,
    speaks_of_errors,
)
from robin_etl.exceptions import AnswerError, NotRobinError
from robin_etl.ledger.binding import normalize_address

URL = "https://api.robinhq.com/dynamic/orders"


@pytest.mark.parametrize(
    "words",
    [
        "error",
        "1 error",
        "10 errors",
        "1,000 errors",
        "Some orders failed.",
        "order 7 was REJECTED",
        "Invalid e-mail address",
        "refused: 7",
        "errors: 2",
        "Created 0 orders; 3 failed",
        "no orders were created, all failed",
        "your key is not valid",
        "unable to store order 7",
        '{"errors": [{"order": "7"}]}',
        '{"errors": ["x"]}',
        '{"errors": {"7": "bad date"}}',
        '{"error": "x"}',
        '{"Error": true}',
        '{"hasErrors": true}',
        '{"error_count": 1}',
        '{"errorCode": "E17"}',
        '{"failed": 1}',
        '{"failedOrders": ["7"]}',
        '{"result": [{"orders": {"rejected": ["7"]}}]}',
        '{"invalid": "7"}',
        '{"success": false}',
        '{"isSuccess": "false"}',
        '{"ok": false}',
        '{"status": "error"}',
        '{"status": 422}',
        '{"message": "order 7 failed"}',
        '["created", "rejected"]',
        '"failed"',
        '{"errors": ["x"], "orders": [' + "[" * 5,  # cut off, so no JSON
        '{"success": false, "orders": [',
    ],
)
def test_what_speaks_of_errors(words: str) -> None:
    assert speaks_of_errors(words)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "created",
        "0 errors",
        "no errors",
        "No error.",
        "without errors",
        "without any validation errors",
        "errors: 0",
        "errors: 0, created: 3",
        "failed=0 rejected=0",
        "Errors: none",
        "no order was rejected",
        "0 of 3 orders failed",
        "none failed",
        "error-free",
        "terror",
        '{"errors": []}',
        '{"errors": {}}',
        '{"errors": null}',
        '{"errors": {"count": 0, "items": []}}',
        '{"errors": "none"}',
        '{"error": ""}',
        '{"error": false}',
        '{"error_count": 0}',
        '{"hasErrors": false}',
        '{"noErrors": true}',
        '{"failed": 0, "rejected": [], "created": 100}',
        '{"success": true}',
        '{"status": 201}',
        '{"status": "created", "message": "3 orders, no errors"}',
        '{"orders": [{"order_number": "FAILED-1", "webstore_url": "https://error.example.com"}]}',
        '{"errors": [], "orders": [' + "[" * 5,
        "[]",
        "201",
    ],
)
def test_what_speaks_of_none(words: str) -> None:
    assert not speaks_of_errors(words)


@pytest.mark.parametrize(
    ("kind", "words", "is_one"),
    [
        ("text/html", "<p>hello", True),
        ("TEXT/HTML; charset=utf-8", "hello", True),
        ("application/xhtml+xml", "<x/>", True),
        ("text/html", None, True),  # and it did not come
        ("text/html", " \n", False),  # what a server says of no body
        ("", None, False),
        ("", "\ufeff\n <!DOCTYPE  html>", True),
        ("text/plain", "<!-- a --><!-- b -->\n<HTML lang=nl>", True),
        ("application/json", "<?xml version='1.0'?><html>", True),
        ("application/xml", "<?xml version='1.0'?><created/>", False),
        ("text/plain", "created <html>", False),
        ("", "<htmlish>", False),
    ],
)
def test_what_is_a_page(kind: str, words: str | None, is_one: bool) -> None:
    assert is_page(kind, words) is is_one


def test_only_what_is_accepted_acknowledges() -> None:
    assert interpret(201, {}, "", url=URL).meaning is Meaning.ACCEPTED
    for status in (200, 202, 203, 204, 206, 299):
        with pytest.raises(
            NotRobinError, match=f"{status}, no content type, without any text"
        ) as caught:
            interpret(status, {}, None, url=URL)
        assert caught.value.status == status
        accepted = interpret(status, {}, "", url=URL, accepted={status})
        assert accepted.meaning is Meaning.ACCEPTED


def test_what_speaks_of_errors_far_behind_is_kept() -> None:
    said = json.dumps({"created": ["x" * 10] * 300, "message": "order 7 failed"})
    answer = interpret(201, {}, said, url=URL)
    assert answer.speaks_of_errors
    assert "order 7 failed" in answer.words
    assert answer.words.startswith("…")
    assert len(answer.words) <= 502


@pytest.mark.parametrize(
    ("words", "harmless"),
    [
        ("<h1>Bad\r\n\x00\x1b[2JRequest</h1>\u202e\u200b", "Bad [2JRequest"),
        ("1 < 2 > 0", "1 ( 2 ) 0"),
        ("<script src=x", "(script src=x"),
        ('{"error": "order 7"}', '{"error": "order 7"}'),
    ],
)
def test_words_are_made_harmless(words: str, harmless: str) -> None:
    assert make_harmless(words) == harmless


def test_words_are_cut_behind_what_is_hidden() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "abc…"


SECRETS = find_secrets("the-api-key", "p\u00e4ss <\"w&rd'>")
ECHOES = {
    "plain": lambda text: text,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "HTML": html.escape,
    "HTML by numbers": lambda text: "".join(f"&#{ord(sign)};" for sign in text),
    "a URL": lambda text: quote(text, safe=""),
    "a URL within a URL": lambda text: quote(quote(text, safe=""), safe=""),
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64 of URLs": lambda text: urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "marks that can't be seen": "\u200b".join,
    "Python": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode("latin-1")),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize(
    "private",
    [*SECRETS, "ann.person@shop.example", "Zo\u00eb@x.nl", "+31 (0)6 12345678"],
    ids=["credentials in base64", "credentials", "secret", "key", "address", "odd address", "number"],
)
def test_what_is_private_is_taken_out_of_an_answer_however_it_is_written(
    private: str, echo: Callable[[str], str]
) -> None:
    body = json.dumps(
        {"orders": [{"phone_number": "+31 (0)6 12345678", "email_address": "Zo\u00eb@x.nl"}]}
    )
    said = f'{{"error": "no", "got": "{echo(private)}"}} order 7'
    kept = clean(said, body=body.encode(), secrets=SECRETS)
    shown = {undo(kept) for undo in (str, unescape, unquote)}
    assert not any(private in text or echo(private) in text for text in shown), kept
    assert "(secret)" in kept or "(contact)" in kept
    assert kept.endswith("order 7")


@pytest.mark.parametrize("scheme", ["Basic", "basic", "Bearer"])
def test_what_a_header_of_authorization_holds_is_taken_out_whosever_it_is(scheme: str) -> None:
    assert clean(f"Authorization: {scheme} Zm9vOmJhcg==, no") == "Authorization: (secret), no"


def test_words_that_only_look_like_base64_stay() -> None:
    words = "order ORDER12345678 of 2026-03-01T10:00:00Z in /dynamic/orders has PROCESSING_FAILED"
    assert clean(words, secrets=SECRETS) == words


def test_where_a_redirect_points_is_cleaned_before_it_is_cut() -> None:
    address = "https://x.example/?" + "a" * 95 + "&to=ann.person@shop.example" + "b" * 60_000
    with pytest.raises(AnswerError) as caught:
        interpret(302, {"Location": address}, "", url="https://a", clean=partial(clean, secrets=SECRETS))
    assert "ann.person" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_half_a_word_at_the_end_of_what_was_read_is_dropped() -> None:
    assert drop_last_word("no such customer: ann.per") == "no such customer: "
    assert drop_last_word('{"email": "ann.per') == '{"email": "'
    assert drop_last_word("a" * 1000) == "a" * 600
    assert drop_last_word("whole ") == "whole "


@pytest.mark.parametrize(
    "sign",
    ["a", "<", "<a", "@", "a@", "<!-- -->", "error ", "no order ", "0 ", "&#97;", "%2525", "Basic "],
)
def test_an_answer_made_to_be_slow_to_read_is_not(sign: str) -> None:
    words = sign * (16_384 // len(sign))
    started = time.process_time()
    clean(words, body=b'{"orders":[]}', secrets=SECRETS)
    is_page("", words)
    speaks_of_errors(words)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(("text", "statuses"), [("201", {201}), (" 200, 201,200", {200, 201})])
def test_statuses_are_read(text: str, statuses: set[int]) -> None:
    assert parse_statuses(text) == statuses


@pytest.mark.parametrize(
    "text", ["", "created", "199", "300", "201;202", "201,404", "²01", "-201", "201,"]
)
def test_what_is_no_status_that_acknowledges_is_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="can't acknowledge a request"):
        parse_statuses(text)


@pytest.mark.parametrize(
    "address",
    [
        "https://api.robinhq.com",
        "HTTPS://API.RobinHQ.com/",
        "https://api.robinhq.com:443//",
        " https://api.robinhq.com. ",
    ],
)
def test_an_address_has_one_form(address: str) -> None:
    assert normalize_address(address) == "https://api.robinhq.com"


def test_what_is_another_place_is_another_address() -> None:
    for address in ("http://[::1]:8765/V2", "https://api.robinhq.com:8443", "http://localhost:443"):
        assert normalize_address(address + "/") == address
