"""The states of orders: what ROBIN has acknowledged of each, last.

They move forward only by `acknowledge` and `baseline`, each one transaction. No e-mail address or phone
number is in them: only keyed digests (`customers.digest_contacts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import sqlalchemy as sa

from robin_etl.core import columns
from robin_etl.ledger.engine import Engine
from robin_etl.ledger.records import Totals
from robin_etl.ledger.schema import META, ORDERS
from robin_etl.ledger.totals import NOTHING, KeptTotals, total_states

_MOMENT = len("2017-04-05T12:34:56Z")

# So many orders of a customer are asked for first: mostly the flagged one and the earliest other are
# among them, or there are no more. Of the few others more are asked for, until they are.
_AT_FIRST = 3
_TIMES_MORE = 16
_FLAGGED, _OTHER = "1", "0"


class OrderStates:
    """The states of orders in a ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        insert = _replace_known(engine.dialect.insert(ORDERS))
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
        with self._engine.read() as connection:
            asked = self._fetch_rows(connection, order_numbers)
            who = pd.concat([customers, asked["customer"]])
            others = self._fetch_others(connection, who, order_numbers)
            return pd.concat([asked, *others], ignore_index=True)

    def rows_of(self, order_numbers: pd.Series) -> pd.DataFrame:
        """The rows of these orders (`columns.LEDGER_DTYPES`)."""
        with self._engine.read() as connection:
            return self._fetch_rows(connection, order_numbers)

    def _fetch_rows(self, connection: sa.Connection, order_numbers: pd.Series) -> pd.DataFrame:
        query = sa.select(ORDERS).where(
            self._engine.dialect.is_among(ORDERS.c.order_number, order_numbers)
        )
        found = self._engine.fetch_columns(connection, query)
        frame = columns.conform(_frame_columns(found), columns.LEDGER_DTYPES)
        # The customer is the e-mail address's digest wherever it is not the phone number's.
        by_phone = (frame["customer"] == frame["phone"]).fillna(value=False)
        return frame.assign(email=frame["customer"].mask(by_phone))

    def rows_of_customers(self, customers: pd.Series) -> pd.DataFrame:
        """The rows of all orders of these customers (`columns.LEDGER_DTYPES`)."""
        own = self._engine.dialect.is_among(ORDERS.c.customer, customers)
        with self._engine.read() as connection:
            numbers = connection.execute(sa.select(ORDERS.c.order_number).where(own)).scalars().all()
        return self.rows_of(pd.Series(numbers, dtype=columns.TEXT))

    def _fetch_others(
        self, connection: sa.Connection, customers: pd.Series, asked: pd.Series
    ) -> Iterator[pd.DataFrame]:
        """Of each customer the flagged orders, and the earliest of those that are not; of none that is
        cancelled or asked for.
        """
        at_most = _AT_FIRST
        while len(customers):
            found = self._engine.fetch_columns(connection, self._select_first(customers, at_most))
            others, customers = _choose_others(found, asked, at_most)
            yield others
            at_most *= _TIMES_MORE

    def _select_first(self, customers: pd.Series, at_most: int) -> sa.Select[Any]:
        """So many orders of each customer, at most: the flagged, then the others, the earliest first.

        They are in one place of the index: in a large ledger nearly each customer has a page to itself.
        """
        named = self._engine.dialect.select_keys(customers).subquery("customers")
        flag = sa.case((ORDERS.c.is_first_order == sa.true(), _FLAGGED), else_=_OTHER)
        first = (
            sa.select((flag + ORDERS.c.placed_at + ORDERS.c.order_number).label("value"))
            .where(ORDERS.c.customer == named.c.value, ORDERS.c.is_cancelled == sa.false())
            .order_by(ORDERS.c.is_first_order.desc(), ORDERS.c.placed_at, ORDERS.c.order_number)
            .limit(at_most)
            .correlate(named)
        )
        each = self._engine.dialect.make_lateral(first)
        return sa.select(named.c.value.label("customer"), each.c.value.label("order")).select_from(
            named.join(each, sa.true())
        )

    def customers_of(self, order_numbers: pd.Series) -> pd.DataFrame:
        """Of these orders those that ROBIN knows, and whose they are: order_number, customer."""
        query = sa.select(ORDERS.c.order_number, ORDERS.c.customer)
        of_orders = query.where(self._engine.dialect.is_among(ORDERS.c.order_number, order_numbers))
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
        own = self._engine.dialect.is_among(ORDERS.c.order_number, order_numbers)
        with self._engine.transaction(), self._engine.write() as connection:
            held = self._totals.of(connection, order_numbers)
            connection.execute(ORDERS.delete().where(own))
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
        insert = self._engine.dialect.insert(ORDERS).from_select(
            list(columns.STATE_COLUMNS), sa.select(copied)
        )
        connection.execute(_replace_known(insert))
        copied.drop(connection)


def _replace_known(insert: Any) -> Any:
    """An insert that replaces the states of orders that are known already."""
    new = {name: insert.excluded[name] for name in columns.STATE_COLUMNS[1:]}
    return insert.on_conflict_do_update(index_elements=[ORDERS.c.order_number], set_=new)


def _frame_columns(found: dict[str, list[Any]]) -> pd.DataFrame:
    """What was found, column by column (`columns.STATE_COLUMNS`): texts by way of Arrow, which is
    several times as fast.
    """
    return pd.DataFrame(
        {
            name: columns.to_series(pa.array(values, pa.large_string()), None)
            if columns.LEDGER_DTYPES[name] == columns.TEXT
            else pd.Series(values, dtype=object)
            for name, values in found.items()
        }
    )


def _choose_others(
    found: dict[str, list[Any]], asked: pd.Series, at_most: int
) -> tuple[pd.DataFrame, pd.Series]:
    """Of what `_select_first` found the rows that a look-up gives (`columns.LEDGER_DTYPES`), and the
    customers of whom there may be more that it has to give.
    """
    orders = pa.array(found["order"], pa.large_string())
    numbers = pc.utf8_slice_codeunits(orders, 1 + _MOMENT)
    is_flagged = pc.starts_with(orders, _FLAGGED).to_numpy(zero_copy_only=False)
    is_asked = pc.is_in(numbers, columns.to_arrow(asked, pa.large_string()))
    is_wanted = ~is_asked.to_numpy(zero_copy_only=False)
    codes, customers = pd.factorize(pd.Series(found["customer"], dtype=columns.TEXT))

    others = np.flatnonzero(is_wanted & ~is_flagged)
    # The index gives them in this order, but no database promises to keep it while it joins and lists.
    others = others[pc.sort_indices(orders.take(pa.array(others))).to_numpy()]
    with_other, first = np.unique(codes[others], return_index=True)
    is_chosen = is_wanted & is_flagged
    is_chosen[others[first]] = True
    is_cut_off = np.bincount(codes, minlength=len(customers)) >= at_most
    is_cut_off[with_other] = False
    is_chosen &= ~is_cut_off[codes]

    chosen = pa.array(is_chosen)
    rows = pd.DataFrame(
        {
            "order_number": columns.to_series(numbers.filter(chosen), None),
            "customer": customers.take(codes[is_chosen]),
            "placed_at": columns.to_series(
                pc.utf8_slice_codeunits(orders.filter(chosen), 1, 1 + _MOMENT), None
            ),
            "is_first_order": is_flagged[is_chosen],
            "is_cancelled": False,
            "is_told": True,
        }
    )
    rows = rows.assign(email=rows["customer"])
    return columns.conform(rows, columns.LEDGER_DTYPES), pd.Series(customers[is_cut_off])
