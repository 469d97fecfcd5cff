"""What a row of a file is, and what an order is worth by its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from robin_etl.core import columns
from robin_etl.exports import expressions, vocabulary
from robin_etl.exports.amounts import AmountStyle, parse_amounts
from robin_etl.exports.drafting import amount_styles, column_names
from robin_etl.exports.drafting.column_names import Found
from robin_etl.exports.drafting.questions import Ask, Question

_CENT = Decimal("0.01")


@dataclass(frozen=True)
class Grain:
    """What a row is, and why; whether rows without a number go on with the order above them, and
    whether order numbers repeat.
    """

    name: Literal["order", "line"]
    why: str
    is_continued: bool = False
    is_repeated: bool = False


@dataclass(frozen=True)
class Refunds:
    """How refunds as rows are told: by a column's values or, without any, by its negative amounts."""

    column: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Worth:
    """What an order is worth: the expression, blank where it can't be decided, why, and its columns."""

    expression: str
    why: str
    columns: list[str]
    refunds: Refunds | None = None

    def leave_open(self) -> Worth:
        """The same, of which something is still asked."""
        return Worth("", f"it may be {self.expression}", self.columns, self.refunds)


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
    if items or _is_any_refund(rows, found) or _are_items(rows, found, why, ask):
        return Grain("line", why, is_repeated=True)
    return Grain("order", f"{why}, and they are no items: the last row counts")


def _are_items(rows: pd.DataFrame, found: Found, why: str, ask: Ask) -> bool:
    """Whether rows of an order are its items where nothing but their amounts speaks for that."""
    if not (found.totals and _Reading(rows, found, Grain("line", "")).varies(found.totals[0])):
        return False
    answer = ask(
        Question(
            "grain",
            "what are rows that share an order number and have different amounts?",
            ("items that add up", "versions of which the last counts"),
            why,
        )
    )
    return bool(answer and answer.startswith("items"))


def find_revenue(rows: pd.DataFrame, found: Found, grain: Grain, ask: Ask) -> Worth:
    """What an order is worth."""
    reading = _Reading(rows, found, grain)
    open_questions: list[Question] = []

    def ask_and_note(question: Question) -> str | None:
        answer = ask(question)
        if answer is None:
            open_questions.append(question)
        return answer

    total = reading.choose_total(ask_and_note)
    worth = _find_by_total(reading, total) if total else _find_by_items(reading, ask_and_note)
    return worth.leave_open() if open_questions else worth


class _Reading:
    """The amounts of a file, and how they lie within its orders."""

    def __init__(self, rows: pd.DataFrame, found: Found, grain: Grain) -> None:
        self.rows = rows
        self.found = found
        self.grain = grain
        numbers = rows[found.order_number] if found.order_number in rows else pd.Series(rows.index)
        self.orders = numbers.ffill() if grain.is_continued else numbers
        self.is_line = grain.name == "line"

    def read(self, column: str) -> pd.Series:
        """A column's amounts as floats, which are only compared."""
        text = self.rows[column]
        signs = amount_styles.find_signs(text.dropna())
        best = max(
            (parse_amounts(text, AmountStyle(mark, separator, signs)) for mark, separator in _STYLES),
            key=lambda read: int(pc.sum(pc.is_valid(read)).as_py() or 0),
        )
        read: pd.Series = pc.cast(best, pa.float64()).to_pandas()
        return read.set_axis(text.index)

    def varies(self, column: str) -> bool:
        """Whether the rows of any order differ in a column."""
        of_orders = self.read(column).groupby(self.orders)
        return bool((of_orders.max() > of_orders.min()).any())

    def repeats(self, column: str) -> bool:
        """Whether several rows of any order have the same amount in a column, other than 0."""
        read = self.read(column)
        return bool((read[read.notna() & (read != 0)].groupby(self.orders).size() > 1).any())

    def name(self, column: str, *, optional: bool = False) -> str:
        named = f"{expressions.name_column(column)}{'?' if optional else ''}"
        return f"{named} * 0.01" if column_names.is_in_cents(column) else named

    def choose_total(self, ask: Ask) -> str:
        """The column of the order's total, blank where there is none."""
        totals = [
            one for one in self.found.totals if not (column_names.is_of_item(one) and self.is_line)
        ]
        if not totals:
            return ""
        weak = [one for one in totals if vocabulary.simplify(one) in _WEAK]
        if len(weak) < len(totals) or len(totals) == 1:
            return totals[0]
        first = self.read(totals[0])
        other = next((one for one in totals[1:] if not self.read(one).equals(first)), None)
        if other is None:
            return totals[0]
        answer = ask(
            Question(
                "columns.revenue",
                "which of these columns is what an order is worth, with taxes and shipping?",
                tuple(totals),
            )
        )
        return answer or totals[0]


