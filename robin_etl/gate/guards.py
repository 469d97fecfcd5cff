"""Guards: figures of a whole plan at which a run stops, since no shop's day looks like that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from robin_etl.core.figures import Figures, Tally
from robin_etl.core.guards import GuardLimits, TrippedGuard
from robin_etl.core.words import count

# Of these a range of history says that it is meant.
_OF_A_DAY = ("old_orders", "no_history", "empty")
# What a baseline takes over is never celebrated, but it may be another shop's file all the same.
_OF_A_BASELINE = ("scale", "settings", "identity")


@dataclass(frozen=True)
class Circumstances:
    """What guards ask beside a plan's figures.

    `rows_read`: of the exports; `rows_compared`: one for each order and day; `usual_rows`: of a day's
    export, going by the last runs, if there were any. `is_history`: whether the run says that its
    orders are history; `is_baseline`: whether it posts nothing. `holds_orders`: whether the ledger does.
    `differing`: what the run reads by otherwise than the last one, in words; `is_renumbered`: whether
    the order prefix is among it.
    """

    rows_read: int
    rows_compared: int
    usual_rows: float | None
    is_history: bool
    is_baseline: bool
    holds_orders: bool
    differing: tuple[str, ...]
    is_renumbered: bool = False


def find_tripped(
    figures: Figures, circumstances: Circumstances, limits: GuardLimits
) -> tuple[TrippedGuard, ...]:
    """The guards that trip at the figures of a whole plan."""
    found = (
        *_judge_masses(figures, circumstances.rows_compared, limits),
        *_judge_known(figures, circumstances, limits),
        *_judge_new(figures, circumstances, limits),
        *_judge_rows(circumstances, limits),
    )
    return tuple(
        guard
        for guard in found
        if not (circumstances.is_history and guard.name in _OF_A_DAY)
        and not (circumstances.is_baseline and guard.name not in _OF_A_BASELINE)
    )


def _judge_masses(figures: Figures, rows: int, limits: GuardLimits) -> Iterator[TrippedGuard]:
    """Changes of one kind in masses."""
    if _is_beyond(figures.corrections, limits.corrections, limits.corrections_share, rows):
        yield TrippedGuard(
            "corrections",
            f"{count(figures.corrections.count, 'correction')} in {count(rows, 'row')} "
            f"({_name(figures.corrections)}). Up to {limits.corrections:,}, or "
            f"{limits.corrections_share:.0%} of the rows, pass. Most often it is a new column or a "
            "changed mapping.",
        )
    if _is_beyond(figures.returns, limits.returns, limits.returns_share, rows):
        yield TrippedGuard(
            "returns",
            f"{count(figures.returns.count, 'return')} in {count(rows, 'row')} "
            f"({_name(figures.returns)}). Up to {limits.returns:,}, or {limits.returns_share:.0%} of "
            "the rows, pass. Most often the amounts of an export fell to 0.",
        )


def _judge_known(
    figures: Figures, circumstances: Circumstances, limits: GuardLimits
) -> Iterator[TrippedGuard]:
    """Changes of orders that ROBIN knows."""
    nothing = ("", Tally())
    factor, scaled = max(figures.scaled.items(), key=lambda one: one[1].count, default=nothing)
    if scaled.count > limits.scale:
        yield TrippedGuard(
            "scale",
            f"the revenue of {count(scaled.count, 'known order')} ({_name(scaled)}) changes by one and "
            f"the same factor, {factor}. Up to {limits.scale:,} pass. Most often it is cents for euros, "
            "or a lost decimal mark.",
        )
    changed = figures.changed
    if circumstances.differing and changed.count > limits.settings:
        yield TrippedGuard(
            "settings",
            f"changes of {count(changed.count, 'known order')} ({_name(changed)}), and this run reads "
            f"otherwise than the last one: {'; '.join(circumstances.differing)}. Up to "
            f"{limits.settings:,} pass. Most often it is a changed mapping.",
        )
    elif circumstances.is_renumbered and figures.new:
        yield TrippedGuard(
            "settings",
            f"{count(figures.new, 'new order')}, and this run reads otherwise than the last one: "
            f"{'; '.join(circumstances.differing)}. Under another prefix every order is a new one, so "
            "none passes. A shop that shares a ledger with another tells the other's orders again.",
        )
    replaced, rows = figures.replaced, circumstances.rows_compared
    if _is_beyond(replaced, limits.identity, limits.identity_share, rows):
        yield TrippedGuard(
            "identity",
            f"both customer and date of {count(replaced.count, 'known order')} ({_name(replaced)}) "
            f"change, in {count(rows, 'row')}. Up to {limits.identity:,}, or "
            f"{limits.identity_share:.0%} of the rows, pass. Most often it is another shop's file, or a "
            "numbering begun anew.",
        )


def _judge_new(
    figures: Figures, circumstances: Circumstances, limits: GuardLimits
) -> Iterator[TrippedGuard]:
    """Orders that ROBIN does not know."""
    old = figures.old
    if _is_beyond(old, limits.old_orders, limits.old_orders_share, figures.new):
        yield TrippedGuard(
            "old_orders",
            f"{old.count:,} of {count(figures.new, 'new order')} ({_name(old)}) were placed more than "
            f"{limits.old_orders_days} days before their export's day. Up to {limits.old_orders:,}, or "
            f"{limits.old_orders_share:.0%} of the new ones, pass. It is history, which ROBIN would "
            "celebrate: a baseline acknowledges it without a post, a backfill tells it.",
        )
    most = max(figures.new_by_day.values(), default=0)
    if not circumstances.holds_orders and most > limits.no_history:
        yield TrippedGuard(
            "no_history",
            f"{count(most, 'new order')} of a day, and the ledger holds none. Up to "
            f"{limits.no_history:,} pass. Every customer would be new: a baseline over the shop's "
            "history comes first.",
        )


def _judge_rows(circumstances: Circumstances, limits: GuardLimits) -> Iterator[TrippedGuard]:
    """Exports without a row."""
    usual = circumstances.usual_rows
    if not circumstances.rows_read and usual is not None and usual >= limits.empty:
        yield TrippedGuard(
            "empty",
            f"the export has no rows, and the days before had {usual:,.0f}. Where that is fewer than "
            f"{limits.empty:,}, a day without orders passes. Most often it is a broken exporter.",
        )


def _is_beyond(tally: Tally, most: int, share: float, of: int) -> bool:
    return tally.count > most and tally.count > share * of


def _name(tally: Tally) -> str:
    more = ", …" if tally.count > len(tally.examples) else ""
    return ", ".join(tally.examples) + more
