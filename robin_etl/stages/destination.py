"""Where a run's orders go: whether the ledger belongs to that ROBIN, and to the customer key in use."""

from __future__ import annotations

from robin_etl.delivery import check_address
from robin_etl.exceptions import BindingError
from robin_etl.ledger import Binding, Ledger
from robin_etl.ledger.binding import fingerprint_customer_key
from robin_etl.settings import Settings
from robin_etl.stages.run import Run


def check_destination(settings: Settings, run: Run, ledger: Ledger) -> None:
    """Raise `BindingError` where the ledger belongs to another ROBIN or customer key than the settings
    name, and `ConfigurationError` where they name none. A dry run may do without an API key.
    """
    require_credentials(settings, run)
    check_address(settings.base_url)
    ledger.bindings.check(Binding.of(settings))


def bind_ledger(settings: Settings, run: Run, ledger: Ledger) -> None:
    """Bind the ledger to what the settings name; raises as `check_destination` does.

    Needs the posting lock.
    """
    check_destination(settings, run, ledger)
    check_reader(settings, run)
    ledger.bindings.bind(Binding.of(settings))


def check_reader(settings: Settings, run: Run) -> None:
    """Raise `BindingError` where the rows were read under another customer key than this process has."""
    read = run.extracted.read().customer_key
    here = fingerprint_customer_key(settings)
    if read not in ("", here):
        raise BindingError(
            f"The rows of {run.title} were read with a customer key of the fingerprint {read}, and here "
            f"ROBIN_ETL_CUSTOMER_KEY has {here}. Nothing was posted. Give every worker the same key (in "
            "Airflow as customer_key_secret of the connection), then run the day again."
        )


def require_credentials(settings: Settings, run: Run) -> None:
    """Raise `ConfigurationError` where the API key or secret that the run needs is missing."""
    if run.scope.is_baseline:
        settings.credentials(to="say whose orders a baseline acknowledges")
    elif not run.scope.dry_run:
        settings.credentials()
