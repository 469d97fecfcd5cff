"""Parts: which rows of an export have to be reconciled together. Pure.

What one order becomes depends on all rows of that order, and on all orders of its customers: those
the rows name and the one the ledger knows. So a part holds whole customers, and customers whom an
order has in common are one. All else may lie apart.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Keys = npt.NDArray[np.uint64]
Parts = npt.NDArray[np.int16]

# How many rows a part gets where the size of the export decides how many parts there are.
ROWS_IN_A_PART = 400_000
MOST_PARTS = 256

NOBODY = np.uint64(0)


def number_for(rows: int) -> int:
    """How many parts an export of so many rows is worth."""
    return min(max(-(-rows // ROWS_IN_A_PART), 1), MOST_PARTS)


def keys(texts: pd.Series) -> Keys:
    """A key for each text; null is `NOBODY`. Two texts may share one, and then only share a part."""
    hashed: Keys = pd.util.hash_array(texts.to_numpy(dtype=object), categorize=False)
    return np.where(texts.isna(), NOBODY, np.where(hashed == NOBODY, np.uint64(1), hashed))


def parts_of(orders: Keys, customers: Keys, known: tuple[Keys, Keys], number: int) -> Parts:
    """The part, from 0 to `number` - 1, of each row of an export.

    `orders` and `customers` are the keys of each row; `known` those of orders that the ledger knows
    and of their customers there.
    """
    both_orders, both_customers = np.append(orders, known[0]), np.append(customers, known[1])
    named = both_customers != NOBODY
    both_orders, both_customers = both_orders[named], both_customers[named]
    by_order = np.argsort(both_orders)
    both_orders, both_customers = both_orders[by_order], both_customers[by_order]

    shared = (both_orders[1:] == both_orders[:-1]) & (both_customers[1:] != both_customers[:-1])
    linked, one = _represented(both_customers[:-1][shared], both_customers[1:][shared])
    together = _replaced(customers, linked, one)
    # A row that names nobody goes where the other rows of its order are.
    nameless = customers == NOBODY
    theirs = _replaced(_replaced(orders[nameless], both_orders, both_customers), linked, one)
    together = together.copy()
    together[nameless] = theirs
    parts: Parts = (together % np.uint64(number)).astype(np.int16)
    return parts


def _represented(left: Keys, right: Keys) -> tuple[Keys, Keys]:
    """The customers that any link names, sorted, and for each the one that stands for its group."""
    linked, codes = np.unique(np.concatenate([left, right]), return_inverse=True)
    if not len(linked):
        return linked, linked
    pairs = codes.reshape(2, -1)
    links = coo_matrix((np.ones(len(left), dtype=np.int8), pairs), shape=(len(linked), len(linked)))
    _, groups = connected_components(links, directed=False)
    _, first = np.unique(groups, return_index=True)
    return linked, linked[first][groups]


def _replaced(values: Keys, old: Keys, new: Keys) -> Keys:
    """The values, with those found in `old` (sorted) replaced by what stands there in `new`."""
    if not len(old):
        return values
    at = np.minimum(np.searchsorted(old, values), len(old) - 1)
    return np.where(old[at] == values, new[at], values)
