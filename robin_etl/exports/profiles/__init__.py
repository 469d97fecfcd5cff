"""Profiles: how a shop's system writes its export, as TOML files and the model of them."""

from robin_etl.exports.profiles.loading import (
    find_fitting,
    find_zone,
    list_shipped,
    load_configured,
    load_profile,
    parse_profile,
    read_toml,
)
from robin_etl.exports.profiles.profile import Columns, Currency, Profile, Refunds, Status

__all__ = [
    "Columns",
    "Currency",
    "Profile",
    "Refunds",
    "Status",
    "find_fitting",
    "find_zone",
    "list_shipped",
    "load_configured",
    "load_profile",
    "parse_profile",
    "read_toml",
]
