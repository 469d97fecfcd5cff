"""What becomes of a task that fails: whether it is tried again, and who hears of it."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from robin_etl.airflow import Shop
from robin_etl.airflow.hook import RobinHook
from robin_etl.exceptions import ConfigurationError, StoppedError


@contextmanager
def stop_retries() -> Iterator[None]:
    """Fail the task without a retry where only a person can mend it; let the rest be retried."""
    try:
        yield
    except StoppedError as error:
        raise AirflowFailException(str(error)) from error


def notify(context: Mapping[str, Any], shop: Shop) -> None:
    """Call what the setting `ON_FAILURE` names with the context of a failed task, or a degraded run's.

    Raises `ConfigurationError` where there is no such function.
    """
    name = RobinHook.of(shop).get_settings().on_failure
    if not name:
        return
    try:
        function = pkgutil.resolve_name(name)
    except (ValueError, ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"ROBIN_ETL_ON_FAILURE is {name!r}, and there is no such function ({error}). Write "
            "it as module:function, in a module that the workers can import."
        ) from error
    function(context)
