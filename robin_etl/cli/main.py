"""The group of all commands: signals and errors, and what they mean for the exit code."""

from __future__ import annotations

import gc
import logging
import sys

import click

from robin_etl import __version__, signals
from robin_etl.cli import exports, ledger, runs, sandbox, shops, upkeep
from robin_etl.cli.results import ExitCode
from robin_etl.exceptions import ConfigurationError, RobinEtlError
from robin_etl.redaction import hide_credentials
from robin_etl.stack import with_room

# Those that read settings, and so are about one shop.
OF_A_SHOP = (
    *(runs.run, runs.catch_up, runs.retry, runs.backfill, runs.baseline),
    *(exports.check, exports.profile),
    *(ledger.status, ledger.history, ledger.rejected, ledger.ledger),
    *(upkeep.forget, upkeep.prune),
)
COMMANDS = (*map(shops.take_shop, OF_A_SHOP), shops.shops, sandbox.sandbox, sandbox.demo)

# Objects made before garbage is looked for: what a command makes mostly lasts until its end.
_COLLECT_AT = (50_000, 20, 50)

# With --debug these would log requests' headers and parameters.
_CHATTY = ("urllib3", "sqlalchemy", "great_expectations", "fsspec", "asyncio")


@click.group(
    commands=COMMANDS,
    params=[shops.make_shop_option()],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
)
@click.version_option(__version__, prog_name="robin-etl")
@click.option("--debug", is_flag=True, help="Show tracebacks and all log lines.")
def cli(debug: bool) -> None:
    """Send ROBIN exactly the orders that are new or have changed, every day.

    Settings come from the environment (ROBIN_ETL_BASE_URL, ROBIN_ETL_API_KEY, …) or from a TOML
    file that ROBIN_ETL_CONFIG names, which may have several shops.

    Complete commands in the shell: eval "$(_ROBIN_ETL_COMPLETE=bash_source robin-etl)"

    Example: robin-etl run --date 2026-11-01 --dry-run
    """
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    if debug:
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.INFO)


@with_room
def main() -> None:
    """Run the command line and exit; errors end as one sentence on standard error."""
    debug = "--debug" in sys.argv[1:]
    gc.set_threshold(*_COLLECT_AT)
    try:
        with signals.interrupting():
            code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except click.Abort:
        click.echo("Interrupted. What ROBIN acknowledged is kept; run again to go on.", err=True)
        sys.exit(ExitCode.STOPPED)
    except Exception as error:
        if debug:
            raise
        click.echo(_describe(error), err=True)
        sys.exit(ExitCode.USAGE if isinstance(error, ConfigurationError) else ExitCode.STOPPED)
    sys.exit(code if isinstance(code, int) else ExitCode.DONE)


def _describe(error: Exception) -> str:
    if isinstance(error, RobinEtlError):
        return str(error)
    broke = f"{type(error).__name__}: {hide_credentials(str(error))}"
    return (
        f"robin-etl broke ({broke}). This is a mistake of robin-etl's: please report it with what "
        "--debug prints. Running again is safe."
    )
