"""The history of every order: ROBIN's state of it and the rows of its exports, oldest first.

Texts are encoded as whole numbers (**codes**), so that rows can be moved, completed and compared at
the price of integers; they are decoded once, for what is told in the end. Pure.
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

# What an export may leave unsaid; the newest export that said it stands.
SAID = ("email", "phone", "profit", "webstore_url")
CLEAR = {"email": "email_address", "phone": "phone_number"}
DAYS = ("day", *(f"{name}_day" for name in SAID))
_MONEY = ("revenue", "profit")

# What stands for null in a column of codes, and in one of cents.
UNSAID = -1
NO_CENTS = np.iinfo(np.int64).min

Columns = dict[str, npt.NDArray[Any]]
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
    texts: Mapping[str, ExtensionArray]
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

    def row_before(self) -> Positions:
        """For each row the one that says what ROBIN holds before it; -1 for an order new to ROBIN."""
        positions = np.arange(len(self))
        before = np.where(self.is_ledger, positions, positions - 1)
        return np.where(before >= self.start[self.order], before, -1)

    def completed(self) -> History:
        """The history with every unsaid value replaced by what was said last, and on which day.

        Whose an order is, `customer`, follows from that.
        """
        told = dict(self.columns)
        is_any_stale = (self.phase == STALE).any()
        for name in SAID:
            nothing = NO_CENTS if name in _MONEY else UNSAID
            said = self[name] != nothing
            if said.all() and not is_any_stale:  # each row says it for itself
                continue
            source = self._row_that_said(said, self[f"{name}_day"])
            told[name] = taken(self[name], source, nothing)
            for beside in (f"{name}_day", CLEAR.get(name)):
                if beside:
                    told[beside] = taken(self[beside], source, UNSAID)
        told["customer"] = _customer(told)
        return replace(self, columns=told)

    def _row_that_said(self, said: Mask, said_on: npt.NDArray[np.int32]) -> Positions:
        """For each row the last row of its order, up to itself, that said the value; -1 without one.

        A stale row is older than ROBIN's state, but may be newer than the export that said this value
        (or the only one that ever did): then it, and not the ledger's row, is what was said last.
        """
        if (stale := self.phase == STALE).any():
            said = said.copy()
            ledger_day = said_on[self.ledger_row]
            said &= ~stale | (said_on >= ledger_day[self.order])
            overruled = np.zeros(len(self.start), dtype=np.bool_)
            overruled[self.order[stale & said]] = True
            said &= ~(self.is_ledger & overruled[self.order])
        last = np.maximum.accumulate(np.where(said, np.arange(len(said)), -1))
        return np.where(last >= self.start[self.order], last, -1)

    def decoded(self, columns: Columns, dtypes: Mapping[str, str]) -> pd.DataFrame:
        """Rows as they are told: the columns of `dtypes`, from columns of numbers by the same names."""
        decoded = side_by_side(
            *(partial(self._decoded, name, columns[name], dtype) for name, dtype in dtypes.items())
        )
        return pd.DataFrame(dict(zip(dtypes, decoded, strict=True)))

    def _decoded(self, name: str, numbers: npt.NDArray[Any], dtype: str) -> Any:
        if dtype == TEXT:
            return self.texts[name].take(numbers, allow_fill=True)
        if dtype == CENTS:
            missing = numbers == NO_CENTS
            return pd.arrays.IntegerArray(np.where(missing, 0, numbers), missing)
        if dtype == FLAG:
            return pd.arrays.BooleanArray(numbers, np.zeros(len(numbers), dtype=np.bool_))
        return numbers.astype(dtype)


def history(exported: pd.DataFrame, ledger: pd.DataFrame) -> History:
    """The history of the orders in exported rows and ledger rows, as `reconcile` takes them."""
    columns, texts = _encoded(exported, ledger)
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


def side_by_side(*calls: Callable[[], T]) -> list[T]:
    """What these calls give, made on as many threads as there are cores: hashing and moving texts is
    what takes time here, and holds no other thread up.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return [future.result() for future in [threads.submit(call) for call in calls]]


def taken(column: npt.NDArray[Any], positions: Positions, nothing: Any) -> npt.NDArray[Any]:
    """The values at these positions, and `nothing` where the position is -1."""
    if not len(column):
        return np.full(len(positions), nothing, dtype=column.dtype)
    return np.where(positions < 0, nothing, column[positions])


def _customer(columns: Columns) -> npt.NDArray[np.int32]:
    """The e-mail address's digest or, without one, the phone number's."""
    return np.where(columns["email"] == UNSAID, columns["phone"], columns["email"])


def _encoded(exported: pd.DataFrame, ledger: pd.DataFrame) -> tuple[Columns, dict[str, ExtensionArray]]:
    """The ledger's rows and, behind them, the exported ones."""
    columns: Columns = {}
    texts: dict[str, ExtensionArray] = {"kind": pd.array(KINDS, dtype=TEXT)}

    both = (ledger, exported)

    def share_codes(*names: str, sort: bool = False) -> None:
        parts = [frame[name] for name in names for frame in both if name in frame]
        codes, words = pd.factorize(pd.concat(parts, ignore_index=True), sort=sort)
        pieces = iter(np.split(codes.astype(np.int32), np.cumsum([len(part) for part in parts])[:-1]))
        for name in names:
            columns[name] = np.concatenate([next(pieces) for frame in both if name in frame])
            texts[name] = words.array

    def keep_moments(name: str, seconds: str) -> None:
        moments = pd.concat([ledger[name], exported["order_date"]], ignore_index=True)
        texts[name] = pd.array(to_arrow(moments, pa.large_string()), dtype=TEXT)
        columns[seconds] = count_seconds(texts[name])

    side_by_side(
        partial(share_codes, "order_number"),
        partial(share_codes, *CONTACT_DTYPES),
        partial(share_codes, "webstore_url"),
        partial(share_codes, *DAYS, sort=True),
        partial(keep_moments, "order_date", "ordered_at"),
        partial(keep_moments, "placed_at", "placed_second"),
    )
    texts["customer"] = texts["email"]
    columns["customer"] = _customer(columns)
    for name in _MONEY:
        money = pd.concat([ledger[name], exported[name]], ignore_index=True)
        columns[name] = money.to_numpy(dtype=np.int64, na_value=NO_CENTS)
    for name in SAID:
        said_on = np.where(exported[name].isna(), UNSAID, columns["day"][len(ledger) :])
        columns[f"{name}_day"] = np.concatenate([columns[f"{name}_day"], said_on])

    # These are never compared as texts, so a row's own place is code enough.
    places = np.arange(len(ledger) + len(exported), dtype=np.int32)
    columns["order_date"] = columns["placed_at"] = places
    for name in CLEAR.values():
        texts[name] = exported[name].array
        columns[name] = np.maximum(places - len(ledger), UNSAID)
    flags = np.zeros(len(places), dtype=np.bool_)
    flags[: len(ledger)] = ledger["is_first_order"].to_numpy(dtype=np.bool_)
    columns["is_first_order"] = flags
    return columns, texts
