"""Templates to HTML: one environment for all pages, in which everything is escaped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from math import ceil
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from robin_etl import __version__
from robin_etl.core import words
from robin_etl.redaction import make_printable


def render(template: str, **values: Any) -> str:
    """The page that a template makes of these values."""
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return _environment().get_template(template).render(now=now, version=__version__, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("robin_etl.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_make_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": "{:,}".format,
        "counted": words.count,
        "duration": lambda seconds: str(timedelta(seconds=ceil(seconds))),
        "money": _format_money,
    }
    return environment


def _make_printable(value: Any) -> Any:
    """What a template shows: of a text that is not markup of ours, no sign that does something."""
    return make_printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _format_money(cents: float) -> str:
    return f"{cents / 100:,.2f}"
