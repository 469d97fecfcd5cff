"""The parts of delivery that need no ROBIN: answers, retries, chunks, and the order of entries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest

from robin_etl.core.payload import Change, Chunk
from robin_etl.delivery import Answer, LedgerWriter, Meaning, RetryPolicy
from robin_etl.delivery.answers import interpret, parse_retry_after
from robin_etl.delivery.chunks import ChunkQueue
from robin_etl.exceptions import AnswerError
from robin_etl.ledger import Ledger
from robin_etl.ledger.deliveries import REFUSED

LOST = Answer(Meaning.LOST, "reset")
BUSY = Answer(Meaning.BUSY, "", 429)
ASKED = Answer(Meaning.BUSY, "", 429, retry_after=9)
TAKEN = Answer(Meaning.ACCEPTED, "", 201)


def chunk(numbers: str) -> Chunk:
    return [Change(number, "first", 0, "{}", "{}", (number, "2026-03-01")) for number in numbers]


def take_all(queue: ChunkQueue) -> list[str]:
    taken = []
    while (piece := queue.take()) is not None:
        taken.append("".join(change.order_number for change in piece))
    return taken


def answering(*answers: Answer) -> Callable[[], Answer]:
    left = iter(answers)
    return lambda: next(left)


def test_halves_come_before_the_next_chunk() -> None:
    queue = ChunkQueue(5)
    queue.start_wave(iter([chunk("abcde"), chunk("fg")]))
    first = queue.take()
    assert first is not None
    queue.put_halves(first, is_too_large=False)
    assert take_all(queue) == ["abc", "de", "fg"]


def test_after_a_chunk_that_was_too_large_none_is_larger_than_its_half() -> None:
    queue = ChunkQueue(6)
    queue.start_wave(iter([chunk("abcdef"), chunk("ghijklm")]))
    first = queue.take()
    assert first is not None
    queue.put_halves(first, is_too_large=True)
    assert take_all(queue) == ["abc", "def", "ghi", "jkl", "m"]
    queue.start_wave(iter([chunk("nopq")]))
    assert take_all(queue) == ["nop", "q"]


@pytest.mark.parametrize(
    ("answers", "waits"),
    [
        ((TAKEN,), 0),
        ((LOST, TAKEN), 1),
        ((LOST, LOST, LOST), 2),  # three attempts, and none after them
        ((BUSY, BUSY, LOST, LOST, TAKEN), 4),  # being busy has a count of its own
    ],
)
def test_a_request_is_tried_as_often_as_the_policy_says(answers: tuple[Answer, ...], waits: int) -> None:
    slept: list[float] = []
    policy = RetryPolicy(3, sleep=slept.append)
    assert policy.call(answering(*answers), stopping=Event()) == answers[-1]
    assert len(slept) == waits
    assert all(0 < seconds <= 61 for seconds in slept)


def test_busy_tries_robins_patience_only_so_often() -> None:
    policy = RetryPolicy(3, sleep=lambda _: None, patience=2)
    assert policy.call(answering(BUSY, BUSY, TAKEN), stopping=Event()) == BUSY


def test_what_robin_asks_everybody_to_wait_is_left_to_the_pace() -> None:
    slept: list[float] = []
    RetryPolicy(3, sleep=slept.append).call(answering(ASKED, TAKEN), stopping=Event())
    assert slept == [0]


def test_a_stop_ends_the_attempts() -> None:
    stopping = Event()
    stopping.set()
    policy = RetryPolicy(3, sleep=lambda _: None)
    assert policy.call(answering(LOST, TAKEN), stopping=stopping) == LOST


TEN_YEARS = 10 * 365 * 24 * 3600


@pytest.mark.parametrize(("header", "seconds"), [("12", 12), (" 0 ", 0), ("0012", 12), ("3600", 3600)])
def test_retry_after_is_read(header: str, seconds: float) -> None:
    assert parse_retry_after(header) == seconds


@pytest.mark.parametrize(
    "header",
    [
        *(
            None,
            "",
            "soon",
            "-1",
            "+5",
            "1.5",
            "1_0",
            "1e3",
            "inf",
            "nan",
            "1e308",
            "\u0661\u0662",
            "0x10",
        ),
        *("Sun, 06 Nov 2094 08:49:37", "Sun, 06 Nov 2094 08:49:37 -0000", "2094-11-06T08:49:37Z"),
        *("Sun, 06 Nov 2094 08:49:37 +0100", "Sun, 31 Feb 2094 08:49:37 GMT", "12, 13"),
    ],
)
def test_a_retry_after_that_rfc_9110_does_not_know_counts_as_none(header: str | None) -> None:
    assert parse_retry_after(header) is None


@pytest.mark.parametrize(
    "header",
    ["9" * 11, "9" * 5000, "Fri, 31 Dec 9999 23:59:59 GMT", "Fri Dec 31 23:59:59 9999"],
)
def test_a_wait_beyond_all_measure_is_ten_years(header: str) -> None:
    assert parse_retry_after(header) == TEN_YEARS


@pytest.mark.parametrize(
    "form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"]
)
def test_a_retry_after_may_be_a_date_in_any_form_of_http(form: str) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=100)
    assert 90 < (parse_retry_after(soon.strftime(form)) or 0) <= 100
    assert parse_retry_after((soon - timedelta(days=1)).strftime(form)) == 0


def test_an_answer_that_stops_names_where_it_points() -> None:
    with pytest.raises(AnswerError, match=r"302, pointing to https://b to POST https://a\.") as caught:
        interpret(302, {"Location": "https://b"}, "", url="https://a")
    assert caught.value.status == 302


def test_entries_are_committed_in_the_order_they_were_handed_in(tmp_path: Path) -> None:
    stopping = Event()
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        with LedgerWriter(ledger, "r") as writer:
            first = writer.begin(chunk("a"), unless=stopping)
            second = writer.begin(chunk("bc"), unless=stopping)
            writer.answer(1, REFUSED, status=429, words="slower")
            writer.flush()
            stopping.set()
            last = writer.begin(chunk("d"), unless=stopping)
        assert (first.result(), second.result(), last.result()) == (1, 2, None)
        log = ledger.deliveries.deliveries_of("r")
    assert log["order_number"].tolist() == list("abc")
    assert log["outcome"].tolist() == [REFUSED, "sending", "sending"]
