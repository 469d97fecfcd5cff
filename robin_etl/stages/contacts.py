"""Contacts that no row of a run names, read from the earlier exports that named them.

The ledger holds no address, but the day whose export said it.
"""

from __future__ import annotations

from datetime import date

import pandas as pd

from robin_etl.core import columns, customers
from robin_etl.exports import files, locations, profiles
from robin_etl.settings import Settings

_DIGESTS = (("email", "email_address"), ("phone", "phone_number"))


def lacks_customer(changes: pd.DataFrame) -> pd.Series:
    """Which changes (`columns.CHANGE_DTYPES`) lack the contact that their customer is known by."""
    is_named = pd.Series(data=False, index=changes.index)
    for digest, contact in _DIGESTS:
        is_customer = changes[digest] == changes["customer"]
        is_named |= is_customer.fillna(value=False) & changes[contact].notna()
    return ~is_named


def add_earlier_contacts(settings: Settings, changes: pd.DataFrame) -> pd.DataFrame:
    """The changes with the contacts that they lack, as far as the export that said each is there.

    A row may leave a cell blank that an earlier one filled; and an order may become its customer's first
    by another order's row.
    """
    lacking = [_lacks(changes, digest, contact) for digest, contact in _DIGESTS]
    if not any(one.any() for one in lacking):
        return changes
    profile = profiles.load_configured(settings)
    wanted = changes[lacking[0] | lacking[1]]
    days = pd.concat(
        [changes[f"{digest}_day"][one] for (digest, _), one in zip(_DIGESTS, lacking, strict=True)]
    )
    earlier = [date.fromisoformat(day) for day in sorted(days.dropna().unique())]
    changes = changes.copy()
    for day, path in locations.find_exports(settings.exports, earlier, settings.path).items():
        batches = files.read_batches(
            path,
            profile,
            day,
            most_bytes=settings.max_export_size,
            only=wanted["order_number"],
        )
        rows = [batch.orders.rows for batch in batches]
        if not rows:
            continue
        known = customers.add_digests(pd.concat(rows), key=settings.digest_key())
        for digest, contact in _DIGESTS:
            named = known.dropna(subset=digest).drop_duplicates(digest, keep="last")
            found = changes[digest].map(named.set_index(digest)[contact])
            changes[contact] = changes[contact].fillna(found.astype(columns.TEXT))
    return changes


def _lacks(changes: pd.DataFrame, digest: str, contact: str) -> pd.Series:
    return changes[digest].notna() & changes[contact].isna()
