"""Airflow: the other door; a DAG's factory, and the provider with its connection type, hook and sensor.

Airflow imports this package in every one of its processes, so it imports nothing of ours.
"""

from typing import Any

DEFAULT_CONN_ID = "robin_default"

# What one task hands to the next: where the run's files are, and counts; no rows, names or secrets.
Handed = dict[str, Any]

# What a DAG's file says of its shop, as each task is handed it: `conn_id`, `timezone` and `settings`.
Shop = dict[str, Any]

# Settings that belong in a connection alone.
SECRETS = frozenset(("api_key", "api_secret", "customer_key", "contact_key", "query_url"))
