"""From the exports to ROBIN, as Airflow's collector of lineage and its providers name places."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk.lineage import get_hook_lineage_collector

from robin_etl.redaction import hide_credentials
from robin_etl.settings import Settings, connection_in


def note_exports(hook: Any, settings: Settings) -> None:
    """Tell the collector that a task reads the exports."""
    get_hook_lineage_collector().add_input_asset(hook, uri=name_exports(settings.exports))


def note_robin(hook: Any, settings: Settings) -> None:
    """Tell the collector that a task writes ROBIN's orders."""
    get_hook_lineage_collector().add_output_asset(hook, uri=name_robin(settings.base_url))


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
