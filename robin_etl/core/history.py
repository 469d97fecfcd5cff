"""The history of every order: ROBIN's state of it and the rows of its exports, oldest first.

Texts are encoded as whole numbers (**codes**), so that rows can be moved, completed and compared at
the price of integers; only those that change something are decoded in the end. Pure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionArray

from robin_etl.core.columns import CENTS, CONTACT_DTYPES, FLAG, KINDS, TEXT, to_arrow
from robin_etl.core.dates import count_seconds

STALE, LEDGER, FRESH = 0, 1, 2

# What an export may leave blank; the newest export that states it stands.
OPTIONAL = ("email", "phone", "profit", "webstore_url")
CLEAR = {"email": "email_address", "phone": "phone_number"}
DAYS = ("day", *(f"{name}_day" for name in OPTIONAL))
_MONEY = ("revenue", "profit")

# What stands for null in a column of codes, and in one of cents.
NO_CODE = -1
NO_CENTS = np.iinfo(np.int64).min

Columns = dict[str, npt.NDArray[Any]]
Texts = dict[str, ExtensionArray]
Positions = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
T = TypeVar("T")


@dataclass(frozen=True)
class History:
    """All rows, those of an order together and oldest first; the ledger's before those of its day.

    `columns`: by the names of `LEDGER_DTYPES` and of the contacts in clear; codes, cents, and flags.
    `ordered_at` and `placed_second` are the seconds of `order_date` and `placed_at`. `texts`: what the
    codes of a column stand for. `order`: which order each row is of; `phase`: what the row is; `start`
    and `end`: the first and last position of each order.
    """

    columns: Columns
    texts: Texts
    order: Positions
    phase: npt.NDArray[np.int8]
    start: Positions
    end: Positions

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.order)

    @property
    def is_ledger(self) -> Mask:
        mask: Mask = self.phase == LEDGER
        return mask

    @property
    def is_end(self) -> Mask:
        mask = np.zeros(len(self), dtype=np.bool_)
        mask[self.end] = True
        return mask

    @property
    def ledger_row(self) -> Positions:
        """For each order the position of its ledger row, or -1."""
        found = np.full(len(self.start), -1, dtype=np.intp)
        positions = np.flatnonzero(self.is_ledger)
        found[self.order[positions]] = positions
        return found

    def find_rows_before(self) -> Positions:
        """For each row the one that says what ROBIN holds before it; -1 for an order new to ROBIN."""
        positions = np.arange(len(self))
        before = np.where(self.is_ledger, positions, positions - 1)
        return np.where(before >= self.start[self.order], before, -1)

    def find_told(self, *, final: bool) -> Mask:
        """Which rows are of an order that ROBIN has been told of, or is told of by then.

        It is never told of an order that was cancelled first; with `final` only an order's last row is
        told.
        """
        is_told = (self.phase == FRESH) & ~self["is_cancelled"] & (self.is_end | (not final))
        tells = self.is_ledger & self["is_told"] | is_told
        last = np.maximum.accumulate(np.where(tells, np.arange(len(self)), -1))
        told: Mask = last >= self.start[self.order]
        return told

    def complete(self) -> History:
        """The history with every blank replaced by what was stated last, and on which day.

        Whose an order is, `customer`, follows from that.
        """
        columns = dict(self.columns)
        is_any_stale = (self.phase == STALE).any()
        for name in OPTIONAL:
            nothing = NO_CENTS if name in _MONEY else NO_CODE
            is_stated = self[name] != nothing
            if is_stated.all() and not is_any_stale:
                continue
            sources = self._find_sources(is_stated, self[f"{name}_day"])
            columns[name] = take(self[name], sources, nothing)
            for beside in (f"{name}_day", CLEAR.get(name)):
                if beside:
                    columns[beside] = take(self[beside], sources, NO_CODE)
        columns["customer"] = _choose_customers(columns)
        return replace(self, columns=columns)

    def _find_sources(self, is_stated: Mask, stated_on: npt.NDArray[np.int32]) -> Positions:
        """For each row the last row of its order, up to itself, that states the value; -1 without one.

        A stale row is older than ROBIN's state, but may be newer than the export that stated this value
        (or the only one that ever did): then it, and not the ledger's row, is what was stated last.
        """
        if (stale := self.phase == STALE).any():
            is_stated = is_stated.copy()
            ledger_day = stated_on[self.ledger_row]
            is_stated &= ~stale | (stated_on >= ledger_day[self.order])
            overruled = np.zeros(len(self.start), dtype=np.bool_)
            overruled[self.order[stale & is_stated]] = True
            is_stated &= ~(self.is_ledger & overruled[self.order])
        last = np.maximum.accumulate(np.where(is_stated, np.arange(len(is_stated)), -1))
        return np.where(last >= self.start[self.order], last, -1)

    def decode(self, columns: Columns, dtypes: Mapping[str, str]) -> pd.DataFrame:
        """The columns of `dtypes`, from columns of numbers by the same names."""
        decoded = run_side_by_side(
            *(partial(self._decode_column, name, columns[name], dtype) for name, dtype in dtypes.items())
        )
        return pd.DataFrame(dict(zip(dtypes, decoded, strict=True)))

    def _decode_column(self, name: str, numbers: npt.NDArray[Any], dtype: str) -> Any:
        if dtype == TEXT:
            return self.texts[name].take(numbers, allow_fill=True)
        if dtype == CENTS:
            missing = numbers == NO_CENTS
            return pd.arrays.IntegerArray(np.where(missing, 0, numbers), missing)
        if dtype == FLAG:
            return pd.arrays.BooleanArray(numbers, np.zeros(len(numbers), dtype=np.bool_))
        return numbers.astype(dtype)


def build_history(exported: pd.DataFrame, ledger: pd.DataFrame) -> History:
    """The history of the orders in exported rows and ledger rows, as `reconcile` takes them."""
    columns, texts = _encode(exported, ledger)
    codes, days = columns["order_number"], columns["day"]
    held_on = np.full(len(texts["order_number"]), -1, dtype=np.int32)
    held_on[codes[: len(ledger)]] = days[: len(ledger)]
    phase = np.where(days < held_on[codes], STALE, FRESH).astype(np.int8)
    phase[: len(ledger)] = LEDGER

    # One number for order, phase and day sorts several times as fast as the three do.
    key = (codes.astype(np.int64) * 3 + phase) * (len(texts["day"]) + 1) + days
    ordered = np.argsort(key, kind="stable")
    order = codes[ordered]
    start = np.flatnonzero(np.diff(order, prepend=-1))
    end = np.append(start[1:], len(order)) - 1 if len(order) else start
    columns = {name: column[ordered] for name, column in columns.items()}
    return History(columns, texts, order, phase[ordered], start, end)


def run_side_by_side(*calls: Callable[[], T]) -> list[T]:
    """What these calls give, made on as many threads as there are cores: hashing and moving texts is
    what takes time here, and holds no other thread up.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return [future.result() for future in [threads.submit(call) for call in calls]]


