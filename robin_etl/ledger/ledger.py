"""The ledger: what ROBIN has acknowledged, beside the log of how it came to that.

SQLAlchemy Core over SQLite (the default, a file) or PostgreSQL, one code path. `orders` holds the last
acknowledged state of each order and moves forward only by `accepted`, `confirm` and `baseline`, each
one transaction. No e-mail address or phone number is stored: only keyed digests
(`customers.digest_contacts`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import sqlalchemy as sa

from robin_etl.core import columns
from robin_etl.core.payload import Change
from robin_etl.ledger import schema
from robin_etl.ledger.deliveries import ACCEPTED, Log
from robin_etl.ledger.engine import now
from robin_etl.ledger.schema import ORDERS

_MOMENT = len("2017-04-05T12:34:56Z")


class Ledger(Log):
    """An open ledger, made with `open`; use as a context manager."""

    def __init__(self, engine: sa.Engine, *, clock: Callable[[], datetime] = now) -> None:
        super().__init__(engine, clock=clock)
        self._upsert = self._text(self._on_conflict(self._insert(ORDERS)), columns.STATE_COLUMNS)

    # Look-ups

    def look_up(self, order_numbers: pd.Series, customers: pd.Series) -> pd.DataFrame:
        """What reconciliation needs to know first (`columns.LEDGER_DTYPES`).

        The rows of these orders; and of every customer named here or by those rows, each flagged
        order and the earliest of the others. Of these `others` only what an index holds is told
        (order_number, customer, placed_at, is_first_order), and null for the rest: `rows_of` tells all
        of the few that turn out to change.
        The cost grows with what is asked, not with the ledger.
        """
        numbers = self._keys(order_numbers)
        with self._reading() as connection:
            asked = self._rows(connection, numbers)
            who = self._keys(pd.concat([customers, asked["customer"]]))
            others = self._others(connection, who, numbers)
        return pd.concat([asked, others], ignore_index=True)

    def rows_of(self, order_numbers: pd.Series) -> pd.DataFrame:
        """The rows of these orders (`columns.LEDGER_DTYPES`)."""
        with self._reading() as connection:
            return self._rows(connection, self._keys(order_numbers))

    def _rows(self, connection: sa.Connection, numbers: sa.Select[Any]) -> pd.DataFrame:
        found = self._columns(connection, sa.select(ORDERS).where(ORDERS.c.order_number.in_(numbers)))
        frame = columns.conform(pd.DataFrame(found, dtype=object), columns.LEDGER_DTYPES)
        # The customer is the e-mail address's digest wherever it is not the phone number's.
        by_phone = (frame["customer"] == frame["phone"]).fillna(value=False)
        return frame.assign(email=frame["customer"].mask(by_phone))

    def _others(
        self, connection: sa.Connection, who: sa.Select[Any], numbers: sa.Select[Any]
    ) -> pd.DataFrame:
        """Of each customer the flagged orders, and the earliest of those that are not.

        Both in one visit to the customer: in a large ledger nearly each has a page of the index alone.
        """
        customers = who.subquery("customers")
        other = ORDERS.alias("other")

        def own(column: sa.ColumnElement[Any], *, flagged: bool) -> sa.Select[Any]:
            return sa.select(column).where(
                other.c.customer == customers.c.value,
                other.c.is_first_order == flagged,
                other.c.order_number.not_in(numbers),
            )

        order = other.c.placed_at + other.c.order_number
        earliest = own(order, flagged=False).order_by(other.c.placed_at, other.c.order_number).limit(1)
        listed = sa.cast(own(self._listed(order), flagged=True).scalar_subquery(), sa.Text)
        found = self._columns(
            connection,
            sa.select(
                customers.c.value.label("customer"),
                # As a text beyond doubt: SQLite takes it for JSON in some rows and for a text in others.
                (listed + "").label("flagged"),
                earliest.scalar_subquery().label("earliest"),
            ),
        )
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
            }
        )
        return columns.conform(others[both.notna().array], columns.LEDGER_DTYPES)

    def customers_of(self, order_numbers: pd.Series) -> pd.DataFrame:
        """Of these orders those that ROBIN knows, and whose they are: order_number, customer."""
        both = (ORDERS.c.order_number, ORDERS.c.customer)
        query = sa.select(*both).where(ORDERS.c.order_number.in_(self._keys(order_numbers)))
        with self._reading() as connection:
            return pd.DataFrame(self._columns(connection, query), dtype=columns.TEXT)

    def orders_of(self, customer: str) -> pd.Series:
        """The numbers of the orders of the customer with this digest, or that bear it as a phone's."""
        of_customer = sa.or_(ORDERS.c.customer == customer, ORDERS.c.phone == customer)
        with self._reading() as connection:
            found = connection.execute(sa.select(ORDERS.c.order_number).where(of_customer))
            return pd.Series(found.scalars().all(), dtype=columns.TEXT)

    def revision(self) -> int:
        """A number that grows whenever the state of any order moves."""
        with self._reading() as connection:
            return int(connection.execute(sa.select(schema.META.c.revision)).scalar_one())

    # Acknowledgement

    def accepted(self, request: int, changes: Sequence[Change], *, status: int, words: str) -> None:
        """Log a request as accepted and take over the states it told, in one transaction."""
        with self._writing() as connection:
            self._answer(connection, request, ACCEPTED, status, words)
            self._take_over(connection, (change.state for change in changes))

    def confirm(self, confirmed: pd.DataFrame) -> None:
        """Move the days of states forward that newer exports repeated."""
        if len(confirmed):
            with self._writing() as connection:
                self._take_over(connection, columns.iterate_states(confirmed))

    def baseline(self, states: pd.DataFrame) -> None:
        """Take over states that ROBIN has been told by other means, or never shall be."""
        if len(states):
            with self._writing() as connection:
                self._take_over_many(connection, states.sort_values("order_number"))

    def forget(self, order_numbers: pd.Series, *, remove_orders: bool) -> int:
        """Blank the deliveries of these orders, and remove their states if so told; how many
        deliveries there were. When they were sent, and with what outcome, stays for the counts.
        """
        with self._writing() as connection:
            numbers = self._keys(order_numbers)
            blanked = self._blank(connection, numbers)
            if remove_orders:
                connection.execute(ORDERS.delete().where(ORDERS.c.order_number.in_(numbers)))
                self._moved(connection)
        self._write_back()
        return blanked

    def totals(self) -> dict[str, Any]:
        """What the ledger holds: numbers of orders, first orders and customers, money, newest day."""
        flagged = sa.func.sum(sa.case((ORDERS.c.is_first_order == sa.true(), 1), else_=0))
        query = sa.select(
            sa.func.count().label("orders"),
            sa.func.coalesce(flagged, 0).label("first_orders"),
            sa.func.coalesce(sa.func.sum(ORDERS.c.revenue), 0).label("revenue"),
            sa.func.max(ORDERS.c.day).label("newest_day"),
        )
        with self._reading() as connection:
            row = dict(connection.execute(query).mappings().one())
        numbers = ("orders", "first_orders", "revenue")
        return {name: int(row[name]) if name in numbers else row[name] for name in row}

    # Inside

    def _take_over(self, connection: sa.Connection, states: Iterable[tuple[Any, ...]]) -> None:
        self._execute_many(connection, self._upsert, list(states))
        self._moved(connection)

    def _take_over_many(self, connection: sa.Connection, states: pd.DataFrame) -> None:
        """The same for many rows, each database's quickest way."""
        if self._is_postgresql:
            self._copy(connection, states)
            self._moved(connection)
        else:
            connection.exec_driver_sql("PRAGMA cache_size=-262144")  # since it touches every page
            self._take_over(connection, columns.iterate_states(states))

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
        insert = self._insert(ORDERS).from_select(list(columns.STATE_COLUMNS), sa.select(copied))
        connection.execute(self._on_conflict(insert))

    @staticmethod
    def _on_conflict(insert: Any) -> Any:
        new = {name: insert.excluded[name] for name in columns.STATE_COLUMNS[1:]}
        return insert.on_conflict_do_update(index_elements=[ORDERS.c.order_number], set_=new)
