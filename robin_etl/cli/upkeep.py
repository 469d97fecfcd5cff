"""Commands that remove: forget, prune."""

from __future__ import annotations

from datetime import timedelta

import click

from robin_etl.cli.results import ExitCode, json_option, print_json
from robin_etl.cli.shops import read_settings
from robin_etl.core.words import count, name_some


@click.command(short_help="Erase a customer.")
@click.argument("address")
@click.option("--all", "everything", is_flag=True, help="Remove the state of their orders too.")
@json_option
def forget(address: str, everything: bool, as_json: bool) -> ExitCode:
    """Erase what is kept of one customer: ADDRESS is an e-mail address or a phone number.

    The state of their orders stays under a keyed digest, so that their next order is not sent as
    a first one. Exports of the shop are not changed.

    Example: robin-etl forget ann@example.com
    """
    from robin_etl.upkeep import forget

    erased = forget.forget_customer(read_settings(), address, everything=everything)
    if as_json:
        print_json(vars(erased))
        return ExitCode.DEGRADED if erased.left else ExitCode.DONE
    click.echo(
        f"Blanked {count(erased.deliveries, 'delivery', 'deliveries')}, and took "
        f"{count(erased.rows, 'row')} out of {count(erased.files, 'file')} of runs."
    )
    if erased.removed_files:
        removed = name_some(erased.removed_files)
        click.echo(f"Removed whole, since it could not be read: {removed}.")
    orders = count(erased.orders, "order")
    if erased.removed:
        click.echo(f"Removed {orders} from the ledger; their next one is a first one.")
    else:
        stays = "stays" if erased.orders == 1 else "stay"
        click.echo(f"{orders} {stays} in the ledger under a digest; --all removes them.")
    for words in erased.left:
        click.echo(f"Not erased: {words}.", err=True)
    return ExitCode.DEGRADED if erased.left else ExitCode.DONE


@click.command(short_help="Remove old run files.")
@click.option("--older-than", type=click.IntRange(1), required=True, metavar="DAYS", help="Age in days.")
@json_option
def prune(older_than: int, as_json: bool) -> None:
    """Remove the files of runs that are older than so many days; the ledger, its journals, and the files
    of what is in doubt stay.

    Example: robin-etl prune --older-than 90
    """
    from robin_etl.upkeep import prune

    removed = prune.prune_runs(read_settings(), timedelta(days=older_than))
    if as_json:
        print_json({"removed": removed})
    else:
        click.echo(f"Removed the files of {count(removed, 'run')}.")
