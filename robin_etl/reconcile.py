"""
Reconciliation: what a shop exported, compared with what ROBIN has acknowledged, gives the changes.

One pure function over whole columns: no I/O, no clock, no loop over orders. What ROBIN holds in the
end must depend only on the set of exports, so every rule here is about the newest export that said
something, never about the order in which exports were run.

How: the rows of each order are laid out as one **history**, oldest first: the rows older than ROBIN's
state (**stale**), ROBIN's state itself (the ledger's row), the newer rows. Every row is completed with
what was said before it, and every comparison is then one between neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from robin_etl.orders import (
    CHANGE_DTYPES,
    CONTACT_DTYPES,
    CORRECTION,
    EXPORTED_DTYPES,
    FIRST,
    FLAG,
    LEDGER_DTYPES,
    REPEAT,
    RETURN,
    UPSELL,
    typed,
)

_STALE, _LEDGER, _FRESH = 0, 1, 2

# What an export may leave unsaid; the newest export that said it stands.
_SAID = ("email", "phone", "profit", "webstore_url")
_CLEAR = {"email": "email_address", "phone": "phone_number"}
# What makes a change when revenue is the same.
_COMPARED = (*_SAID, "order_date", "is_first_order")
# What moves forward without anything to tell ROBIN.
_KEPT = ("day", "email_day", "phone_day", "profit_day", "webstore_url_day", "placed_at")

Positions = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Reconciliation:
    """
    What comes of one comparison.

    `changes`: what to send, one row for each order and wave (`orders.CHANGE_DTYPES`), wave by wave,
    oldest first. Its contact columns are null for an order whose customer no exported row names.
    `confirmed`: ledger rows (`orders.LEDGER_DTYPES`) of which nothing is to be sent, but which are
    known to hold for a newer day. `unchanged`, `stale`, `superseded`: numbers of exported rows that
    say what ROBIN holds, are older than that, or are passed over by `final`.
    """

    changes: pd.DataFrame
    confirmed: pd.DataFrame
    unchanged: int
    stale: int
    superseded: int


@dataclass(frozen=True)
class _Layout:
    """
    Where the orders lie in the history: `start` and `end` are the first and last position of each
    order, `order` the order of each row, `phase` what each row is.
    """

    order: Positions
    start: Positions
    end: Positions
    phase: npt.NDArray[np.int8]

    @property
    def is_ledger(self) -> Mask:
        mask: Mask = self.phase == _LEDGER
        return mask

    @property
    def ledger_row(self) -> Positions:
        """For each order the position of its ledger row, or -1."""
        found = np.full(len(self.start), -1, dtype=np.intp)
        positions = np.flatnonzero(self.is_ledger)
        found[self.order[positions]] = positions
        return found


def reconcile(exported: pd.DataFrame, ledger: pd.DataFrame, *, final: bool = False) -> Reconciliation:
    """
    Compare exported rows with the ledger's rows.

    `exported`: one row for each order and day (`orders.EXPORTED_DTYPES`) with the digests of
    `orders.identified`. `ledger` (`orders.LEDGER_DTYPES`): the rows of those orders and, of every
    customer that either names, at least every flagged order and the earliest of the others.
    With `final` only the last version of each order is sent.
    """
    history, at = _history(exported, ledger)
    told = _completed(history, at)
    placed = _seconds(history["placed_at"])
    earliest_row = _earliest_row(placed, at)
    told["placed_at"] = history["placed_at"].take(earliest_row[at.order]).array
    customers = told["customer"].take(at.end).reset_index(drop=True)
    numbers = history["order_number"].take(at.end).reset_index(drop=True)
    is_earliest = _is_earliest(customers, placed[earliest_row], numbers)
    told["is_first_order"] = pd.array(is_earliest[at.order], dtype=FLAG)

    # A ledger row that no newer row follows may still have something to tell: that its order is no
    # longer the first, say. It is then compared with itself as ROBIN holds it.
    is_end = np.zeros(len(history), dtype=np.bool_)
    is_end[at.end] = True
    fresh = at.phase == _FRESH
    version = (fresh | at.is_ledger) & is_end if final else fresh | (at.is_ledger & is_end)
    before = at.ledger_row[at.order] if final else _row_before(at)

    robin = pd.DataFrame({name: told[name].where(~at.is_ledger, history[name]) for name in told.columns})
    candidates = np.flatnonzero(version)
    kinds = _kinds(told.take(candidates), _rows_or_null(robin, before[candidates]))
    sent = candidates[kinds != ""]
    changes = _changes(told.take(sent), _rows_or_null(robin, before[sent]), kinds[kinds != ""])

    closing = _closing_rows(sent, at)
    for column in _KEPT:
        changes[column] = told[column].take(closing).array
    wave = np.arange(len(sent)) - np.searchsorted(at.order[sent], at.order[sent])
    changes["wave"] = wave
    ordered = np.lexsort((sent, _seconds(changes["order_date"]), wave))
    return Reconciliation(
        changes=_with_contacts(
            typed(changes.take(ordered).reset_index(drop=True), CHANGE_DTYPES), exported
        ),
        confirmed=_confirmed(told, history, at, sent, final=final),
        unchanged=int(fresh[candidates].sum() - fresh[sent].sum()),
        stale=int((at.phase == _STALE).sum()),
        superseded=int(fresh.sum() - fresh[candidates].sum()),
    )


def _history(exported: pd.DataFrame, ledger: pd.DataFrame) -> tuple[pd.DataFrame, _Layout]:
    """All rows, those of an order together and oldest first; the ledger's before those of its day."""
    rows = typed(exported, EXPORTED_DTYPES | CONTACT_DTYPES)
    for name in _SAID:
        rows[f"{name}_day"] = rows["day"].where(rows[name].notna())
    rows["placed_at"] = rows["order_date"]
    both = pd.concat([ledger, rows], ignore_index=True)

    codes, numbers = pd.factorize(both["order_number"])
    days, _ = pd.factorize(both["day"], sort=True)
    held_on = np.full(len(numbers), -1)
    held_on[codes[: len(ledger)]] = days[: len(ledger)]
    phase = np.where(days < held_on[codes], _STALE, _FRESH).astype(np.int8)
    phase[: len(ledger)] = _LEDGER

    ordered = np.lexsort((days, phase, codes))
    order = codes[ordered]
    start = np.flatnonzero(np.diff(order, prepend=-1))
    end = np.append(start[1:], len(order)) - 1 if len(order) else start
    at = _Layout(order=order, start=start, end=end, phase=phase[ordered])
    return both.take(ordered).reset_index(drop=True), at


