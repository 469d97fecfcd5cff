"""Changes as ROBIN is sent them: waves, chunks, and the JSON of one order. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
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


def chunked(changes: Iterable[pd.DataFrame], size: int) -> Iterator[tuple[int, pd.DataFrame]]:
    """Each wave and its changes, `size` rows at a time, from frames that are sorted by wave.

    Chunks are filled across frames, but never across waves.
    """
    held: list[pd.DataFrame] = []
    at = 0
    for frame in changes:
        for wave, rows in frame.groupby("wave", sort=True):
            if held and int(str(wave)) != at:
                yield at, pd.concat(held)
                held = []
            at = int(str(wave))
            rest = pd.concat([*held, rows]) if held else rows
            whole = len(rest) - len(rest) % size
            for start in range(0, whole, size):
                yield at, rest.iloc[start : start + size]
            held = [rest.iloc[whole:]] if whole < len(rest) else []
    if held:
        yield at, pd.concat(held)


def slices(changes: pd.DataFrame, size: int) -> list[pd.DataFrame]:
    """Slices of at most `size` rows."""
    return [changes.iloc[start : start + size] for start in range(0, len(changes), size)]


def merged(parts: Sequence[Iterator[pd.DataFrame]]) -> Iterator[pd.DataFrame]:
    """The changes of all parts, wave by wave, oldest first, as those of one.

    Each part gives frames that are sorted so; one frame of each is held at a time.
    """
    if len(parts) == 1:
        yield from parts[0]
        return
    held = [_next_filled(part) for part in parts]
    while any(frame is not None for frame in held):
        last = [frame[["wave", "order_date"]].iloc[-1] for frame in held if frame is not None]
        wave, moment = min((int(row["wave"]), str(row["order_date"])) for row in last)
        ready = []
        for at, frame in enumerate(held):
            if frame is None:
                continue
            same = (frame["wave"] == wave) & (frame["order_date"] <= moment)
            taken = int(((frame["wave"] < wave) | same).sum())
            ready.append(frame.iloc[:taken])
            held[at] = frame.iloc[taken:] if taken < len(frame) else _next_filled(parts[at])
        yield pd.concat(ready).sort_values(["wave", "order_date"], kind="stable")


def _next_filled(part: Iterator[pd.DataFrame]) -> pd.DataFrame | None:
    return next((frame for frame in part if len(frame)), None)


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
