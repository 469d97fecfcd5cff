"""Changes as ROBIN is sent them: waves, chunks, and the JSON of each order. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from robin_etl.core import columns

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

# What stands behind the whole number of so many cents, shortest form: 5 is .05, 50 is .5, 0 nothing.
_CENTS = pa.array(["" if not cents else f".{cents:02}".rstrip("0") for cents in range(100)])
_TO_ESCAPE = r'["\\\x00-\x1f]'


class Change(NamedTuple):
    """One change, ready to leave.

    `payload`: its JSON as it is sent; `kept`: the same without contact, as the delivery log keeps it.
    `state`: the row that it leaves in the ledger, in the order of `columns.STATE_COLUMNS`.
    """

    order_number: str
    kind: str
    wave: int
    payload: str
    kept: str
    state: tuple[Any, ...]


Chunk = list[Change]
T = TypeVar("T")


def ready(changes: pd.DataFrame) -> list[Change]:
    """Rows of `columns.CHANGE_DTYPES`, each made ready to leave."""
    pieces = _pieces(changes)
    kept = [piece for name, piece in pieces.items() if name not in CONTACT]
    return list(
        map(
            Change,
            columns.to_list(changes["order_number"]),
            columns.to_list(changes["kind"]),
            changes["wave"].tolist(),
            _objects(list(pieces.values()), len(changes)),
            _objects(kept, len(changes)),
            columns.iterate_states(changes),
        )
    )


def sent(changes: pd.DataFrame) -> list[str]:
    """The JSON of each of these changes as it is sent, and no more."""
    return _objects(list(_pieces(changes).values()), len(changes))


def chunked(
    changes: Iterable[pd.DataFrame], size: int, made: Callable[[pd.DataFrame], list[T]]
) -> Iterator[tuple[int, list[T]]]:
    """Each wave and what is `made` of its changes, `size` at a time, from frames sorted by wave.

    Chunks are filled across frames, but never across waves.
    """
    held: list[T] = []
    at = 0
    for frame in changes:
        for wave, rows in frame.groupby("wave", sort=True):
            if held and int(str(wave)) != at:
                yield at, held
                held = []
            at = int(str(wave))
            held += made(rows)
            whole = len(held) - len(held) % size
            yield from ((at, chunk) for chunk in slices(held[:whole], size))
            held = held[whole:]
    if held:
        yield at, held


def slices(chunk: list[T], size: int) -> list[list[T]]:
    """Slices of at most `size`."""
    return [chunk[start : start + size] for start in range(0, len(chunk), size)]


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


def body(payloads: Iterable[str]) -> bytes:
    """The body of a request with these orders."""
    return ('{"orders":[' + ",".join(payloads) + "]}").encode()


def _next_filled(part: Iterator[pd.DataFrame]) -> pd.DataFrame | None:
    return next((frame for frame in part if len(frame)), None)


def _pieces(changes: pd.DataFrame) -> dict[str, pa.Array]:
    return {name: _members(name, changes[name]) for name in _KEYS if changes[name].notna().any()}


def _members(name: str, column: pd.Series) -> pa.Array:
    """`,"name":value` for each value, nothing for null."""
    values = columns.to_arrow(column)
    if name in _MONEY:
        texts = _money(values)
    elif name == "is_first_order":
        texts = pc.cast(values, pa.large_string())
    else:
        texts = _quoted(pc.cast(values, pa.large_string()))
    return pc.fill_null(_joined(f',"{name}":', texts), "")


def _money(cents: pa.Array) -> pa.Array:
    """Cents as the shortest JSON number of their value: 11334 is 113.34, 1000 is 10."""
    numbers = pc.fill_null(cents, 0).to_numpy(zero_copy_only=False)
    whole, rest = np.divmod(np.abs(numbers), 100)
    sign = pc.if_else(pa.array(numbers < 0), "-", "")
    texts = _joined(sign, pc.cast(pa.array(whole), pa.string()), _CENTS.take(pa.array(rest)))
    return pc.if_else(pc.is_null(cents), None, texts)


def _quoted(texts: pa.Array) -> pa.Array:
    """Texts as JSON strings; only those that hold something to escape go through `json`."""
    special = pc.fill_null(pc.match_substring_regex(texts, _TO_ESCAPE), fill_value=False)
    if pc.any(special).as_py():
        escaped = [
            json.dumps(text, ensure_ascii=False)[1:-1] for text in texts.filter(special).to_pylist()
        ]
        texts = pc.replace_with_mask(texts, special, pa.array(escaped, pa.large_string()))
    return _joined('"', texts, '"')


def _objects(pieces: list[pa.Array], rows: int) -> list[str]:
    if not rows:
        return []
    texts: list[str] = _joined("{", pc.utf8_slice_codeunits(_joined(*pieces), 1), "}").to_pylist()
    return texts


def _joined(*texts: pa.Array | str) -> pa.Array:
    """Texts side by side, null where one is; a plain one stands in every row."""
    parts = [
        pa.scalar(text, pa.large_string()) if isinstance(text, str) else pc.cast(text, pa.large_string())
        for text in texts
    ]
    return pc.binary_join_element_wise(*parts, pa.scalar("", pa.large_string()))
