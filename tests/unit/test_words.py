"""Numbers in sentences."""

from __future__ import annotations

from robin_etl.core.words import count


def test_things_are_counted_in_singular_and_plural_with_separators() -> None:
    assert [count(number, "request") for number in (0, 1, 2)] == [
        "0 requests",
        "1 request",
        "2 requests",
    ]
    assert count(12_345, "row") == "12,345 rows"
    assert count(1, "delivery", "deliveries") == "1 delivery"
    assert count(2, "delivery", "deliveries") == "2 deliveries"
