"""Airflow: the other door; a DAG's factory, and the provider with its connection type, hook and sensor.

Airflow imports this package in every one of its processes, so it imports nothing; see its modules.
"""

DEFAULT_CONN_ID = "robin_default"
