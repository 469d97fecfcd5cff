"""Finding profiles: those that come with robin-etl, as TOML beside this file, and files of one's own."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from importlib import resources
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from upath import UPath

from robin_etl.exceptions import ConfigurationError
from robin_etl.exports.profiles.profile import Profile

if TYPE_CHECKING:
    from robin_etl.settings import Settings

_SUFFIX = ".toml"


def list_shipped() -> Iterator[Profile]:
    """The profiles that come with robin-etl, by name."""
    files = resources.files(__package__).iterdir()
    for name in sorted(file.name for file in files if file.name.endswith(_SUFFIX)):
        yield load_profile(name.removesuffix(_SUFFIX))


def load_profile(name: str) -> Profile:
    """The profile of that name, or of that TOML file; raises `ConfigurationError`."""
    return _make_profile(name, _read_tables(name))


def load_configured(settings: Settings) -> Profile:
    """The profile that settings name, whole; raises `ConfigurationError`."""
    profile = load_profile(settings.profile)
    if profile.unusable:
        raise ConfigurationError(profile.unusable)
    return profile.complete(settings)


def find_zone(settings: Settings) -> str:
    """The time zone in which the shop's days begin: as settings say, or else its profile."""
    return settings.timezone or load_profile(settings.profile).timezone or "UTC"


def find_fitting(columns: Iterable[str]) -> Profile | None:
    """The shipped profile that a file with these columns fits best, if any does."""
    there = set(columns)
    fit = [profile for profile in list_shipped() if not profile.find_missing(there)]
    return max(fit, key=lambda profile: len(there & set(profile.sources)), default=None)


def parse_profile(text: str, name: str) -> Profile:
    """A profile of that text, which no file holds yet; raises `ConfigurationError`."""
    table = _parse_table(text, name)
    extends = table.pop("extends", None)
    return _make_profile(name, _lay_over(_read_tables(extends), table) if extends else table)


def _read_tables(name: str, *below: str) -> dict[str, Any]:
    """A profile's table, laid over that of the profile it extends."""
    if name in below:
        raise ConfigurationError(f"The profile {name} extends itself; name another one in extends.")
    table = _read_table(name)
    if not isinstance(extends := table.pop("extends", None), str | None):
        raise ConfigurationError(f"The profile {name}: extends must be a profile's name or file.")
    return _lay_over(_read_tables(extends, name, *below), table) if extends else table


def read_toml(name: str) -> str:
    """A profile's TOML; raises `ConfigurationError` where there is none."""
    is_file = name.endswith(_SUFFIX)
    file = UPath(name) if is_file else resources.files(__package__) / f"{name}{_SUFFIX}"
    try:
        return str(file.read_bytes().decode())
    except (FileNotFoundError, IsADirectoryError):
        known = ", ".join(profile.name for profile in list_shipped())
        raise ConfigurationError(
            f"There is no profile {name!r}; set ROBIN_ETL_PROFILE to a TOML file or to one of: {known}."
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The profile {name} can't be read: {error}.") from None


def _read_table(name: str) -> dict[str, Any]:
    return _parse_table(read_toml(name), name)


def _parse_table(text: str, name: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"The profile {name} is no TOML: {error}.") from None
    return {"name": name.rsplit("/", 1)[-1].removesuffix(_SUFFIX), **table}


def _lay_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {**below, **above}
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            both[key] = {**below[key], **value}
    return both


def _make_profile(name: str, table: dict[str, Any]) -> Profile:
    try:
        return Profile(**table)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors(include_url=False)
        )
        raise ConfigurationError(f"The profile {name} can't be used: {problems}.") from None
