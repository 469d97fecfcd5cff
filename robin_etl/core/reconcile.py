"""Reconciliation: what a shop exported, compared with what ROBIN has acknowledged, gives the changes.

One pure function over whole columns: no I/O, no clock, no loop over orders. What ROBIN holds in the
end must depend only on the set of exports, so every rule here is about the newest export that said
something, never about the order in which exports were run.

How: the rows of each order are laid out as one **history**, oldest first: the rows older than ROBIN's
state (**stale**), ROBIN's state itself (the ledger's row), the newer rows. Every row is completed with
what was said before it, and every comparison is then one between neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.extensions import ExtensionArray

from robin_etl.core.columns import (
    CHANGE_DTYPES,
    CORRECTION,
    FIRST,
    KINDS,
    LEDGER_DTYPES,
    REPEAT,
    RETURN,
    TEXT,
    UPSELL,
)
from robin_etl.core.history import (
    CLEAR,
    DAYS,
    FRESH,
    NO_CENTS,
    NO_CODE,
    OPTIONAL,
    STALE,
    Columns,
    History,
    Mask,
    Positions,
    build_history,
    take,
)

# What makes a change when revenue is the same.
_COMPARED = (*OPTIONAL, "ordered_at", "is_first_order")
# What moves forward without a change for ROBIN.
_SILENT = (*DAYS, "placed_at", "is_cancelled")

# What a change says of an order, and to whom.
_STATE = (*LEDGER_DTYPES, *CLEAR.values())

_NO_CHANGE = -1
_FIRST, _REPEAT, _RETURN, _UPSELL, _CORRECTION = map(
    KINDS.index, (FIRST, REPEAT, RETURN, UPSELL, CORRECTION)
)


@dataclass(frozen=True)
class Reconciliation:
    """What comes of one comparison.

    `changes`: what to send, one row for each order and wave (`columns.CHANGE_DTYPES`), wave by wave,
    oldest first. Its contact columns are null for an order whose customer no exported row names.
    `confirmed`: ledger rows (`columns.LEDGER_DTYPES`) of which nothing is to be sent, but which are
    known to hold for a newer day, and those of cancelled orders that ROBIN is never told of.
    `unchanged`, `stale`, `superseded`, `untold`: numbers of exported rows that say what ROBIN holds, are
    older than that, are passed over by `final`, or are of such cancelled orders.
    """

    changes: pd.DataFrame
    confirmed: pd.DataFrame
    unchanged: int
    stale: int
    superseded: int
    untold: int


def reconcile(exported: pd.DataFrame, ledger: pd.DataFrame, *, final: bool = False) -> Reconciliation:
    """Compare exported rows with the ledger's rows.

    `exported`: one row for each order and day (`columns.EXPORTED_DTYPES`) with the digests of
    `customers.add_digests`. `ledger` (`columns.LEDGER_DTYPES`): the rows of those orders and, of every
    customer that either names, at least every flagged order and the earliest of the others.
    With `final` only the last version of each order is sent.
    """
    rows = build_history(exported, ledger)
    states = _complete_states(rows, final=final)
    held = _find_held(rows, states)
    candidates, before = _find_candidates(rows, states, final=final)
    is_untold = ~states["is_told"][candidates]
    kinds = np.where(is_untold, _NO_CHANGE, _classify(states, held, candidates, before))
    is_sent = kinds != _NO_CHANGE
    sent, before, kinds = candidates[is_sent], before[is_sent], kinds[is_sent]
    changes = {
        **_describe_changes(rows, states, sent),
        **_describe_held(states, held, sent, before),
        "kind": kinds,
        "exported_on": rows["day"][sent],
    }
    oldest_first = np.lexsort((sent, states["ordered_at"][sent], changes["wave"]))
    changes = {name: column[oldest_first] for name, column in changes.items()}
    is_fresh = rows.phase == FRESH
    untold = int((is_fresh[candidates] & is_untold).sum())
    return Reconciliation(
        changes=_name_customers(rows.decode(changes, CHANGE_DTYPES), exported),
        confirmed=rows.decode(_find_confirmed(rows, states, sent, final=final), LEDGER_DTYPES),
        unchanged=int(is_fresh[candidates].sum() - is_fresh[sent].sum()) - untold,
        stale=int((rows.phase == STALE).sum()),
        superseded=int(is_fresh.sum() - is_fresh[candidates].sum()),
        untold=untold,
    )


def _complete_states(rows: History, *, final: bool) -> History:
    """The completed rows with the earliest date of each order, which is its customer's first, and which
    ROBIN is told of.

    A cancelled order is nobody's first. It keeps the flag that ROBIN holds, since what it was worth is
    taken back from where it was counted.
    """
    completed = rows.complete()
    earliest = _find_earliest_rows(rows)
    is_first = take(rows["is_first_order"], rows.ledger_row, nothing=False)
    placed = np.flatnonzero(~rows["is_cancelled"][rows.end])
    numbers = rows["order_number"][rows.end][placed]
    is_first[placed] = _is_earliest(
        completed["customer"][rows.end][placed],
        rows["placed_second"][earliest][placed],
        lambda tied: rows.texts["order_number"].take(numbers[tied]),
    )
    found = {
        "placed_at": rows["placed_at"][earliest][rows.order],
        "placed_second": rows["placed_second"][earliest][rows.order],
        "is_first_order": is_first[rows.order],
        "is_told": rows.find_told(final=final),
    }
    return replace(completed, columns={**completed.columns, **found})


def _find_earliest_rows(rows: History) -> Positions:
    """For each order the row with its earliest date."""
    if not len(rows):
        return rows.start
    seconds = rows["placed_second"]
    least = np.flatnonzero(seconds == np.minimum.reduceat(seconds, rows.start)[rows.order])
    earliest = np.empty_like(rows.start)
    earliest[rows.order[least]] = least
    return earliest


def _is_earliest(
    customers: npt.NDArray[np.int32],
    placed_at: npt.NDArray[np.int64],
    numbers: Callable[[Positions], ExtensionArray],
) -> Mask:
    """For each order whether it is its customer's earliest by (placed_at, order_number)."""
    customers = customers + 1  # the one who is nobody, -1, counts as one
    first = np.full(customers.max(initial=0) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, customers, placed_at)
    earliest: Mask = placed_at == first[customers]
    tied = np.flatnonzero(earliest & (np.bincount(customers[earliest])[customers] > 1))
    if len(tied):
        ties = pd.DataFrame({"customer": customers[tied], "number": numbers(tied)}, index=tied)
        later = ties.sort_values("number").duplicated("customer")
        earliest[later.index[later]] = False
    return earliest


