"""Sealed contacts: addresses and phone numbers by their digests, readable with `CONTACT_KEY` alone.

Without that setting there are none, and the ledger is free of addresses.
"""

from __future__ import annotations

import pandas as pd
import sqlalchemy as sa

from robin_etl.core import columns
from robin_etl.core.sealing import Sealer
from robin_etl.exceptions import LedgerError
from robin_etl.ledger.engine import Engine
from robin_etl.ledger.schema import CONTACTS


class SealedContacts:
    """The contacts that a ledger keeps."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, contacts: pd.Series, sealer: Sealer) -> None:
        """Seal these contacts, by their digests as the index, that are not kept yet."""
        named = contacts.dropna()
        named = named[~named.index.duplicated()]
        known = self._fetch(named.index.to_series())
        self._insert(named[~named.index.isin(known)], sealer)

    def find(self, digests: pd.Series, sealer: Sealer) -> pd.Series:
        """The contacts of these digests that are kept, by digest.

        Raises `LedgerError` for one that none of the keys opens.
        """
        kept = self._fetch(digests)
        opened = {digest: sealer.open(sealed, digest) for digest, sealed in kept.items()}
        if any(contact is None for contact in opened.values()):
            raise LedgerError(
                "The ledger has contacts that ROBIN_ETL_CONTACT_KEY does not open. Name the key that "
                "sealed them behind the new one and a comma, then run robin-etl ledger reseal; or "
                "remove them with robin-etl ledger reseal --remove."
            )
        return pd.Series(opened, dtype=columns.TEXT)

    def reseal(self, sealer: Sealer) -> int:
        """Seal all contacts anew, with the first of the keys; how many. Raises as `find` does."""
        with self._engine.transaction(), self._engine.write() as connection:
            digests = connection.execute(sa.select(CONTACTS.c.digest)).scalars().all()
            contacts = self.find(pd.Series(digests, dtype=columns.TEXT), sealer)
            connection.execute(CONTACTS.delete())
            self._insert(contacts, sealer)
        self._engine.write_back()
        return len(contacts)

    def remove_all(self) -> int:
        """Remove all contacts; how many."""
        with self._engine.write() as connection:
            removed = connection.execute(CONTACTS.delete()).rowcount
        self._engine.write_back()
        return int(removed)

    def remove(self, digests: pd.Series) -> None:
        """Remove the contacts of these digests."""
        own = self._engine.dialect.is_among(CONTACTS.c.digest, digests)
        with self._engine.write() as connection:
            connection.execute(CONTACTS.delete().where(own))

    def _insert(self, contacts: pd.Series, sealer: Sealer) -> None:
        pairs = zip(contacts.index.astype(str), contacts, strict=True)
        rows = [{"digest": digest, "sealed": sealer.seal(contact, digest)} for digest, contact in pairs]
        if rows:
            with self._engine.write() as connection:
                connection.execute(self._engine.dialect.insert(CONTACTS).on_conflict_do_nothing(), rows)

    def _fetch(self, digests: pd.Series) -> dict[str, bytes]:
        own = self._engine.dialect.is_among(CONTACTS.c.digest, digests.astype(columns.TEXT))
        query = sa.select(CONTACTS).where(own)
        return {row["digest"]: bytes(row["sealed"]) for row in self._engine.fetch(query)}
