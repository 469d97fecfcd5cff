"""How a file tells refunds: as rows, or in a column; and whether a total has them taken off already."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from robin_etl.core import columns
from robin_etl.exports import vocabulary
from robin_etl.exports.drafting import names
from robin_etl.exports.drafting.column_names import Found
from robin_etl.exports.drafting.order_amounts import OrderAmounts

_PARTS = ("shipping", "discount", "tax")
_CENT = 0.01


@dataclass(frozen=True)
class Refunds:
    """How refunds as rows are told: by a column's values or, without any, by its negative amounts."""

    column: str
    values: tuple[str, ...] = ()


def has_refunds(rows: pd.DataFrame, found: Found) -> bool:
    """Whether any row is a refund."""
    return any(find_refunds(rows, found, column) for column in found.totals[:1])


def find_refunds(rows: pd.DataFrame, found: Found, amount: str) -> Refunds | None:
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


def subtract_refunded(amounts: OrderAmounts, expression: str, used: list[str]) -> tuple[str, list[str]]:
    """The expression less what was refunded, if a column says so."""
    refunded = amounts.found.amounts.get("refunded")
    if not refunded or any(map(names.is_after_refunds, used)):
        return expression, []
    if len(used) == 1 and _is_subtracted(amounts, used[0], refunded):
        return expression, []
    sign = "+" if amounts.is_negative(refunded) else "-"
    is_summed = amounts.is_line and amounts.varies(refunded)
    return f"{expression} {sign} {amounts.place(refunded, is_summed=is_summed)}", [refunded]


def _is_subtracted(amounts: OrderAmounts, total: str, refunded: str) -> bool:
    """Whether a total has its refunds taken off it already, as the amounts that it consists of show."""
    named = amounts.found.amounts
    subtotal = named.get("subtotal")
    if amounts.is_line or not subtotal:
        return False
    parts = {name: amounts.read(named[name]).fillna(0).abs() for name in _PARTS if named.get(name)}
    refunds = amounts.read(refunded).fillna(0).abs()
    is_any = refunds > 0
    base = amounts.read(subtotal) + parts.get("shipping", 0) - parts.get("discount", 0) - refunds
    rest = (amounts.read(total) - base)[is_any].abs()
    with_tax = (amounts.read(total) - base - parts.get("tax", 0))[is_any].abs()
    return bool(is_any.any() and min(rest.max(), with_tax.max()) < _CENT)
