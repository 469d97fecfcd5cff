"""The daily job as a plain script: pandas, requests, and the last snapshot in a file.

What many shops have. A day's file is compared with the snapshot of all that was exported before; what is
new or has another revenue is posted, a hundred orders at a time; then the snapshot is written. A request
that fails is tried twice more; then the script fails, as cron tells somebody, who runs it again.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import requests

KEY = SECRET = "benchmark"
_CHUNK = 100
_TRIES = 3
_COLUMNS = ["order_number", "email_address", "revenue", "order_date"]


def run_day(day: Path, folder: Path, url: str) -> None:
    """Post what changed in a day's file; raises what requests raises."""
    path = folder / "snapshot.parquet"
    rows = pd.read_csv(day, dtype={"order_number": str}).drop_duplicates("order_number", keep="last")
    rows["email_address"] = rows["email_address"].str.strip().str.lower()
    snapshot = pd.read_parquet(path) if path.exists() else rows[_COLUMNS].iloc[:0]
    both = rows.merge(
        snapshot[["order_number", "revenue"]], on="order_number", how="left", suffixes=("", "_before")
    )
    changed = both[both["revenue_before"].isna() | (both["revenue_before"] != both["revenue"])]
    everything = pd.concat([snapshot, rows[_COLUMNS]]).drop_duplicates("order_number", keep="last")
    first = everything.sort_values(["order_date", "order_number"]).drop_duplicates("email_address")
    told = changed[_COLUMNS].assign(
        old_revenue=changed["revenue_before"],
        is_first_order=changed["order_number"].isin(first["order_number"]),
    )
    for start in range(0, len(told), _CHUNK):
        records = told.iloc[start : start + _CHUNK].to_dict("records")
        _post(url, [{str(k): v for k, v in one.items() if v == v} for one in records])  # noqa: PLR0124
    everything.to_parquet(path, index=False)


def _post(url: str, orders: list[dict[str, object]]) -> None:
    for left in reversed(range(_TRIES)):
        try:
            answer = requests.post(
                f"{url}/dynamic/orders", json={"orders": orders}, auth=(KEY, SECRET), timeout=30
            )
            answer.raise_for_status()
        except requests.RequestException:
            if not left:
                raise
        else:
            return
