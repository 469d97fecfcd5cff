"""How every command ends: its exit code and, where `--json` asks for it, one JSON object."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")


class ExitCode(IntEnum):
    """What a shell gets; `INCOMPLETE`: done, but for rows or orders that somebody must look at."""

    DONE = 0
    STOPPED = 1
    USAGE = 2
    INCOMPLETE = 3


def print_json(value: Any) -> None:
    """Print plain values as one line."""
    click.echo(json.dumps(value))
