"""Each part of the ledger alone, on an engine of its own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa

from robin_etl.core import columns
from robin_etl.core.outcomes import DONE, RUNNING
from robin_etl.exceptions import LedgerBusyError, LedgerError
from robin_etl.ledger import AnswerCount, Engine, RejectedOrder
from robin_etl.ledger.deliveries import ACCEPTED, REJECTED, DeliveryLog
from robin_etl.ledger.lock import PostingLock
from robin_etl.ledger.runs import RunLog
from robin_etl.ledger.states import OrderStates
from tests.integration.test_ledger import delivery, keys, states

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def engine(ledger_url: str) -> Iterator[Engine]:
    with Engine.open(ledger_url, clock=lambda: NOON) as opened:
        yield opened


def test_a_transaction_is_all_or_nothing_and_may_stand_in_another(engine: Engine) -> None:
    known = OrderStates(engine)

    def fail_at_the_end() -> None:
        with engine.transaction():
            known.baseline(states({"order_number": "1"}))
            with engine.transaction():
                known.baseline(states({"order_number": "2"}))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_at_the_end()
    assert known.totals().orders == 0
    with engine.transaction():
        known.baseline(states({"order_number": "1"}))
        known.acknowledge(columns.iterate_states(states({"order_number": "2"})))
    assert (known.totals().orders, known.revision()) == (2, 1)


def test_what_fails_in_the_database_is_a_sentence(engine: Engine) -> None:
    with (
        pytest.raises(LedgerError, match=r"The ledger failed: .*no_such_table"),
        engine.read() as connection,
    ):
        connection.execute(sa.text("select * from no_such_table"))


def test_states_move_forward_and_are_removed(engine: Engine) -> None:
    known = OrderStates(engine)
    known.baseline(states({"order_number": "1"}, {"order_number": "2", "customer": "c2"}))
    known.acknowledge(columns.iterate_states(states({"order_number": "1", "revenue": 5})))
    assert known.rows_of(keys("1", "3"))["revenue"].tolist() == [5]
    assert known.customers_of(keys("2", "3")).to_numpy().tolist() == [["2", "c2"]]
    assert known.orders_of("c2").tolist() == ["2"]
    known.remove(keys("1"))
    assert (known.totals().orders, known.revision()) == (1, 3)


@pytest.mark.parametrize("seed", range(3))
def test_the_totals_are_those_of_all_orders_after_any_moves(engine: Engine, seed: int) -> None:
    chance = random.Random(seed)
    known = OrderStates(engine)
    for _ in range(30):
        numbers = chance.sample("abcdefgh", chance.randint(1, 4))
        some = states(
            *(
                {
                    "order_number": number,
                    "revenue": chance.randint(0, 500),
                    "day": f"2026-03-0{chance.randint(1, 9)}",
                    "is_first_order": chance.random() < 0.5,
                    "is_cancelled": chance.random() < 0.3,
                    "is_told": chance.random() < 0.7,
                }
                for number in numbers
            )
        )
        match chance.choice(["acknowledge", "baseline", "remove"]):
            case "acknowledge":
                known.acknowledge(columns.iterate_states(some))
            case "baseline":
                known.baseline(some)
            case "remove":
                known.remove(keys(*numbers))
        kept, counted = known.compare_totals()
        assert kept == counted == known.totals()


def test_taking_no_states_over_moves_nothing(engine: Engine) -> None:
    known = OrderStates(engine)
    known.acknowledge(())
    known.baseline(states({"order_number": "1"}).iloc[:0])
    assert known.revision() == 0


def test_requests_are_counted_by_their_answers(engine: Engine) -> None:
    log = DeliveryLog(engine)
    for outcome, status in ((ACCEPTED, 201), (ACCEPTED, 201), (REJECTED, 400)):
        request = log.begin("r", [delivery("1"), delivery("2")])
        log.answer(request, outcome, status=status, words="no")
    assert log.answers_of("r") == [AnswerCount(ACCEPTED, 201, 2, 4), AnswerCount(REJECTED, 400, 1, 2)]
    assert log.rejected_by("r", 1) == [RejectedOrder("1", "2026-03-01", "first", 400, "no")]
    outcome_of_run = log.outcome_of("r")
    assert (outcome_of_run.posted, outcome_of_run.requests) == (4, 3)
    assert outcome_of_run.rejected == ("1", "2")


def test_a_delivery_is_recorded_with_what_its_request_came_to(engine: Engine) -> None:
    log = DeliveryLog(engine)
    log.answer(log.begin("r", [delivery("1")]), REJECTED, status=400, words="no")
    (record,) = log.rejected()
    assert record.as_json() == {
        "request": 1,
        "order_number": "1",
        "day": "2026-03-01",
        "kind": "first",
        "payload": {"order_number": "1", "revenue": 10},
        "run": "r",
        "wave": 0,
        "outcome": "rejected",
        "status": 400,
        "words": "no",
        "sent_at": "2026-03-01T12:00:00.000000Z",
        "answered_at": "2026-03-01T12:00:00.000000Z",
        "speaks_of_errors": None,
    }
    assert log.blank(keys("1")) == 1
    assert log.history("1") == log.rejected() == []


def test_a_run_that_starts_again_is_under_way_again(engine: Engine) -> None:
    log = RunLog(engine)
    for _ in range(2):
        log.start("r", command="run", first=date(2026, 3, 1), last=date(2026, 3, 2))
        assert [(run.outcome, run.finished_at) for run in log.latest(9)] == [(RUNNING, None)]
        log.finish("r", DONE, counts={"posted": 3}, files=2, exported=60)
    (run,) = log.latest(9)
    assert (run.from_day, run.to_day, run.files, run.exported) == ("2026-03-01", "2026-03-02", 2, 60)
    assert (run.outcome, run.counts) == (DONE, {"posted": 3})
    assert log.has("run")
    assert not log.has("baseline")


def test_the_lock_names_its_holder_to_whoever_comes_second(ledger_url: str, engine: Engine) -> None:
    with Engine.open(ledger_url) as other, PostingLock(engine).hold("the first"):
        lock = PostingLock(other)
        with pytest.raises(LedgerBusyError, match=r"the first \(process \d+ on .*, since 2026-03-01T12"):
            lock.hold("the second").__enter__()