def _find_held(rows: History, states: History) -> History:
    """What ROBIN holds at each row: at a ledger row what it holds now, else the state sent with it."""
    held = dict(states.columns)
    differing = (*OPTIONAL, "is_first_order") if (rows.phase == STALE).any() else ("is_first_order",)
    for name in differing:
        held[name] = np.where(rows.is_ledger, rows[name], states[name])
    return replace(states, columns=held)


def _find_candidates(rows: History, states: History, *, final: bool) -> tuple[Positions, Positions]:
    """The rows that may be a change, and for each the one that it is compared with, or -1 where ROBIN
    holds nothing of the order before it.

    A ledger row that no newer row follows may be one: its order may no longer be the first, say. It is
    then compared with itself as ROBIN holds it.
    """
    is_fresh = rows.phase == FRESH
    is_current = is_fresh | rows.is_ledger
    candidates = np.flatnonzero(is_current & (rows.is_end | is_fresh & (not final)))
    before = (rows.ledger_row[rows.order] if final else rows.find_rows_before())[candidates]
    return candidates, np.where(take(states["is_told"], before, nothing=False), before, -1)


def _classify(
    states: History, held: History, candidates: Positions, before: Positions
) -> npt.NDArray[np.int8]:
    """The kind of change of these rows against the ones before them, as its place in `KINDS`."""
    is_new = before < 0
    differs = np.zeros(len(candidates), dtype=np.bool_)
    for name in _COMPARED:
        differs |= states[name][candidates] != held[name][before]
    now, old = states["revenue"][candidates], held["revenue"][before]
    is_first = states["is_first_order"][candidates]
    kinds = np.select(
        [is_new & is_first, is_new, now < old, now > old, differs],
        [_FIRST, _REPEAT, _RETURN, _UPSELL, _CORRECTION],
        default=_NO_CHANGE,
    )
    return kinds.astype(np.int8)


def _describe_changes(rows: History, states: History, sent: Positions) -> Columns:
    """The state that each change leaves, and its wave."""
    closing = _find_closing_rows(rows, sent)
    wave = np.arange(len(sent)) - np.searchsorted(rows.order[sent], rows.order[sent])
    wave += _is_departure(rows, states, sent)
    state = {name: states[name][closing if name in _SILENT else sent] for name in _STATE}
    return {**state, "wave": wave}


