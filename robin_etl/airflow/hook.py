"""Airflow's side: the hook of the connection type `robin`, and what the DAG's tasks share.

Needs the `airflow` extra. Settings are looked for in this order, and the first that is found counts:
the DAG run's parameters; the connection (address, API key, API secret, extras); the Airflow Variable
`robin_etl`, a JSON object of settings that are no secret; the environment, `ROBIN_ETL_…`; the TOML
file that `ROBIN_ETL_CONFIG` names; the defaults.
"""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from airflow.sdk import BaseHook, Variable
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException
from airflow.sdk.log import mask_secret

from robin_etl.core import payload
from robin_etl.delivery import Client, Meaning
from robin_etl.exceptions import ConfigurationError, RobinEtlError, StoppedError
from robin_etl.settings import BUCKETS, Settings, connection_in
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run

log = logging.getLogger(__name__)

DEFAULT_CONNECTION = "robin_default"
VARIABLE = "robin_etl"

# What each place may say. A secret belongs in a connection, which a secrets backend can keep.
_SECRETS = {"api_key", "api_secret", "customer_key"}
_OF_CONNECTION = ("chunk_size", "concurrency", "rate_limits", "timeout", "customer_key")
_OF_PARAMETERS = ("chunk_size", "exports", "profile", "shards")
LOCATIONS = ("exports", "runs", "expectations")

_SECONDS_BETWEEN_WORDS = 30.0
_NAMED = 20


