"""The hook of the connection type `robin`: settings and a client from an Airflow connection.

Settings are looked for in this order, and the first that is found counts: the DAG run's parameters; what
the DAG's file says of the shop; the connection (address, API key, API secret, extras); the Airflow
Variable of the connection's name, a JSON object of settings that are no secret; the environment,
`ROBIN_ETL_…`; the TOML file that `ROBIN_ETL_CONFIG` names; the defaults.

Tasks that see no order read settings too, so it imports no more than that takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from airflow.sdk import BaseHook, Variable
from airflow.sdk.log import mask_secret

from robin_etl.airflow import DEFAULT_CONN_ID, SECRETS, Shop
from robin_etl.airflow.connections import get_connection, make_url, name_database, open_storage
from robin_etl.exceptions import ConfigurationError, RobinEtlError
from robin_etl.redaction import holds_password
from robin_etl.settings import Settings

if TYPE_CHECKING:
    from robin_etl.delivery import Client

# What each place may say. A secret belongs in a connection, which a secrets backend can keep.
_EXTRAS = ("chunk_size", "concurrency", "rate_limits", "timeout")
# Extras by names in which Airflow sees a secret, and masks it wherever it shows a connection.
_SECRET_EXTRAS = {"customer_key_secret": "customer_key", "contact_key_secret": "contact_key"}
_USUAL_PORTS = {"https": 443, "http": 80}
_PARAMS = ("chunk_size", "exports", "profile", "shards")


class RobinHook(BaseHook):  # type: ignore[misc]  # Airflow's classes are not followed
    """Settings and client from an Airflow connection of the type `robin`; `settings` are those that a
    DAG's file says of its shop.
    """

    conn_name_attr = "robin_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "robin"
    hook_name = "ROBIN"

    def __init__(
        self,
        robin_conn_id: str = DEFAULT_CONN_ID,
        *,
        settings: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.robin_conn_id = robin_conn_id
        self.settings = dict(settings or {})

    @classmethod
    def of(cls, shop: Shop) -> RobinHook:
        """The hook of a shop."""
        return cls(shop["conn_id"], settings=shop["settings"])

    def get_settings(self, params: Mapping[str, Any] | None = None) -> Settings:
        """The settings of a DAG run with these parameters; raises `ConfigurationError`.

        A location may name a connection, as in `s3://aws_default@bucket/key`; a ledger in PostgreSQL
        one by the extra `ledger_conn_id`.
        """
        given = params or {}
        values = {
            **_read_variable(self.robin_conn_id),
            **_read_connection(self.robin_conn_id),
            **self.settings,
            **{name: given[name] for name in _PARAMS if given.get(name) is not None},
        }
        settings = Settings.read(**values)
        if holds_password(settings.exports):
            raise ConfigurationError(
                "ROBIN_ETL_EXPORTS holds a password, which Airflow would keep in its database. Give it "
                "as fsspec takes it, such as FSSPEC_SFTP_PASSWORD, or name a connection: "
                "sftp://connection@host/folder."
            )
        return name_database(open_storage(settings))

    def get_conn(self) -> Client:
        """A client for the connection's ROBIN; use it as a context manager."""
        from robin_etl.delivery import Client  # noqa: PLC0415 (see above)

        return Client.of(self.get_settings())

    def test_connection(self) -> tuple[bool, str]:
        """Post a request without any order, and say what that shows.

        It takes one request of ROBIN's limits. ROBIN doesn't document what it says to it, so only
        the key's being refused, or not, can be seen; not whether it may post orders.
        """
        from robin_etl.airflow.trial import try_connection  # noqa: PLC0415 (see above)

        try:
            settings = self.get_settings()
        except RobinEtlError as error:
            return False, str(error)
        return try_connection(settings)


def _read_connection(conn_id: str) -> dict[str, Any]:
    """The settings that the connection holds."""
    connection = get_connection(conn_id)
    extras = connection.extra_dejson
    values: dict[str, Any] = {
        "api_key": connection.login or "",
        "api_secret": connection.password or "",
        **{name: extras[name] for name in _EXTRAS if extras.get(name) not in (None, "")},
    }
    for extra, name in _SECRET_EXTRAS.items():
        if extras.get(name) not in (None, ""):
            raise ConfigurationError(
                f"The Airflow connection {conn_id} has the extra {name}, which Airflow would show to "
                f"whoever sees connections. Call it {extra}: that is masked."
            )
        if extras.get(extra) not in (None, ""):
            values[name] = extras[extra]
    if connection.host:
        values["base_url"] = _format_address(connection.host, connection.schema, connection.port)
    if extras.get("ledger_conn_id"):
        url = make_url(extras["ledger_conn_id"])
        values["ledger"] = url.render_as_string(hide_password=False)
    for secret in ("ledger", "customer_key", "contact_key"):
        if secret in values:
            mask_secret(values[secret])
    return values


def _read_variable(name: str) -> dict[str, Any]:
    """The settings that the Variable of this name holds."""
    values = Variable.get(name, default=None, deserialize_json=True) or {}
    if not isinstance(values, dict):
        raise ConfigurationError(
            f'The Variable {name} must be a JSON object of settings, such as {{"chunk_size": 200}}.'
        )
    if secrets := sorted(SECRETS & {str(key).lower() for key in values}):
        raise ConfigurationError(
            f"The Variable {name} holds {', '.join(secrets)}. A secret belongs in the "
            "connection: the API key as login, the API secret as password, and as extras "
            "customer_key_secret and contact_key_secret."
        )
    return {str(key).lower(): value for key, value in values.items()}


def _format_address(host: str, scheme: str | None, port: int | None) -> str:
    """The address in one form: without a port where it is the usual one."""
    address = host if "://" in host else f"{scheme or 'https'}://{host}"
    given = urlsplit(address)
    has_port = given.netloc.rpartition("]")[2].count(":") == 1
    if not port or has_port or port == _USUAL_PORTS.get(given.scheme):
        return address
    return urlunsplit(given._replace(netloc=f"{given.netloc}:{port}"))
