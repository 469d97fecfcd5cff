"""Where a run's orders go: whether the ledger belongs to that ROBIN, and to the customer key in use."""

from __future__ import annotations

from robin_etl.delivery import check_address
from robin_etl.exceptions import BindingError, LedgerError
from robin_etl.ledger import Binding, Ledger
from robin_etl.ledger.binding import fingerprint_customer_key
from robin_etl.ledger.journal import Journals, list_ledgers
from robin_etl.settings import Settings
from robin_etl.stages.run import Run


def check_destination(settings: Settings, run: Run, ledger: Ledger) -> None:
    """Raise `BindingError` where the ledger belongs to another ROBIN or customer key than the settings
    name, and `ConfigurationError` where they name none. A dry run may do without an API key.
    """
    require_credentials(settings, run)
    check_address(settings.base_url)
    ledger.bindings.check(Binding.of(settings))


def check_not_lost(settings: Settings, run: Run, ledger: Ledger) -> None:
    """Raise `LedgerError` where the ledger holds nothing, and journals are there of another one of the
    same ROBIN. A baseline may begin anew.
    """
    if run.scope.is_baseline or ledger.states.has_any() or ledger.deliveries.has_any():
        return
    wanted = Binding.of(settings)
    for name in list_ledgers(run.journals):
        bound = Journals(run.journals, name).read_binding()
        if name != ledger.id and bound and bound.is_same_robin(wanted):
            raise LedgerError(
                f"The ledger is empty, and {run.journals} has the journals of another one ({name}) "
                "that told this ROBIN: it was lost, or ROBIN_ETL_LEDGER names another place. Nothing "
                "was posted, since every order would be told as a new one. Run robin-etl ledger "
                "rebuild, which makes it anew from them. If a new one is meant, begin with robin-etl "
                "baseline, or move that folder away."
            )


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