def _describe_held(states: History, held: History, sent: Positions, before: Positions) -> Columns:
    """What ROBIN holds of each change's order before it; nothing of one that is new."""
    is_known = before >= 0
    return {
        "old_revenue": take(held["revenue"], before, NO_CENTS),
        "old_profit": take(held["profit"], before, NO_CENTS),
        "old_order_date": take(held["order_date"], before, NO_CODE),
        "was_first_order": is_known & take(held["is_first_order"], before, nothing=False),
        "is_other_customer": is_known & (held["customer"][before] != states["customer"][sent]),
    }


def _is_departure(rows: History, states: History, sent: Positions) -> Mask:
    """Which changes take an order from a customer who is left with corrections no exported row names.

    Once such a change is acknowledged, a run that is cut off finds that customer neither in its export
    nor in the ledger's rows of it. So it goes a wave after those corrections.
    """
    order = rows.order[sent]
    is_of_unnamed: Mask = rows.is_ledger[sent] & (rows.start[order] == rows.end[order])
    if not is_of_unnamed.any():
        return is_of_unnamed
    customer = take(rows["customer"], rows.ledger_row[order], NO_CODE)
    is_left: Mask = customer != states["customer"][rows.end[order]]
    return is_left & np.isin(customer, customer[is_of_unnamed])


def _find_closing_rows(rows: History, sent: Positions) -> Positions:
    """For each change the last row that still says the same: the one before the order's next change.

    The acknowledged state stands for that row's day, so that a day run late can't undo it.
    """
    if not len(sent):
        return sent
    following: Positions = np.append(sent[1:], len(rows)) - 1
    return np.minimum(following, rows.end[rows.order[sent]])


def _find_confirmed(rows: History, states: History, sent: Positions, *, final: bool) -> Columns:
    """The ledger rows that the rows right after them repeat, with the days of the last of those; and
    what was said last of cancelled orders that ROBIN is never told of.
    """
    ledger_row, closing = _find_repeated(rows, sent, final=final)
    is_untold: Mask = ~rows["is_told"][ledger_row]
    moved = _find_differing((*DAYS, "placed_second", "is_cancelled"), states, closing, rows, ledger_row)
    stated = _find_differing((*OPTIONAL, "ordered_at", "revenue"), states, closing, rows, ledger_row)
    told, untold = moved & ~is_untold, (moved | stated) & is_untold
    unknown = rows.end[(rows.ledger_row < 0) & ~states["is_told"][rows.end]]
    unknown = unknown[states["customer"][unknown] != NO_CODE]
    remembered = np.append(closing[untold], unknown)
    confirmed = {
        name: states[name][closing[told]] if name in _SILENT else rows[name][ledger_row[told]]
        for name in LEDGER_DTYPES
    }
    return {name: np.append(confirmed[name], states[name][remembered]) for name in LEDGER_DTYPES}


def _find_repeated(rows: History, sent: Positions, *, final: bool) -> tuple[Positions, Positions]:
    """The ledger rows that the rows right after them repeat, and the last of those rows."""
    has_row = np.flatnonzero(rows.ledger_row >= 0)
    ledger_row = rows.ledger_row[has_row]
    position = np.searchsorted(sent, rows.start[has_row])
    first_sent = np.append(sent, len(rows))[position]
    changes = first_sent <= rows.end[has_row]
    closing = np.where(changes, first_sent - 1, rows.end[has_row])
    # A ledger row that is followed by a change at once has been repeated by nothing; nor does
    # `final` compare the rows that it passes over.
    repeated = ~changes | (closing > ledger_row) & (not final)
    return ledger_row[repeated], closing[repeated]


def _find_differing(
    names: Iterable[str], states: History, closing: Positions, rows: History, ledger_row: Positions
) -> Mask:
    """Which of these states differ from their ledger rows in any of these columns."""
    differs = np.zeros(len(closing), dtype=np.bool_)
    for name in names:
        differs |= states[name][closing] != rows[name][ledger_row]
    return differs


def _name_customers(changes: pd.DataFrame, exported: pd.DataFrame) -> pd.DataFrame:
    """The changes with their contacts named in clear where any exported row names the same."""
    for digest, clear in CLEAR.items():
        wanted = changes[clear].isna() & changes[digest].notna()
        if wanted.any():
            known = exported[[digest, clear]].dropna().drop_duplicates(digest, keep="last")
            named = changes[digest][wanted].map(known.set_index(digest)[clear])
            changes.loc[wanted, clear] = named.astype(TEXT)
    return changes
