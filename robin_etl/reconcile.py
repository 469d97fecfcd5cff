"""Reconciliation: what a shop exported, compared with what ROBIN has acknowledged, gives the changes.

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
from pandas.api.extensions import ExtensionArray

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
    TEXT,
    UPSELL,
    moments_as_seconds,
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

# What a change says of an order, and to whom.
_STATE = (*LEDGER_DTYPES, *_CLEAR.values())

Columns = dict[str, ExtensionArray]
Positions = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Reconciliation:
    """What comes of one comparison.

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
    """Where the orders lie in the history: `start` and `end` are the first and last position of each
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
    """Compare exported rows with the ledger's rows.

    `exported`: one row for each order and day (`orders.EXPORTED_DTYPES`) with the digests of
    `orders.identified`. `ledger` (`orders.LEDGER_DTYPES`): the rows of those orders and, of every
    customer that either names, at least every flagged order and the earliest of the others.
    With `final` only the last version of each order is sent.
    """
    history, at = _history(exported, ledger)
    told = _completed(history, at)
    ordered_at = moments_as_seconds(history["order_date"])
    placed_at = np.where(at.is_ledger, moments_as_seconds(history["placed_at"]), ordered_at)
    earliest = np.lexsort((placed_at, at.order))[at.start]
    told["placed_at"] = history["placed_at"].take(earliest[at.order])
    is_first = _is_earliest(
        told["customer"].take(at.end), placed_at[earliest], told["order_number"].take(at.end)
    )
    told["is_first_order"] = pd.array(is_first[at.order], dtype=FLAG)

    # A ledger row that no newer row follows may still have something to tell: that its order is no
    # longer the first, say. It is then compared with itself as ROBIN holds it.
    is_end = np.zeros(len(at.order), dtype=np.bool_)
    is_end[at.end] = True
    fresh = at.phase == _FRESH
    version = (fresh | at.is_ledger) & is_end if final else fresh | (at.is_ledger & is_end)
    before = at.ledger_row[at.order] if final else _row_before(at)

    held = _as_robin_holds_it(told, history, at)
    candidates = np.flatnonzero(version)
    kinds = _kinds(told, held, candidates, before[candidates])
    is_sent = kinds != ""
    sent, kinds = candidates[is_sent], kinds[is_sent]
    wave = np.arange(len(sent)) - np.searchsorted(at.order[sent], at.order[sent])
    oldest_first = np.lexsort((sent, ordered_at[sent], wave))
    closing = _closing_rows(sent, at)[oldest_first]
    rows = sent[oldest_first]
    columns = {
        **{name: told[name].take(closing if name in _KEPT else rows) for name in _STATE},
        "kind": kinds[oldest_first],
        "wave": wave[oldest_first],
        "old_revenue": _take(held["revenue"], before[rows]),
        "old_profit": _take(held["profit"], before[rows]),
    }
    return Reconciliation(
        changes=_with_contacts(typed(pd.DataFrame(columns), CHANGE_DTYPES), exported),
        confirmed=_confirmed(told, history, at, sent, final=final),
        unchanged=int(fresh[candidates].sum() - fresh[sent].sum()),
        stale=int((at.phase == _STALE).sum()),
        superseded=int(fresh.sum() - fresh[candidates].sum()),
    )


def _history(exported: pd.DataFrame, ledger: pd.DataFrame) -> tuple[Columns, _Layout]:
    """All rows, those of an order together and oldest first; the ledger's before those of its day."""
    rows: dict[str, pd.Series] = {name: exported[name] for name in EXPORTED_DTYPES | CONTACT_DTYPES}
    for name in _SAID:
        rows[f"{name}_day"] = exported["day"].where(exported[name].notna())
    rows["placed_at"] = exported["order_date"]
    both: dict[str, pd.Series] = {}
    for name, dtype in (EXPORTED_DTYPES | LEDGER_DTYPES).items():
        parts = [
            known[name] if name in known else pd.Series(index=index, dtype=dtype)
            for known, index in ((ledger, ledger.index), (rows, exported.index))
        ]
        both[name] = pd.concat(parts, ignore_index=True)

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
    return {name: column.array.take(ordered) for name, column in both.items()}, at


def _completed(history: Columns, at: _Layout) -> Columns:
    """The history with every unsaid value replaced by what was said last, and on which day."""
    told = dict(history)
    for name in _SAID:
        source = _row_that_said(~history[name].isna(), history[f"{name}_day"], at)
        for column in filter(None, (name, f"{name}_day", _CLEAR.get(name))):
            told[column] = _take(history[column], source)
    told["customer"] = pd.Series(told["email"]).fillna(pd.Series(told["phone"])).array
    return told


def _as_robin_holds_it(told: Columns, history: Columns, at: _Layout) -> Columns:
    """What each row leaves ROBIN holding: at a ledger row what it holds now, else what is told."""
    held = dict(told)
    differing = (*_SAID, "is_first_order") if (at.phase == _STALE).any() else ("is_first_order",)
    for name in differing:
        held[name] = pd.Series(told[name]).where(~at.is_ledger, pd.Series(history[name])).array
    return held