def _completed(history: pd.DataFrame, at: _Layout) -> pd.DataFrame:
    """The history with every unsaid value replaced by what was said last, and on which day."""
    told = history.drop(columns="is_first_order")
    for name in _SAID:
        source = _row_that_said(history[name].notna().to_numpy(), history[f"{name}_day"], at)
        for column in filter(None, (name, f"{name}_day", _CLEAR.get(name))):
            told[column] = history[column].array.take(source, allow_fill=True)
    told["customer"] = told["email"].fillna(told["phone"])
    return told


def _row_that_said(said: Mask, said_on: pd.Series, at: _Layout) -> Positions:
    """
    For each row the last row of its order, up to itself, that said the value; -1 without one.

    A stale row is older than ROBIN's state, but may be newer than the export that said this value
    (or the only one that ever did): then it, and not the ledger's row, is what was said last.
    """
    if (stale := at.phase == _STALE).any():
        said = said.copy()
        days, _ = pd.factorize(said_on, sort=True)  # unsaid: -1
        ledger_day = days[at.ledger_row]
        said &= ~stale | (days >= ledger_day[at.order])
        overruled = np.zeros(len(at.start), dtype=np.bool_)
        overruled[at.order[stale & said]] = True
        said &= ~(at.is_ledger & overruled[at.order])
    positions = np.arange(len(said))
    last = np.maximum.accumulate(np.where(said, positions, -1)) if len(said) else positions
    return np.where(last >= at.start[at.order], last, -1)


def _earliest_row(placed: npt.NDArray[np.int64], at: _Layout) -> Positions:
    """For each order the row with the earliest date it was ever exported with."""
    ordered = np.lexsort((placed, at.order))
    return ordered[at.start]


def _is_earliest(customers: pd.Series, placed: npt.NDArray[np.int64], numbers: pd.Series) -> Mask:
    """For each order whether it is its customer's earliest by (placed_at, order_number)."""
    codes, distinct = pd.factorize(customers, use_na_sentinel=False)
    first = np.full(len(distinct), np.iinfo(np.int64).max)
    np.minimum.at(first, codes, placed)
    earliest: Mask = placed == first[codes]
    tied = earliest & (np.bincount(codes[earliest], minlength=len(distinct))[codes] > 1)
    if tied.any():
        ties = pd.DataFrame({"customer": codes[tied], "number": numbers[tied]})
        later = ties.sort_values("number").duplicated("customer")
        earliest[later.index[later]] = False
    return earliest


