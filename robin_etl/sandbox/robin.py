"""What ROBIN knows and says, strict about its documentation and loud about what it would miscount.

A request that breaks the schema is refused whole (400). What ROBIN would accept and count wrong is
accepted and **complained** of. Nothing is kept but in memory.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from robin_etl.sandbox.faults import Faults

# Requests within seconds, as ROBIN documents them.
LIMITS = ((3, 1), (180, 60), (10_000, 3_600), (100_000, 86_400))

_TEXT_KEYS = {"order_number", "email_address", "phone_number", "order_date", "webstore_url"}
_NUMBER_KEYS = {"revenue", "old_revenue", "profit", "old_profit"}
_KEYS = _TEXT_KEYS | _NUMBER_KEYS | {"is_first_order"}
_REQUIRED = ("order_number", "revenue", "order_date", "is_first_order")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

Order = dict[str, Any]

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
        self._newest: dict[str, Order] = {}  # of each order, as it was posted
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
            status, content = self._judge(authorization, body)
            self.statuses[status] += 1
            return status, content

    def read_state(self) -> dict[str, Any]:
        """Everything it holds, as JSON: the orders, how it answered, what it complains of."""
        with self._lock:
            return {
                "orders": dict(sorted(self.orders.items())),
                "situations": dict(self.situations),
                "requests": sum(self.statuses.values()),
                "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
                "largest_request": self.largest_request,
                "revenue": round(sum(order["revenue"] for order in self.orders.values()), 2),
                "repeats": sorted(self.repeats),
                "complaints": self._list_complaints(),
            }

    def read_latest(self) -> dict[str, Any]:
        """What the page shows: situations with their worth, the latest messages, the complaints."""
        with self._lock:
            complaints = self._list_complaints()
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
        if (wait := self._admit()) is not None:
            return 429, {"error": "too many requests", "retry_after": wait}
        try:
            orders = _read_orders(body)
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

    def _admit(self) -> int | None:
        """Count this request in (None), or say in how many seconds one is welcome again."""
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
        self._newest[number] = order
        new = {key: value for key, value in order.items() if not key.startswith("old_")}
        self.orders[number] = {**(held or {}), **new}

    def _compare(self, number: str, held: Order, order: Order) -> None:
        if order == self._newest[number]:
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

    def _list_complaints(self) -> list[str]:
        return [*self.complaints, *self._find_wrong_firsts()]

    def _find_wrong_firsts(self) -> list[str]:
        # What is worth nothing may be cancelled: it keeps the flag that it was told with.
        firsts: Counter[str] = Counter()
        flagged: set[str] = set()
        example: dict[str, str] = {}
        for number, order in self.orders.items():
            contact = order.get("email_address") or order["phone_number"]
            customer = contact.strip().lower()
            firsts[customer] += order["is_first_order"] and order["revenue"] > 0
            if order["is_first_order"]:
                flagged.add(customer)
            if order["revenue"] > 0:
                example.setdefault(customer, number)
        return [
            f"The customer of order {example[customer]} has {count} first orders instead of one"
            for customer, count in firsts.items()
            if customer in example and (count > 1 or customer not in flagged)
        ]

    def _complain(self, number: str, what: str) -> None:
        self.complaints.append(f"Order {number} {what}")


def _read_orders(body: bytes) -> list[Order]:
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
        _check_order(order)
    repeated = [
        n for n, times in Counter(order["order_number"] for order in orders).items() if times > 1
    ]
    if repeated:
        raise ValueError(f"order {repeated[0]} stands in the request twice")
    return orders


def _check_order(order: Any) -> None:
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
