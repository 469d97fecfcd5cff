"""Guards by name, their numbers, and one that trips: where a plan looks like no day of a shop. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GUARDS: Final = (
    "corrections",
    "returns",
    "scale",
    "settings",
    "identity",
    "old_orders",
    "no_history",
    "empty",
)


@dataclass(frozen=True)
class TrippedGuard:
    """A guard that trips: its name, its figures with what it most often is in words, and whether the run
    may pass it.
    """

    name: str
    words: str
    is_allowed: bool = False


@dataclass(frozen=True)
class GuardLimits:
    """Where each guard trips: beyond so many orders that are also beyond a share, where it has one.

    `corrections`, `returns`: changes of that kind. `scale`: known orders whose revenue changes by one
    factor of 10. `settings`: known orders that change where a run reads otherwise than the last one.
    `identity`: known orders that change customer and date. `old_orders`: new orders placed more than
    `old_orders_days` before their export's day. `no_history`: new orders of a day in an empty ledger.
    `empty`: the usual rows of a day, from which on an export without any is doubted.
    Shares are of the rows compared; of `old_orders` they are of the new orders.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 (what a setting of this type is read by)

    corrections: int = 1_000
    corrections_share: float = 0.2
    returns: int = 100
    returns_share: float = 0.5
    scale: int = 20
    settings: int = 20
    identity: int = 20
    identity_share: float = 0.2
    old_orders: int = 20
    old_orders_share: float = 0.2
    old_orders_days: int = 30
    no_history: int = 100
    empty: int = 20