def _row_before(at: _Layout) -> Positions:
    """For each version the row that says what ROBIN holds before it; -1 for an order new to ROBIN."""
    positions = np.arange(len(at.order))
    before = np.where(at.is_ledger, positions, positions - 1)
    return np.where(before >= at.start[at.order], before, -1)


def _kinds(told: pd.DataFrame, before: pd.DataFrame) -> npt.NDArray[np.object_]:
    """The kind of change of each version, or "" where nothing changed."""
    new = before["order_number"].isna().to_numpy()
    now, held = (frame["revenue"].to_numpy(dtype=np.int64, na_value=0) for frame in (told, before))
    differs = np.zeros(len(told), dtype=np.bool_)
    for column in _COMPARED:
        left, right = told[column].reset_index(drop=True), before[column].reset_index(drop=True)
        unequal = (left != right).fillna(value=True).to_numpy(dtype=np.bool_)
        differs |= unequal & ~(left.isna() & right.isna()).to_numpy()
    first = told["is_first_order"].to_numpy(dtype=np.bool_)
    return np.select(
        [new & first, new, now < held, now > held, differs],
        [FIRST, REPEAT, RETURN, UPSELL, CORRECTION],
        default="",
    ).astype(object)


def _changes(told: pd.DataFrame, before: pd.DataFrame, kinds: npt.NDArray[np.object_]) -> pd.DataFrame:
    changes = told.reset_index(drop=True)
    changes["kind"] = kinds
    changes["old_revenue"] = before["revenue"].array
    changes["old_profit"] = before["profit"].array
    return changes


def _closing_rows(sent: Positions, at: _Layout) -> Positions:
    """
    For each change the last row that still says the same: the one before the order's next change.

    The acknowledged state stands for that row's day, so that a day run late can't undo it.
    """
    if not len(sent):
        return sent
    following: Positions = np.append(sent[1:], len(at.order)) - 1
    return np.minimum(following, at.end[at.order[sent]])


def _confirmed(
    told: pd.DataFrame, history: pd.DataFrame, at: _Layout, sent: Positions, *, final: bool
) -> pd.DataFrame:
    """The ledger rows that the rows right after them repeat, with the days of the last of those."""
    has_row = np.flatnonzero(at.ledger_row >= 0)
    ledger_row = at.ledger_row[has_row]
    position = np.searchsorted(sent, at.start[has_row])
    first_sent = np.append(sent, len(at.order))[position]
    changes = first_sent <= at.end[has_row]
    closing = np.where(changes, first_sent - 1, at.end[has_row])
    # A ledger row that is followed by a change at once has been repeated by nothing; nor does
    # `final` compare the rows that it passes over.
    repeated = ~changes | (closing > ledger_row) & (not final)
    ledger_row, closing = ledger_row[repeated], closing[repeated]

    kept = list(_KEPT)
    now = told[kept].take(closing).reset_index(drop=True)
    held = history[kept].take(ledger_row).reset_index(drop=True)
    moved = ((now != held) & ~(now.isna() & held.isna())).any(axis=1).to_numpy()
    confirmed = history.take(ledger_row[moved]).reset_index(drop=True)
    confirmed[kept] = now[moved].reset_index(drop=True)
    return typed(confirmed, LEDGER_DTYPES)


def _with_contacts(changes: pd.DataFrame, exported: pd.DataFrame) -> pd.DataFrame:
    """The changes with the contact in clear where any exported row of that customer has it."""
    for digest, clear in _CLEAR.items():
        known = exported[[digest, clear]].dropna().drop_duplicates(digest, keep="last")
        named = changes[digest].map(known.set_index(digest)[clear]).astype(changes[clear].dtype)
        changes[clear] = changes[clear].fillna(named)
    return changes


def _rows_or_null(frame: pd.DataFrame, positions: Positions) -> pd.DataFrame:
    """The rows at these positions, all null where the position is -1."""
    return pd.DataFrame(
        {name: frame[name].array.take(positions, allow_fill=True) for name in frame.columns}
    )


def _seconds(moments: pd.Series) -> npt.NDArray[np.int64]:
    parsed = pd.to_datetime(moments, format="ISO8601", utc=True).dt.tz_convert(None)
    return parsed.to_numpy(dtype="datetime64[s]").astype(np.int64)