_STYLES = [
    (mark, separator) for mark in ".," for separator in ("", ",", ".", " ", "'") if mark != separator
]
# Words for amounts of which one alone is the total, and several are not.
_WEAK = {
    "amount",
    "value",
    "sum",
    "gross",
    "paid",
    "bedrag",
    "betrag",
    "brutto",
    "importe",
    "importo",
    "valor",
}


def _find_by_total(reading: _Reading, total: str) -> Worth:
    refunds = _find_refunds(reading.rows, reading.found, total)
    is_summed = reading.is_line and (reading.varies(total) or refunds is not None)
    expression = reading.name(total)
    used = [total]
    if is_summed:
        expression = f"sum({expression})"
        why = "differs between the rows of an order: they add up"
    elif reading.is_line and reading.grain.is_repeated:
        why = "the order's own total, the same or blank on its further rows"
    else:
        why = "the order's total, by its name"
    if column_names.is_net(total) and (tax := reading.found.amounts.get("tax")):
        expression += f" + {_place(reading, tax, is_summed=is_summed)}"
        used.append(tax)
        why += "; it is before tax"
    expression, more = _subtract_refunded(reading, expression, used)
    agreement = _compare_with_items(reading, total) if not is_summed else ""
    return Worth(expression, f"{why}{agreement}", [*used, *more], refunds)


def _find_by_items(reading: _Reading, ask: Ask) -> Worth:
    amounts = reading.found.amounts
    quantity, price = amounts.get("quantity"), amounts.get("unit_price")
    if line := amounts.get("line_total"):
        base, used, why = reading.name(line), [line], "each row's total"
    elif price and quantity:
        base, used = f"{reading.name(quantity)} * {reading.name(price)}", [quantity, price]
        why = "there is no total: the quantity times the price of one"
    elif price:
        base, used, why = reading.name(price), [price], "there is no total: the prices of its rows"
    elif subtotal := amounts.get("subtotal"):
        base, used, why = reading.name(subtotal), [subtotal], "there is no total: the subtotal"
    else:
        return _ask_total(reading, ask)
    is_base_summed = reading.is_line and used[0] != amounts.get("subtotal")
    inside, outside = [base], list[str]()
    is_net = any(map(column_names.is_net, used))
    is_gross = any(map(column_names.is_gross, used))
    for meaning, sign in (("shipping", "+"), ("shipping_tax", "+"), ("tax", "+"), ("discount", "-")):
        column = amounts.get(meaning)
        if not column or column in used or _is_zero(reading, column):
            continue
        if meaning == "tax" and (is_gross or not (is_net or _decide_tax(column, base, ask))):
            continue
        own_sign = _flip(sign) if meaning == "discount" and _is_negative(reading, column) else sign
        part = f" {own_sign} {reading.name(column, optional=True)}"
        # An item's own tax or discount is named so, or differs between the rows of an order.
        is_inside = is_base_summed and (
            reading.varies(column)
            or meaning == "tax"
            or column_names.is_of_item(column)
            or (reading.repeats(column) and _is_each_rows(column, ask))
        )
        (inside if is_inside else outside).append(part)
        used.append(column)
        why += f", {'plus' if own_sign == '+' else 'less'} {meaning.replace('_', ' ')}"
    expression = "".join(inside)
    if is_base_summed:
        expression = f"sum({expression})"
    expression += "".join(outside)
    expression, more = _subtract_refunded(reading, expression, used)
    refunds = _find_refunds(reading.rows, reading.found, used[0])
    return Worth(expression, why, [*used, *more], refunds)


def _ask_total(reading: _Reading, ask: Ask) -> Worth:
    candidates = tuple(
        column
        for column in reading.rows.columns
        if column != reading.found.order_number
        and column not in reading.found.phone_number
        and amount_styles.are_amounts(reading.rows[column])
    )
    answer = ask(
        Question(
            "columns.revenue",
            "which column, or which sum of columns such as [A] + [B], is what an order is worth? No "
            "name says it.",
            candidates[:12],
        )
    )
    if answer is None:
        return Worth(" or ".join(map(expressions.name_column, candidates[:12])), "", list(candidates))
    named = answer if "[" in answer or answer not in reading.rows else reading.name(answer)
    used = [column for column in reading.rows.columns if expressions.name_column(column) in named]
    return Worth(named, "as answered", used)


def _decide_tax(column: str, base: str, ask: Ask) -> bool:
    """Whether a tax is to be added to prices that don't say whether it is in them."""
    answer = ask(
        Question(
            "columns.revenue",
            f"is the tax in column {column} to be added to {base}, or already in it?",
            ("added", "already in it"),
        )
    )
    return answer == "added"