class RobinHook(BaseHook):  # type: ignore[misc]  # Airflow's classes are not followed
    """Settings and client from an Airflow connection of the type `robin`."""

    conn_name_attr = "robin_conn_id"
    default_conn_name = DEFAULT_CONNECTION
    conn_type = "robin"
    hook_name = "ROBIN"

    def __init__(self, robin_conn_id: str = DEFAULT_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.robin_conn_id = robin_conn_id

    def settings(self, params: Mapping[str, Any] | None = None) -> Settings:
        """The settings of a DAG run with these parameters; raises `ConfigurationError`.

        A location may name a connection, as in `s3://aws_default@bucket/key`; a ledger in PostgreSQL
        one by the extra `ledger_conn_id`.
        """
        given = params or {}
        told = {
            **self._of_variable(),
            **self._of_connection(),
            **{name: given[name] for name in _OF_PARAMETERS if given.get(name) is not None},
        }
        return opened(Settings.read(**told))

    def get_conn(self) -> Client:
        """A client for the connection's ROBIN; use it as a context manager."""
        settings = self.settings()
        key, secret = settings.credentials()
        return Client(settings.base_url, key, secret, timeout=settings.timeout)

    def test_connection(self) -> tuple[bool, str]:
        """Post a request without any order, and tell what that shows.

        It takes one request of ROBIN's limits. ROBIN doesn't document what it says to it, so only
        the key's being refused, or not, can be told; not whether it may post orders.
        """
        try:
            with self.get_conn() as client:
                answer = client.post(payload.encode_body([]))
        except RobinEtlError as error:
            return False, str(error)
        shown = answer.describe()
        if answer.meaning in (Meaning.ACCEPTED, Meaning.REFUSED):
            return True, f"ROBIN took the key and was sent no order (its answer: {shown})."
        if answer.status is None:
            return False, f"ROBIN was not reached: {shown}."
        return False, f"ROBIN was reached, but whether it takes the key can't be told: {shown}."

    def _of_connection(self) -> dict[str, Any]:
        connection = _connection(self.robin_conn_id)
        extras = connection.extra_dejson
        told: dict[str, Any] = {
            "api_key": connection.login or "",
            "api_secret": connection.password or "",
            **{name: extras[name] for name in _OF_CONNECTION if extras.get(name) not in (None, "")},
        }
        if connection.host:
            told["base_url"] = _address(connection.host, connection.schema, connection.port)
        if extras.get("ledger_conn_id"):
            told["ledger"] = self._ledger_url(extras["ledger_conn_id"])
        for secret in ("ledger", "customer_key"):
            if secret in told:
                mask_secret(told[secret])
        return told

    def _ledger_url(self, connection_id: str) -> str:
        database = _connection(connection_id)
        url = sa.URL.create(
            "postgresql",
            username=database.login,
            password=database.password,
            host=database.host,
            port=database.port,
            database=database.schema,
        )
        return url.render_as_string(hide_password=False)

    @staticmethod
    def _of_variable() -> dict[str, Any]:
        told = Variable.get(VARIABLE, default=None, deserialize_json=True) or {}
        if not isinstance(told, dict):
            raise ConfigurationError(
                f'The Variable {VARIABLE} must be a JSON object of settings, such as {{"chunk_size": '
                "200}."
            )
        if secrets := sorted(_SECRETS & {str(name).lower() for name in told}):
            raise ConfigurationError(
                f"The Variable {VARIABLE} holds {', '.join(secrets)}. A secret belongs in the "
                "connection: the API key as login, the API secret as password, customer_key as extra."
            )
        return {str(name).lower(): value for name, value in told.items()}


def opened(settings: Settings, locations: Iterable[str] = LOCATIONS) -> Settings:
    """The settings with what fsspec needs for the Airflow connections that these locations name."""
    named = (connection_in(getattr(settings, location))[:2] for location in locations)
    return settings.opening(
        {
            name: _storage_options(scheme, name)
            for name, scheme in named
            if name is not None and (scheme in BUCKETS or _is_connection(name))
        }
    )


@contextmanager
def as_task_failures() -> Iterator[None]:
    """Fail the task without a retry where only a person can mend it; let the rest be retried."""
    try:
        yield
    except StoppedError as error:
        raise AirflowFailException(str(error)) from error


def run_of(settings: Settings, context: Mapping[str, Any], *, timezone: str = "UTC") -> Run:
    """The run that a DAG run is about, in its folder; the same when its tasks are tried again."""
    params = context["params"]
    first, last = days_of(context, settings, timezone=timezone)
    started = Run.start(
        settings.runs,
        Scope(
            command="airflow",
            first=first,
            last=last,
            final=params.get("final", False),
            dry_run=params.get("dry_run", False),
            allow_corrections=params.get("allow_corrections", False),
        ),
        path_of=settings.path,
    )
    log.info("This run's files are in %s.", started.location)
    return started


def days_of(
    context: Mapping[str, Any], settings: Settings, *, timezone: str = "UTC"
) -> tuple[date, date]:
    """The days a DAG run is about: its parameters, or else the logical date's local day less the lag.

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


def hand_on(run: Run, counts: Mapping[str, Any]) -> dict[str, Any]:
    """What a task hands to the next: the run's location and counts; no rows and no names."""
    numbers = {name: number for name, number in counts.items() if isinstance(number, int)}
    return {"run": run.location, **numbers}


def log_counts(stage: str, counts: Mapping[str, Any]) -> None:
    """Say in the task's log what a stage came to: its counts, and the orders it names."""
    numbers = {name: number for name, number in counts.items() if isinstance(number, int)}
    shown = ", ".join(f"{name} {number:,}" for name, number in numbers.items() if number)
    log.info("%s: %s.", stage, shown or "nothing to do")
    for name, named in counts.items():
        if isinstance(named, tuple | list) and named:
            more = f" and {len(named) - _NAMED:,} more" if len(named) > _NAMED else ""
            log.warning("%s: %s%s.", name.replace("_", " "), ", ".join(named[:_NAMED]), more)


def call_on_failure(context: Mapping[str, Any]) -> None:
    """Call what the setting `ON_FAILURE` names with a failed task's context."""
    target = RobinHook().settings().on_failure
    if target:
        try:
            called = pkgutil.resolve_name(target)
        except (ValueError, ImportError, AttributeError) as error:
            raise ConfigurationError(
                f"ROBIN_ETL_ON_FAILURE is {target!r}, and there is no such function ({error}). Write "
                "it as module:function, in a module that the workers can import."
            ) from error
        called(context)


def _storage_options(scheme: str, connection_id: str) -> Mapping[str, Any]:
    """What fsspec needs to open that storage with an Airflow connection."""
    from airflow.sdk.io import fs  # noqa: PLC0415 (costs a second, and few need it)

    _connection(connection_id)  # a provider may do without one, and find nothing
    try:
        opened = fs.get_fs(scheme, connection_id)
    except (ValueError, ImportError) as error:
        raise ConfigurationError(
            f"{scheme}:// can't be opened with the Airflow connection {connection_id} ({error}). "
            "Install the provider of that storage, such as apache-airflow-providers-amazon[s3fs]."
        ) from error
    options: Mapping[str, Any] = opened.storage_options
    return options


def _connection(connection_id: str) -> Any:
    try:
        return BaseHook.get_connection(connection_id)
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"There is no Airflow connection {connection_id}. Add it (docs/deployment.md says how), "
            "then run again."
        ) from error


def _is_connection(name: str) -> bool:
    try:
        BaseHook.get_connection(name)
    except AirflowNotFoundException:
        return False
    return True


def _address(host: str, scheme: str | None, port: int | None) -> str:
    address = host if "://" in host else f"{scheme or 'https'}://{host}"
    return f"{address}:{port}" if port else address
