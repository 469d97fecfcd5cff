"""Which days a DAG run is about."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from robin_etl.exceptions import ConfigurationError
from robin_etl.settings import Settings


def find_days(context: Mapping[str, Any], settings: Settings, *, timezone: str) -> tuple[date, date]:
    """The first and the last day: of the parameters, or else the logical date's local day less the lag.

    Raises `ConfigurationError` for a manual run that names no day, or a range that runs backwards.
    """
    first, last = context["params"].get("from_date"), context["params"].get("to_date")
    if first or last:
        days = date.fromisoformat(str(first or last)), date.fromisoformat(str(last or first))
        if days[1] < days[0]:
            raise ConfigurationError(f"to_date ({days[1]}) is before from_date ({days[0]}).")
        return days
    logical_date = context["dag_run"].logical_date
    if logical_date is None:
        raise ConfigurationError(
            "This manual run names no day. Trigger it with from_date (and to_date for a range), or "
            "with a logical date."
        )
    lag = timedelta(days=settings.export_lag_days)
    day = logical_date.astimezone(ZoneInfo(timezone)).date() - lag
    return day, day
