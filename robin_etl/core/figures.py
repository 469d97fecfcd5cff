"""What changes come to, by kind and by what guards ask of them: figures that can be added up. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import pandas as pd

from robin_etl.core import columns
from robin_etl.core.columns import CORRECTION, KINDS, NEW_KINDS, RETURN

# What a mistaken unit multiplies amounts by, or divides them by.
_FACTORS = (10, 100, 1_000)
_NAMED = 3


@dataclass(frozen=True)
class Tally:
    """How many orders, and the numbers of the first few."""

    count: int = 0
    examples: tuple[str, ...] = ()

    @classmethod
    def add_up(cls, tallies: Sequence[Tally]) -> Tally:
        """Several of them, of different orders."""
        examples = [number for one in tallies for number in one.examples]
        return cls(sum(one.count for one in tallies), tuple(examples[:_NAMED]))


@dataclass(frozen=True)
class KindTotal:
    """The changes of one kind: how many, and their revenue in cents, now and before."""

    changes: int = 0
    revenue: int = 0
    before: int = 0

    @property
    def difference(self) -> int:
        return self.revenue - self.before

    @classmethod
    def add_up(cls, totals: Sequence[KindTotal]) -> KindTotal:
        """Several of them."""
        return cls(
            sum(one.changes for one in totals),
            sum(one.revenue for one in totals),
            sum(one.before for one in totals),
        )


@dataclass(frozen=True)
class Figures:
    """What changes come to. `kinds`: by kind, each of them.

    `corrections` and `returns` are changes of that kind. Of the orders that ROBIN knows already:
    `changed`, those with any change; `scaled`, those whose revenue is multiplied or divided by one
    factor, by that; `replaced`, those that change customer and date at once. Of the others: `new` and,
    among them, `old`: placed long before their export's day. `new_by_day`: the new ones by that day.
    """

    kinds: Mapping[str, KindTotal] = field(default_factory=dict)
    corrections: Tally = Tally()
    returns: Tally = Tally()
    changed: Tally = Tally()
    scaled: Mapping[str, Tally] = field(default_factory=dict)
    replaced: Tally = Tally()
    new: int = 0
    old: Tally = Tally()
    new_by_day: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def add_up(cls, figures: Sequence[Figures]) -> Figures:
        """What several partitions come to together."""

        def total(name: str) -> Tally:
            return Tally.add_up([getattr(one, name) for one in figures])

        by_day: Counter[str] = Counter()
        for one in figures:
            by_day.update(one.new_by_day)
        factors = dict.fromkeys(factor for one in figures for factor in one.scaled)
        return cls(
            kinds={
                kind: KindTotal.add_up([one.kinds.get(kind, KindTotal()) for one in figures])
                for kind in KINDS
            },
            scaled={
                factor: Tally.add_up([one.scaled.get(factor, Tally()) for one in figures])
                for factor in factors
            },
            new=sum(one.new for one in figures),
            new_by_day=by_day,
            **{name: total(name) for name in ("corrections", "returns", "changed", "replaced", "old")},
        )


def measure_changes(changes: pd.DataFrame, *, old_after_days: int) -> Figures:
    """What these changes (`columns.CHANGE_DTYPES`) come to.

    A new order is old where it was placed more than `old_after_days` before its export's day.
    """
    is_new = changes["kind"].isin(NEW_KINDS)
    known, new = changes[~is_new], changes[is_new]
    moved = known["order_date"].ne(known["old_order_date"])
    return Figures(
        kinds=_total_kinds(changes),
        corrections=_tally(changes[changes["kind"] == CORRECTION]),
        returns=_tally(changes[changes["kind"] == RETURN]),
        changed=_tally_orders(known),
        scaled=dict(_find_scaled(known)),
        replaced=_tally_orders(known[known["is_other_customer"].astype(bool) & moved]),
        new=len(new),
        old=_tally(new[_is_old(new, old_after_days)]),
        new_by_day={str(day): int(orders) for day, orders in new["exported_on"].value_counts().items()},
    )


def _total_kinds(changes: pd.DataFrame) -> dict[str, KindTotal]:
    money = changes[["kind", "revenue", "old_revenue"]].assign(changes=1)
    sums = money.groupby("kind")[["changes", "revenue", "old_revenue"]].sum()
    sums = sums.reindex(KINDS, fill_value=0)
    return {
        str(kind): KindTotal(int(changes), int(now), int(before))
        for kind, changes, now, before in sums.itertuples(name=None)
    }


def _find_scaled(known: pd.DataFrame) -> list[tuple[str, Tally]]:
    """The orders by the factor between what they are worth and what they were, rounding aside."""
    has_both = (known["revenue"] > 0) & (known["old_revenue"] > 0)
    worth = known[has_both.fillna(value=False)]
    now, old = (worth[name].to_numpy(np.int64) for name in ("revenue", "old_revenue"))
    found = []
    for factor in _FACTORS:
        # Not multiplied: the largest amounts would overflow.
        is_times = (now % factor == 0) & (now // factor == old)
        is_part = (old + factor // 2) // factor == now
        found.append((f"{factor:,}", _tally_orders(worth[is_times])))
        found.append((f"1/{factor:,}", _tally_orders(worth[is_part])))
    return [(name, tally) for name, tally in found if tally.count]


def _is_old(new: pd.DataFrame, after_days: int) -> pd.Series:
    """Which orders were placed more than so many days before their export's day."""
    days = new["exported_on"].unique()
    oldest = {day: f"{date.fromisoformat(day) - timedelta(after_days)}" for day in days}
    return new["placed_at"] < new["exported_on"].map(oldest).astype(columns.TEXT)


def _tally(changes: pd.DataFrame) -> Tally:
    return Tally(len(changes), tuple(columns.to_list(changes["order_number"].head(_NAMED))))


def _tally_orders(changes: pd.DataFrame) -> Tally:
    """The orders, each once, of changes that may hold several of one."""
    return _tally(changes.drop_duplicates("order_number"))
