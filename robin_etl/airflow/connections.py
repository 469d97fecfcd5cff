"""Airflow's connections: found by their id, and opened as the storage that a location names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import sqlalchemy as sa
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

from robin_etl.exceptions import ConfigurationError
from robin_etl.settings import BUCKETS, Settings, connection_in

LOCATIONS = ("exports", "runs", "expectations", "query")

# Databases that are known without their provider, by the type of the connection.
_BACKENDS = {"postgres": "postgresql", "mysql": "mysql", "sqlite": "sqlite"}


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


def name_database(settings: Settings) -> Settings:
    """The settings with what opens the database of the Airflow connection that a query asks, if it names
    one; a task opens it when it asks.
    """
    if not settings.query_conn_id:
        return settings
    conn_id, seconds = settings.query_conn_id, settings.query_timeout
    return settings.connecting(partial(_open_database, conn_id, seconds))


def make_url(conn_id: str, backend: str = "postgresql") -> sa.URL:
    """The address of the database of an Airflow connection."""
    database = get_connection(conn_id)
    if backend == "sqlite":
        return sa.URL.create(backend, database=database.host)
    # A folder instead of a host is where the server's socket is.
    socket = {"host": database.host} if (database.host or "").startswith("/") else {}
    return sa.URL.create(
        backend,
        username=database.login,
        password=database.password,
        host=None if socket else database.host,
        port=database.port,
        database=database.schema,
        query=socket,
    )


def _open_database(conn_id: str, seconds: float) -> Any:
    """SQLAlchemy's engine for a connection, as the hook of its type makes it."""
    connection = get_connection(conn_id)
    try:
        hook = connection.get_hook()
    except AirflowException as error:  # no provider of that type is installed
        if (backend := _BACKENDS.get(connection.conn_type)) is None:
            raise ConfigurationError(
                f"The Airflow connection {conn_id} is of the type {connection.conn_type}, whose "
                "provider is not installed. Install it on the workers, or set ROBIN_ETL_QUERY_URL."
            ) from error
        from robin_etl.exports.query import open_database  # noqa: PLC0415 (imports pandas)

        return open_database(make_url(conn_id, backend), seconds)
    if not hasattr(hook, "get_sqlalchemy_engine"):
        raise ConfigurationError(
            f"The Airflow connection {conn_id} is of the type {connection.conn_type}, which is no "
            "database that SQLAlchemy asks. Name another in ROBIN_ETL_QUERY_CONN_ID."
        )
    try:
        return hook.get_sqlalchemy_engine()
    except (ImportError, sa.exc.ArgumentError) as error:
        raise ConfigurationError(
            f"The Airflow connection {conn_id} can't be opened by SQLAlchemy ({type(error).__name__}): "
            "its driver is not installed, or it lacks what an address needs."
        ) from error


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
