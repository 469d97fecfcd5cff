"""Airflow's connections: found by their id, and opened as the storage that a location names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from robin_etl.exceptions import ConfigurationError
from robin_etl.settings import BUCKETS, Settings, connection_in

LOCATIONS = ("exports", "runs", "expectations")


def get_connection(conn_id: str) -> Any:
    """Airflow's connection; raises `ConfigurationError` where there is none by that id."""
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"There is no Airflow connection {conn_id}. Add it (docs/deployment.md says how), "
            "then run again."
        ) from error


def open_storage(settings: Settings, locations: Iterable[str] = LOCATIONS) -> Settings:
    """The settings with what fsspec needs for the Airflow connections that these locations name."""
    named = (connection_in(getattr(settings, location))[:2] for location in locations)
    return settings.opening(
        {
            conn_id: _find_options(scheme, conn_id)
            for conn_id, scheme in named
            if conn_id is not None and (scheme in BUCKETS or _has_connection(conn_id))
        }
    )


def _find_options(scheme: str, conn_id: str) -> Mapping[str, Any]:
    """What fsspec needs to open that storage with an Airflow connection."""
    from airflow.sdk.io import fs  # noqa: PLC0415 (costs a second, and few need it)

    get_connection(conn_id)  # a provider may do without one, and find nothing
    try:
        opened = fs.get_fs(scheme, conn_id)
    except (ValueError, ImportError) as error:
        raise ConfigurationError(
            f"{scheme}:// can't be opened with the Airflow connection {conn_id} ({error}). "
            "Install the provider of that storage, such as apache-airflow-providers-amazon[s3fs]."
        ) from error
    options: Mapping[str, Any] = opened.storage_options
    return options


def _has_connection(conn_id: str) -> bool:
    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return False
    return True
