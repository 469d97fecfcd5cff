"""Several runs on one ROBIN account: together they keep its limits, and use them."""

from __future__ import annotations

import heapq
import json
import random
from base64 import b64encode
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from robin_etl.core.limits import RateLimit, compute_least_duration, parse_limits
from robin_etl.delivery.account import AccountPace, AccountWindows
from robin_etl.delivery.windows import MARGIN
from robin_etl.exceptions import ConfigurationError, UnavailableError
from robin_etl.sandbox.robin import Robin
from tests.conftest import KEY, SECRET
from tests.unit.test_limits import Clock, departures, most_within

ROBINS = parse_limits("3/s,180/min,10000/h,100000/d")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "limits.db")
    url: str = request.getfixturevalue("postgresql")
    return url


@dataclass
class Account:
    """An account's runs over a virtual time, in which only what they wait for takes any."""

    place: str
    limits: tuple[RateLimit, ...]
    now: float = 1_000_000.0
    arrivals: list[float] = field(default_factory=list)

    def open(self, stack: ExitStack, ages: tuple[float, ...] = ()) -> AccountWindows:
        windows = AccountWindows(
            self.place, "account", ages=ages, clock=lambda: self.now, stopwatch=lambda: self.now
        )
        return stack.enter_context(windows)

    def play(
        self,
        runs: int,
        requests: int,
        *,
        latency: float,
        seed: int,
        deaths: int = 0,
        busy: float = 1 / 50,
    ) -> None:
        """Let so many runs send so many requests each; so many times one dies before it sends.

        A request leaves a little after its slot's moment, when the ledger's commit is done, of which a
        share meets a busy disk; and it arrives a little after that.
        """
        chance = random.Random(seed)
        order = count()
        with ExitStack() as stack:
            opened = [self.open(stack) for _ in range(runs)]
            left = [requests] * runs
            todo: list[tuple[float, int, int, int | None]] = []
            for run in range(runs):
                heapq.heappush(todo, (self.now, next(order), run, None))
            while todo:
                self.now, _, run, leaving = heapq.heappop(todo)
                windows = opened[run]
                if leaving is not None:
                    windows.leave(leaving)
                    self.arrivals.append(self.now + chance.uniform(0, MARGIN))
                    continue
                slot = windows.take(self.limits)
                again = slot.moment
                if slot.number is not None and deaths and slot.number > 10:
                    deaths -= 1
                elif slot.number is not None:
                    left[run] -= 1
                    commit = 0.3 if chance.random() < busy else 0.01 * chance.random()
                    heapq.heappush(todo, (slot.moment + commit, next(order), run, slot.number))
                    again += latency * chance.random()
                if left[run]:
                    heapq.heappush(todo, (again, next(order), run, None))

    def count_refused(self) -> int:
        """How many of these requests a strict ROBIN would refuse."""
        at = iter(sorted(self.arrivals))
        limits = tuple((limit.requests, limit.seconds) for limit in self.limits)
        robin = Robin(KEY, SECRET, limits=limits, clock=lambda: next(at))
        authorization = f"Basic {b64encode(f'{KEY}:{SECRET}'.encode()).decode()}"
        body = json.dumps({"orders": "none"}).encode()
        for _ in self.arrivals:
            robin.answer(authorization, body)
        return robin.statuses[429]


