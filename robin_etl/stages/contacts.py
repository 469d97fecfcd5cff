"""Contacts that no row of a run names: kept sealed in the ledger where that is asked for, and otherwise
read from the earlier exports that named them.

Without a key the ledger holds no address, but the day whose export said it.
"""

from __future__ import annotations

from datetime import date

import pandas as pd

from robin_etl.core import columns, customers
from robin_etl.exports import files, locations, profiles
from robin_etl.ledger import Ledger
from robin_etl.settings import Settings
from robin_etl.stages.run import Run

_DIGESTS = (("email", "email_address"), ("phone", "phone_number"))


def lacks_customer(changes: pd.DataFrame) -> pd.Series:
    """Which changes (`columns.CHANGE_DTYPES`) lack the contact that their customer is known by."""
    is_named = pd.Series(data=False, index=changes.index)
    for digest, contact in _DIGESTS:
        is_customer = changes[digest] == changes["customer"]
        is_named |= is_customer.fillna(value=False) & changes[contact].notna()
    return ~is_named


def add_contacts(settings: Settings, ledger: Ledger, changes: pd.DataFrame) -> pd.DataFrame:
    """The changes with the contacts that they lack, as far as the ledger keeps them sealed or the export
    that said each is there.

    A row may leave a cell blank that an earlier one filled; and an order may become its customer's first
    by another order's row.
    """
    lacking = _find_lacking(changes)
    if not lacking.any(axis=None):
        return changes
    changes = changes.copy()
    if sealer := settings.sealer():
        digests = pd.concat([changes[digest][lacking[digest]] for digest, _ in _DIGESTS])
        kept = ledger.contacts.find(digests, sealer)
        for digest, contact in _DIGESTS:
            _fill(changes, digest, contact, kept)
    _add_earlier_contacts(settings, changes)
    return changes


def keep_contacts(settings: Settings, run: Run, ledger: Ledger) -> None:
    """Keep the contacts of the run's rows sealed in the ledger, where that is asked for."""
    if (sealer := settings.sealer()) is None:
        return
    for partition in run.partitions:
        for rows in partition.rows.read_batches():
            good = rows[~rows["broken"]]
            for digest, contact in _DIGESTS:
                ledger.contacts.keep(good.dropna(subset=digest).set_index(digest)[contact], sealer)


def _add_earlier_contacts(settings: Settings, changes: pd.DataFrame) -> None:
    """Fill in the contacts that changes lack from the exports that said them, if they are there."""
    lacking = _find_lacking(changes)
    if not lacking.any(axis=None):
        return
    profile = profiles.load_configured(settings)
    wanted = changes["order_number"][lacking.any(axis=1)]
    days = pd.concat([changes[f"{digest}_day"][lacking[digest]] for digest, _ in _DIGESTS])
    earlier = [date.fromisoformat(day) for day in sorted(days.dropna().unique())]
    most = settings.max_export_size
    for day, those in locations.find_exports(settings.exports, earlier, settings.path).items():
        rows = [
            batch.orders.rows
            for one in those
            for batch in files.read_batches(one.path, profile, day, most_bytes=most, only=wanted)
        ]
        if not rows:
            continue
        known = customers.add_digests(pd.concat(rows), key=settings.digest_key())
        for digest, contact in _DIGESTS:
            named = known.dropna(subset=digest).drop_duplicates(digest, keep="last")
            _fill(changes, digest, contact, named.set_index(digest)[contact])


def _fill(changes: pd.DataFrame, digest: str, contact: str, known: pd.Series) -> None:
    found = changes[digest].map(known)
    changes[contact] = changes[contact].fillna(found.astype(columns.TEXT))


def _find_lacking(changes: pd.DataFrame) -> pd.DataFrame:
    """Which contacts each change has a digest of, and not in clear: by the digests' names."""
    lacking = {digest: changes[digest].notna() & changes[contact].isna() for digest, contact in _DIGESTS}
    return pd.DataFrame(lacking)
