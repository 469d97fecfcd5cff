"""Which shop a command is about, where the file of settings has several; and their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from robin_etl.cli.results import json_option, print_json

if TYPE_CHECKING:
    from robin_etl.settings import Settings

_NAMED = "robin_etl.shop"


def make_shop_option(*, is_hidden: bool = False) -> click.Option:
    """The option `--shop`, of the group of all commands or, hidden, of one of them."""
    return click.Option(
        ["--shop"],
        metavar="NAME",
        help="The shop, where the file of settings has several.",
        hidden=is_hidden,
        expose_value=False,
        callback=_keep_name,
    )


def take_shop(command: click.Command) -> click.Command:
    """A command, or a group with all of its own, that takes `--shop` behind its name as well."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            take_shop(one)
    command.params.append(make_shop_option(is_hidden=True))
    return command


def read_settings() -> Settings:
    """The settings of the shop that the command line names; raises `ConfigurationError`."""
    from robin_etl.settings import Settings

    shop = click.get_current_context().meta.get(_NAMED)
    return Settings.read(shop=shop) if shop else Settings.read()


@click.command(short_help="List the shops.")
@json_option
def shops(as_json: bool) -> None:
    """List the shops of the file that ROBIN_ETL_CONFIG names, one a line.

    Example: robin-etl shops
    """
    from robin_etl.settings import list_shops

    names = list_shops()
    if as_json:
        print_json(names)
    else:
        for name in names:
            click.echo(name)


def _keep_name(context: click.Context, _parameter: click.Parameter, name: str | None) -> None:
    if name is not None:
        context.meta[_NAMED] = name
