"""Which days a DAG run is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from robin_etl.exceptions import ConfigurationError
from robin_etl.settings import Settings


def find_days(context: Mapping[str, Any], settings: Settings, *, timezone: str) -> tuple[date, date]:
    """The first and the last day: of the parameters; or else the logical date's local day, less the lag;
    or else the partition or the events of the asset that has started the run.

    Raises `ConfigurationError` for a manual run that names no day, or a range that runs backwards.
    """
    first, last = context["params"].get("from_date"), context["params"].get("to_date")
    if first or last:
        days = date.fromisoformat(str(first or last)), date.fromisoformat(str(last or first))
        if days[1] < days[0]:
            raise ConfigurationError(f"to_date ({days[1]}) is before from_date ({days[0]}).")
        return days
    run = context["dag_run"]
    if run.logical_date is not None:
        day = run.logical_date.astimezone(ZoneInfo(timezone)).date()
        return (day - timedelta(days=settings.export_lag_days),) * 2
    named = list(_find_named_days(context, timezone))
    if not named:
        raise ConfigurationError(
            "This manual run names no day. Trigger it with from_date (and to_date for a range), or "
            "with a logical date."
        )
    return min(named), max(named)


def is_for_today(last: date, settings: Settings, *, timezone: str) -> bool:
    """Whether a run's last day is the one whose export is due today, or later."""
    today = datetime.now(ZoneInfo(timezone)).date()
    return last >= today - timedelta(days=settings.export_lag_days)


def _find_named_days(context: Mapping[str, Any], timezone: str) -> Iterator[date]:
    """The days that an asset's partition or events name, in their key or as `day` of their extra; of
    events that name none, the day on which they were made.
    """
    run = context["dag_run"]
    if (day := _parse_day(getattr(run, "partition_key", None))) is not None:
        yield day
        return
    for event in getattr(run, "consumed_asset_events", None) or ():
        named = _parse_day(getattr(event, "partition_key", None)) or _parse_day(
            (event.extra or {}).get("day")
        )
        yield named or event.timestamp.astimezone(ZoneInfo(timezone)).date()


def _parse_day(text: object) -> date | None:
    """The day that a text begins with; None where it begins with none."""
    try:
        return date.fromisoformat(str(text)[: len("2026-11-01")])
    except ValueError:
        return None
