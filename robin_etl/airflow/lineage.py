"""From the exports to ROBIN, as Airflow's collector of lineage and its providers name places."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk.lineage import get_hook_lineage_collector

from robin_etl.redaction import hide_credentials
from robin_etl.settings import Settings, connection_in

log = logging.getLogger(__name__)


def note_exports(hook: Any, settings: Settings, collector: Any = None) -> None:
    """Tell Airflow's collector, or another, that a task reads the exports."""
    collector = collector or get_hook_lineage_collector()
    _note(collector.add_input_asset, hook, name_exports(settings.exports))


def note_robin(hook: Any, settings: Settings, collector: Any = None) -> None:
    """The same, that a task writes ROBIN's orders."""
    collector = collector or get_hook_lineage_collector()
    _note(collector.add_output_asset, hook, name_robin(settings.base_url))


def _note(add: Callable[..., None], hook: Any, uri: str) -> None:
    try:
        add(hook, uri=uri)
    except ValueError:  # a provider has rules for the URIs of its scheme, and no run fails for them
        log.info("Airflow takes no such URI into its lineage: %s.", uri)


def name_exports(location: str) -> str:
    """The folder or bucket of the exports as a URI, without the connection that it names, and up to the
    folder whose name has the day in it.
    """
    conn_id, scheme, rest = connection_in(location)
    plain = f"{scheme}://{rest}" if conn_id else location
    fixed = plain.partition("{")[0].partition("*")[0]
    if fixed != plain:
        fixed = fixed.rpartition("/")[0] or "."
    if "://" not in fixed:
        return Path(fixed).absolute().as_uri()
    return hide_credentials(fixed).rstrip("/")


def name_robin(base_url: str) -> str:
    """ROBIN's orders as a URI: `robin://api.robinhq.com/orders`."""
    return f"robin://{urlsplit(base_url).netloc}/orders"
