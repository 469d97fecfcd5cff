"""What an order is worth, by the columns of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from robin_etl.exports import expressions, vocabulary
from robin_etl.exports.drafting import amount_styles, names
from robin_etl.exports.drafting.column_names import Found
from robin_etl.exports.drafting.grain import Grain
from robin_etl.exports.drafting.names import rate_name, simplify_name
from robin_etl.exports.drafting.order_amounts import OrderAmounts
from robin_etl.exports.drafting.questions import Ask, Question
from robin_etl.exports.drafting.refunds import Refunds, find_refunds, subtract_refunded

_CENT = 0.01


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


def find_revenue(rows: pd.DataFrame, found: Found, grain: Grain, ask: Ask) -> Worth:
    """What an order is worth."""
    amounts = OrderAmounts(rows, found, is_line=grain.name == "line", is_continued=grain.is_continued)
    open_questions: list[Question] = []

    def ask_and_note(question: Question) -> str | None:
        answer = ask(question)
        if answer is None:
            open_questions.append(question)
        return answer

    total = _choose_total(amounts, ask_and_note)
    worth = (
        _find_by_total(amounts, total, is_repeated=grain.is_repeated)
        if total
        else _find_by_items(amounts, ask_and_note)
    )
    return worth.leave_open() if open_questions else worth


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


def _choose_total(amounts: OrderAmounts, ask: Ask) -> str:
    """The column of the order's total, blank where there is none."""
    totals = [one for one in amounts.found.totals if not (names.is_of_item(one) and amounts.is_line)]
    if not totals:
        return ""
    weak = [one for one in totals if vocabulary.simplify(one) in _WEAK]
    in_codes = [one for one in totals if names.find_code(one)]
    if len({names.find_code(one) for one in in_codes}) > 1 and totals[0] in in_codes:
        totals = in_codes
    elif len(weak) < len(totals) or len(totals) == 1:
        return totals[0]
    first = amounts.read(totals[0])
    other = next((one for one in totals[1:] if not amounts.read(one).equals(first)), None)
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


def _find_by_total(amounts: OrderAmounts, total: str, *, is_repeated: bool) -> Worth:
    refunds = find_refunds(amounts.rows, amounts.found, total)
    is_summed = amounts.is_line and (amounts.varies(total) or refunds is not None)
    expression = amounts.name(total)
    used = [total]
    if is_summed:
        expression = f"sum({expression})"
        why = "differs between the rows of an order: they add up"
    elif amounts.is_line and is_repeated:
        why = "the order's own total, the same or blank on its further rows"
    else:
        why = "the order's total, by its name"
    if names.is_net(total) and (tax := amounts.found.amounts.get("tax")):
        expression += f" + {amounts.place(tax, is_summed=is_summed)}"
        used.append(tax)
        why += "; it is before tax"
    expression, more = subtract_refunded(amounts, expression, used)
    agreement = _compare_with_items(amounts, total) if not is_summed else ""
    return Worth(expression, f"{why}{agreement}", [*used, *more], refunds)


