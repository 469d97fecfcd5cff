"""What a row of a file is: an order, or one of its items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from robin_etl.exports.drafting.column_names import Found
from robin_etl.exports.drafting.order_amounts import OrderAmounts
from robin_etl.exports.drafting.questions import Ask, Question
from robin_etl.exports.drafting.refunds import has_refunds


@dataclass(frozen=True)
class Grain:
    """What a row is, and why; whether rows without a number go on with the order above them, whether
    order numbers repeat, and whether a person still has to say it.
    """

    name: Literal["order", "line"]
    why: str
    is_continued: bool = False
    is_repeated: bool = False
    is_open: bool = False


def find_grain(rows: pd.DataFrame, found: Found, ask: Ask) -> Grain:
    """What a row is, by which cells repeat, and which are blank, within an order. Rows of one order
    whose amounts differ are asked about, unless something says that they are items.
    """
    if not found.order_number or found.order_number not in rows:
        return Grain("order", "no column of order numbers")
    numbers = rows[found.order_number]
    repeated = numbers.dropna().duplicated()
    items = found.items or tuple(
        filter(None, (found.amounts.get("quantity"), found.amounts.get("line_total")))
    )
    is_continued = bool(numbers.isna().any() and numbers.notna().any() and not numbers.isna().iloc[0])
    if is_continued and items:
        return Grain("line", "rows without an order number are further items", is_continued=True)
    if not repeated.any():
        if items:
            return Grain("line", f"{items[0]} is an item's, so an order may have several rows")
        return Grain("order", f"no order number repeats in {len(rows):,} rows")
    several = int(numbers[numbers.duplicated()].nunique())
    why = f"{several:,} order numbers are on several rows"
    if items or has_refunds(rows, found):
        return Grain("line", why, is_repeated=True)
    differ = found.totals and OrderAmounts(rows, found, is_line=True).varies(found.totals[0])
    as_last = Grain("order", f"{why}, and nothing says that they are items: the last row counts")
    return _ask_for_grain(why, ask) if differ else as_last


def _ask_for_grain(why: str, ask: Ask) -> Grain:
    """What rows of an order are where nothing but their amounts differs."""
    answer = ask(
        Question(
            "grain",
            "what are rows that share an order number and have different amounts?",
            ("items that add up", "versions of which the last counts"),
            why,
        )
    )
    if answer is None:
        return Grain("order", why, is_open=True)
    is_line = answer.startswith("items")
    return Grain("line" if is_line else "order", f"{why}: {answer}, as answered", is_repeated=is_line)