def _row_that_said(said: Mask, said_on: ExtensionArray, at: _Layout) -> Positions:
    """For each row the last row of its order, up to itself, that said the value; -1 without one.

    A stale row is older than ROBIN's state, but may be newer than the export that said this value
    (or the only one that ever did): then it, and not the ledger's row, is what was said last.
    """
    if (stale := at.phase == _STALE).any():
        said = said.copy()
        days, _ = pd.factorize(pd.Series(said_on), sort=True)  # unsaid: -1
        ledger_day = days[at.ledger_row]
        said &= ~stale | (days >= ledger_day[at.order])
        overruled = np.zeros(len(at.start), dtype=np.bool_)
        overruled[at.order[stale & said]] = True
        said &= ~(at.is_ledger & overruled[at.order])
    positions = np.arange(len(said))
    last = np.maximum.accumulate(np.where(said, positions, -1)) if len(said) else positions
    return np.where(last >= at.start[at.order], last, -1)


def _is_earliest(
    customers: ExtensionArray, placed_at: npt.NDArray[np.int64], numbers: ExtensionArray
) -> Mask:
    """For each order whether it is its customer's earliest by (placed_at, order_number)."""
    codes, distinct = pd.factorize(pd.Series(customers), use_na_sentinel=False)
    first = np.full(len(distinct), np.iinfo(np.int64).max)
    np.minimum.at(first, codes, placed_at)
    earliest: Mask = placed_at == first[codes]
    tied = np.flatnonzero(earliest & (np.bincount(codes[earliest])[codes] > 1))
    if len(tied):
        ties = pd.DataFrame({"customer": codes[tied], "number": numbers.take(tied)}, index=tied)
        later = ties.sort_values("number").duplicated("customer")
        earliest[later.index[later]] = False
    return earliest


def _row_before(at: _Layout) -> Positions:
    """For each version the row that says what ROBIN holds before it; -1 for an order new to ROBIN."""
    positions = np.arange(len(at.order))
    before = np.where(at.is_ledger, positions, positions - 1)
    return np.where(before >= at.start[at.order], before, -1)


def _kinds(told: Columns, held: Columns, rows: Positions, before: Positions) -> npt.NDArray[np.object_]:
    """The kind of change of these rows against the ones before them, or "" where nothing changed."""
    new = before < 0
    now, old = (
        revenue.to_numpy(dtype=np.int64, na_value=0)
        for revenue in (told["revenue"].take(rows), _take(held["revenue"], before))
    )
    differs = np.zeros(len(rows), dtype=np.bool_)
    for name in _COMPARED:
        differs |= _differ(told[name].take(rows), _take(held[name], before))
    first = told["is_first_order"].take(rows).to_numpy(dtype=np.bool_)
    return np.select(
        [new & first, new, now < old, now > old, differs],
        [FIRST, REPEAT, RETURN, UPSELL, CORRECTION],
        default="",
    ).astype(object)


def _closing_rows(sent: Positions, at: _Layout) -> Positions:
    """For each change the last row that still says the same: the one before the order's next change.

    The acknowledged state stands for that row's day, so that a day run late can't undo it.
    """
    if not len(sent):
        return sent
    following: Positions = np.append(sent[1:], len(at.order)) - 1
    return np.minimum(following, at.end[at.order[sent]])


def _confirmed(
    told: Columns, history: Columns, at: _Layout, sent: Positions, *, final: bool
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

    moved = np.zeros(len(closing), dtype=np.bool_)
    for name in _KEPT:
        moved |= _differ(told[name].take(closing), history[name].take(ledger_row))
    ledger_row, closing = ledger_row[moved], closing[moved]
    return pd.DataFrame(
        {
            name: told[name].take(closing) if name in _KEPT else history[name].take(ledger_row)
            for name in LEDGER_DTYPES
        }
    )


def _with_contacts(changes: pd.DataFrame, exported: pd.DataFrame) -> pd.DataFrame:
    """The changes with their customer named in clear where any exported row of that customer does."""
    for digest, clear in _CLEAR.items():
        wanted = (changes[digest] == changes["customer"]) & changes[clear].isna()
        if wanted.any():
            known = exported[[digest, clear]].dropna().drop_duplicates(digest, keep="last")
            named = changes[digest][wanted].map(known.set_index(digest)[clear])
            changes.loc[wanted, clear] = named.astype(TEXT)
    return changes


def _take(column: ExtensionArray, positions: Positions) -> ExtensionArray:
    """The values at these positions, null where the position is -1."""
    return column.take(positions, allow_fill=True)


def _differ(left: ExtensionArray, right: ExtensionArray) -> Mask:
    """Where two columns differ; two nulls are the same."""
    unequal: Mask = pd.Series(left != right, dtype=FLAG).to_numpy(dtype=np.bool_, na_value=True)
    return unequal & ~(left.isna() & right.isna())