def _is_each_rows(column: str, ask: Ask) -> bool:
    """Whether an amount that stands on all rows of an order is each row's own."""
    answer = ask(
        Question(
            f"columns.revenue.{column}",
            f"all rows of an order have the same amount in column {column}. Does it count once for the "
            "order, or once for each row?",
            ("once", "each row"),
        )
    )
    return answer == "each row"


def _place(reading: _Reading, column: str, *, is_summed: bool) -> str:
    part = reading.name(column, optional=True)
    return f"sum({part})" if is_summed else part


def _subtract_refunded(reading: _Reading, expression: str, used: list[str]) -> tuple[str, list[str]]:
    """The expression less what was refunded, if a column says so."""
    refunded = reading.found.amounts.get("refunded")
    if not refunded or any(map(column_names.is_after_refunds, used)):
        return expression, []
    if len(used) == 1 and _is_subtracted(reading, used[0], refunded):
        return expression, []
    sign = "+" if _is_negative(reading, refunded) else "-"
    is_summed = reading.is_line and reading.varies(refunded)
    return f"{expression} {sign} {_place(reading, refunded, is_summed=is_summed)}", [refunded]


def _is_subtracted(reading: _Reading, total: str, refunded: str) -> bool:
    """Whether a total has its refunds taken off it already, as the amounts that it consists of show."""
    amounts = reading.found.amounts
    subtotal = amounts.get("subtotal")
    if reading.is_line or not subtotal:
        return False
    parts = {name: reading.read(amounts[name]).fillna(0).abs() for name in _PARTS if amounts.get(name)}
    refunds = reading.read(refunded).fillna(0).abs()
    is_any = refunds > 0
    base = reading.read(subtotal) + parts.get("shipping", 0) - parts.get("discount", 0) - refunds
    rest = (reading.read(total) - base)[is_any].abs()
    with_tax = (reading.read(total) - base - parts.get("tax", 0))[is_any].abs()
    return bool(is_any.any() and min(rest.max(), with_tax.max()) < float(_CENT))


_PARTS = ("shipping", "discount", "tax")


def _is_negative(reading: _Reading, column: str) -> bool:
    read = reading.read(column)
    return bool((read < 0).any() and not (read > 0).any())


def _is_zero(reading: _Reading, column: str) -> bool:
    """Whether a column has no amount at all: not even a 0 that others may stand for on other days."""
    return bool(reading.read(column).isna().all())


def _flip(sign: str) -> str:
    return "+" if sign == "-" else "-"


def _is_any_refund(rows: pd.DataFrame, found: Found) -> bool:
    return any(_find_refunds(rows, found, column) for column in found.totals[:1])


def _find_refunds(rows: pd.DataFrame, found: Found, amount: str) -> Refunds | None:
    """Refunds as rows of their own, if there are any."""
    if found.row_type:
        words = vocabulary.load_statuses()["refunded"]
        values = rows[found.row_type].dropna().unique()
        refunds = [
            value
            for value in values
            if any(
                f" {word}" in f" {vocabulary.simplify(value)}"
                for word in (*words, "return", "credit", "retour")
            )
        ]
        if refunds and len(refunds) < len(values):
            return Refunds(found.row_type, tuple(value.lower() for value in refunds))
    text = rows[amount].dropna()
    if text.str.contains(r"\A\(|\A[^\d]*[-\u2212]\D*\d|\d-\Z", regex=True).any():
        numbers = (
            rows[found.order_number] if found.order_number in rows else pd.Series(dtype=columns.TEXT)
        )
        negative = text.index[text.str.contains(r"\A\(|\A[^\d]*[-\u2212]\D*\d|\d-\Z", regex=True)]
        if numbers.duplicated(keep=False).loc[negative].any():
            return Refunds(amount)
    return None


def _compare_with_items(reading: _Reading, total: str) -> str:
    """Whether the items of orders add up to their totals, in words."""
    amounts: Mapping[str, str] = reading.found.amounts
    quantity, price, line = (amounts.get(name) for name in ("quantity", "unit_price", "line_total"))
    if not reading.is_line or not (line or (price and quantity)) or total in {line, price}:
        return ""
    each = reading.read(line) if line else reading.read(price or "") * reading.read(quantity or "")
    sums = each.groupby(reading.orders).sum()
    for name, sign in (("shipping", 1), ("discount", -1)):
        if column := amounts.get(name):
            own = reading.read(column).groupby(reading.orders)
            sums = sums + sign * (own.sum() if reading.varies(column) else own.first()).fillna(0).abs()
    totals = reading.read(total).groupby(reading.orders).first()
    agreeing = int(((sums - totals).abs() < float(_CENT)).sum())
    return f"; the items of {agreeing:,} of {len(totals):,} orders add up to it"
