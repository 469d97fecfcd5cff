"""The local ROBIN: strict where its documentation is, loud where it would count wrong."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import requests

from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import STATE_PATH, Sandbox
from tests.conftest import KEY, SECRET
from tests.waiting import until

AUTHORIZATION = "Basic " + base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()


def order(**changed: Any) -> dict[str, Any]:
    usual = {
        "order_number": "O1234",
        "email_address": "ann@x.nl",
        "revenue": 10,
        "order_date": "2017-04-05T12:34:56Z",
        "is_first_order": True,
    }
    return {key: value for key, value in {**usual, **changed}.items() if value is not None}


def post(robin: Robin, *orders: Any) -> tuple[int, Any]:
    return robin.answer(AUTHORIZATION, json.dumps({"orders": orders}).encode())


@pytest.fixture
def robin() -> Robin:
    return Robin(KEY, SECRET, limits=())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"order_number": None}, "order_number is missing"),
        ({"revenue": None}, "revenue is missing"),
        ({"order_date": None}, "order_date is missing"),
        ({"is_first_order": None}, "is_first_order is missing"),
        ({"email_address": None}, "email_address is missing"),
        ({"order_number": 1234}, "order_number must be a text"),
        ({"order_number": " "}, "order_number must be a text"),
        ({"revenue": "10"}, "revenue must be a number"),
        ({"revenue": True}, "revenue must be a number"),
        ({"revenue": -1}, "revenue must not be negative"),
        ({"old_revenue": "1"}, "old_revenue must be a number"),
        ({"profit": "1"}, "profit must be a number"),
        ({"is_first_order": "true"}, "is_first_order must be true or false"),
        ({"is_first_order": 1}, "is_first_order must be true or false"),
        ({"email_address": "ann"}, "email_address is none"),
        ({"order_date": "2017-04-05"}, "order_date must be like"),
        ({"order_date": "2017-02-30T00:00:00Z"}, "order_date must be like"),
        ({"order_date": "2017-04-05T12:34:56+02:00"}, "order_date must be like"),
        ({"currency": "EUR"}, "unknown key currency"),
    ],
)
def test_an_order_that_breaks_the_schema_refuses_the_whole_request(
    robin: Robin, changed: dict[str, Any], words: str
) -> None:
    status, said = post(robin, order(order_number="good"), order(**changed))
    assert status == 400
    assert words in said["error"]
    assert robin.orders == {}


@pytest.mark.parametrize("body", [b"", b"[]", b'{"orders": {}}', b'{"orders": []}', b'{"order": [1]}'])
def test_a_body_of_another_shape_is_refused(robin: Robin, body: bytes) -> None:
    assert robin.answer(AUTHORIZATION, body)[0] == 400


def test_one_order_twice_in_a_request_is_refused(robin: Robin) -> None:
    assert post(robin, order(), order(revenue=5))[0] == 400


@pytest.mark.parametrize("authorization", [None, "", "Basic x", AUTHORIZATION[:-3]])
def test_a_wrong_authentication_is_401(robin: Robin, authorization: str | None) -> None:
    assert robin.answer(authorization, b"")[0] == 401


def test_a_phone_number_is_enough_of_a_contact(robin: Robin) -> None:
    assert post(robin, order(email_address=None, phone_number="+316"))[0] == 201


def test_the_four_situations_are_told_apart_without_complaint(robin: Robin) -> None:
    post(robin, order(), order(order_number="O1235", is_first_order=False))
    post(robin, order(revenue=5, old_revenue=10))
    post(robin, order(revenue=7, old_revenue=5))
    state = robin.read_state()
    assert state["situations"] == {"first": 1, "repeat": 1, "return": 1, "upsell": 1}
    assert state["complaints"] == []
    assert state["orders"]["O1234"]["revenue"] == 7
    assert "old_revenue" not in state["orders"]["O1234"]
    assert state["revenue"] == 17


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        (order(revenue=5), "Order O1234 is known, but comes without old_revenue"),
        (order(revenue=5, old_revenue=9), "Order O1234 has old_revenue 9, but held 10"),
        (order(revenue=5, old_revenue=10, profit=1), "is known, but comes without old_profit"),
        (order(profit=3), "Order O1234 was told twice, word for word"),
        (order(order_number="2", old_revenue=1), "Order 2 has an old_revenue, but is new"),
        (order(order_number="2"), "has 2 first orders instead of one"),
        (order(revenue=5, old_revenue=10, is_first_order=False), "has 0 first orders instead of one"),
    ],
)
def test_what_robin_would_count_wrong_is_complained_of(
    robin: Robin, second: dict[str, Any], complaint: str
) -> None:
    post(robin, order(profit=3))
    assert post(robin, second)[0] == 201
    assert any(complaint in said for said in robin.read_state()["complaints"])


def test_a_rate_limit_answers_429_with_the_seconds_to_wait() -> None:
    now = [100.0]
    robin = Robin(KEY, SECRET, limits=((2, 1), (3, 60)), clock=lambda: now[0])
    statuses = []
    for moment in (100.0, 100.5, 100.9, 101.0, 101.6, 160.0):
        now[0] = moment
        statuses.append(robin.answer(AUTHORIZATION, b"{}")[0])
    assert statuses == [400, 400, 429, 400, 429, 400]
    now[0] = 160.4
    assert robin.answer(AUTHORIZATION, b"{}")[1]["retry_after"] == 1


def test_behind_http_it_says_the_same() -> None:
    with Sandbox(Robin(KEY, SECRET, limits=((1, 3600),))) as sandbox, requests.Session() as session:
        session.auth = (KEY, SECRET)
        body = {"orders": [order()]}
        assert session.post(f"{sandbox.url}/dynamic/orders/", json=body).status_code == 201
        limited = session.post(f"{sandbox.url}/dynamic/orders", json=body)
        assert limited.status_code == 429
        assert int(limited.headers["Retry-After"]) > 3500
        assert session.post(f"{sandbox.url}/orders", json=body).status_code == 404
        assert session.get(f"{sandbox.url}/orders").status_code == 404
        state = session.get(f"{sandbox.url}{STATE_PATH}").json()
        assert list(state["orders"]) == ["O1234"]
        assert state["statuses"] == {"201": 1, "429": 1}


def test_from_far_away_an_answer_takes_its_time_but_the_orders_are_there() -> None:
    robin = Robin(KEY, SECRET, limits=())
    with Sandbox(robin, latency=600.0) as sandbox, requests.Session() as session:
        session.auth = (KEY, SECRET)
        with pytest.raises(requests.ReadTimeout):
            session.post(f"{sandbox.url}/dynamic/orders", json={"orders": [order()]}, timeout=0.5)
        for attempt in until(60, while_raising=AssertionError):
            with attempt:
                assert list(robin.orders) == ["O1234"]


def test_the_page_shows_what_arrives_and_loads_nothing_from_elsewhere() -> None:
    robin = Robin(KEY, SECRET, limits=())
    with Sandbox(robin) as sandbox:
        post(robin, order(order_number="<b>1</b>"))
        post(robin, order(order_number="<b>1</b>", revenue=4.5, old_revenue=10))
        latest = requests.get(f"{sandbox.url}/sandbox/latest", timeout=120).json()
        page = requests.get(sandbox.url, timeout=120)
    assert latest["situations"] == {
        "first": {"count": 1, "worth": 10.0},
        "return": {"count": 1, "worth": -5.5},
    }
    newest = {name: latest["messages"][0][name] for name in ("order", "situation", "revenue", "change")}
    assert newest == {"order": "<b>1</b>", "situation": "return", "revenue": 4.5, "change": -5.5}
    assert (latest["orders"], latest["requests"], latest["complained"]) == (1, 2, 0)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "://" not in page.text
    assert "innerHTML" not in page.text
