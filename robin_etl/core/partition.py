"""Partitions: which rows of an export have to be reconciled together. Pure.

What one order becomes depends on all rows of that order, and on all orders of its customers: those
the rows name and the one the ledger knows. So a partition holds whole customers, and customers whom
an order has in common are one. All else may lie apart.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

Keys = npt.NDArray[np.uint64]
Partitions = npt.NDArray[np.int16]

# How many rows a partition gets where the size of the export decides how many there are.
ROWS_IN_A_PARTITION = 250_000
MOST_PARTITIONS = 256

NOBODY = np.uint64(0)


def choose_number(rows: int) -> int:
    """How many partitions an export of so many rows is worth."""
    return min(max(-(-rows // ROWS_IN_A_PARTITION), 1), MOST_PARTITIONS)


def hash_keys(texts: pd.Series) -> Keys:
    """A key for each text; null is `NOBODY`. Texts may share one, and then only share a partition."""
    hashed: Keys = pd.util.hash_array(texts.to_numpy(dtype=object), categorize=False)
    return np.where(texts.isna(), NOBODY, np.where(hashed == NOBODY, np.uint64(1), hashed))


def assign_partitions(
    orders: Keys, customers: Keys, known: tuple[Keys, Keys], number: int
) -> Partitions:
    """The partition, from 0 to `number` - 1, of each row of an export.

    `orders` and `customers` are the keys of each row; `known` those of orders that the ledger knows
    and of their customers there. Holds a few times what it is given.
    """
    nameless = customers == NOBODY
    of_orders, of_customers = _sort_by_order(orders, customers, ~nameless)
    linked, representatives = _link_customers(of_orders, of_customers, known)
    together = customers.copy()
    # A row that names nobody goes where the other rows of its order are or, without any, its customer's.
    numbers = orders[nameless]
    by_rows, is_named = _look_up(numbers, of_orders, of_customers)
    by_ledger, _ = _look_up(numbers, *_sort_by_order(*known, np.ones(len(known[0]), dtype=np.bool_)))
    together[nameless] = np.where(is_named, by_rows, by_ledger)
    stands_for, is_linked = _look_up(together, linked, representatives)
    together[is_linked] = stands_for[is_linked]
    partitions: Partitions = (together % np.uint64(number)).astype(np.int16)
    return partitions


def _sort_by_order(orders: Keys, customers: Keys, chosen: npt.NDArray[np.bool_]) -> tuple[Keys, Keys]:
    if not chosen.all():
        orders, customers = orders[chosen], customers[chosen]
    by_order = np.argsort(orders)
    return orders[by_order], customers[by_order]


def _link_customers(orders: Keys, customers: Keys, known: tuple[Keys, Keys]) -> tuple[Keys, Keys]:
    """The customers that have an order in common, here or in the ledger, and who stands for each.

    `orders` are sorted.
    """
    shared = (orders[1:] == orders[:-1]) & (customers[1:] != customers[:-1])
    left, right = customers[:-1][shared], customers[1:][shared]
    exported, found = _look_up(known[0], orders, customers)
    moved = found & (exported != known[1])
    return _find_representatives(
        np.concatenate([left, exported[moved]]), np.concatenate([right, known[1][moved]])
    )


def _find_representatives(left: Keys, right: Keys) -> tuple[Keys, Keys]:
    """The customers that any link names, sorted, and for each the one that stands for its group."""
    linked, codes = np.unique(np.concatenate([left, right]), return_inverse=True)
    if not len(linked):
        return linked, linked
    from scipy.sparse import coo_matrix  # noqa: PLC0415 (a fifth of a second that few runs need)
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    pairs = codes.reshape(2, -1)
    links = coo_matrix((np.ones(len(left), dtype=np.int8), pairs), shape=(len(linked), len(linked)))
    _, groups = connected_components(links, directed=False)
    _, first = np.unique(groups, return_index=True)
    return linked, linked[first][groups]


def _look_up(wanted: Keys, keys: Keys, values: Keys) -> tuple[Keys, npt.NDArray[np.bool_]]:
    """The value beside each wanted key, and where there is one; `keys` are sorted."""
    if not len(keys):
        return wanted, np.zeros(len(wanted), dtype=np.bool_)
    at = np.searchsorted(keys, wanted)
    np.minimum(at, len(keys) - 1, out=at)
    return values[at], keys[at] == wanted
