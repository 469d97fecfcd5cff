"""The ledgers of other shops on the account, whose orders count for who orders first. Only read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pandas as pd
import sqlalchemy as sa

from robin_etl.core import columns
from robin_etl.exceptions import BindingError
from robin_etl.ledger import Binding, Ledger
from robin_etl.ledger import location as locations
from robin_etl.ledger.schema import META
from robin_etl.ledger.states import OrderStates
from robin_etl.settings import Settings

log = logging.getLogger(__name__)


@contextmanager
def open_other_shops(settings: Settings) -> Iterator[tuple[OrderStates, ...]]:
    """The states in the ledgers that `FIRST_ORDERS_WITH` names, but for those that are not there yet.

    Raises `BindingError` for one of another account or customer key.
    """
    with ExitStack() as stack:
        found = []
        for name, location in settings.locate_others().items():
            if not _is_there(location):
                log.warning("There is no ledger %s yet: no order of it counts for who is first.", name)
                continue
            ledger = stack.enter_context(Ledger.open(location, read_only=True))
            _check(name, ledger, Binding.of(settings))
            found.append(ledger.states)
        yield tuple(found)


def count_moves(others: tuple[OrderStates, ...]) -> int:
    """A number that grows whenever any of these ledgers moves."""
    return sum(one.revision() for one in others)


def look_up_others(
    others: tuple[OrderStates, ...], known: pd.DataFrame, customers: pd.Series
) -> pd.DataFrame:
    """Of these customers and those of the `known` rows the flagged and earliest orders in the other
    ledgers (`columns.LEDGER_DTYPES`), but none of a number that is this shop's.
    """
    nothing = pd.Series(dtype=columns.TEXT)
    who = pd.concat([customers, known["customer"]])
    rows = [one.look_up(nothing, who) for one in others]
    found = pd.concat([columns.make_empty(columns.LEDGER_DTYPES), *rows], ignore_index=True)
    return found.drop_duplicates("order_number")


def _is_there(location: str) -> bool:
    url = locations.parse_location(location)
    if path := locations.find_file(url):
        return path.exists()
    database = sa.create_engine(url, **locations.choose_options(url))
    try:
        with database.connect() as connection:
            # Not what the search path falls back on.
            schema = connection.exec_driver_sql("show search_path").scalar_one()
            return sa.inspect(connection).has_table(META.name, schema=str(schema))
    finally:
        database.dispose()


def _check(name: str, ledger: Ledger, wanted: Binding) -> None:
    bound = ledger.bindings.read()
    if bound is None:
        return
    if (bound.address, bound.account) != (wanted.address, wanted.account or bound.account):
        raise BindingError(
            f"ROBIN_ETL_FIRST_ORDERS_WITH names the ledger {name}, and that belongs to another ROBIN "
            f"account: {bound.describe()}. Nothing was posted. Name only ledgers of the same account."
        )
    if bound.customer_key != wanted.customer_key:
        raise BindingError(
            f"ROBIN_ETL_FIRST_ORDERS_WITH names the ledger {name}, and its customers are digests under "
            "another customer key, so that nobody is known in both. Nothing was posted. Give all shops "
            "on the account the same ROBIN_ETL_CUSTOMER_KEY; docs/how-to/customer-key.md says how to "
            "change it."
        )
