"""The progress bar at a terminal, as an observer of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from math import ceil

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from robin_etl.cli.tables import open_console
from robin_etl.core.words import count
from robin_etl.observer import Event, Observer, Planned, Progressed, Waiting


@contextmanager
def show_progress() -> Iterator[Observer]:
    """Show on standard error what a run plans to post and, at a terminal, a bar as it goes."""
    console = open_console(stderr=True)
    bar = Progress(
        TextColumn("posting"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with ExitStack() as shown:  # the bar begins when something is planned, and ends with the run

        def observe(event: Event) -> None:
            match event:
                case Planned(changes, requests, seconds):
                    console.print(
                        f"{count(changes, 'change')} in {count(requests, 'request')}: "
                        f"at least {timedelta(seconds=seconds)} under ROBIN's limits."
                    )
                    bar.add_task("posting", total=changes)
                    shown.enter_context(bar)
                case Progressed(changes):
                    bar.advance(bar.task_ids[-1], changes)
                case Waiting(seconds, reason):
                    console.print(f"{reason}: {timedelta(seconds=ceil(seconds))}.")
                case _:
                    pass

        yield observe
