"""Changes as ROBIN is sent them: waves, chunks, and the JSON of one order. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

CONTACT = ("email_address", "phone_number")
_MONEY = ("revenue", "old_revenue", "profit", "old_profit")
_KEYS = (
    "order_number",
    *CONTACT,
    *_MONEY,
    "order_date",
    "is_first_order",
    "webstore_url",
)


def waves(changes: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """The changes wave by wave, each in the order they came in."""
    for wave, rows in changes.groupby("wave", sort=True):
        yield int(str(wave)), rows


def chunks(changes: pd.DataFrame, size: int) -> Iterator[pd.DataFrame]:
    """Slices of at most `size` rows."""
    for start in range(0, len(changes), size):
        yield changes.iloc[start : start + size]


def payloads(changes: pd.DataFrame) -> list[dict[str, Any]]:
    """One JSON object for each change; what is null is left out.

    Money leaves cents only here: cents / 100 is the double nearest to the value, and its shortest
    text is the value itself, `113.34`.
    """
    columns = {name: changes[name].astype(object).tolist() for name in _KEYS}
    for name in _MONEY:
        columns[name] = [None if cents is pd.NA else cents / 100 for cents in columns[name]]
    rows = zip(*columns.values(), strict=True)
    return [
        {key: value for key, value in zip(columns, row, strict=True) if _is_said(value)} for row in rows
    ]


def without_contact(payload: dict[str, Any]) -> dict[str, Any]:
    """A payload as it may be kept."""
    return {key: value for key, value in payload.items() if key not in CONTACT}


def body(orders: list[dict[str, Any]]) -> bytes:
    """The body of a request with these payloads."""
    return json.dumps({"orders": orders}, ensure_ascii=False, separators=(",", ":")).encode()


def _is_said(value: object) -> bool:
    return value is not None and value is not pd.NA and value == value  # noqa: PLR0124 (NaN)
