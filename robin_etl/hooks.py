"""Airflow's side of the stages: settings with the secret of a connection, errors as task failures.

Needs the `airflow` extra. The connection (by default `robin_default`) has ROBIN's address as host, the
API key as login and the secret as password; nothing of it is passed between tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowFailException

from robin_etl.exceptions import ConfigurationError, StoppedError
from robin_etl.runs import Run
from robin_etl.settings import Settings

DEFAULT_CONNECTION = "robin_default"


def settings_of(connection_id: str = DEFAULT_CONNECTION) -> Settings:
    """The settings from the environment, with address, key and secret from the connection.

    A connection without a host leaves `ROBIN_ETL_BASE_URL` as it is.
    """
    connection = BaseHook.get_connection(connection_id)
    told: dict[str, Any] = {
        "api_key": connection.login or "",
        "api_secret": connection.password or "",
    }
    if connection.host:
        told["base_url"] = _address(connection.host, connection.schema, connection.port)
    return Settings.read(**told)


@contextmanager
def as_task_failures() -> Iterator[None]:
    """Fail the task without a retry where only a person can mend it; let the rest be retried."""
    try:
        yield
    except StoppedError as error:
        raise AirflowFailException(str(error)) from error


def passed_on(run: Run, counts: Mapping[str, Any]) -> dict[str, Any]:
    """What a task hands to the next: the run's folder and counts, neither rows nor names."""
    numbers = {name: count for name, count in counts.items() if isinstance(count, int)}
    return {"folder": str(run.folder), **numbers}


def days_of(
    params: Mapping[str, Any], logical_date: datetime | None, *, timezone: str, lag_days: int
) -> tuple[date, date]:
    """The days a DAG run is about: its parameters, or else the logical date's local day less the lag.

    Raises `ConfigurationError` for a manual run that names no day.
    """
    first, last = params.get("from_date"), params.get("to_date")
    if first or last:
        return date.fromisoformat(str(first or last)), date.fromisoformat(str(last or first))
    if logical_date is None:
        raise ConfigurationError(
            "This manual run names no day. Trigger it with from_date (and to_date for a range), or "
            "with a logical date."
        )
    day = logical_date.astimezone(ZoneInfo(timezone)).date() - timedelta(days=lag_days)
    return day, day


def _address(host: str, scheme: str | None, port: int | None) -> str:
    address = host if "://" in host else f"{scheme or 'https'}://{host}"
    return f"{address}:{port}" if port else address
