"""The days of a run that a query has still to answer: asked for, each landing as that day's export."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta

from robin_etl.core.words import count, name_some
from robin_etl.exceptions import ConfigurationError, ExportError
from robin_etl.exports import locations
from robin_etl.exports.locations import ExportFile
from robin_etl.exports.profiles import Profile, find_zone
from robin_etl.exports.query import ask, find_midnight, land_answer, open_database, read_query
from robin_etl.settings import Settings
from robin_etl.stages.records import Scope

log = logging.getLogger(__name__)

_SUFFIX = ".parquet"


def land_answers(
    settings: Settings, scope: Scope, profile: Profile, clock: Callable[[], datetime]
) -> None:
    """Ask the query for those days of a run that have no export, or for all of them if it is to
    `refresh` them. Without a query there is nothing to do.

    Raises `ConfigurationError` for a day that is not over, `QueryError`, `DatabaseUnavailableError`, and
    what writing a file does.
    """
    if not settings.query or scope.exports:
        if scope.refresh:
            raise ConfigurationError(
                "There is no query to ask again: ROBIN_ETL_QUERY is not set, or the run is of a file."
            )
        return
    days = scope.days or locations.list_days(scope.first, scope.last)
    names = {day: locations.name_file(settings.exports, day, _SUFFIX) for day in days}
    conflicts: dict[date, ExportError] = {}
    found = locations.find_exports(settings.exports, days, settings.path, conflicts=conflicts)
    if scope.refresh:
        _check_others(settings, found, names)
    is_there = found.keys() | conflicts.keys()
    asked = {day: names[day] for day in days if scope.refresh or day not in is_there}
    if asked:
        zone = find_zone(settings)
        _check_over(asked, zone, clock())
        _ask_for(settings, asked, profile, zone)


def is_over(day: date, zone: str, now: datetime) -> bool:
    """Whether a day is over in that time zone, so that all of its orders can be asked for."""
    return find_midnight(day + timedelta(days=1), zone) <= now


def _check_over(days: Iterable[date], zone: str, now: datetime) -> None:
    """Raise `ConfigurationError` for a day that is not over: orders that come later would be missed."""
    if early := [day for day in days if not is_over(day, zone, now)]:
        verb = "is" if len(early) == 1 else "are"
        raise ConfigurationError(
            f"{name_some([f'{day}' for day in early])} {verb} not over in {zone}, so the query would "
            "miss orders that are still to come. Ask for days that are over; "
            "ROBIN_ETL_EXPORT_LAG_DAYS=1 has each run take the day before its own."
        )


def _check_others(
    settings: Settings, found: Mapping[date, Iterable[ExportFile]], names: Mapping[date, str]
) -> None:
    """Raise `ExportError` for a day that has an export which the query does not write."""
    for day, files in found.items():
        own = str(settings.path(names[day]))
        if others := [one for one in files if str(one.path) != own]:
            raise ExportError(
                f"{others[0].place} is there for {day}, which the query has not written. Take it away "
                "to ask the query for that day.",
                path=str(others[0].path),
            )


def _ask_for(settings: Settings, asked: Mapping[date, str], profile: Profile, zone: str) -> None:
    """Ask for each day; the answer becomes the file of that name."""
    query = read_query(settings.path(settings.query))
    engine = settings.connect_query(open_database)
    try:
        for day, name in asked.items():
            path = settings.path(name)
            statement = query.bind(day, zone)
            with ask(engine, statement, query.path, seconds=settings.query_timeout) as answer:
                rows = land_answer(
                    answer, path, query.path, profile, most_bytes=settings.max_export_size
                )
            log.info("The answer to %s for %s has %s.", query.path, day, count(rows, "row"))
    finally:
        engine.dispose()
