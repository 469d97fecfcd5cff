"""What a ledger holds in total, kept with every move of a state: adding up all orders takes as long as
there are many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from robin_etl.core import columns
from robin_etl.ledger.engine import Engine
from robin_etl.ledger.records import Totals
from robin_etl.ledger.schema import META, ORDERS

_COUNTS = ("orders", "first_orders", "revenue")
_IS_FIRST = sa.and_(ORDERS.c.is_first_order == sa.true(), ORDERS.c.is_cancelled == sa.false())
# Written out, since the keys alone are a parameter.
_NONE: sa.ColumnElement[int] = sa.literal_column("0")
_ONE: sa.ColumnElement[int] = sa.literal_column("1")
_SUMS = (
    sa.func.coalesce(sa.func.sum(sa.case((ORDERS.c.is_told == sa.true(), _ONE), else_=_NONE)), _NONE),
    sa.func.coalesce(sa.func.sum(sa.case((_IS_FIRST, _ONE), else_=_NONE)), _NONE),
    sa.func.coalesce(sa.func.sum(ORDERS.c.revenue), _NONE),
    sa.func.max(ORDERS.c.day),
)
_DAY, _REVENUE, _FIRST, _CANCELLED, _TOLD = (
    columns.STATE_COLUMNS.index(name)
    for name in ("day", "revenue", "is_first_order", "is_cancelled", "is_told")
)


class KeptTotals:
    """The totals in a ledger: whoever moves states counts them `of` before and `move`s them after."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @cached_property
    def _of(self) -> str:
        is_asked = self._engine.dialect.is_among_given(ORDERS.c.order_number, "keys")
        return self._engine.compile(sa.select(*_SUMS).where(is_asked), (), "keys")

    @cached_property
    def _move(self) -> str:
        moved = {f"told_{name}": META.c[f"told_{name}"] + sa.bindparam(name) for name in _COUNTS}
        newer, newest = (sa.bindparam(name, type_=sa.String) for name in ("newer", "newest"))
        is_newer = sa.or_(META.c.newest_day.is_(None), META.c.newest_day < newer)
        later = sa.case((is_newer, newest), else_=META.c.newest_day)
        move = META.update().values(moved | {"newest_day": later})
        return self._engine.compile(move, (), *_COUNTS, "newer", "newest")

    def read(self, connection: sa.Connection) -> Totals:
        """What the ledger holds."""
        kept = (*(META.c[f"told_{name}"] for name in _COUNTS), META.c.newest_day)
        return _make_totals(connection.execute(sa.select(*kept)).one())

    def add_up(self, connection: sa.Connection) -> Totals:
        """The same from all orders, as it should be."""
        return _make_totals(connection.execute(sa.select(*_SUMS)).one())

    def of(self, connection: sa.Connection, order_numbers: Iterable[str]) -> Totals:
        """What the ledger holds of these orders."""
        keys = self._engine.dialect.encode_keys(sorted(set(order_numbers)))
        return _make_totals(connection.exec_driver_sql(self._of, (keys,)).one())

    def move(self, connection: sa.Connection, before: Totals, after: Totals) -> None:
        """Take over that what was `before` is now `after`: nothing, where the orders were removed."""
        newest, until_now = after.newest_day or "", before.newest_day or ""
        by = (getattr(after, name) - getattr(before, name) for name in _COUNTS)
        connection.exec_driver_sql(self._move, (*by, after.newest_day, after.newest_day))
        # Only what is taken back goes back in time; then all orders have to be looked through.
        if newest < until_now == connection.execute(sa.select(META.c.newest_day)).scalar_one():
            left = sa.select(sa.func.max(ORDERS.c.day)).scalar_subquery()
            connection.execute(META.update().values(newest_day=left))

    def recount(self, connection: sa.Connection) -> None:
        """Add up all orders: after a move of any number of them."""
        total = self.add_up(connection)
        counted = {f"told_{name}": getattr(total, name) for name in _COUNTS}
        connection.execute(META.update().values(counted | {"newest_day": total.newest_day}))


NOTHING = Totals(0, 0, 0, None)


def total_states(states: Iterable[Sequence[Any]]) -> Totals:
    """The totals of states (`columns.STATE_COLUMNS`); of an order that is there twice, the last."""
    rows = {state[0]: state for state in states}.values()
    return Totals(
        sum(bool(row[_TOLD]) for row in rows),
        sum(bool(row[_FIRST]) and not row[_CANCELLED] for row in rows),
        sum(int(row[_REVENUE]) for row in rows),
        max((row[_DAY] for row in rows), default=None),
    )


def _make_totals(row: Sequence[Any]) -> Totals:
    orders, first_orders, revenue, newest_day = row
    return Totals(int(orders), int(first_orders), int(revenue), newest_day)
