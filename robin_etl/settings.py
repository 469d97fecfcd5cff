"""The only reader of the environment: settings, checked once, secrets masked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from upath import UPath

from robin_etl.core import limits, sealing, statuses
from robin_etl.core.guards import GuardLimits
from robin_etl.core.sealing import Sealer
from robin_etl.exceptions import ConfigurationError
from robin_etl.private import resolve_local
from robin_etl.redaction import hide_credentials, holds_password
from robin_etl.shops import Places, SettingsFile, check_apart

PREFIX = "ROBIN_ETL_"
_CONFIG = f"{PREFIX}CONFIG"

# What has PostgreSQL look for a ledger's tables in a schema.
_SEARCH_PATH = "options=-csearch_path%3D"

R = TypeVar("R")


def _shipped_expectations() -> str:
    """The suites beside the package: inside it when installed, next to it in a checkout."""
    package = Path(__file__).parent
    inside = package / "expectations"
    return str(inside if inside.is_dir() else package.parent / "expectations")


# Schemes of which no location has an @ of its own, as sftp://user@host has.
BUCKETS = ("s3", "s3a", "gs", "gcs")


def connection_in(location: str) -> tuple[str | None, str, str]:
    """`s3://connection@bucket/key` as its connection, scheme and the rest; None without an @.

    Outside of `BUCKETS` what stands before the @ may as well be a user, or anything else.
    """
    scheme, _, rest = location.partition("://")
    connection, at, path = rest.partition("@")
    if not at or "/" in connection:
        return None, scheme, rest
    return connection, scheme, path


class Settings(BaseSettings):
    """Everything that can be set, from `ROBIN_ETL_…` or a TOML file named by `ROBIN_ETL_CONFIG`.

    The environment wins over the file. Made with `Settings.read`.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    shop: str = Field("", description="Which shop of a file with several.")
    base_url: str = Field("https://api.robinhq.com", description="Address of ROBIN.")
    api_key: SecretStr = Field(SecretStr(""), description="API key.")
    api_secret: SecretStr = Field(SecretStr(""), description="API secret.")
    exports: str = Field(
        "data/exports", description="Folder or URL of the exports, or a pattern with {date} in it."
    )
    profile: str = Field(
        "robin", description="Format of the export: the name of a shipped profile, or a TOML file."
    )
    timezone: str = Field(
        "",
        description="The shop's time zone, and that of dates without an offset unless the profile "
        "states one.",
    )
    currency: str = Field("", description="The only currency that is sent, such as EUR.")
    webstore_url: str = Field("", description="Web store of orders whose row names none.")
    order_prefix: str = Field(
        "", pattern="^[!-~]{0,40}$", description="Put before each order number, such as `NL-`."
    )
    first_orders_with: str = Field(
        "",
        description="Ledgers of other shops whose orders count for who orders first: schemas of the "
        "same PostgreSQL database, or paths of SQLite files, separated by commas.",
    )
    done_marker: str = Field(
        "", description="Suffix, or name, of the file that marks an export as complete, such as `.done`."
    )
    query: str = Field(
        "", description="SQL file whose answer is a day's export: `:day` in it is that day."
    )
    query_url: SecretStr = Field(
        SecretStr(""), description="SQLAlchemy address of the database that the query asks."
    )
    query_conn_id: str = Field("", description="Airflow connection of that database, instead.")
    query_timeout: float = Field(
        3600.0, gt=0, description="Seconds that the answer to the query for a day may take."
    )
    max_export_size: int = Field(
        20_000_000_000, gt=0, description="Maximum size of an export in bytes, after decompression."
    )
    ledger: str = Field("data/ledger.db", description="Path of a SQLite file, or a postgresql:// URL.")
    ledger_schema: str = Field(
        "", pattern="^([a-z_][a-z0-9_]{0,62})?$", description="Schema of a ledger in PostgreSQL."
    )
    runs: str = Field("data/runs", description="Folder or URL of the run files.")
    expectations: str = Field(
        default_factory=_shipped_expectations, description="Folder of the gate's suites."
    )
    chunk_size: int = Field(100, ge=1, description="Maximum number of orders in a request.")
    concurrency: int = Field(4, ge=1, le=64, description="Maximum number of requests in flight.")
    rate_limits: str = Field("3/s,180/min,10000/h,100000/d", description="Requests that ROBIN allows.")
    shared_limits: str = Field(
        "",
        description="Where shops on one ROBIN account count their requests together: path of a SQLite "
        "file, a postgresql:// URL, or `ledger` for the ledger's own PostgreSQL.",
    )
    accepted_statuses: str = Field(
        "201", description="HTTP statuses that acknowledge a request, such as `200,201`."
    )
    timeout: float = Field(30.0, gt=0, description="Seconds to wait for an answer.")
    max_attempts: int = Field(6, ge=1, description="Attempts for each request.")
    backoff: float = Field(
        1.0, gt=0, description="Seconds before the second attempt; doubled before each further one."
    )
    longest_wait: float = Field(
        3600.0, ge=0, description="Seconds that a run waits at most when ROBIN asks it to."
    )
    shards: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = Field(
        "auto", description="Partitions of a run, split by customer; auto decides by its size."
    )
    customer_key: SecretStr = Field(
        SecretStr(""), description="Key of the customer digests, up to 64 bytes."
    )
    guards: GuardLimits = Field(
        default_factory=GuardLimits,
        description='Where guards stop a run, those that differ: `{"scale": 50, "returns_share": 0.8}`.',
    )
    contact_key: SecretStr = Field(
        SecretStr(""),
        description="Key that seals contacts in the ledger: 32 bytes in base64, then older ones.",
    )
    export_lag_days: int = Field(
        0,
        ge=0,
        description="Days that an export's date is behind the day it is run; 1 with a query unless set.",
    )
    export_settle: float = Field(
        60.0, ge=0, description="Seconds that an export must not have changed before a DAG run takes it."
    )
    catch_up_days: int = Field(
        31, ge=0, description="Days before its own that a catch-up looks for outstanding ones."
    )
    export_wait: float = Field(
        14_400, ge=0, description="Seconds after its logical date that a DAG run waits for the export."
    )
    export_absent: Literal["fail", "skip"] = Field(
        "fail", description="What a DAG run does without an export: fail or skip."
    )
    on_guard: Literal["ask", "fail"] = Field(
        "ask", description="What a DAG run does where a guard trips: ask somebody, or fail."
    )
    approval_wait: float = Field(
        14_400, gt=0, description="Seconds that a DAG run waits for somebody's approval."
    )
    on_degraded: Literal["ignore", "notify", "fail"] = Field(
        "ignore",
        description="What a degraded DAG run does at its end: ignore it, call `ON_FAILURE`, or fail.",
    )
    on_failure: str = Field(
        "", description="`module:function`, called with the Airflow context of each failed task."
    )

    # What fsspec needs to open a location that names an Airflow connection, by that name.
    _storage: dict[str, Mapping[str, Any]] = PrivateAttr(default_factory=dict)
    # What opens the database of `query_conn_id`.
    _connect: Callable[[], Any] | None = PrivateAttr(default=None)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """What `repr` shows: of no location its password."""
        for name, value in super().__repr_args__():
            yield name, hide_credentials(value) if isinstance(value, str) else value

    @field_validator("runs", "expectations")
    @classmethod
    def _location_holds_no_password(cls, location: str) -> str:
        if holds_password(location):
            raise ValueError(
                "an address must hold no password here, since it is passed between tasks; give it as "
                "fsspec takes it, such as FSSPEC_SFTP_PASSWORD, or in Airflow by a connection"
            )
        return location

    @field_validator("rate_limits")
    @classmethod
    def _rate_limits_are_readable(cls, text: str) -> str:
        limits.parse_limits(text)
        return text

    @field_validator("accepted_statuses")
    @classmethod
    def _accepted_statuses_are_readable(cls, text: str) -> str:
        statuses.parse_statuses(text)
        return text

    @field_validator("contact_key")
    @classmethod
    def _contact_keys_are_readable(cls, keys: SecretStr) -> SecretStr:
        sealing.parse_keys(keys.get_secret_value())
        return keys

    @field_validator("customer_key")
    @classmethod
    def _customer_key_fits(cls, key: SecretStr) -> SecretStr:
        if len(key.get_secret_value().encode()) > 64:  # BLAKE2b takes no more
            raise ValueError("at most 64 bytes")
        return key

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the base class names it)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (likewise)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = SettingsFile.read(os.environ.get(_CONFIG))
        return init_settings, env_settings, InitSettingsSource(settings_cls, dict(file.common))

    @classmethod
    def read(cls, **overrides: Any) -> Settings:
        """The settings as they are, of one shop where the file has several; `overrides` win.

        What is said of the shop, in the environment or the file, comes before what is said of all.
        Raises `ConfigurationError` with a sentence, also where another shop has the same places.
        """
        file = SettingsFile.read(os.environ.get(_CONFIG))
        shop = str(
            overrides.get("shop") or os.environ.get(f"{PREFIX}SHOP") or file.common.get("shop", "")
        )
        file.find_shop(shop)
        if file.shops and not overrides.keys() - {"shop"}:
            check_apart(dict(cls._find_places(file, shop)), file.path)
        return cls._build(file, shop, overrides).date_query().locate_ledger()

    @classmethod
    def of_places(cls, **places: Any) -> Settings:
        """Settings that open these places, and know nothing else of a shop: for a process that is handed
        a place and may not have the shop's environment or file.
        """
        return cls.model_construct(**places)

    @classmethod
    def _build(cls, file: SettingsFile, shop: str, overrides: Mapping[str, Any]) -> Settings:
        """The settings of a shop before its ledger is located."""
        of_shop = f" of the shop {shop}" if shop else ""
        try:
            own = {**file.find_shop(shop), **cls._read_environment(shop)}
            return cls(**{**own, **overrides, "shop": shop})
        except ValidationError as error:
            # Pydantic's own text would show the value, which may be a secret.
            problems = "; ".join(
                f"{PREFIX}{'.'.join(map(str, one['loc'])).upper()}: {one['msg']}"
                for one in error.errors(include_input=False, include_url=False)
            )
            raise ConfigurationError(f"Settings{of_shop} that can't be used: {problems}.") from None
        except SettingsError as error:
            raise ConfigurationError(f"Settings{of_shop} that can't be used: {error}.") from None

    @classmethod
    def _read_environment(cls, shop: str) -> dict[str, Any]:
        """What the environment says of one shop alone: `ROBIN_ETL_NL_API_KEY` of the shop nl."""
        if not shop:
            return {}
        for name in cls.model_fields:
            if (other := f"{shop}_{name}") in cls.model_fields:
                raise ConfigurationError(
                    f"A shop can't be called {shop}: {PREFIX}{other.upper()} is a setting of all shops."
                )
        found = EnvSettingsSource(cls, env_prefix=f"{PREFIX}{shop.upper()}_")()
        return {name: value for name, value in found.items() if name != "shop"}

    @classmethod
    def _find_places(cls, file: SettingsFile, shop: str) -> Iterator[tuple[str, Places]]:
        """Where each shop's things are, of those that the settings can be read of; this one first."""
        for name in sorted(file.shops, key=lambda one: one != shop):
            with suppress(ConfigurationError):
                settings = cls._build(file, name, {})
                named = {one.name: getattr(settings, one.name) for one in fields(Places)}
                yield name, Places(**named)

    def date_query(self) -> Settings:
        """The same settings; a query asks for the day before unless they say which, since a day that is
        not over can't be asked for. Raises `ConfigurationError` for a marker that no query writes.
        """
        if not self.query:
            return self
        if self.done_marker:
            raise ConfigurationError(
                "ROBIN_ETL_DONE_MARKER and ROBIN_ETL_QUERY are both set, and a query writes no marker: "
                "its answer is put in place once it is whole. Leave the marker out."
            )
        if "export_lag_days" in self.model_fields_set:
            return self
        return self.model_copy(update={"export_lag_days": 1})

    def locate_ledger(self) -> Settings:
        """The same settings, the ledger's location with its schema in it."""
        if not self.ledger_schema:
            return self
        if not self.ledger.startswith("postgresql"):
            raise ConfigurationError(
                "ROBIN_ETL_LEDGER_SCHEMA is set, and only a ledger in PostgreSQL has one: set "
                "ROBIN_ETL_LEDGER to a postgresql:// URL (in Airflow ledger_conn_id of the connection)."
            )
        return self.model_copy(update={"ledger": _add_schema(self.ledger, self.ledger_schema)})

    def locate_others(self) -> dict[str, str]:
        """The locations of other shops' ledgers whose orders count for who orders first, by name.

        This shop's own, which may be named among them, is none of them.
        """
        names = [name for one in self.first_orders_with.split(",") if (name := one.strip())]
        if not self.ledger.startswith("postgresql"):
            own = Path(self.ledger.removeprefix("sqlite:///")).resolve()
            return {name: name for name in names if Path(name).resolve() != own}
        common = self.ledger.removesuffix(_SEARCH_PATH + self.ledger_schema).rstrip("?&")
        return {name: _add_schema(common, name) for name in names if name != self.ledger_schema}

    def locate_limits(self) -> str:
        """Where the requests of the account are counted for all shops; blank where for this one alone.

        Raises `ConfigurationError` for `ledger` where that is not in PostgreSQL.
        """
        if self.shared_limits != "ledger":
            return self.shared_limits
        if not self.ledger.startswith("postgresql"):
            raise ConfigurationError(
                "ROBIN_ETL_SHARED_LIMITS is ledger, and a ledger in SQLite is one shop's alone: name "
                "the path of a file that all shops on the account name."
            )
        return self.ledger

    def opening(self, storage: Mapping[str, Mapping[str, Any]]) -> Settings:
        """The same settings with fsspec's options for each connection that a location names."""
        settings = self.model_copy()
        settings._storage = dict(storage)  # noqa: SLF001 (a copy of its own)
        return settings

    def connecting(self, connect: Callable[[], Any]) -> Settings:
        """The same settings with what opens the database that `query_conn_id` names."""
        settings = self.model_copy()
        settings._connect = connect  # noqa: SLF001 (a copy of its own)
        return settings

    def connect_query(self, open_address: Callable[[str, float], R]) -> R:
        """The database that the query asks: as Airflow's connection opens it, or as `open_address` does
        from its address and the seconds it may take.

        Raises `ConfigurationError` where neither is set, both are, or the connection is not known here.
        """
        address = self.query_url.get_secret_value()
        if bool(address) == bool(self.query_conn_id):
            raise ConfigurationError(
                "ROBIN_ETL_QUERY is set, and so must be either ROBIN_ETL_QUERY_URL, the address of the "
                "database, or in Airflow ROBIN_ETL_QUERY_CONN_ID, a connection."
            )
        if address:
            return open_address(address, self.query_timeout)
        if self._connect is None:
            raise ConfigurationError(
                f"ROBIN_ETL_QUERY_CONN_ID names the connection {self.query_conn_id}, which only "
                "Airflow's tasks know. On the command line set ROBIN_ETL_QUERY_URL instead."
            )
        database: R = self._connect()
        return database

    def path(self, location: str) -> UPath:
        """The path at a location, with the options of the connection it names, if it does.

        Raises `ConfigurationError` for a connection that is not known here.
        """
        connection, scheme, rest = connection_in(location)
        if connection is None or (connection not in self._storage and scheme not in BUCKETS):
            return resolve_local(UPath(location))
        if connection not in self._storage:
            raise ConfigurationError(
                f"{location} names the connection {connection}, which only Airflow's tasks know. "
                "On the command line leave it out, and give credentials as fsspec takes them, such "
                "as AWS_ACCESS_KEY_ID."
            )
        return UPath(f"{scheme}://{rest}", **self._storage[connection])

    def credentials(self, *, to: str = "post") -> tuple[str, str]:
        """API key and secret; raises `ConfigurationError` where one is missing. `to`: what they are
        needed for, as a verb.
        """
        key, secret = self.api_key.get_secret_value(), self.api_secret.get_secret_value()
        if not (key and secret):
            absent = "API_KEY" if not key else "API_SECRET"
            of_shop = f", nor {PREFIX}{self.shop.upper()}_{absent}" if self.shop else ""
            raise ConfigurationError(
                f"{PREFIX}{absent} is not set{of_shop}; ROBIN's API key and secret are needed to {to}."
            )
        return key, secret

    def sealer(self) -> Sealer | None:
        """What seals contacts in the ledger; None where it keeps none."""
        keys = sealing.parse_keys(self.contact_key.get_secret_value())
        return Sealer(keys) if keys else None

    def require_sealer(self) -> Sealer:
        """The same; raises `ConfigurationError` where there is no key."""
        if (sealer := self.sealer()) is None:
            raise ConfigurationError(
                "ROBIN_ETL_CONTACT_KEY is not set. It is 32 bytes in base64: openssl rand -base64 32."
            )
        return sealer

    @property
    def settle_seconds(self) -> float:
        """How long an export must not have changed; a marker says better that it is complete."""
        return 0 if self.done_marker else self.export_settle

    def digest_key(self) -> bytes:
        return self.customer_key.get_secret_value().encode()


def _add_schema(database: str, schema: str) -> str:
    return f"{database}{'&' if '?' in database else '?'}{_SEARCH_PATH}{schema}"


def list_shops() -> list[str]:
    """The names of the shops in the file that `ROBIN_ETL_CONFIG` names; raises `ConfigurationError`."""
    return list(SettingsFile.read(os.environ.get(_CONFIG)).shops)
