"""The states of orders: what ROBIN has acknowledged of each, last.

They move forward only by `acknowledge` and `baseline`, each one transaction. No e-mail address or phone
number is in them: only keyed digests (`customers.digest_contacts`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import sqlalchemy as sa

from robin_etl.core import columns
from robin_etl.ledger.engine import Engine
from robin_etl.ledger.records import Totals
from robin_etl.ledger.schema import META, ORDERS
from robin_etl.ledger.totals import NOTHING, KeptTotals, total_states

_MOMENT = len("2017-04-05T12:34:56Z")


class OrderStates:
    """The states of orders in a ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        insert = _replace_known(engine.insert(ORDERS))
        self._upsert = engine.compile(insert, columns.STATE_COLUMNS)
        self._totals = KeptTotals(engine)

    # Look-ups

    def look_up(self, order_numbers: pd.Series, customers: pd.Series) -> pd.DataFrame:
        """What reconciliation needs to know first (`columns.LEDGER_DTYPES`).

        The rows of these orders; and of every customer named here or by those rows, each flagged
        order and the earliest of the others, but none that is cancelled. Those beyond the orders asked
        for hold only what an index has (order_number, customer, placed_at and the flags), and null for
        the rest: `rows_of` gives all of the few that turn out to change.
        The cost grows with what is asked, not with the ledger.
        """
        numbers = self._engine.select_keys(order_numbers)
        with self._engine.read() as connection:
            asked = self._fetch_rows(connection, numbers)
            who = self._engine.select_keys(pd.concat([customers, asked["customer"]]))
            found = self._engine.fetch_columns(connection, self._select_others(who, numbers))
        return pd.concat([asked, _frame_others(found)], ignore_index=True)

    def rows_of(self, order_numbers: pd.Series) -> pd.DataFrame:
        """The rows of these orders (`columns.LEDGER_DTYPES`)."""
        with self._engine.read() as connection:
            return self._fetch_rows(connection, self._engine.select_keys(order_numbers))

    def _fetch_rows(self, connection: sa.Connection, numbers: sa.Select[Any]) -> pd.DataFrame:
        query = sa.select(ORDERS).where(ORDERS.c.order_number.in_(numbers))
        found = self._engine.fetch_columns(connection, query)
        frame = columns.conform(pd.DataFrame(found, dtype=object), columns.LEDGER_DTYPES)
        # The customer is the e-mail address's digest wherever it is not the phone number's.
        by_phone = (frame["customer"] == frame["phone"]).fillna(value=False)
        return frame.assign(email=frame["customer"].mask(by_phone))

    def rows_of_customers(self, customers: pd.Series) -> pd.DataFrame:
        """The rows of all orders of these customers (`columns.LEDGER_DTYPES`)."""
        own = ORDERS.c.customer.in_(self._engine.select_keys(customers))
        with self._engine.read() as connection:
            numbers = connection.execute(sa.select(ORDERS.c.order_number).where(own)).scalars().all()
        return self.rows_of(pd.Series(numbers, dtype=columns.TEXT))

    def _select_others(self, who: sa.Select[Any], numbers: sa.Select[Any]) -> sa.Select[Any]:
        """Of each customer the flagged orders, and the earliest of those that are not; of none that is
        cancelled.

        Both in one visit to the customer: in a large ledger nearly each has a page of the index alone.
        """
        customers = who.subquery("customers")
        other = ORDERS.alias("other")

        def select_own(column: sa.ColumnElement[Any], *, flagged: bool) -> sa.Select[Any]:
            return sa.select(column).where(
                other.c.customer == customers.c.value,
                other.c.is_cancelled == sa.false(),
                other.c.is_first_order == flagged,
                other.c.order_number.not_in(numbers),
            )

        order = other.c.placed_at + other.c.order_number
        in_order = (other.c.placed_at, other.c.order_number)
        earliest = select_own(order, flagged=False).order_by(*in_order).limit(1)
        flagged = select_own(self._engine.list_values(order), flagged=True).scalar_subquery()
        return sa.select(
            customers.c.value.label("customer"),
            # As a text beyond doubt: SQLite takes it for JSON in some rows and for a text in others.
            (sa.cast(flagged, sa.Text) + "").label("flagged"),
            earliest.scalar_subquery().label("earliest"),
        )

    def customers_of(self, order_numbers: pd.Series) -> pd.DataFrame:
        """Of these orders those that ROBIN knows, and whose they are: order_number, customer."""
        numbers = self._engine.select_keys(order_numbers)
        query = sa.select(ORDERS.c.order_number, ORDERS.c.customer)
        of_orders = query.where(ORDERS.c.order_number.in_(numbers))
        with self._engine.read() as connection:
            found = self._engine.fetch_columns(connection, of_orders)
            return pd.DataFrame(found, dtype=columns.TEXT)

    def orders_of(self, customer: str) -> pd.Series:
        """The numbers of the orders of the customer with this digest, or that bear it as a phone's."""
        of_customer = sa.or_(ORDERS.c.customer == customer, ORDERS.c.phone == customer)
        with self._engine.read() as connection:
            found = connection.execute(sa.select(ORDERS.c.order_number).where(of_customer))
            return pd.Series(found.scalars().all(), dtype=columns.TEXT)

    def revision(self) -> int:
        """A number that grows whenever the state of any order moves, or a journal is written."""
        with self._engine.read() as connection:
            return int(connection.execute(sa.select(META.c.revision)).scalar_one())

    def count(self) -> int:
        """How many orders the ledger holds, told or not."""
        with self._engine.read() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(ORDERS)).scalar_one())

    def has_any(self) -> bool:
        """Whether the ledger holds any order."""
        with self._engine.read() as connection:
            return bool(connection.execute(sa.select(sa.exists(sa.select(ORDERS.c.day)))).scalar_one())

    def totals(self) -> Totals:
        """What the ledger holds."""
        with self._engine.read() as connection:
            return self._totals.read(connection)

    def compare_totals(self) -> tuple[Totals, Totals]:
        """The same, and what all orders come to at the same moment: the cost grows with the ledger."""
        with self._engine.read_snapshot() as connection:
            return self._totals.read(connection), self._totals.add_up(connection)

    def oldest_day(self) -> date | None:
        """The oldest day that any state is of; None where there is none."""
        with self._engine.read() as connection:
            day = connection.execute(sa.select(sa.func.min(ORDERS.c.day))).scalar()
        return None if day is None else date.fromisoformat(day)

    def totals_by(self, letters: int) -> pd.DataFrame:
        """What ROBIN was told of, by so many first letters of the order's date in UTC: columns period,
        is_first_order, orders, revenue and profit, in cents; a row for each period and flag.
        """
        period = sa.func.substr(ORDERS.c.order_date, 1, letters)
        sums = (sa.func.coalesce(sa.func.sum(ORDERS.c[name]), 0) for name in ("revenue", "profit"))
        query = (
            sa.select(period, ORDERS.c.is_first_order, sa.func.count(), *sums)
            .where(ORDERS.c.is_told == sa.true())
            .group_by(period, ORDERS.c.is_first_order)
        )
        with self._engine.read() as connection:
            rows = [(when, flag, *map(int, sums)) for when, flag, *sums in connection.execute(query)]
        return pd.DataFrame(rows, columns=["period", "is_first_order", "orders", "revenue", "profit"])

    # Moves

    def acknowledge(self, states: Iterable[tuple[Any, ...]]) -> None:
        """Take over these states, each in the order of `columns.STATE_COLUMNS`; none move nothing."""
        rows = list(states)
        if rows:
            with self._engine.transaction(), self._engine.write() as connection:
                held = self._totals.of(connection, (row[0] for row in rows))
                connection.exec_driver_sql(self._upsert, rows)
                self._totals.move(connection, held, total_states(rows))
                self._engine.count_transaction(connection)

    def baseline(self, states: pd.DataFrame) -> None:
        """Take over any number of states, which ROBIN has by other means or never shall have; each
        database's quickest way.
        """
        if states.empty:
            return
        ordered = states.sort_values("order_number")
        with self._engine.transaction(), self._engine.write() as connection:
            if self._engine.is_postgresql:
                self._copy(connection, ordered)
            else:
                connection.exec_driver_sql("PRAGMA cache_size=-262144")  # since it touches every page
                connection.exec_driver_sql(self._upsert, list(columns.iterate_states(ordered)))
            self._totals.recount(connection)
            self._engine.count_transaction(connection)

    def remove(self, order_numbers: pd.Series) -> None:
        """Forget the states of these orders."""
        numbers = self._engine.select_keys(order_numbers)
        with self._engine.transaction(), self._engine.write() as connection:
            held = self._totals.of(connection, order_numbers)
            connection.execute(ORDERS.delete().where(ORDERS.c.order_number.in_(numbers)))
            self._totals.move(connection, held, NOTHING)
            self._engine.count_transaction(connection)

    def _copy(self, connection: sa.Connection, states: pd.DataFrame) -> None:
        """COPY into a table of the transaction's own, and from there into `orders`."""
        copied = sa.Table(
            "copied_orders",
            sa.MetaData(),
            *(sa.Column(column.name, column.type) for column in ORDERS.columns),
            prefixes=["temporary"],
            postgresql_on_commit="drop",
        )
        copied.create(connection)
        table = pa.Table.from_pandas(states[list(columns.STATE_COLUMNS)], preserve_index=False)
        text = pa.BufferOutputStream()
        pacsv.write_csv(table, text, pacsv.WriteOptions(include_header=False))
        driver: Any = connection.connection.dbapi_connection
        with driver.cursor() as cursor, cursor.copy("copy copied_orders from stdin csv") as copy:
            copy.write(text.getvalue())
        insert = self._engine.insert(ORDERS).from_select(list(columns.STATE_COLUMNS), sa.select(copied))
        connection.execute(_replace_known(insert))
        copied.drop(connection)


def _replace_known(insert: Any) -> Any:
    """An insert that replaces the states of orders that are known already."""
    new = {name: insert.excluded[name] for name in columns.STATE_COLUMNS[1:]}
    return insert.on_conflict_do_update(index_elements=[ORDERS.c.order_number], set_=new)


def _frame_others(found: dict[str, list[Any]]) -> pd.DataFrame:
    """The orders of customers that `_select_others` found, as rows (`columns.LEDGER_DTYPES`)."""
    customer = pd.Index(found["customer"], dtype=columns.TEXT)
    lists = json.loads(f"[{','.join(text or '[]' for text in found['flagged'])}]")
    flagged = pd.Series(lists, index=customer, dtype=object).explode()
    both = pd.concat([flagged, pd.Series(found["earliest"], index=customer, dtype=object)])
    both = both.astype(columns.TEXT)
    others = pd.DataFrame(
        {
            "order_number": both.str[_MOMENT:].array,
            "customer": both.index,
            "email": both.index,
            "placed_at": both.str[:_MOMENT].array,
            "is_first_order": np.arange(len(both)) < len(flagged),
            "is_cancelled": False,
            "is_told": True,
        }
    )
    return columns.conform(others[both.notna().array], columns.LEDGER_DTYPES)
