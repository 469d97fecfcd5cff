"""How every command ends: its exit code and, where `--json` asks for it, one JSON object."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")


class ExitCode(IntEnum):
    """What a shell gets; `DEGRADED`: done, but somebody has to look at something."""

    DONE = 0
    STOPPED = 1
    USAGE = 2
    DEGRADED = 3

    @classmethod
    def of(cls, outcome: str) -> ExitCode:
        """The code of a run that is done, degraded or stopped."""
        return cls[outcome.upper()]


def print_json(value: Any) -> None:
    """Print plain values as one line."""
    click.echo(json.dumps(value))
