"""The four windows at once, on a clock that only the waiting moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.simulated_robin import COUNTING, Network, compute_best, simulate
from robin_etl.core import limits
from robin_etl.core.limits import RateLimit
from robin_etl.delivery.pace import Pace
from robin_etl.delivery.sender import Pacer

ROBINS = limits.parse_limits("3/s,180/min,10000/h,100000/d")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def departures(pace: Pacer, clock: Clock, requests: int, latency: float = 0.0) -> list[float]:
    left = []
    for _ in range(requests):
        pace.wait()()
        left.append(clock.now)
        clock.now += latency
    return left


def most_within(times: list[float], seconds: float) -> int:
    return max(sum(start <= time < start + seconds for time in times) for start in times)


@pytest.mark.parametrize("latency", [0.0, 0.05, 0.5])
def test_no_window_ever_holds_more_than_it_may(latency: float) -> None:
    clock = Clock()
    times = departures(Pace(ROBINS, clock=clock, sleep=clock.sleep), clock, 600, latency)
    assert most_within(times, 1) <= 3
    assert most_within(times, 60) <= 180


def test_at_least_95_percent_of_what_is_allowed_is_used() -> None:
    clock = Clock()
    times = departures(Pace(ROBINS, clock=clock, sleep=clock.sleep), clock, 1000)
    assert len(times) / (times[-1] - times[0]) >= 0.95 * 3


@pytest.mark.parametrize("counting", COUNTING)
@pytest.mark.parametrize("requests", [1_800, 20_001])
def test_however_robin_counts_none_is_over_the_limits_and_95_percent_are_used(
    counting: str, requests: int
) -> None:
    seen = simulate(ROBINS, requests, counting=counting, network=Network())
    assert seen.answers == {201: requests}
    assert compute_best(ROBINS, requests) / seen.seconds >= 0.95


def test_a_commit_or_a_connection_that_takes_long_brings_no_requests_together() -> None:
    slow = Network(logging=(0.0, 0.9), connecting=(0.5, 2.0))
    assert simulate(ROBINS, 900, counting="by arrival", network=slow).answers == {201: 900}
    counted_before = simulate(
        ROBINS, 900, counting="by arrival", network=slow, is_counted_when_taken=True
    )
    assert counted_before.answers[429] > 0  # what this is good for


def test_a_way_that_is_more_uneven_than_the_margin_is_learned_from() -> None:
    uneven = Network(way=(0.02, 0.4))
    assert simulate(ROBINS, 900, counting="by arrival", network=uneven).answers[429] <= 15


def test_a_request_counts_as_under_way_until_it_has_left() -> None:
    clock = Clock()
    pace = Pace((RateLimit(2, 10),), clock=clock, sleep=clock.sleep)
    first, second = pace.wait(), pace.wait()
    clock.now += 100  # the ledger's commit, say
    first()
    second()
    left = clock.now
    pace.wait()
    assert clock.now - left >= 10


def test_what_leaves_is_counted_once_however_often_it_is_said() -> None:
    clock = Clock()
    pace = Pace((RateLimit(3, 10),), clock=clock, sleep=clock.sleep)
    leave = pace.wait()
    leave()
    leave()
    began = clock.now
    pace.wait()
    pace.wait()
    assert clock.now == began


def test_the_hour_is_kept_as_well() -> None:
    clock = Clock()
    pace = Pace(limits.parse_limits("5/s,20/min,100/h"), clock=clock, sleep=clock.sleep)
    times = departures(pace, clock, 250)
    assert most_within(times, 3600) == 100
    assert most_within(times, 60) == 20


@given(st.integers(1, 50), st.integers(1, 200))
def test_the_estimate_is_never_longer_than_the_real_thing(allowed: int, requests: int) -> None:
    clock = Clock()
    window = (RateLimit(allowed, 60),)
    times = departures(Pace(window, clock=clock, sleep=clock.sleep), clock, requests)
    assert limits.compute_least_duration(window, requests) <= times[-1] - times[0] + 1e-6


@pytest.mark.parametrize("text", ["3", "3/week", "0/s", "-1/s", "three/s", ""])
def test_a_limit_that_is_none_is_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate limit"):
        limits.parse_limits(text)


def test_limits_may_stand_in_any_order() -> None:
    assert limits.parse_limits("180/min, 3/s") == limits.parse_limits("3/s,180/min")
