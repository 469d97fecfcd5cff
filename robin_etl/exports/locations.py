"""Where exports lie: the files of days, found under any path or URL that fsspec opens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date, timedelta

from upath import UPath

from robin_etl.exceptions import ConfigurationError, ExportError, ExportMissingError

SUFFIXES = (".csv", ".csv.gz", ".jsonl", ".parquet")
DEFAULT_NAME = "orders_{date}"

# Asking for a file by name takes a request for each suffix; beyond so many days one listing is less.
_FEW_DAYS = 3

_DATE_FIELD = re.compile(r"\{date(?::([^{}]*))?\}")


def list_days(first: date, last: date) -> list[date]:
    """Every day of a range, both ends included; raises `ConfigurationError` where it runs backwards."""
    if last < first:
        raise ConfigurationError(f"The range ends ({last}) before it begins ({first}).")
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def find_exports(
    location: str,
    days: Iterable[date],
    path_of: Callable[[str], UPath] = UPath,
    *,
    done_marker: str = "",
) -> dict[date, UPath]:
    """The files of those days that exist, under a folder or URL, or one with `{date}` in it.

    `{date}` may carry a strftime format, as in `{date:%Y%m%d}`. In a folder the name is
    `orders_{date}` with any of `SUFFIXES`; two for one day raise `ExportError`. `path_of` opens a
    location with the credentials that it needs. With a `done_marker`, such as `.done`, a file is there
    only once another by its name and that ending is.
    """
    days = list(days)
    if _DATE_FIELD.search(location):
        named = {day: path_of(_fill_in_date(location, day)) for day in days}
        found = {day: path for day, path in named.items() if path.exists()}
    else:
        found = _find_in_folder(location, days, path_of)
    if not done_marker:
        return found
    return {
        day: path for day, path in found.items() if path.with_name(f"{path.name}{done_marker}").exists()
    }


def _find_in_folder(
    location: str, days: list[date], path_of: Callable[[str], UPath]
) -> dict[date, UPath]:
    found: dict[date, UPath] = {}
    folder = path_of(location)
    is_listed = len(days) > _FEW_DAYS and folder.is_dir()
    listed = {path.name for path in folder.iterdir()} if is_listed else set()
    for day in days:
        names = [f"{_fill_in_date(DEFAULT_NAME, day)}{suffix}" for suffix in SUFFIXES]
        present = [name for name in names if (name in listed if is_listed else (folder / name).exists())]
        if len(present) > 1:
            raise ExportError(
                f"There are two exports for {day} in {location}: {' and '.join(present)}. Keep the "
                "one that counts.",
                path=str(folder),
            )
        if present:
            found[day] = folder / present[0]
    return found


def make_missing_error(location: str, first: date, last: date) -> ExportMissingError:
    """The error for a range of days without any export."""
    pattern = location if _DATE_FIELD.search(location) else f"{location}/{DEFAULT_NAME}.*"
    when = f"{first}" if first == last else f"any day from {first} to {last}"
    where = _fill_in_date(pattern, first) if first == last else pattern
    return ExportMissingError(
        f"There is no export for {when} at {where}. "
        "Run again when it is there, or set ROBIN_ETL_EXPORTS to where it is: a folder or, for files of "
        "another name, one with the date in it, such as exports/export_{date}.csv.",
        location=location,
    )


def _fill_in_date(pattern: str, day: date) -> str:
    return _DATE_FIELD.sub(lambda field: format(day, field[1] or "%Y-%m-%d"), pattern)
