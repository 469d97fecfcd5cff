"""The sandbox: a `Robin` behind a real HTTP server on loopback, and the faults that befall its answers.

`/` shows what arrives as customer service would see it, and `/sandbox/state` all of it as JSON.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from robin_etl.sandbox.faults import Fault
from robin_etl.sandbox.robin import Robin

PATHS = ("/dynamic/orders", "/dynamic/orders/")
PAGE_PATH = "/"
STATE_PATH = "/sandbox/state"
LATEST_PATH = "/sandbox/latest"

_PAGE = Path(__file__).with_name("page.html")
_POLL = 0.02  # seconds until the server notices that it is to stop


class Sandbox:
    """A `Robin` behind a real HTTP server on loopback; use as a context manager.

    `port` 0 takes a free one; `url` is where it listens. Each answer comes `latency` seconds later than
    it could, as from a ROBIN that is far away.
    """

    def __init__(self, robin: Robin, *, port: int = 0, latency: float = 0.0) -> None:
        self.robin = robin
        self._server = _Server(("127.0.0.1", port), robin, latency)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": _POLL}, daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Sandbox:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self) -> None:
        """Serve until interrupted."""
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], robin: Robin, latency: float) -> None:
        super().__init__(address, _Handler)
        self.robin = robin
        self.latency = latency
        self.closing = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silence for a client that went away; anything else is a mistake of the sandbox's."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Without it, an answer in two packets waits for the client's delayed acknowledgement.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path not in PATHS:
            self._answer(404, {"error": f"there is nothing at {self.path}"})
            return
        authorization = self.headers.get("Authorization")
        fault = self.server.robin.faults.draw()
        if fault is None:
            answer = self.server.robin.answer(authorization, body)
            if self.server.latency:
                self.server.closing.wait(self.server.latency)
            self._answer(*answer)
        else:
            self._play(fault, authorization, body)

    def do_GET(self) -> None:
        if self.path == PAGE_PATH:
            page = _PAGE.read_bytes()
            kind = "text/html; charset=utf-8"
            self._begin(200, {"Content-Type": kind, "Content-Length": f"{len(page)}"})
            self.wfile.write(page)
        elif self.path == STATE_PATH:
            self._answer(200, self.server.robin.read_state())
        elif self.path == LATEST_PATH:
            self._answer(200, self.server.robin.read_latest())
        else:
            self._answer(404, {"error": f"there is nothing at {self.path}; see {STATE_PATH}"})

    def _play(  # noqa: C901, PLR0912 (one case for each fault)
        self, fault: Fault, authorization: str | None, body: bytes
    ) -> None:
        status = 0
        if fault.applies:
            status, content = self.server.robin.answer(authorization, body)
            if status >= 300:  # a request that ROBIN refuses needs no other fault
                self._answer(status, content)
                return
        match fault:
            case Fault.ERROR_BEFORE | Fault.ERROR_AFTER:
                self._answer(500, {"error": "something broke"})
            case Fault.RESET_BEFORE | Fault.RESET_AFTER:
                # With nothing left to linger for, closing resets.
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
            case Fault.HANG_BEFORE | Fault.HANG_AFTER:
                self.server.closing.wait()
                self.close_connection = True
            case Fault.SLOW_HEADERS:
                self._trickle(b"HTTP/1.1 201 Created\r\n" + b"X-Slow: slow\r\n" * 1_000_000)
            case Fault.SLOW_BODY:
                self._begin(status, {"Content-Length": "1000000"})
                self._trickle(b" " * 1_000_000)
            case Fault.ENDLESS:
                self._begin(status, {"Connection": "close"})
                with suppress(OSError):
                    while not self.server.closing.is_set():
                        self.wfile.write(b" " * 65_536)
                self.close_connection = True
            case Fault.EMPTY:
                self._begin(status, {"Content-Length": "0"})
            case Fault.NOT_JSON:
                page = b"<html><body>Welcome</body></html>"
                self._begin(status, {"Content-Type": "text/html", "Content-Length": f"{len(page)}"})
                self.wfile.write(page)
            case Fault.SPEAKS_OF_ERRORS:
                self._answer(status, {"errors": ["something is not right"]})
            case Fault.BUSY_SECONDS:
                self._answer_busy(f"{self.server.robin.faults.retry_after}")
            case Fault.BUSY_DATE:
                moment = datetime.now(UTC) + timedelta(seconds=self.server.robin.faults.retry_after)
                self._answer_busy(format_datetime(moment, usegmt=True))
            case Fault.REDIRECT:
                self._answer(302, {"error": "moved"}, {"Location": "https://robin.example.com/"})

    def _trickle(self, content: bytes) -> None:
        """A byte every twentieth of a second, until the other side or the server has had enough."""
        with suppress(OSError):
            for byte in content:
                self.wfile.write(bytes([byte]))
                if self.server.closing.wait(0.05):
                    break
        self.close_connection = True

    def _answer_busy(self, retry_after: str) -> None:
        self._answer(429, {"error": "busy"}, {"Retry-After": retry_after})

    def _answer(
        self, status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        body = json.dumps(content, ensure_ascii=False).encode()
        sent = {"Content-Type": "application/json", "Content-Length": f"{len(body)}", **(headers or {})}
        if "retry_after" in content:
            sent["Retry-After"] = f"{content['retry_after']}"
        self._begin(status, sent)
        self.wfile.write(body)

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silence: what arrived is in its state."""
