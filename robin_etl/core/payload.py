"""Changes as ROBIN is sent them: waves, chunks, and the JSON of each order. Pure."""

from __future__ import annotations

import json
from bisect import bisect_right
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

    @property
    def day(self) -> str:
        """The day of the export that says so."""
        day: str = self.state[_DAY]
        return day


Chunk = list[Change]
T = TypeVar("T")
_DAY = columns.STATE_COLUMNS.index("day")


def make_changes(changes: pd.DataFrame) -> list[Change]:
    """A `Change` for each row of `columns.CHANGE_DTYPES`."""
    members = _encode_members(changes)
    kept = [texts for name, texts in members.items() if name not in CONTACT]
    return list(
        map(
            Change,
            columns.to_list(changes["order_number"]),
            columns.to_list(changes["kind"]),
            changes["wave"].tolist(),
            _join_members(list(members.values()), len(changes)),
            _join_members(kept, len(changes)),
            columns.iterate_states(changes),
        )
    )


def encode_payloads(changes: pd.DataFrame) -> list[str]:
    """The JSON of each of these changes as it is sent, and no more."""
    return _join_members(list(_encode_members(changes).values()), len(changes))


def encode_body(payloads: Iterable[str]) -> bytes:
    """The body of a request with these orders."""
    return ('{"orders":[' + ",".join(payloads) + "]}").encode()


def split_into_chunks(
    changes: Iterable[pd.DataFrame], size: int, make: Callable[[pd.DataFrame], list[T]]
) -> Iterator[tuple[int, list[T]]]:
    """Each wave and what `make` gives for its changes, `size` at a time, from frames sorted by wave.

    Chunks are filled across frames, but never across waves.
    """
    held: list[T] = []
    wave = 0
    for frame in changes:
        for key, rows in frame.groupby("wave", sort=True):
            if held and int(str(key)) != wave:
                yield wave, held
                held = []
            wave = int(str(key))
            held += make(rows)
            whole = len(held) - len(held) % size
            yield from ((wave, chunk) for chunk in slice_chunk(held[:whole], size))
            held = held[whole:]
    if held:
        yield wave, held


def slice_chunk(chunk: list[T], size: int) -> list[list[T]]:
    """Slices of at most `size`."""
    return [chunk[start : start + size] for start in range(0, len(chunk), size)]


def merge_partitions(partitions: Sequence[Iterator[pd.DataFrame]]) -> Iterator[pd.DataFrame]:
    """The changes of all partitions, wave by wave, oldest first, as those of one.

    Each partition gives frames that are sorted so. Two frames of each are held at a time: so each step
    gives about a frame of every partition, and there are about as many as one partition has frames.
    """
    if len(partitions) == 1:
        yield from partitions[0]
        return
    merged = [_Partition(frames) for frames in partitions]
    while merged := [one for one in merged if one.hold_two()]:
        # What a partition has yet to give comes after all that it holds, so no other goes beyond that.
        until = min((one.last for one in merged if not one.is_through), default=None)
        taken = [rows for one in merged for rows in one.take(until)]
        yield pd.concat(taken).sort_values(["wave", "order_date"], kind="stable")


class _Partition:
    """The frames of a partition that are held, and those to come."""

    def __init__(self, frames: Iterator[pd.DataFrame]) -> None:
        self._frames = frames
        self._held: list[_Frame] = []
        self.is_through = False

    def hold_two(self) -> bool:
        """Hold two frames, as far as there are; whether there is any."""
        while len(self._held) < 2 and not self.is_through:
            frame = next((frame for frame in self._frames if len(frame)), None)
            if frame is None:
                self.is_through = True
            else:
                self._held.append(_Frame(frame))
        return bool(self._held)

    @property
    def last(self) -> tuple[int, str]:
        """The wave and the moment of the last row that is held."""
        return self._held[-1].last

    def take(self, until: tuple[int, str] | None) -> list[pd.DataFrame]:
        """The rows not yet taken up to this wave and moment, or all that are held."""
        taken = [frame.take(until) for frame in self._held]
        self._held = [frame for frame in self._held if frame.has_rows]
        return taken


class _Frame:
    """A frame of a partition, of which some rows have been taken."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._rows, self._taken = rows, 0
        self._waves = rows["wave"].to_numpy()
        self._moments = columns.to_strings(rows["order_date"])

    @property
    def has_rows(self) -> bool:
        return self._taken < len(self._rows)

    @property
    def last(self) -> tuple[int, str]:
        """The wave and the moment of its last row."""
        return int(self._waves[-1]), self._moment_at(len(self._rows) - 1)

    def take(self, until: tuple[int, str] | None) -> pd.DataFrame:
        """The rows not yet taken up to this wave and moment, or all."""
        count = len(self._rows) if until is None else self._count(*until)
        rows = self._rows.iloc[self._taken : count]
        self._taken = max(self._taken, count)
        return rows

    def _count(self, wave: int, moment: str) -> int:
        begin, end = self._waves.searchsorted(wave), self._waves.searchsorted(wave, "right")
        return bisect_right(range(len(self._rows)), moment, int(begin), int(end), key=self._moment_at)

    def _moment_at(self, place: int) -> str:
        moment: str = self._moments[place].as_py()
        return moment


def _encode_members(changes: pd.DataFrame) -> dict[str, pa.Array]:
    return {name: _encode_member(name, changes[name]) for name in _KEYS if changes[name].notna().any()}


def _encode_member(name: str, column: pd.Series) -> pa.Array:
    """`,"name":value` for each value, nothing for null."""
    values = columns.to_arrow(column)
    if name in _MONEY:
        texts = _encode_money(values)
    elif name == "is_first_order":
        texts = pc.cast(values, pa.large_string())
    else:
        texts = _quote(pc.cast(values, pa.large_string()))
    return pc.fill_null(_concatenate(f',"{name}":', texts), "")


def _encode_money(cents: pa.Array) -> pa.Array:
    """Cents as the shortest JSON number of their value: 11334 is 113.34, 1000 is 10."""
    numbers = pc.fill_null(cents, 0).to_numpy(zero_copy_only=False)
    whole, rest = np.divmod(np.abs(numbers), 100)
    sign = pc.if_else(pa.array(numbers < 0), "-", "")
    texts = _concatenate(sign, pc.cast(pa.array(whole), pa.string()), _CENTS.take(pa.array(rest)))
    return pc.if_else(pc.is_null(cents), None, texts)


def _quote(texts: pa.Array) -> pa.Array:
    """Texts as JSON strings; only those that hold something to escape go through `json`."""
    special = pc.fill_null(pc.match_substring_regex(texts, _TO_ESCAPE), fill_value=False)
    if pc.any(special).as_py():
        escaped = [
            json.dumps(text, ensure_ascii=False)[1:-1] for text in texts.filter(special).to_pylist()
        ]
        texts = pc.replace_with_mask(texts, special, pa.array(escaped, pa.large_string()))
    return _concatenate('"', texts, '"')


def _join_members(members: list[pa.Array], rows: int) -> list[str]:
    if not rows:
        return []
    inner = pc.utf8_slice_codeunits(_concatenate(*members), 1)
    objects: list[str] = _concatenate("{", inner, "}").to_pylist()
    return objects


def _concatenate(*texts: pa.Array | str) -> pa.Array:
    """Texts side by side, null where one is; a plain one stands in every row."""
    pieces = [
        pa.scalar(text, pa.large_string()) if isinstance(text, str) else pc.cast(text, pa.large_string())
        for text in texts
    ]
    return pc.binary_join_element_wise(*pieces, pa.scalar("", pa.large_string()))
