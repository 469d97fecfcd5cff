"""The file of settings: what is common to all shops, a table for what is one shop's, and that no two
shops share what each must have for itself.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from robin_etl.exceptions import ConfigurationError

_TABLE = "shops"
# A name is part of environment variables, as in ROBIN_ETL_NL_API_KEY.
_NAME = re.compile("[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class SettingsFile:
    """A TOML file of settings: those `common` to all shops, and those of each of the `shops` by name."""

    path: str = ""
    common: Mapping[str, Any] = field(default_factory=dict)
    shops: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | None) -> SettingsFile:
        """The file that `ROBIN_ETL_CONFIG` names, an empty one where it names none.

        Raises `ConfigurationError`.
        """
        if not path:
            return cls()
        if not Path(path).is_file():
            raise ConfigurationError(f"ROBIN_ETL_CONFIG names {path}, and there is no such file.")
        try:
            common = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigurationError(f"ROBIN_ETL_CONFIG names {path}: {error}.") from None
        shops = common.pop(_TABLE, {})
        if not isinstance(shops, dict) or not all(isinstance(table, dict) for table in shops.values()):
            raise ConfigurationError(
                f"In {path} shops must be tables, one for each, such as [{_TABLE}.nl]."
            )
        for name, table in shops.items():
            if not _NAME.fullmatch(name):
                raise ConfigurationError(
                    f"In {path} a shop is called {name!r}. A shop's name is of small letters, digits "
                    "and underscores, and begins with a letter: it is part of environment variables."
                )
            if "shop" in table:
                raise ConfigurationError(f"In {path} the table of the shop {name} must not name a shop.")
        return cls(path, common, shops)

    def find_shop(self, name: str) -> Mapping[str, Any]:
        """The settings of a shop; those of none where no name is given and there are no shops.

        Raises `ConfigurationError` with the names of all shops.
        """
        names = ", ".join(self.shops)
        if name in self.shops:
            return self.shops[name]
        if name and self.shops:
            raise ConfigurationError(f"{self.path} has no shop {name}. Its shops are {names}.")
        if self.shops:
            raise ConfigurationError(
                f"{self.path} has several shops: {names}. Say which one with --shop, such as "
                f"robin-etl --shop {min(self.shops)} status, or with ROBIN_ETL_SHOP (in Airflow with "
                f'settings={{"shop": "{min(self.shops)}"}} in the call of the DAG\'s file).'
            )
        if name:
            where = f"{self.path} has no shops" if self.path else "ROBIN_ETL_CONFIG names no file"
            raise ConfigurationError(
                f"The shop {name} is named, and {where}. A shop is a table [{_TABLE}.{name}] of the "
                "file that ROBIN_ETL_CONFIG names."
            )
        return {}


@dataclass(frozen=True)
class Places:
    """Where a shop's things are: its ledger with the schema, its run files, its exports as they are read
    by a profile, its ROBIN, and where the requests to that are counted for all shops on the account.
    """

    ledger: str
    ledger_schema: str
    runs: str
    exports: str
    profile: str
    base_url: str
    api_key: SecretStr
    shared_limits: str

    def list_own(self) -> dict[str, object]:
        """What no other shop may have, in one form, by the words for it."""
        return {
            "the ledger": (_normalize(self.ledger), self._schema),
            "the run files": _normalize(self.runs),
            "the exports and the profile": (_normalize(self.exports), _normalize(self.profile)),
        }

    @property
    def account(self) -> tuple[str, str] | None:
        """Which ROBIN account the shop is on; None where no key says so."""
        key = self.api_key.get_secret_value()
        return (self.base_url.rstrip("/"), key) if key else None

    @property
    def limits_store(self) -> str:
        """In one form where the account's requests are counted; blank where for this shop alone."""
        if self.shared_limits != "ledger":
            return self.shared_limits and _normalize(self.shared_limits)
        return _normalize(self.ledger)

    @property
    def _schema(self) -> str:
        is_file = not self.ledger.startswith("postgresql")
        return "" if is_file else self.ledger_schema or "public"


def check_apart(places: Mapping[str, Places], path: str) -> None:
    """Raise `ConfigurationError` where two shops of the file share what each must have for itself."""
    for (name, one), (other_name, other) in combinations(places.items(), 2):
        others = other.list_own()
        shared = [words for words, place in one.list_own().items() if others[words] == place]
        if shared:
            raise ConfigurationError(
                f"The shops {name} and {other_name} share {', '.join(shared)}. Nothing was done. Give "
                f"each in {path} its own ledger (in PostgreSQL its own ledger_schema), runs and exports."
            )
        is_one_account = one.account is not None and one.account == other.account
        is_shared = one.limits_store != "" and one.limits_store == other.limits_store
        if is_one_account and not is_shared:
            raise ConfigurationError(
                f"The shops {name} and {other_name} are on one ROBIN account, and don't share its "
                f"limits. Nothing was done. Give both in {path} the same shared_limits, and where their "
                "order numbers may be the same an order_prefix; docs/how-to/several-shops.md says how."
            )


def _normalize(location: str) -> str:
    """One form of a path, or of an address without what says who opens it."""
    text = location.removeprefix("sqlite:///")
    if "://" not in text:
        return str(Path(text).resolve())
    parts = urlsplit(text)
    if not parts.scheme.startswith("postgresql"):
        return text.rstrip("/")
    return f"{parts.hostname}:{parts.port or 5432}{parts.path}?{parts.query}"
