"""A local ROBIN, strict about what ROBIN's documentation says and loud about what it would miscount.

It shares no code with the sending side, so the two can't share a mistake. A request that breaks the
schema is refused whole (400). What ROBIN would accept and count wrong is accepted and **complained**
of. Nothing is kept but in memory; `/` shows it as customer service would see it, as it arrives, and
`/sandbox/state` all of it as JSON.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from robin_etl.sandbox.faults import Fault, Faults

PATHS = ("/dynamic/orders", "/dynamic/orders/")
PAGE_PATH = "/"
STATE_PATH = "/sandbox/state"
LATEST_PATH = "/sandbox/latest"

# Requests within seconds, as ROBIN documents them.
LIMITS = ((3, 1), (180, 60), (10_000, 3_600), (100_000, 86_400))

_TEXT_KEYS = {"order_number", "email_address", "phone_number", "order_date", "webstore_url"}
_NUMBER_KEYS = {"revenue", "old_revenue", "profit", "old_profit"}
_KEYS = _TEXT_KEYS | _NUMBER_KEYS | {"is_first_order"}
_REQUIRED = ("order_number", "revenue", "order_date", "is_first_order")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

Order = dict[str, Any]

_PAGE = Path(__file__).with_name("page.html")
_LATEST = 50


class Robin:
    """What ROBIN knows and says, without the network. `clock` is in seconds."""

    def __init__(
        self,
        api_key: str,
        api_secret: str,
        *,
        limits: tuple[tuple[int, int], ...] = LIMITS,
        faults: Faults | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authorization = base64.b64encode(f"{api_key}:{api_secret}".encode()).decode()
        self._limits = limits
        self.faults = faults or Faults()
        self._clock = clock
        self._lock = threading.Lock()
        self._arrivals: deque[float] = deque()
        self._told: dict[str, Order] = {}
        self.orders: dict[str, Order] = {}
        self.complaints: list[str] = []
        self.repeats: Counter[str] = Counter()
        self.situations: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.largest_request = 0
        self._worth: Counter[str] = Counter()  # cents by situation: of a change, the difference
        self._messages: deque[dict[str, Any]] = deque(maxlen=_LATEST)

    def answer(self, authorization: str | None, body: bytes) -> tuple[int, Mapping[str, Any]]:
        """Status and JSON for one POST."""
        with self._lock:
            status, said = self._judge(authorization, body)
            self.statuses[status] += 1
            return status, said

    def state(self) -> dict[str, Any]:
        """Everything it holds, as JSON: what it was told, how it answered, what it complains of."""
        with self._lock:
            return {
                "orders": dict(sorted(self.orders.items())),
                "situations": dict(self.situations),
                "requests": sum(self.statuses.values()),
                "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
                "largest_request": self.largest_request,
                "revenue": round(sum(order["revenue"] for order in self.orders.values()), 2),
                "repeats": sorted(self.repeats),
                "complaints": self._all_complaints(),
            }

    def latest(self) -> dict[str, Any]:
        """What the page shows: situations with their worth, the latest messages, the complaints."""
        with self._lock:
            complaints = self._all_complaints()
            return {
                "orders": len(self.orders),
                "requests": sum(self.statuses.values()),
                "refused": sum(times for status, times in self.statuses.items() if status >= 300),
                "situations": {
                    name: {"count": count, "worth": self._worth[name] / 100}
                    for name, count in self.situations.items()
                },
                "messages": list(reversed(self._messages)),
                "complaints": complaints[-_LATEST:],
                "complained": len(complaints),
            }

    def _judge(self, authorization: str | None, body: bytes) -> tuple[int, Mapping[str, Any]]:
        offered = (authorization or "").removeprefix("Basic ")
        if not hmac.compare_digest(offered.encode(), self._authorization.encode()):
            return 401, {"error": "wrong authentication"}
        if (wait := self._over_limit()) is not None:
            return 429, {"error": "too many requests", "retry_after": wait}
        try:
            orders = _orders(body)
            for order in orders:
                if self.faults.refused and self.faults.refused.search(order["order_number"]):
                    raise ValueError(f"order {order['order_number']}: this one is refused")
        except ValueError as error:
            return 400, {"error": str(error)}
        if self.faults.most_orders is not None and len(orders) > self.faults.most_orders:
            return 413, {"error": f"more than {self.faults.most_orders} orders"}
        for order in orders:
            self._take(order)
        self.largest_request = max(self.largest_request, len(orders))
        return 201, {"created": len(orders)}

    def _over_limit(self) -> int | None:
        """Seconds until a request is welcome again; None where this one is, and counts."""
        now = self._clock()
        longest = max((seconds for _, seconds in self._limits), default=0)
        while self._arrivals and self._arrivals[0] <= now - longest:
            self._arrivals.popleft()
        for allowed, seconds in self._limits:
            if len(self._arrivals) >= allowed:
                oldest = self._arrivals[-allowed]
                if oldest > now - seconds:
                    return int(oldest + seconds - now) + 1
        self._arrivals.append(now)
        return None

    def _take(self, order: Order) -> None:
        number = order["order_number"]
        held = self.orders.get(number)
        if held is None:
            situation = "first" if order["is_first_order"] else "repeat"
            self._note(number, situation, order["revenue"], order["revenue"])
            if "old_revenue" in order:
                self._complain(number, "has an old_revenue, but is new")
        else:
            self._compare(number, held, order)
        self._told[number] = order
        new = {key: value for key, value in order.items() if not key.startswith("old_")}
        self.orders[number] = {**(held or {}), **new}

    def _compare(self, number: str, held: Order, order: Order) -> None:
        if order == self._told[number]:
            self.repeats[number] += 1
            self._complain(number, "was told twice, word for word")
            return
        for key in ("revenue", "profit"):
            old = order.get(f"old_{key}")
            if old is None and key in order and key in held:
                self._complain(number, f"is known, but comes without old_{key}")
            elif old is not None and old != held.get(key):
                self._complain(number, f"has old_{key} {old}, but held {held.get(key)}")
        change = order["revenue"] - held["revenue"]
        situation = "return" if change < 0 else "upsell" if change > 0 else "correction"
        self._note(number, situation, order["revenue"], change)

    def _note(self, number: str, situation: str, revenue: float, change: float) -> None:
        self.situations[situation] += 1
        self._worth[situation] += round(change * 100)
        self._messages.append(
            {
                "order": number,
                "situation": situation,
                "revenue": revenue,
                "change": round(change, 2),
                "at": f"{datetime.now(UTC):%H:%M:%S}",
            }
        )

    def _all_complaints(self) -> list[str]:
        return [*self.complaints, *self._customers_without_one_first_order()]

    def _customers_without_one_first_order(self) -> list[str]:
        firsts: Counter[str] = Counter()
        example: dict[str, str] = {}
        for number, order in self.orders.items():
            contact = order.get("email_address") or order["phone_number"]
            customer = contact.strip().lower()
            firsts[customer] += order["is_first_order"]
            example.setdefault(customer, number)
        return [
            f"The customer of order {example[customer]} has {count} first orders instead of one"
            for customer, count in firsts.items()
            if count != 1
        ]

    def _complain(self, number: str, what: str) -> None:
        self.complaints.append(f"Order {number} {what}")


def _orders(body: bytes) -> list[Order]:
    """The orders of a request; raises `ValueError` with what is wrong."""
    try:
        content = json.loads(body)
    except ValueError:
        raise ValueError("the body is not JSON") from None
    if not isinstance(content, dict) or set(content) != {"orders"}:
        raise ValueError('the body must be {"orders": [...]}')
    orders = content["orders"]
    if not isinstance(orders, list) or not orders:
        raise ValueError("orders must be a list with at least one order")
    for order in orders:
        _check(order)
    repeated = [
        n for n, times in Counter(order["order_number"] for order in orders).items() if times > 1
    ]
    if repeated:
        raise ValueError(f"order {repeated[0]} stands in the request twice")
    return orders


def _check(order: Any) -> None:
    if not isinstance(order, dict):
        raise ValueError("an order must be an object")
    name = order.get("order_number")
    if unknown := set(order) - _KEYS:
        raise ValueError(f"order {name}: unknown key {min(unknown)}")
    for key in _REQUIRED:
        if key not in order:
            raise ValueError(f"order {name}: {key} is missing")
    if "email_address" not in order and "phone_number" not in order:
        raise ValueError(f"order {name}: email_address is missing")
    _check_types(name, order)
    if "email_address" in order and not _EMAIL.fullmatch(order["email_address"]):
        raise ValueError(f"order {name}: email_address is none")
    _check_date(name, order["order_date"])


def _check_types(name: Any, order: Order) -> None:
    for key in order.keys() & _TEXT_KEYS:
        if not isinstance(order[key], str) or not order[key].strip():
            raise ValueError(f"order {name}: {key} must be a text")
    for key in order.keys() & _NUMBER_KEYS:
        if isinstance(order[key], bool) or not isinstance(order[key], int | float):
            raise ValueError(f"order {name}: {key} must be a number")
        if key in ("revenue", "old_revenue") and order[key] < 0:
            raise ValueError(f"order {name}: {key} must not be negative")
    if not isinstance(order["is_first_order"], bool):
        raise ValueError(f"order {name}: is_first_order must be true or false")


def _check_date(name: Any, text: str) -> None:
    if _DATE.fullmatch(text):
        with suppress(ValueError):
            datetime.fromisoformat(text)
            return
    raise ValueError(f"order {name}: order_date must be like 2017-04-05T12:34:56Z")


class Sandbox:
    """A `Robin` behind a real HTTP server on loopback; use as a context manager.

    `port` 0 takes a free one; `url` is where it listens. Each answer comes `latency` seconds later than
    it could, as from a ROBIN that is far away.
    """

    def __init__(self, robin: Robin, *, port: int = 0, latency: float = 0.0) -> None:
        self.robin = robin
        self._server = _Server(("127.0.0.1", port), robin, latency)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

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
            self._say(404, {"error": f"there is nothing at {self.path}"})
            return
        authorization = self.headers.get("Authorization")
        fault = self.server.robin.faults.next()
        if fault is None:
            answer = self.server.robin.answer(authorization, body)
            if self.server.latency:
                self.server.closing.wait(self.server.latency)
            self._say(*answer)
        else:
            self._fail(fault, authorization, body)

    def do_GET(self) -> None:
        if self.path == PAGE_PATH:
            page = _PAGE.read_bytes()
            kind = "text/html; charset=utf-8"
            self._begin(200, {"Content-Type": kind, "Content-Length": f"{len(page)}"})
            self.wfile.write(page)
        elif self.path == STATE_PATH:
            self._say(200, self.server.robin.state())
        elif self.path == LATEST_PATH:
            self._say(200, self.server.robin.latest())
        else:
            self._say(404, {"error": f"there is nothing at {self.path}; see {STATE_PATH}"})

    def _fail(  # noqa: C901, PLR0912 (one case for each fault)
        self, fault: Fault, authorization: str | None, body: bytes
    ) -> None:
        status = 0
        if fault.applies:
            status, said = self.server.robin.answer(authorization, body)
            if status >= 300:  # a request that ROBIN refuses needs no other fault
                self._say(status, said)
                return
        match fault:
            case Fault.ERROR_BEFORE | Fault.ERROR_AFTER:
                self._say(500, {"error": "something broke"})
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
            case Fault.BUSY_SECONDS:
                self._say(
                    429, {"error": "busy"}, {"Retry-After": f"{self.server.robin.faults.retry_after}"}
                )
            case Fault.BUSY_DATE:
                later = datetime.now(UTC) + timedelta(seconds=self.server.robin.faults.retry_after)
                self._say(429, {"error": "busy"}, {"Retry-After": format_datetime(later, usegmt=True)})
            case Fault.REDIRECT:
                self._say(302, {"error": "moved"}, {"Location": "https://robin.example.com/"})

    def _trickle(self, content: bytes) -> None:
        """A byte every twentieth of a second, until the other side or the server has had enough."""
        with suppress(OSError):
            for byte in content:
                self.wfile.write(bytes([byte]))
                if self.server.closing.wait(0.05):
                    break
        self.close_connection = True

    def _say(
        self, status: int, said: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        body = json.dumps(said, ensure_ascii=False).encode()
        told = {"Content-Type": "application/json", "Content-Length": f"{len(body)}", **(headers or {})}
        if "retry_after" in said:
            told["Retry-After"] = f"{said['retry_after']}"
        self._begin(status, told)
        self.wfile.write(body)

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silence: what it was told is in its state."""
