"""A whole Airflow whose tasks run on Celery workers; PostgreSQL has its database, the ledger, and the
queue, so that no broker has to be installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tests.airflow_services import Airflow
from tests.postgresql import serve_postgresql


@contextmanager
def celery_airflow(folder: Path, environment: Mapping[str, str]) -> Iterator[Airflow]:
    """The Airflow, in `folder / "airflow"`; it has no worker yet."""
    with serve_postgresql(folder) as served:
        url = sa.make_url(served).set(drivername="postgresql+psycopg2")
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for name in ("airflow", "ledger"):
                connection.execute(sa.text(f"create database {name}"))
        engine.dispose()
        own = url.set(database="airflow").render_as_string(hide_password=False)
        ledger = url.set(database="ledger", drivername="postgresql")
        on_celery = {
            **environment,
            "ROBIN_ETL_LEDGER": ledger.render_as_string(hide_password=False),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": own,
            "AIRFLOW__CELERY__BROKER_URL": f"sqla+{own}",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{own}",
            "C_FORCE_ROOT": "true",
        }
        with Airflow(folder / "airflow", on_celery) as airflow:
            yield airflow


def serve_worker(airflow: Airflow, name: str, *, concurrency: int) -> None:
    """Start a worker that takes so many tasks at once."""
    airflow.serve(
        *("celery", "worker", "--concurrency", f"{concurrency}", "--skip-serve-logs"),
        *("--celery-hostname", f"{name}@%h"),
        name=f"worker-{name}",
    )
