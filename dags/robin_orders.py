"""The Airflow DAG that tells ROBIN every day of one shop's orders; its arguments are in the factory."""

from robin_etl.airflow.dag import robin_orders_dag

robin_orders_dag()
