"""Calls find room for their frames wherever they begin; newer Pythons see to that by themselves."""

from __future__ import annotations

import resource
import sys

import pytest

from robin_etl.stack import with_room

CALLS = 200


def call_often() -> int:
    """The pages that were asked of the system meanwhile, by this thread."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for number in range(CALLS):
        use_cells(number)
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


def use_cells(number: int) -> tuple[int, ...]:
    return (number, number + 1, number + 2, number + 3)


def call_at_depths(depth: int, found: list[int]) -> list[int]:
    found.append(call_often())
    return call_at_depths(depth - 1, found) if depth else found


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count no pages of a thread")
def test_a_loop_asks_for_no_memory_at_each_call_however_deep_it_stands() -> None:
    found = with_room(call_at_depths)(500, [])
    assert len(found) == 501
    assert max(found) < CALLS // 10


def test_what_a_function_takes_gives_and_raises_stays_the_same() -> None:
    def divide(over: int, *, by: int) -> float:
        """Divide it."""
        return over / by

    assert with_room(divide)(6, by=3) == 2
    assert with_room(divide).__doc__ == "Divide it."
    with pytest.raises(ZeroDivisionError):
        with_room(divide)(6, by=0)
