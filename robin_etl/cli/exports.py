"""Commands on exports and how they are written: check, profile."""

from __future__ import annotations

import click

from robin_etl.cli import days
from robin_etl.cli.results import ExitCode, json_option, print_json


@click.command(short_help="Read and validate one export.")
@click.argument("file")
@json_option
def check(file: str, as_json: bool) -> ExitCode:
    """Read, map and validate one export, without posting or writing anything.

    Example: robin-etl check data/exports/orders_2026-11-01.csv
    """
    from robin_etl.cli import tables
    from robin_etl.settings import Settings
    from robin_etl.stages import check

    checked = check.check(Settings.read(), file, days.parse_day(file, days.today()))
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

    titles = {one.name: one.title for one in profiles.list_shipped() if not one.unusable}
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
def draft_profile(file: str) -> None:
    """Draft a profile for FILE from its header and first rows, and print it.

    Example: robin-etl profile new orders.csv > my-shop.toml
    """
    from robin_etl.exports import sampling
    from robin_etl.exports.profiles import drafting
    from robin_etl.settings import Settings

    click.echo(drafting.draft_profile(sampling.take_sample(Settings.read().path(file))), nl=False)
