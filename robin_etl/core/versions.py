"""Versions of an order: of several rows on a day, the last one is the order's. Pure."""

from __future__ import annotations

import pandas as pd


def keep_last_rows(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The rows to go on with, and how many good ones a later row of their order replaced.

    `rows`: in the order they were exported in, `broken` where a rule sets them aside. The last row of
    an order and day wins even where it is broken: an older one is not the order's state.
    """
    last = ~rows.duplicated(["day", "order_number"], keep="last") | rows["order_number"].isna()
    good = ~rows["broken"]
    return rows[last & good], int((~last & good).sum())
