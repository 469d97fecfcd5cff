"""Commands that need no shop and no ROBIN: sandbox, demo."""

from __future__ import annotations

import re
import sys
from contextlib import nullcontext, redirect_stdout

import click

from robin_etl.cli.results import json_option, print_json
from robin_etl.core.words import count


@click.command(short_help="Serve a local ROBIN.")
@click.option("--port", default=8765, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option("--key", default="sandbox", show_default=True, help="The API key it accepts.")
@click.option("--secret", default="sandbox", show_default=True, help="The secret it accepts.")
@click.option("--no-limits", is_flag=True, help="Do not apply ROBIN's rate limits.")
@click.option(
    "--latency",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="Time that each answer takes.",
)
@click.option(
    "--faults", "share", type=click.FloatRange(0, 1), default=0.0, help="Share of requests that fail."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the random faults.")
@click.option("--fault", "script", multiple=True, help="Fault of one request, such as 3=hang-before.")
@click.option("--most-orders", type=click.IntRange(1), help="Answer 413 to more orders in a request.")
@click.option("--refuse", "refused", help="Answer 400 to orders whose number matches this.")
def sandbox(
    port: int,
    key: str,
    secret: str,
    no_limits: bool,
    latency: float,
    share: float,
    seed: int,
    script: tuple[str, ...],
    most_orders: int | None,
    refused: str | None,
) -> None:
    """Serve a local ROBIN that follows its documentation strictly, until interrupted.

    Example: robin-etl sandbox --faults 0.3 --seed 7 --fault 1=reset-after --refuse '^X'
    """
    from robin_etl.sandbox.faults import Fault, Faults
    from robin_etl.sandbox.robin import LIMITS, Robin
    from robin_etl.sandbox.server import STATE_PATH, Sandbox

    try:
        faults_by_request = {
            int(number): Fault(name) for number, _, name in (one.partition("=") for one in script)
        }
        faults = Faults(
            script=faults_by_request, share=share, seed=seed, most_orders=most_orders, refused=refused
        )
    except (ValueError, re.error) as error:
        raise click.UsageError(f"{error}. A fault is a number and one of: {', '.join(Fault)}.") from None
    robin = Robin(key, secret, limits=() if no_limits else LIMITS, faults=faults)
    try:
        server = Sandbox(robin, port=port, latency=latency)
    except OSError as error:
        raise click.UsageError(f"Port {port} can't be listened on ({error}); try another.") from None
    with server:
        try:
            click.echo(f"ROBIN_ETL_BASE_URL={server.url}")
            click.echo(f"What it holds: {server.url}/ (as JSON: {server.url}{STATE_PATH})")
            server.wait()
        except KeyboardInterrupt:
            click.echo(f"It held {count(len(robin.orders), 'order')}.")


@click.command(short_help="Run a demonstration.")
@click.option("--airflow", is_flag=True, help="Run the days through Airflow's DAG.")
@click.option("--folder", default="data/demo", show_default=True, help="Folder for its files.")
@json_option
def demo(airflow: bool, folder: str, as_json: bool) -> None:
    """Generate four days of orders, run them against a sandbox, and show what ROBIN received.

    Example: robin-etl demo --folder /tmp/demo
    """
    from robin_etl.sandbox import demo as demonstration

    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        state = demonstration.play(folder, through_airflow=airflow)
    if as_json:
        print_json(state)