@given(
    runs=st.integers(1, 4),
    limits=st.sampled_from(["3/s,180/min", "5/s,20/min", "7/min,30/h", "3/s,8/min,20/h,25/d"]),
    latency=st.sampled_from([0.0, 0.1, 0.6]),
    deaths=st.sampled_from([0, 0, 1]),
    seed=st.integers(0, 1000),
)
def test_runs_on_one_account_are_never_refused_together(
    tmp_path_factory: pytest.TempPathFactory,
    runs: int,
    limits: str,
    latency: float,
    deaths: int,
    seed: int,
) -> None:
    place = tmp_path_factory.mktemp("account") / "limits.db"
    account = Account(str(place), parse_limits(limits))
    account.play(runs, 24 // runs, latency=latency, deaths=deaths, busy=0.3, seed=seed)
    assert len(account.arrivals) == 24 // runs * runs
    assert account.count_refused() == 0


def test_two_runs_use_at_least_95_percent_of_what_their_account_allows(tmp_path: Path) -> None:
    account = Account(str(tmp_path / "limits.db"), ROBINS)
    account.play(2, 200, latency=0.2, seed=1)
    assert account.count_refused() == 0
    taken = max(account.arrivals) - min(account.arrivals)
    assert compute_least_duration(ROBINS, 400) / taken >= 0.95
    assert most_within(account.arrivals, 60) >= 0.95 * 180


def test_a_run_alone_keeps_and_uses_the_limits_too(place: str) -> None:
    clock = Clock()
    with AccountWindows(place, "account", clock=clock, stopwatch=clock) as windows:
        pace = AccountPace(windows, ROBINS, stopwatch=clock, sleep=clock.sleep)
        times = departures(pace, clock, 100, latency=0.05)
    assert most_within(times, 1) <= 3
    assert len(times) / (times[-1] - times[0]) >= 0.95 * 3


def test_accounts_do_not_hold_each_other_back(place: str) -> None:
    clock = Clock()
    with ExitStack() as stack:
        for account in ("one", "other"):
            windows = AccountWindows(place, account, clock=clock, stopwatch=clock)
            pace = AccountPace(stack.enter_context(windows), ROBINS, stopwatch=clock, sleep=clock.sleep)
            departures(pace, clock, 3)
    assert clock.now == Clock().now


def test_when_robin_asks_one_run_to_wait_the_others_wait_too(place: str) -> None:
    account = Account(place, ROBINS)
    with ExitStack() as stack:
        one, other = account.open(stack), account.open(stack)
        one.pause(30)
        one.pause(10)  # less than was asked for before
        slot = other.take(ROBINS)
        assert (slot.number, slot.moment) == (None, account.now + 30)
        account.now += 30
        assert other.take(ROBINS).number == 1


def test_what_the_ledger_knows_of_an_account_that_is_new_there_counts(place: str) -> None:
    account = Account(place, parse_limits("3/min"))
    with ExitStack() as stack:
        first = account.open(stack, ages=(50.0, 20.0))
        account.open(stack, ages=(1.0, 1.0, 1.0))  # of an account that is known by then
        assert first.take(account.limits).number == 3
        assert first.take(account.limits).moment == pytest.approx(account.now + 10, abs=0.1)


def test_after_a_clock_was_set_back_a_run_waits_no_longer_than_the_limits_ask(place: str) -> None:
    account = Account(place, ROBINS)
    with ExitStack() as stack:
        windows = account.open(stack)
        for _ in range(3):
            windows.leave(windows.take(ROBINS).number or 0)
        account.now -= 3600
        slot = windows.take(ROBINS)
    assert slot.number == 4
    assert slot.moment == pytest.approx(account.now + 1, abs=0.1)


def test_without_a_clock_of_its_own_a_run_goes_by_the_databases(place: str) -> None:
    with AccountWindows(place, "account") as windows:
        moments = []
        for _ in range(3):
            slot = windows.take(parse_limits("2/s"))
            moments.append(slot.moment)
            windows.leave(slot.number or 0)
    assert moments[2] - moments[0] >= 1


def test_a_database_that_fails_is_a_sentence(place: str) -> None:
    with AccountWindows(place, "account") as windows:
        pace = AccountPace(windows, ROBINS)
        leave = pace.wait()
        url = sa.make_url(place if "://" in place else f"sqlite:///{place}")
        driver = "postgresql+psycopg" if url.drivername == "postgresql" else url.drivername
        database = sa.create_engine(url.set(drivername=driver))
        with database.begin() as connection:
            schema = "robin_limits." if "postgresql" in driver else ""
            connection.execute(sa.text(f"drop table {schema}slots"))
        database.dispose()
        leave()  # whose request must not be kept from leaving
        with pytest.raises(UnavailableError, match=r"can't be counted together: .*SHARED_LIMITS"):
            pace.wait()
    with pytest.raises(ConfigurationError):
        AccountWindows("mysql://host/db", "account")
