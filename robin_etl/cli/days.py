"""Days on the command line: the options that take one, and the day of a file by its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import click

_DAY_IN_NAME = re.compile(r"\d{4}-\d{2}-\d{2}")


def day_option(*names: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option whose value is a `date`."""
    kind = click.DateTime(formats=["%Y-%m-%d"])
    return click.option(*names, type=kind, metavar="YYYY-MM-DD", callback=_to_date, **options)


def today() -> date:
    """The local date."""
    return datetime.now().astimezone().date()


def check_range(first: date, last: date) -> None:
    """Raise a usage error where a range runs backwards."""
    if last < first:
        raise click.UsageError(f"The range ends ({last}) before it begins ({first}).")


def parse_day(file: str, otherwise: date | None) -> date:
    """The date in a file's name, or else the one given; a usage error where there is neither."""
    name = file.rsplit("/", 1)[-1]
    found = _DAY_IN_NAME.search(name)
    try:
        day = date.fromisoformat(found[0]) if found else otherwise
    except ValueError:
        day = otherwise
    if day is None:
        raise click.UsageError(f"{name} has no date in its name; say which day it is with --date.")
    return day


def _to_date(
    _context: click.Context, _parameter: click.Parameter, value: datetime | None
) -> date | None:
    return value.date() if value else None