def _find_by_items(amounts: OrderAmounts, ask: Ask) -> Worth:
    named = amounts.found.amounts
    quantity, price = named.get("quantity"), named.get("unit_price")
    if line := named.get("line_total"):
        base, used, why = amounts.name(line), [line], "each row's total"
    elif price and quantity:
        base, used = f"{amounts.name(quantity)} * {amounts.name(price)}", [quantity, price]
        why = "there is no total: the quantity times the price of one"
    elif price:
        base, used, why = amounts.name(price), [price], "there is no total: the prices of its rows"
    elif subtotal := named.get("subtotal"):
        base, used, why = amounts.name(subtotal), [subtotal], "there is no total: the subtotal"
    else:
        return _ask_total(amounts, ask, "No name says it.")
    is_told = any(map(names.is_gross, used)) or named.get("tax")
    if shares := [one for one in amounts.found.shares if not (is_told and _is_tax(one))]:
        why = f"A hundredth in {' and '.join(shares)} can't be taken off, or added, by a profile."
        return _ask_total(amounts, ask, why)
    is_base_summed = amounts.is_line and used[0] != named.get("subtotal")
    inside, outside = [base], list[str]()
    is_net = any(map(names.is_net, used))
    is_gross = any(map(names.is_gross, used))
    for meaning, sign in (("shipping", "+"), ("shipping_tax", "+"), ("tax", "+"), ("discount", "-")):
        column = named.get(meaning)
        if not column or column in used or _is_zero(amounts, column):
            continue
        if meaning == "tax" and (is_gross or not (is_net or _decide_tax(column, base, ask))):
            continue
        own_sign = _flip(sign) if meaning == "discount" and amounts.is_negative(column) else sign
        part = f" {own_sign} {amounts.name(column, optional=True)}"
        # An item's own tax or discount is named so, or differs between the rows of an order.
        is_inside = is_base_summed and (
            amounts.varies(column)
            or meaning == "tax"
            or names.is_of_item(column)
            or (amounts.repeats(column) and _is_each_rows(column, ask))
        )
        (inside if is_inside else outside).append(part)
        used.append(column)
        why += f", {'plus' if own_sign == '+' else 'less'} {meaning.replace('_', ' ')}"
    expression = "".join(inside)
    if is_base_summed:
        expression = f"sum({expression})"
    expression += "".join(outside)
    expression, more = subtract_refunded(amounts, expression, used)
    refunds = find_refunds(amounts.rows, amounts.found, used[0])
    return Worth(expression, why, [*used, *more], refunds)


def _is_tax(column: str) -> bool:
    return rate_name(simplify_name(column), "tax") > rate_name(simplify_name(column), "discount")


def _ask_total(amounts: OrderAmounts, ask: Ask, why: str) -> Worth:
    candidates = tuple(
        column
        for column in amounts.rows.columns
        if column != amounts.found.order_number
        and column not in amounts.found.phone_number
        and amount_styles.are_amounts(amounts.rows[column])
    )
    answer = ask(
        Question(
            "columns.revenue",
            f"which column, or which sum of columns such as [A] + [B], is what an order is worth? {why}",
            candidates[:12],
        )
    )
    if answer is None:
        return Worth(" or ".join(map(expressions.name_column, candidates[:12])), "", list(candidates))
    named = answer if "[" in answer or answer not in amounts.rows else amounts.name(answer)
    used = [column for column in amounts.rows.columns if expressions.name_column(column) in named]
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


def _is_zero(amounts: OrderAmounts, column: str) -> bool:
    """Whether a column has no amount at all: not even a 0 that others may stand for on other days."""
    return bool(amounts.read(column).isna().all())


def _flip(sign: str) -> str:
    return "+" if sign == "-" else "-"


def _compare_with_items(amounts: OrderAmounts, total: str) -> str:
    """Whether the items of orders add up to their totals, in words."""
    named: Mapping[str, str] = amounts.found.amounts
    quantity, price, line = (named.get(name) for name in ("quantity", "unit_price", "line_total"))
    if not amounts.is_line or not (line or (price and quantity)) or total in {line, price}:
        return ""
    each = amounts.read(line) if line else amounts.read(price or "") * amounts.read(quantity or "")
    sums = each.groupby(amounts.orders).sum()
    for name, sign in (("shipping", 1), ("discount", -1)):
        if column := named.get(name):
            own = amounts.read(column).groupby(amounts.orders)
            sums = sums + sign * (own.sum() if amounts.varies(column) else own.first()).fillna(0).abs()
    totals = amounts.read(total).groupby(amounts.orders).first()
    agreeing = int(((sums - totals).abs() < _CENT).sum())
    return f"; the items of {agreeing:,} of {len(totals):,} orders add up to it"