def take(column: npt.NDArray[Any], positions: Positions, nothing: Any) -> npt.NDArray[Any]:
    """The values at these positions, and `nothing` where the position is -1."""
    if not len(column):
        return np.full(len(positions), nothing, dtype=column.dtype)
    return np.where(positions < 0, nothing, column[positions])


def _choose_customers(columns: Columns) -> npt.NDArray[np.int32]:
    """The e-mail address's digest or, without one, the phone number's."""
    return np.where(columns["email"] == NO_CODE, columns["phone"], columns["email"])


def _encode(exported: pd.DataFrame, ledger: pd.DataFrame) -> tuple[Columns, Texts]:
    """The ledger's rows and, behind them, the exported ones."""
    frames = (ledger, exported)
    columns: Columns = {}
    texts: Texts = {"kind": pd.array(KINDS, dtype=TEXT)}
    for encoded, words in run_side_by_side(
        partial(_encode_texts, frames, "order_number"),
        partial(_encode_texts, frames, *CONTACT_DTYPES),
        partial(_encode_texts, frames, "webstore_url"),
        partial(_encode_texts, frames, *DAYS, sort=True),
        partial(_encode_moments, frames, "order_date", "ordered_at"),
        partial(_encode_moments, frames, "placed_at", "placed_second"),
    ):
        columns |= encoded
        texts |= words
    texts |= {"customer": texts["email"], "exported_on": texts["day"]}
    columns["customer"] = _choose_customers(columns)
    for name in _MONEY:
        money = pd.concat([frame[name] for frame in frames], ignore_index=True)
        columns[name] = money.to_numpy(dtype=np.int64, na_value=NO_CENTS)
    for name in OPTIONAL:
        stated_on = np.where(exported[name].isna(), NO_CODE, columns["day"][len(ledger) :])
        columns[f"{name}_day"] = np.concatenate([columns[f"{name}_day"], stated_on])

    # These are never compared as texts, so a row's own place is code enough.
    places = np.arange(len(ledger) + len(exported), dtype=np.int32)
    columns["order_date"] = columns["placed_at"] = places
    texts["old_order_date"] = texts["order_date"]
    for name in CLEAR.values():
        texts[name] = exported[name].array
        columns[name] = np.maximum(places - len(ledger), NO_CODE)
    nothing = np.zeros(len(exported), dtype=np.bool_)
    cancelled = exported["is_cancelled"].to_numpy(dtype=np.bool_, na_value=False)
    for name, of_exported, missing in (
        ("is_first_order", nothing, False),
        ("is_cancelled", cancelled, False),
        ("is_told", nothing, True),
    ):
        of_ledger = ledger[name].to_numpy(dtype=np.bool_, na_value=missing)
        columns[name] = np.concatenate([of_ledger, of_exported])
    return columns, texts


def _encode_texts(
    frames: tuple[pd.DataFrame, ...], *names: str, sort: bool = False
) -> tuple[Columns, Texts]:
    """Columns as codes of one set of texts, sorted or as they come; a frame may lack one of them."""
    found = [(name, frame[name]) for name in names for frame in frames if name in frame]
    codes, words = pd.factorize(pd.concat([column for _, column in found], ignore_index=True), sort=sort)
    ends = np.cumsum([len(column) for _, column in found])
    pieces: dict[str, list[npt.NDArray[np.int32]]] = {name: [] for name in names}
    for (name, _), piece in zip(found, np.split(codes.astype(np.int32), ends[:-1]), strict=True):
        pieces[name].append(piece)
    columns = {name: np.concatenate(pieces[name]) for name in names}
    return columns, dict.fromkeys(names, words.array)


def _encode_moments(
    frames: tuple[pd.DataFrame, pd.DataFrame], name: str, seconds: str
) -> tuple[Columns, Texts]:
    """The ledger's moments and the exported `order_date` as `seconds`, and as texts."""
    ledger, exported = frames
    moments = pd.concat([ledger[name], exported["order_date"]], ignore_index=True)
    texts = pd.array(to_arrow(moments, pa.large_string()), dtype=TEXT)
    return {seconds: count_seconds(texts)}, {name: texts}
