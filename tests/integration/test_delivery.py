"""Delivery against answers in a script, with the real client, and with the real ledger behind it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event
from typing import Any

import pandas as pd
import pytest

from robin_etl import observer as events
from robin_etl.core import columns, payload
from robin_etl.delivery import Answer, Client, Delivered, LedgerWriter, Meaning, RetryPolicy, Sender
from robin_etl.delivery.sender import Poster
from robin_etl.delivery.words import clean
from robin_etl.exceptions import (
    AnswerError,
    AuthenticationError,
    ConfigurationError,
    InterruptedRunError,
    LedgerError,
    NotRobinError,
    RobinUnavailableError,
)
from robin_etl.ledger import Ledger
from robin_etl.observer import Answered, Observer, Progressed, Waiting, ignore

OK = Answer(Meaning.ACCEPTED, "", 201)
BAD = Answer(Meaning.REFUSED, "no such address", 400)
GONE = Answer(Meaning.LOST, "reset")
BUSY = Answer(Meaning.BUSY, "", 429, retry_after=7)


def deliver(sending: Sender, rows: pd.DataFrame) -> Delivered:
    return sending.deliver([rows], total=len(rows))


def changes(*numbers: str, wave: int = 0) -> pd.DataFrame:
    return columns.conform(
        pd.DataFrame(
            {
                "order_number": list(numbers),
                "day": "2026-03-01",
                "customer": "c",
                "email": "c",
                "email_address": "ann@x.nl",
                "revenue": 100,
                "order_date": "2026-03-01T10:00:00Z",
                "placed_at": "2026-03-01T10:00:00Z",
                "is_first_order": False,
                "is_cancelled": False,
                "is_told": True,
                "kind": "repeat",
                "wave": wave,
            }
        ),
        columns.CHANGE_DTYPES,
    )


class Script:
    """A ROBIN that answers as told: by a list, then by a rule on the order numbers."""

    def __init__(self, *answers: Answer, rule: Callable[[list[str]], Answer] = lambda _: OK) -> None:
        self.answers = list(answers)
        self.rule = rule
        self.seen: list[list[str]] = []

    def post(self, body: bytes, leave: Callable[[], None]) -> Answer:
        numbers = [order["order_number"] for order in json.loads(body)["orders"]]
        self.seen.append(numbers)
        return self.answers.pop(0) if self.answers else self.rule(numbers)


class NoLimits:
    """Never waits, and remembers for how long it was told to pause."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def wait(self) -> Callable[[], None]:
        """At once."""
        return lambda: None

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def expect(self, requests: int) -> None:
        """Any number."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(str(tmp_path / "ledger.db")) as opened:
        yield opened


@pytest.fixture
def writer(ledger: Ledger) -> Iterator[LedgerWriter]:
    with LedgerWriter(ledger, "r") as opened:
        yield opened


def sender(
    script: Poster,
    writer: LedgerWriter,
    *,
    chunk_size: int = 4,
    attempts: int = 3,
    concurrency: int = 1,
    stopping: Event | None = None,
    observer: Observer = ignore,
) -> tuple[Sender, list[float]]:
    slept: list[float] = []
    pace = NoLimits()
    pace.pauses = slept
    sending = Sender(
        script,
        pace,
        RetryPolicy(attempts, sleep=lambda seconds: slept.append(seconds) if seconds else None),
        writer,
        chunk_size=chunk_size,
        concurrency=concurrency,
        stopping=stopping or Event(),
        observer=observer,
    )
    return sending, slept


def acknowledged(ledger: Ledger, *numbers: str) -> list[str]:
    asked = pd.Series(numbers, dtype=columns.TEXT)
    return sorted(ledger.states.look_up(asked, pd.Series(dtype=columns.TEXT))["order_number"])


def test_chunks_go_out_whole_and_are_acknowledged(ledger: Ledger, writer: LedgerWriter) -> None:
    script = Script()
    sending, _ = sender(script, writer)
    delivered = deliver(sending, changes(*"abcdefghij"))
    assert [len(chunk) for chunk in script.seen] == [4, 4, 2]
    assert (delivered.posted, delivered.requests) == (10, 3)
    assert len(acknowledged(ledger, *"abcdefghij")) == 10


def test_no_later_wave_leaves_before_the_earlier_one_is_acknowledged(writer: LedgerWriter) -> None:
    script = Script()
    sending, _ = sender(script, writer)
    deliver(sending, pd.concat([changes(*"abcde"), changes("a", "b", wave=1)], ignore_index=True))
    assert script.seen == [["a", "b", "c", "d"], ["e"], ["a", "b"]]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_chunk_is_halved_until_the_refused_order_stands_alone(
    ledger: Ledger, writer: LedgerWriter, status: int
) -> None:
    bad = Answer(Meaning.REFUSED, "no such address", status)
    script = Script(rule=lambda numbers: bad if "f" in numbers else OK)
    sending, _ = sender(script, writer, chunk_size=8)
    delivered = deliver(sending, changes(*"abcdefgh"))
    assert delivered.rejected == {"f": "no such address"}
    assert delivered.posted == 7
    assert acknowledged(ledger, *"abcdefgh") == list("abcdegh")
    log = ledger.deliveries.deliveries_of("r")
    assert log[log["outcome"] == "rejected"]["words"].tolist() == ["no such address"]
    if status != 413:
        assert delivered.requests == 7  # the chunk, then two for each of three halvings


def test_413_lowers_the_chunk_size_for_the_run(writer: LedgerWriter) -> None:
    large = Answer(Meaning.REFUSED, "too large", 413)
    script = Script(rule=lambda numbers: large if len(numbers) > 2 else OK)
    sending, _ = sender(script, writer, chunk_size=8)
    deliver(sending, changes(*"abcdefghijklmnop"))
    assert [len(numbers) for numbers in script.seen] == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]


def test_a_later_wave_of_a_rejected_order_is_held_back_and_told(writer: LedgerWriter) -> None:
    script = Script(rule=lambda numbers: BAD if "a" in numbers else OK)
    sending, _ = sender(script, writer)
    both = pd.concat([changes("a", "b"), changes("a", "b", wave=1)], ignore_index=True)
    delivered = deliver(sending, both)
    assert delivered.held_back == {"a"}
    assert script.seen[-1] == ["b"]


def test_twenty_refusals_before_any_success_stop_the_run(writer: LedgerWriter) -> None:
    script = Script(rule=lambda _: BAD)
    sending, _ = sender(script, writer, chunk_size=1)
    with pytest.raises(AnswerError, match="the fault is not the orders'"):
        deliver(sending, changes(*(f"{n}" for n in range(50))))
    assert len(script.seen) == 20


def test_a_lost_answer_is_sent_again_and_told_in_doubt(writer: LedgerWriter) -> None:
    script = Script(OK, GONE, OK)
    sending, slept = sender(script, writer)
    delivered = deliver(sending, changes(*"abcdef"))
    assert script.seen == [["a", "b", "c", "d"], ["e", "f"], ["e", "f"]]
    assert delivered.in_doubt == {"e", "f"}
    assert delivered.posted == 6
    assert len(slept) == 1


def test_busy_waits_as_long_as_robin_says_and_leaves_no_doubt(writer: LedgerWriter) -> None:
    told: list[events.Event] = []
    sending, slept = sender(Script(BUSY, OK), writer, observer=told.append)
    delivered = deliver(sending, changes("a"))
    assert slept == [7]
    assert delivered.in_doubt == set()
    assert told[:2] == [Answered("busy", 429), Waiting(7, "ROBIN asks to wait")]
    assert set(told[2:]) == {Answered("accepted", 201), Progressed(1)}  # in whichever order


def test_retries_back_off_and_end_with_what_was_acknowledged_kept(
    ledger: Ledger, writer: LedgerWriter
) -> None:
    script = Script(OK, rule=lambda _: GONE)
    sending, slept = sender(script, writer, attempts=5)
    with pytest.raises(RobinUnavailableError, match=r"in 5 attempts .*acknowledged 4 changes of this"):
        deliver(sending, changes(*"abcdef"))
    assert len(script.seen) == 6
    assert len(slept) == 4
    assert slept[3] > slept[0]
    assert acknowledged(ledger, *"abcdef") == list("abcd")


def test_every_request_is_in_the_log_before_it_leaves(ledger: Ledger, writer: LedgerWriter) -> None:
    seen: list[list[str]] = []

    class Watching(Script):
        def post(self, body: bytes, leave: Callable[[], None]) -> Answer:
            seen.append(ledger.deliveries.deliveries_of("r")["outcome"].tolist())
            return super().post(body, leave)

    sending, _ = sender(Watching(GONE, OK), writer)
    deliver(sending, changes("a"))
    assert seen == [["sending"], ["in doubt", "sending"]]


def test_the_log_keeps_the_status_and_words_of_every_answer(
    ledger: Ledger, writer: LedgerWriter
) -> None:
    lost = Answer(Meaning.LOST, "gateway", 502)
    busy = Answer(Meaning.BUSY, "slower", 429, retry_after=1)
    taken = Answer(Meaning.ACCEPTED, "created", 201)
    sending, _ = sender(Script(lost, busy, BAD, BAD, taken), writer, chunk_size=2)
    deliver(sending, changes("a", "b"))
    log = ledger.deliveries.deliveries_of("r").drop_duplicates("request")
    assert log[["outcome", "status", "words"]].to_numpy().tolist() == [
        ["in doubt", 502, "gateway"],
        ["refused", 429, "slower"],
        ["refused", 400, "no such address"],
        ["rejected", 400, "no such address"],
        ["accepted", 201, "created"],
    ]


def test_a_wait_that_is_longer_than_a_run_may_wait_stops_it_and_says_until_when(
    ledger: Ledger, writer: LedgerWriter
) -> None:
    for seconds in (3601.0, 10.0 * 365 * 24 * 3600):
        asked = Answer(Meaning.BUSY, "later", 429, retry_after=seconds)
        sending, paused = sender(Script(OK, asked), writer, chunk_size=1)
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        with pytest.raises(RobinUnavailableError, match=f"nothing before {until:%Y-%m-%d}") as caught:
            deliver(sending, changes("a", "b"))
        assert "ROBIN_ETL_LONGEST_WAIT" in str(caught.value)
        assert "acknowledged 1 change of this run" in str(caught.value)
        assert paused == []
    assert ledger.deliveries.outcome_of("r").in_doubt == ()


def test_an_answer_that_stops_the_run_is_in_the_log_as_a_refusal(
    ledger: Ledger, writer: LedgerWriter
) -> None:
    class Refusing(Script):
        def post(self, body: bytes, leave: Callable[[], None]) -> Answer:
            super().post(body, leave)
            raise AnswerError("look at the base URL", status=404)

    sending, _ = sender(Refusing(), writer)
    with pytest.raises(AnswerError, match="look at the base URL"):
        deliver(sending, changes("a"))
    log = ledger.deliveries.deliveries_of("r")
    assert log[["outcome", "status", "words"]].to_numpy().tolist() == [
        ["refused", 404, "look at the base URL"]
    ]


def test_progress_tells_every_change_once_however_it_ended(writer: LedgerWriter) -> None:
    script = Script(rule=lambda numbers: BAD if "a" in numbers else OK)
    told: list[events.Event] = []
    sending, _ = sender(script, writer, observer=told.append)
    both = pd.concat([changes(*"abcdef"), changes(*"ab", wave=1)], ignore_index=True)
    delivered = deliver(sending, both)
    done = sum(event.changes for event in told if isinstance(event, Progressed))
    assert (done, delivered.posted) == (len(both), 6)


def test_all_that_is_in_doubt_or_held_back_is_told_not_the_last_of_it(writer: LedgerWriter) -> None:
    script = Script(OK, GONE, OK, GONE, OK)
    sending, _ = sender(script, writer, chunk_size=1)
    assert deliver(sending, changes(*"abc")).in_doubt == {"b", "c"}
    script = Script(rule=lambda numbers: BAD if {"d", "e"} & set(numbers) else OK)
    sending, _ = sender(script, writer, chunk_size=1)
    waves = [changes(*"dexyz", wave=0), changes("d", wave=1), changes("e", wave=2)]
    assert deliver(sending, pd.concat(waves, ignore_index=True)).held_back == {"d", "e"}


def test_requests_go_one_by_one_until_robin_has_accepted_one_and_then_side_by_side(
    writer: LedgerWriter,
) -> None:
    together = threading.Barrier(3, timeout=120)
    alone: list[int] = []

    class Counting(Script):
        def post(self, body: bytes, leave: Callable[[], None]) -> Answer:
            answer = super().post(body, leave)
            if len(self.seen) == 1:
                alone.append(len(self.seen))
            else:
                together.wait()  # three at a time, or it breaks
            return answer

    sending, _ = sender(Counting(), writer, chunk_size=1, concurrency=3)
    assert deliver(sending, changes(*"abcdefg")).posted == 7
    assert alone == [1]


def test_a_stop_says_how_many_changes_are_left(writer: LedgerWriter) -> None:
    stopping = Event()

    class Stopping(Script):
        def post(self, body: bytes, leave: Callable[[], None]) -> Answer:
            answer = super().post(body, leave)
            if len(self.seen) == 3:
                stopping.set()
            return answer

    script = Stopping(rule=lambda numbers: BAD if "b" in numbers else OK)
    sending, _ = sender(script, writer, chunk_size=1, stopping=stopping)
    with pytest.raises(InterruptedRunError, match=r"with 2 changes acknowledged and 3 left"):
        deliver(sending, changes(*"abcdef"))


def test_a_ledger_that_fails_to_keep_an_acceptance_stops_the_run(
    ledger: Ledger, writer: LedgerWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(ledger, "acknowledge", full)
    sending, _ = sender(Script(), writer, chunk_size=1)
    with pytest.raises(LedgerError, match="the disk is full"):
        deliver(sending, pd.concat([changes("a"), changes("a", wave=1)], ignore_index=True))


# The client, against a real server that answers as told


@contextmanager
def answering(status: int, headers: dict[str, str], body: bytes = b"{}") -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def post(url: str) -> Answer:
    with Client(url, "key", "hush-hush", timeout=120) as client:
        return client.post(b"{}")


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (201, Meaning.ACCEPTED),
        (400, Meaning.REFUSED),
        (413, Meaning.REFUSED),
        (422, Meaning.REFUSED),
        (429, Meaning.BUSY),
        (500, Meaning.LOST),
        (503, Meaning.LOST),
    ],
)
def test_an_answer_has_one_meaning(status: int, meaning: Meaning) -> None:
    with answering(status, {}, b"words") as url:
        answer = post(url)
    assert (answer.meaning, answer.status) == (meaning, status)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 404, 405, 410])
def test_a_redirect_or_an_unknown_refusal_stops(status: int) -> None:
    with (
        answering(status, {"Location": "https://elsewhere.example.com/"}) as url,
        pytest.raises(AnswerError, match=f"ROBIN answered {status}.*Look at the base URL"),
    ):
        post(url)


def test_what_is_not_robins_answer_leaves_its_orders_in_doubt_and_sends_nothing_more(
    ledger: Ledger, writer: LedgerWriter
) -> None:
    class Proxy(Script):
        def post(self, body: bytes, leave: Callable[[], None]) -> Answer:
            super().post(body, leave)
            raise NotRobinError("not ROBIN", status=200, words="Sign in")

    script = Proxy()
    sending, _ = sender(script, writer)
    with pytest.raises(NotRobinError, match="not ROBIN"):
        deliver(sending, changes(*"abcdef"))
    assert script.seen == [list("abcd")]
    assert sending.delivered.in_doubt == set("abcd")
    assert acknowledged(ledger, *"abcdef") == []
    assert ledger.deliveries.outcome_of("r").in_doubt == tuple("abcd")
    assert set(ledger.deliveries.deliveries_of("r")["words"]) == {"Sign in"}


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_secret_stops_without_showing_it(status: int) -> None:
    with answering(status, {}) as url, pytest.raises(AuthenticationError) as caught:
        post(url)
    assert "hush-hush" not in str(caught.value)


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    with answering(429, {"Retry-After": "12"}) as url:
        assert post(url).retry_after == 12
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    with answering(429, {"Retry-After": later}) as url:
        assert 90 < (post(url).retry_after or 0) <= 100
    with answering(429, {"Retry-After": "soon"}) as url:
        assert post(url).retry_after is None


def test_a_port_where_nobody_listens_means_not_sent() -> None:
    with answering(200, {}) as url:
        pass
    assert post(url).meaning is Meaning.NOT_SENT


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://api.robinhq.com", "plain http"),
        ("ftp://api.robinhq.com", "must be an https"),
        ("api.robinhq.com", "must be an https"),
        ("https://key:hush@api.robinhq.com", "must not hold credentials"),
    ],
)
def test_an_address_that_would_tell_the_secret_is_refused(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        Client(url, "k", "s", timeout=1)
    assert "hush" not in str(caught.value)


def test_a_client_never_shows_its_secret() -> None:
    with Client("https://api.robinhq.com", "the-key", "hush-hush", timeout=1) as client:
        assert "hush-hush" not in repr(client) + str(vars(client))


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("order 7: Ann@x.nl is no customer", "order 7: (contact) is no customer"),
        ("no customer <other.one+2@sub.example.com>!", "no customer ((contact))!"),
        (
            '{"email": "a\\u0040b.nl", "phone": "+31612345678"}',
            '{"email": "(contact)", "phone": "(contact)"}',
        ),
        ("a%40b.nl twice, 100 orders", "(contact) twice, 100 orders"),
        ("order 7 is refused", "order 7 is refused"),
    ],
)
def test_what_is_kept_of_an_answer_names_no_contact(words: str, kept: str) -> None:
    body = payload.encode_body(
        ['{"order_number":"7","email_address":"Ann@x.nl","phone_number":"+31612345678"}']
    )
    assert clean(words, body=body) == kept


def test_a_contact_is_as_long_as_its_bytes() -> None:
    body = payload.encode_body(['{"order_number":"7","phone_number":"é123"}'])
    assert clean("no é123", body=body) == "no (contact)"
    assert clean("é123", body=body) == "(contact)"
