"""Much of what a stranger sends, and of what there is to show, is read and shown in parts."""

from __future__ import annotations

import gzip
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from robin_etl.cli import tables
from robin_etl.core.payload import Change
from robin_etl.delivery.answers import Meaning
from robin_etl.delivery.client import Client
from robin_etl.ledger import Ledger
from robin_etl.ledger.deliveries import REJECTED
from robin_etl.settings import Settings
from robin_etl.stages import pages
from robin_etl.stages.records import Classified, Extracted, Loaded, Scope, Summary
from robin_etl.stages.report import look_up_delivered
from robin_etl.stages.run import Run

HUGE = 100 << 20
PART = b"a" * 65_536
HEADS = {
    "100 MB": {"Content-Length": f"{HUGE}"},
    "without an end": {"Connection": "close"},
    "chunks without an end": {"Transfer-Encoding": "chunked"},
    "100 MB in 100 kB": {"Content-Encoding": "gzip", "Connection": "close"},
}


class LongAnswers(ThreadingHTTPServer):
    """Answers every request with 201 and a body of that kind; `sent` counts its bytes."""

    daemon_threads = True

    def __init__(self, kind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kind = kind
        self.sent = 0
        self.packed = gzip.compress(b"a" * HUGE, 1) if "in 100 kB" in kind else b""
        self.has_ended = threading.Event()

    def parts(self) -> Iterator[bytes]:
        if self.kind == "100 MB in 100 kB":
            yield self.packed
        elif self.kind == "100 MB":
            yield from (PART for _ in range(HUGE // len(PART)))
        while self.kind in ("without an end", "chunks without an end"):
            yield PART if self.kind == "without an end" else b"10000\r\n" + PART + b"\r\n"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LongAnswers

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        for name, value in HEADS[self.server.kind].items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            for part in self.server.parts():
                self.wfile.write(part)
                self.server.sent += len(part)
        self.close_connection = True
        self.server.has_ended.set()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def answering(kind: str) -> Iterator[LongAnswers]:
    with LongAnswers(kind) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("kind", HEADS)
def test_of_an_answer_that_is_huge_or_never_ends_the_beginning_is_read_and_no_more(kind: str) -> None:
    with answering(kind) as server:
        tracemalloc.start()
        try:
            with Client(f"http://127.0.0.1:{server.server_port}", "key", "secret", timeout=60) as client:
                answer = client.post(b'{"orders":[]}')
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert answer.meaning is Meaning.ACCEPTED
        assert len(answer.words) == len("a" * 500 + "…")
        # The client has hung up: what was sent until then is what lies in the sockets' buffers.
        assert server.has_ended.wait(60)
        assert server.sent < HUGE / 4
        assert peak < HUGE / 4


@pytest.fixture
def many_rejected(settings: Settings) -> Run:
    """A run of which ROBIN rejected 100,000 orders."""
    run = Run.start(settings.runs, Scope("run", date(2026, 3, 1), date(2026, 3, 1)))
    with Ledger.open(settings.ledger) as ledger, ledger.transaction():
        for start in range(0, 100_000, 1_000):
            orders = [f"O{number:06}" for number in range(start, start + 1_000)]
            request = ledger.deliveries.begin(
                run.id, [Change(order, "first", 0, "{}", "{}", ("2026-03-01",) * 20) for order in orders]
            )
            ledger.deliveries.answer(request, REJECTED, status=400, words=f"{start} is no good " * 20)
    return run


def test_of_100_000_rejected_orders_page_and_terminal_show_the_first_and_say_how_many(
    settings: Settings, many_rejected: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run = many_rejected
    with Ledger.open(settings.ledger) as ledger:
        delivered = look_up_delivered(run, ledger)
        scope = run.scope
        parts = (Extracted(), Classified())
        summary = Summary(run.id, scope.first, scope.last, *parts, 1, delivered, Loaded())
        pages.write_page(run, ledger, summary)
        tables.show_deliveries(ledger.deliveries.rejected())
    page = (Path(run.folder.path) / "report.html").read_text(encoding="utf-8")
    assert len(page) < 200_000
    assert "100,000" in page
    shown = capsys.readouterr().out
    assert "And 99,000 more; --json has all of them." in shown
    assert "O000999" in shown
    assert "O001000" not in shown
