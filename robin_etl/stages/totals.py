"""What ROBIN was told, added up by the day or month of the orders, as ROBIN and the shop show it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from robin_etl.exports import profiles
from robin_etl.ledger import Ledger
from robin_etl.settings import Settings

PERIODS = {"month": "%Y-%m", "day": "%Y-%m-%d"}

# Of an order's date: up to the hour, or where a time zone is no whole hours off, up to the minute.
_HOUR, _MINUTE = len("2017-04-05T12"), len("2017-04-05T12:34")


@dataclass(frozen=True)
class PeriodTotal:
    """The orders of a period that ROBIN was told of: how many count as acquisition (customers' first
    orders) and how many as retention, what they are worth in cents, and their profit.
    """

    period: str
    acquired: int
    acquisition: int
    retained: int
    retention: int
    profit: int

    @property
    def orders(self) -> int:
        return self.acquired + self.retained

    @property
    def revenue(self) -> int:
        return self.acquisition + self.retention

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "orders": self.orders, "revenue": self.revenue}


def total_by(settings: Settings, ledger: Ledger, period: str) -> list[PeriodTotal]:
    """The totals of each period (`PERIODS`) in the profile's time zone, oldest first."""
    zone = ZoneInfo(profiles.find_zone(settings))
    is_whole_hours = not _has_odd_offset(zone)
    counted = ledger.states.totals_by(_HOUR if is_whole_hours else _MINUTE)
    moments = pd.to_datetime(
        counted["period"], format="%Y-%m-%dT%H" if is_whole_hours else "%Y-%m-%dT%H:%M", utc=True
    )
    names = moments.dt.tz_convert(zone).dt.strftime(PERIODS[period])
    kinds = counted["is_first_order"].map({True: "first", False: "other"})
    sums = counted.groupby([names, kinds])[["orders", "revenue", "profit"]].sum()
    table = sums.unstack(fill_value=0)  # noqa: PD010 (pivot_table knows no missing pair as 0)

    def pick(name: str, kind: str) -> list[int]:
        column = table.get((name, kind))
        return [0] * len(table) if column is None else column.astype(int).tolist()

    profit = [
        first + other
        for first, other in zip(pick("profit", "first"), pick("profit", "other"), strict=True)
    ]
    return [
        PeriodTotal(*row)
        for row in zip(
            table.index.tolist(),
            pick("orders", "first"),
            pick("revenue", "first"),
            pick("orders", "other"),
            pick("revenue", "other"),
            profit,
            strict=True,
        )
    ]


def _has_odd_offset(zone: ZoneInfo) -> bool:
    offset = datetime(2000, 1, 1, tzinfo=zone).utcoffset()
    return offset is not None and offset.total_seconds() % 3600 != 0
