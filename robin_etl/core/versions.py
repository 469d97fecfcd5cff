"""Versions of an order: of several rows on a day, the last one is the order's. Pure."""

from __future__ import annotations

import pandas as pd

from robin_etl.core.columns import CONTACT_DTYPES

_CONTACT = ("email_address", "phone_number")


def keep_last_rows(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The rows to go on with, and how many good ones a later row of their order replaced.

    `rows`: in the order they were exported in, `broken` where a rule sets them aside. The last row of
    an order and day wins even where it is broken: an older one is not the order's state. One without a
    contact keeps that of the last good row before it.
    """
    last = ~rows.duplicated(["day", "order_number"], keep="last") | rows["order_number"].isna()
    good = ~rows["broken"]
    return _keep_contacts(rows, good)[last & good], int((~last & good).sum())


def _keep_contacts(rows: pd.DataFrame, good: pd.Series) -> pd.DataFrame:
    """The rows, those without a contact with the one that their order had before on the same day."""
    nameless = good & rows[[*_CONTACT]].isna().all(axis=1)
    if not nameless.any():
        return rows
    concerned = good & rows["order_number"].isin(rows["order_number"][nameless])
    own = rows[concerned]
    at = pd.Series(range(len(own)), index=own.index, dtype="Int64").mask(nameless[concerned])
    before = at.groupby([own["day"], own["order_number"]]).ffill().dropna().astype("int64")
    before = before[nameless[before.index]]
    rows = rows.copy()
    for name in rows.columns.intersection([*_CONTACT, *CONTACT_DTYPES]):
        rows.loc[before.index, name] = own[name].iloc[before].array
    return rows
