"""The only writer of the ledger: what is written at once, what waits, and what fails together."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from robin_etl import books
from robin_etl.books import Books
from robin_etl.ledger import Ledger
from tests.integration.test_ledger import states

AN_HOUR = 3600.0


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with Ledger.open(ledger_url) as opened:
        yield opened


def acknowledging(ledger: Ledger, order: str) -> Callable[[], None]:
    return lambda: ledger.confirm(states({"order_number": order}))


def test_what_somebody_waits_for_is_written_at_once_and_the_rest_by_the_end(ledger: Ledger) -> None:
    with Books(ledger, longest=AN_HOUR) as writing:
        later = writing.enter_later(acknowledging(ledger, "1"))
        assert writing.enter(ledger.revision).result(timeout=60) == 0
        assert not later.done()
    assert later.done()
    assert ledger.totals()["orders"] == 1


def test_what_nobody_waits_for_is_one_transaction_once_all_is_settled(ledger: Ledger) -> None:
    with Books(ledger, longest=AN_HOUR) as writing:
        entries = [writing.enter_later(acknowledging(ledger, f"{n}")) for n in range(3)]
        writing.settle()
        assert all(entry.done() for entry in entries)
        assert ledger.revision() == 1
        assert ledger.totals()["orders"] == 3


@pytest.mark.parametrize(("longest", "entries"), [(0.0, 1), (AN_HOUR, books.MOST)])
def test_nothing_waits_longer_than_it_may_nor_for_more_than_it_may(
    ledger: Ledger, longest: float, entries: int
) -> None:
    with Books(ledger, longest=longest) as writing:
        futures = [writing.enter_later(lambda: None) for _ in range(entries)]
        assert [future.result(timeout=60) for future in futures] == [None] * entries


def test_what_is_written_together_fails_together_and_leaves_nothing(ledger: Ledger) -> None:
    def fail() -> None:
        raise RuntimeError("no room")

    with Books(ledger, longest=AN_HOUR) as writing:
        good = writing.enter_later(acknowledging(ledger, "1"))
        bad = writing.enter_later(fail)
        with pytest.raises(RuntimeError, match="no room"):
            writing.settle()
        assert isinstance(good.exception(timeout=60), RuntimeError)
        assert isinstance(bad.exception(timeout=60), RuntimeError)
        writing.enter(acknowledging(ledger, "2")).result(timeout=60)
    assert ledger.totals()["orders"] == 1
