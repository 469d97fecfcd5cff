"""Commands on exports and how they are written: check, profile."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from robin_etl.cli import days
from robin_etl.cli.results import ExitCode, json_option, print_json
from robin_etl.cli.shops import read_settings

if TYPE_CHECKING:
    from robin_etl.exports.drafting import Question


@click.command(short_help="Read and validate one export.")
@click.argument("file")
@json_option
def check(file: str, as_json: bool) -> ExitCode:
    """Read, map and validate one export, without posting or writing anything.

    Example: robin-etl check data/exports/orders_2026-11-01.csv
    """
    from robin_etl.cli import tables
    from robin_etl.stages import check

    checked = check.check(read_settings(), file, days.parse_day(file, days.today()))
    if as_json:
        print_json(checked.as_json())
    else:
        tables.show_check(checked)
    if checked.stop:
        click.echo(checked.stop, err=True)
    return ExitCode.of(checked.outcome)


@click.group()
def profile() -> None:
    """Show and draft profiles.

    A profile says how a shop system writes its export.
    """


@profile.command("list")
@json_option
def list_profiles(as_json: bool) -> None:
    """List the profiles that come with robin-etl.

    Example: robin-etl profile list --json
    """
    from robin_etl.exports import profiles

    titles = {
        one.name: f"{one.title}{' (names no customer)' if one.unusable else ''}"
        for one in profiles.list_shipped()
    }
    if as_json:
        print_json(titles)
        return
    for name, title in titles.items():
        click.echo(f"{name:26}{title}")


@profile.command("show")
@click.argument("name")
def show_profile(name: str) -> None:
    """Print a shipped profile as a file to start from.

    Example: robin-etl profile show shopify > my-shop.toml
    """
    from robin_etl.exports import profiles

    click.echo(profiles.read_toml(name), nl=False)


@profile.command("new")
@click.argument("file")
def draft_profile(file: str) -> ExitCode:
    """Draft a profile for FILE from all of its rows, and print it.

    What the rows don't say is asked at a terminal; elsewhere it is a question in the draft, and the exit
    code is 1. On standard error is shown what a run would tell by the draft.

    Example: robin-etl profile new orders.csv > my-shop.toml
    """
    from robin_etl.cli import tables
    from robin_etl.exports import profiles, sampling
    from robin_etl.exports.drafting import draft_profile
    from robin_etl.stages import check

    settings = read_settings()
    sample = sampling.read_everything(settings.path(file), settings.max_export_size)
    answers: dict[str, str] = {}
    draft = draft_profile(sample, answers)
    while draft.questions and _can_ask():
        for question in draft.questions:
            answers[question.key] = _ask(question)
        draft = draft_profile(sample, answers)
    click.echo(draft.text, nl=False)
    if draft.questions:
        for question in draft.questions:
            click.echo(f"Question about {question.text}", err=True)
        click.echo("Answer each in the draft, at the line that says QUESTION.", err=True)
        return ExitCode.STOPPED
    drafted = profiles.parse_profile(draft.text, "the draft")
    day = days.parse_day(file, days.today())
    tables.show_draft(check.try_profile(settings, file, day, drafted, sample))
    return ExitCode.DONE


def _can_ask() -> bool:
    """Whether a person sits at this command, whatever becomes of what it prints."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(question: Question) -> str:
    example = f" For example: {question.example}." if question.example else ""
    click.echo(f"{question.words}{example}", err=True)
    kind = click.Choice(question.answers) if question.answers else str
    answer: str = click.prompt("Answer", type=kind, err=True)
    return answer
