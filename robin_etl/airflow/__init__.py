"""Airflow: the other door; a DAG's factory, and the provider with its connection type, hook and sensor.

Airflow imports this package in every one of its processes, so it imports nothing of ours.
"""

from typing import Any

DEFAULT_CONN_ID = "robin_default"

# What one task hands to the next: where the run's files are, and counts; no rows, names or secrets.
Handed = dict[str, Any]
