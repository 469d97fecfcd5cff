"""How a shop writes its export. Only ROBIN's own columns so far; other shops' profiles go here."""

from __future__ import annotations

from dataclasses import dataclass

from robin_etl.exceptions import ConfigurationError


@dataclass(frozen=True)
class Profile:
    """The conventions of one export format.

    `timezone` is that of dates without an offset (an IANA name).
    """

    name: str
    delimiter: str = ","
    encoding: str = "utf-8"
    timezone: str = "UTC"


ROBIN = Profile("robin")
_PROFILES = {profile.name: profile for profile in (ROBIN,)}


def named(name: str) -> Profile:
    """The profile of that name; raises `ConfigurationError` for an unknown one."""
    try:
        return _PROFILES[name]
    except KeyError:
        raise ConfigurationError(
            f"There is no profile {name!r}; set ROBIN_ETL_PROFILE to one of: "
            f"{', '.join(sorted(_PROFILES))}."
        ) from None
