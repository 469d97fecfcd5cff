"""The fault matrix: whatever befalls whichever request, ROBIN ends with what it should."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import pandas as pd
import pytest

from robin_etl.core import columns, customers, limits
from robin_etl.delivery import Client, Delivered, LedgerWriter, Pace, RetryPolicy, Sender
from robin_etl.delivery.answers import Answer
from robin_etl.exceptions import AnswerError, InterruptedRunError, RobinUnavailableError
from robin_etl.ledger import Ledger
from robin_etl.sandbox.faults import Fault, Faults
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.stages.classify import reconcile_with
from tests.conftest import KEY, SECRET

CHUNK, CHUNKS = 4, 3
HANGING = (Fault.HANG_BEFORE, Fault.HANG_AFTER, Fault.SLOW_HEADERS, Fault.SLOW_BODY)
PATIENT, HASTY = 120.0, 1.5  # seconds; in the shorter time, ROBIN has to take a request in
NUMBERS = [f"{n:02}" for n in range(CHUNK * CHUNKS)]


def exported(*days: tuple[str, int]) -> pd.DataFrame:
    """Every order on each of these days, with the revenue of the day."""
    table = pd.DataFrame(
        [
            {
                "order_number": number,
                "day": day,
                "email_address": f"customer{int(number) % 5}@x.nl",
                "revenue": revenue,
                "order_date": f"2026-03-01T10:00:{number}Z",
            }
            for day, revenue in days
            for number in NUMBERS
        ]
    )
    return customers.add_digests(columns.conform(table, columns.EXPORTED_DTYPES), key=b"")


TWO_DAYS = exported(("2026-03-01", 1000), ("2026-03-02", 400))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(str(tmp_path / "ledger.db")) as opened:
        yield opened


class _ByFault:
    """Posts with the hasty client what is to hang by the script of the faults, else with the patient."""

    def __init__(self, robin: Robin, patient: Client, hasty: Client) -> None:
        self._faults, self._patient, self._hasty = robin.faults, patient, hasty

    def post(self, body: bytes, leave: Callable[[], None]) -> Answer:
        fault = self._faults.script.get(self._faults.requests + 1)
        return (self._hasty if fault in HANGING else self._patient).post(body, leave)


def deliver(
    sandbox: Sandbox,
    ledger: Ledger,
    rows: pd.DataFrame = TWO_DAYS,
    *,
    concurrency: int = 1,
    stopping: Event | None = None,
    chunk_size: int = CHUNK,
    timeout: float = PATIENT,
) -> Delivered:
    """One run of the real thing, from exported rows to answers.

    A request that ROBIN is to leave hanging is given up soon, any other one never, however slow it is.
    """
    changes = reconcile_with(rows, ledger).changes
    with (
        Client(sandbox.url, KEY, SECRET, timeout=timeout) as patient,
        Client(sandbox.url, KEY, SECRET, timeout=HASTY) as hasty,
        LedgerWriter(ledger, "run") as writer,
    ):
        sender = Sender(
            _ByFault(sandbox.robin, patient, hasty),
            Pace(limits.parse_limits("100000/s")),
            RetryPolicy(3, sleep=lambda _: None),
            writer,
            chunk_size=chunk_size,
            concurrency=concurrency,
            stopping=stopping or Event(),
        )
        return sender.deliver([changes], total=len(changes))


def check_end_state(robin: Robin, doubted: set[str]) -> None:
    state = robin.read_state()
    assert list(state["orders"]) == NUMBERS
    assert {order["revenue"] for order in state["orders"].values()} == {4}
    assert set(state["repeats"]) <= doubted
    others = [said for said in state["complaints"] if "told twice" not in said]
    assert others == []


def list_places() -> list[tuple[Fault, int, int]]:
    """Each fault at each request; one place each where somebody has to wait a second for the answer."""
    everywhere = [(chunk, wave) for chunk in range(CHUNKS) for wave in (0, 1)]
    places = dict.fromkeys(Fault, everywhere)
    waiting = (*HANGING, Fault.BUSY_SECONDS, Fault.BUSY_DATE)
    places |= {fault: [everywhere[at]] for at, fault in enumerate(waiting)}
    return [(fault, chunk, wave) for fault, of_fault in places.items() for chunk, wave in of_fault]


@pytest.mark.parametrize(("fault", "chunk", "wave"), list_places())
def test_a_fault_at_any_place_ends_right_and_repeats_only_what_it_reports(
    ledger: Ledger, fault: Fault, chunk: int, wave: int
) -> None:
    robin = Robin(KEY, SECRET, limits=(), faults=Faults(script={wave * CHUNKS + chunk + 1: fault}))
    with Sandbox(robin) as sandbox:
        doubted: set[str] = set()
        if fault in (Fault.REDIRECT, Fault.NOT_JSON):
            with pytest.raises(AnswerError, match=r"302|a page of HTML"):
                deliver(sandbox, ledger)
            log = ledger.deliveries.deliveries_of("run")
            doubted |= set(log["order_number"][log["outcome"] == "in doubt"])
        doubted |= deliver(sandbox, ledger).in_doubt
        assert robin.faults.played == [fault]
        check_end_state(robin, doubted)
        assert deliver(sandbox, ledger).requests == 0
    hit = set(NUMBERS[chunk * CHUNK : (chunk + 1) * CHUNK])
    if fault.loses_answer:
        assert set(robin.repeats) == doubted == hit
    elif fault in (Fault.ERROR_BEFORE, Fault.RESET_BEFORE, Fault.HANG_BEFORE):
        # ROBIN took nothing in, which the sender can't know.
        assert doubted == hit
        assert not robin.repeats
    else:
        assert not doubted
        assert not robin.repeats


@pytest.mark.parametrize("seed", range(6))
def test_faults_at_random_among_several_senders_end_right(ledger: Ledger, seed: int) -> None:
    robin = Robin(KEY, SECRET, limits=(), faults=Faults(share=0.3, seed=seed))
    doubted: set[str] = set()
    with Sandbox(robin) as sandbox:
        for attempt in range(20):
            with suppress(RobinUnavailableError):
                # What is called lost too soon is only in doubt; it must end, on a slow machine too.
                deliver(sandbox, ledger, concurrency=3, timeout=min(0.3 * 1.4**attempt, 20))
                break
        log = ledger.deliveries.deliveries_of("run")
        doubted |= set(log["order_number"][log["outcome"] == "in doubt"])
        check_end_state(robin, doubted)


def test_several_requests_are_in_flight_within_a_wave_and_none_of_two_waves(ledger: Ledger) -> None:
    class Watching(Robin):
        """Holds each answer but the first, which is waited for, back until two requests are there."""

        def __init__(self) -> None:
            super().__init__(KEY, SECRET, limits=())
            self.seen = self.there = 0
            self.most = 0
            self.revenues: list[set[float]] = []
            self.moved = Event()
            self.counting = Lock()

        def answer(self, authorization: str | None, body: bytes) -> tuple[int, Any]:
            with self.counting:
                self.seen += 1
                self.there += 1
                self.most = max(self.most, self.there)
                alone = self.seen == 1
                if self.there == 2:
                    self.moved.set()
            assert alone or self.moved.wait(PATIENT)
            try:
                return super().answer(authorization, body)
            finally:
                with self.counting:
                    self.there -= 1

    robin = Watching()
    with Sandbox(robin) as sandbox:
        deliver(sandbox, ledger, concurrency=3)
        check_end_state(robin, set())
    assert robin.most >= 2


@pytest.mark.parametrize("signal_at", [1, 2, 4])
def test_being_told_to_stop_acknowledges_what_is_in_flight_and_sends_nothing_new(
    ledger: Ledger, signal_at: int
) -> None:
    stopping = Event()

    class Stopper(Robin):
        def answer(self, authorization: str | None, body: bytes) -> tuple[int, Any]:
            if sum(self.statuses.values()) + 1 == signal_at:
                stopping.set()
            return super().answer(authorization, body)

    robin = Stopper(KEY, SECRET, limits=())
    with Sandbox(robin) as sandbox:
        with pytest.raises(InterruptedRunError, match=f"with {signal_at * CHUNK} changes acknowledged"):
            deliver(sandbox, ledger, stopping=stopping)
        assert robin.statuses == {201: signal_at}
        assert set(ledger.deliveries.deliveries_of("run")["outcome"]) == {"accepted"}
        deliver(sandbox, ledger)
        check_end_state(robin, set())


def test_one_refused_order_among_ten_thousand_costs_a_handful_of_requests(ledger: Ledger) -> None:
    table = pd.DataFrame({"order_number": [f"{n:05}" for n in range(10_000)]})
    table = table.assign(
        day="2026-03-01",
        email_address="c" + table["order_number"] + "@x.nl",
        revenue=100,
        order_date="2026-03-01T10:00:00Z",
    )
    rows = customers.add_digests(columns.conform(table, columns.EXPORTED_DTYPES), key=b"")
    robin = Robin(KEY, SECRET, limits=(), faults=Faults(refused="^04321$"))
    with Sandbox(robin) as sandbox:
        delivered = deliver(sandbox, ledger, rows, chunk_size=100, concurrency=4)
    assert delivered.rejected == {"04321": '{"error": "order 04321: this one is refused"}'}
    assert len(robin.orders) == delivered.posted == 9_999
    assert delivered.requests - 100 <= 2 * 7  # 2 · log2(100), rounded up


def test_a_maximum_of_orders_in_a_request_is_found_out_once(ledger: Ledger) -> None:
    robin = Robin(KEY, SECRET, limits=(), faults=Faults(most_orders=3))
    with Sandbox(robin) as sandbox:
        delivered = deliver(sandbox, ledger, chunk_size=12)
        check_end_state(robin, set())
    assert robin.statuses[413] == 2  # 12, 6; then 3 for the rest of the run
    assert delivered.requests == 2 + 2 * 4


def test_what_was_sent_within_the_window_counts_across_runs(ledger: Ledger) -> None:
    robin = Robin(KEY, SECRET, limits=())
    with Sandbox(robin) as sandbox:
        deliver(sandbox, ledger)
    ages = ledger.deliveries.request_ages(3600)
    assert len(ages) == 2 * CHUNKS
    assert all(0 <= age < 60 for age in ages)
    slept: list[float] = []

    def sleep(seconds: float) -> bool:
        slept.append(seconds)
        return True

    paced = Pace(limits.parse_limits("7/h"), ages=ages, clock=lambda: 5000.0, sleep=sleep)
    paced.wait()()
    assert slept == []
    paced.wait()
    assert 3500 < slept[0] <= 3601


def test_a_pause_that_robin_asks_for_holds_every_sender() -> None:
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    paced = Pace(limits.parse_limits("1000/s"), clock=lambda: now[0], sleep=sleep)
    paced.pause(30)
    left: list[float] = []

    def leave() -> None:
        paced.wait()()
        left.append(now[0])

    senders = [Thread(target=leave) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert min(left) >= 130
