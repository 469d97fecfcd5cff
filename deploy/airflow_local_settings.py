"""Airflow imports this in each of its processes: it belongs into `$AIRFLOW_HOME/config`.

Where you have a file of that name, add these lines to it.
"""

from robin_etl.airflow.preload import preload

preload()
