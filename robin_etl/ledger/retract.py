"""Taking a baseline back: what was acknowledged without a post is taken out of the ledger, by day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd
import sqlalchemy as sa
from upath import UPath

from robin_etl.core import columns
from robin_etl.core.words import count
from robin_etl.exceptions import StoppedError
from robin_etl.ledger import moves
from robin_etl.ledger.journal import Journals
from robin_etl.ledger.ledger import Ledger
from robin_etl.ledger.schema import ORDERS
from robin_etl.ledger.verify import differ_from_payload, parse_payloads

_SHOWN = 10
_SAID = ("revenue", "profit", "order_date", "webstore_url", "is_first_order")


@dataclass(frozen=True)
class Retraction:
    """What would be, or was, taken back of some days: the orders that ROBIN was never told of, which are
    `removed`, by day; `states` that ROBIN was told before a baseline moved them, which are put back
    (`columns.LEDGER_DTYPES`); and how many orders of these days are left, since ROBIN was told of them.
    """

    removed: pd.Series
    days: Mapping[str, int]
    states: pd.DataFrame
    left: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take back."""
        return not (len(self.removed) or len(self.states))

    def describe(self) -> Iterator[str]:
        """What that is, in sentences."""
        if self.is_empty:
            yield "There is nothing to take back: of these days ROBIN was told of every order."
        for day, number in self.days.items():
            yield f"{day}: {count(number, 'order')} that ROBIN was never told of."
        if len(self.states):
            numbers = self.states["order_number"]
            more = f" and {len(numbers) - _SHOWN:,} more" if len(numbers) > _SHOWN else ""
            yield (
                f"Back to what ROBIN was told: {count(len(numbers), 'order')} "
                f"({', '.join(numbers[:_SHOWN])}{more})."
            )
        if self.left:
            yield f"Left as they are, since ROBIN was told: {count(self.left, 'order')}."

    def as_json(self) -> dict[str, Any]:
        return {
            "removed": len(self.removed),
            "days": dict(self.days),
            "put_back": self.states["order_number"].tolist(),
            "left": self.left,
        }


def plan_retraction(ledger: Ledger, journals: UPath, first: date, last: date) -> Retraction:
    """What can be taken back of the exports of these days.

    Raises `StoppedError` while anything is in doubt: ROBIN may have been told of it.
    """
    if ledger.doubts.has_open():
        raise StoppedError(
            "Some requests are in doubt, so ROBIN may have been told of their orders. Run a day, which "
            "settles that first, then retract."
        )
    candidates = _find_candidates(ledger, first, last)
    journaled = _find_told_states(Journals(journals, ledger.id), set(candidates["order_number"]))
    delivered = ledger.deliveries.last_accepted_of(candidates["order_number"])
    is_told = candidates["order_number"].isin({*journaled, *delivered["order_number"]})
    removed = candidates[~is_told]
    moved = _find_moved(candidates[is_told], delivered, journaled, before=first)
    left = int(is_told.sum()) - len(moved)
    concerned = pd.concat([removed["customer"], moved["customer"], candidates["customer"]])
    moved = pd.concat([moved, _find_flagged_else(ledger, candidates, concerned)], ignore_index=True)
    return Retraction(
        removed=removed["order_number"],
        days={str(day): int(number) for day, number in removed["day"].value_counts(sort=False).items()},
        states=moved,
        left=left,
    )


def retract(ledger: Ledger, journals: UPath, first: date, last: date) -> Retraction:
    """Take back what `plan_retraction` gives, so that these days are outstanding again."""
    with ledger.posting("ledger-retract", journals):
        planned = plan_retraction(ledger, journals, first, last)
        ledger.retract(planned.removed, planned.states, first, last)
    ledger.engine.write_back()
    return planned


def _find_candidates(ledger: Ledger, first: date, last: date) -> pd.DataFrame:
    """The orders whose state is of these days (`columns.LEDGER_DTYPES`); cancelled ones that were never
    told stay, since they tell nothing.
    """
    is_between = (ORDERS.c.day >= first.isoformat()) & (ORDERS.c.day <= last.isoformat())
    query = sa.select(ORDERS.c.order_number).where(is_between, ORDERS.c.is_told == sa.true())
    with ledger.engine.read() as connection:
        numbers = pd.Series(connection.execute(query).scalars().all(), dtype=columns.TEXT)
    return ledger.states.rows_of(numbers).sort_values(["day", "order_number"], ignore_index=True)


def _find_flagged_else(ledger: Ledger, candidates: pd.DataFrame, customers: pd.Series) -> pd.DataFrame:
    """The other orders of these customers that ROBIN was told with another flag than they have: an order
    of these days was placed before them, or is no more. Each with the flag that was told.
    """
    others = ledger.states.rows_of_customers(customers)
    others = others[~others["order_number"].isin(candidates["order_number"])]
    rows = others.merge(ledger.deliveries.last_accepted_of(others["order_number"]), on="order_number")
    if rows.empty:
        return rows[list(columns.LEDGER_DTYPES)]
    told = parse_payloads(rows["payload"])["is_first_order"]
    flagged_else = rows["is_first_order"] != told
    states = rows.assign(is_first_order=told)[flagged_else.fillna(value=False).astype(bool)]
    return columns.conform(states, columns.LEDGER_DTYPES)


def _find_told_states(journals: Journals, numbers: set[str]) -> dict[str, list[Any]]:
    """Of these orders the state that ROBIN was told last, as far as the journals go."""
    told: dict[str, list[Any]] = {}
    for transaction in journals.read():
        for move in transaction.moves:
            if move[0] == moves.ACCEPTED:
                states = (state for _, _, _, *state in move[-1] if state)
                told.update({state[0]: state for state in states if state[0] in numbers})
    return told


def _find_moved(
    told: pd.DataFrame, delivered: pd.DataFrame, journaled: Mapping[str, list[Any]], *, before: date
) -> pd.DataFrame:
    """The states that ROBIN was told of orders that a baseline has moved since: from the journals or,
    where those have none, from what the delivery log says was sent.
    """
    rows = told.merge(delivered, on="order_number")
    moved = rows[differ_from_payload(rows)]
    states = moved[list(columns.LEDGER_DTYPES)].reset_index(drop=True)
    if len(states):
        said = parse_payloads(moved["payload"])
        for name in _SAID:
            states[name] = said[name].array
        earlier = (before - timedelta(days=1)).isoformat()
        states["day"] = moved["delivered_on"].fillna(earlier).to_numpy()
    known = states["order_number"].isin(set(journaled))
    kept = pd.DataFrame(
        [journaled[number] for number in states["order_number"][known]], columns=columns.STATE_COLUMNS
    )
    both = pd.concat([states[~known], kept.assign(email=None)], ignore_index=True)
    return columns.conform(both, columns.LEDGER_DTYPES)
