"""Contacts of customers whom no row of a run names, read from the earlier exports that named them.

The ledger holds no address, but the day whose export said it.
"""

from __future__ import annotations

from datetime import date

import pandas as pd

from robin_etl.core import columns, customers
from robin_etl.exports import files, locations, profiles
from robin_etl.settings import Settings

_DIGESTS = (("email", "email_address"), ("phone", "phone_number"))


def lacks_contact(changes: pd.DataFrame) -> pd.Series:
    """Which changes (`columns.CHANGE_DTYPES`) name nobody."""
    return changes["email_address"].isna() & changes["phone_number"].isna()


def add_earlier_contacts(settings: Settings, changes: pd.DataFrame) -> pd.DataFrame:
    """The changes with the contact of those that name nobody, as far as an earlier export is there.

    That happens when an order leaves a customer for another: the customer's next order becomes the
    first.
    """
    nameless = lacks_contact(changes)
    if not nameless.any():
        return changes
    profile = profiles.load_configured(settings)
    wanted = changes[nameless]
    days = wanted["email_day"].fillna(wanted["phone_day"])
    earlier = [date.fromisoformat(day) for day in sorted(days.dropna().unique())]
    changes = changes.copy()
    for day, path in locations.find_exports(settings.exports, earlier, settings.path).items():
        rows = pd.concat(
            batch.orders.rows[batch.orders.rows["order_number"].isin(wanted["order_number"])]
            for batch in files.read_batches(path, profile, day, most_bytes=settings.max_export_size)
        )
        known = customers.add_digests(rows, key=settings.digest_key())
        for digest, contact in _DIGESTS:
            named = known.dropna(subset=digest).drop_duplicates(digest, keep="last")
            found = changes[digest].map(named.set_index(digest)[contact])
            changes[contact] = changes[contact].fillna(found.astype(columns.TEXT))
    return changes
