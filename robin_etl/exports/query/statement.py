"""The SQL of a query: read from its file, and bound to a day."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from upath import UPath

from robin_etl.core.words import name_some
from robin_etl.exceptions import ConfigurationError

# SQLite has no moments: they are texts there, which compare as such.
_SQLITE_MOMENT = "%(year)04d-%(month)02d-%(day)02d %(hour)02d:%(minute)02d:%(second)02d"
_MOMENT = sa.DateTime(timezone=True).with_variant(
    sqlite.DATETIME(storage_format=_SQLITE_MOMENT),  # type: ignore[no-untyped-call]
    "sqlite",
)
_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "day": sa.Date(),
    "next_day": sa.Date(),
    "day_start": _MOMENT,
    "day_end": _MOMENT,
}

# Texts and names in quotes, in which nothing is a parameter; or a comment.
_QUOTED = re.compile(
    r"""(?P<quoted>'[^']*'|"[^"]*"|`[^`]*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)|--[^\n]*|/\*.*?\*/""",
    re.DOTALL,
)
_COLON = re.compile(r"(?<![:\w\\]):(?=\w)")
_FIRST_WORD = re.compile(r"[\s(]*(\w*)")
_ASKING = ("select", "with")


@dataclass(frozen=True)
class Query:
    """The SQL of the file at `path`, without comments, with these `parameters` in it."""

    path: str
    text: str
    parameters: frozenset[str]

    def bind(self, day: date, zone: str) -> sa.TextClause:
        """The statement that asks for a day: `:day` and `:next_day` are dates, `:day_start` and
        `:day_end` the moments at which it begins and the next one does in that time zone, in UTC.
        """
        next_day = day + timedelta(days=1)
        values = {
            "day": day,
            "next_day": next_day,
            "day_start": find_midnight(day, zone),
            "day_end": find_midnight(next_day, zone),
        }
        return sa.text(self.text).bindparams(
            *(sa.bindparam(name, values[name], _TYPES[name]) for name in sorted(self.parameters))
        )


def read_query(path: UPath) -> Query:
    """The query in a file; raises `ConfigurationError` for none that asks for the orders of a day."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"The query {path} is not UTF-8 (byte {error.start}).") from None
    except OSError as error:
        raise ConfigurationError(
            f"The query {path} can't be read ({type(error).__name__}): set ROBIN_ETL_QUERY to a file "
            "with SQL in it."
        ) from error
    text = _QUOTED.sub(_keep_quoted, text).strip().rstrip(";").rstrip()
    matched = _FIRST_WORD.match(text)
    word = matched[1] if matched else ""
    if word.lower() not in _ASKING:
        begins = f"begins with {word.upper()}" if word else "has no statement in it"
        raise ConfigurationError(
            f"The query {path} {begins}, and a query begins with SELECT or WITH: it must change nothing."
        )
    parameters = frozenset(sa.text(text).compile().params)
    if unknown := parameters - _TYPES.keys():
        raise ConfigurationError(
            f"The query {path} has {name_some([f':{name}' for name in sorted(unknown)])}, which nothing "
            f"sets. It may use {', '.join(f':{name}' for name in _TYPES)}; a colon that is meant as "
            "such has a backslash before it."
        )
    if not parameters:
        raise ConfigurationError(
            f"The query {path} names no day, so that its answer would be the same for each. Let it find "
            "the orders that were created or changed on :day, or between :day_start and :day_end."
        )
    return Query(str(path), text, parameters)


def find_midnight(day: date, zone: str) -> datetime:
    """The moment, in UTC, at which a day begins in a time zone."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def _keep_quoted(found: re.Match[str]) -> str:
    """What is in quotes, its colons as such; a space for a comment."""
    return _COLON.sub(r"\\:", found["quoted"]) if found["quoted"] else " "
