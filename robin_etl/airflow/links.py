"""Where Airflow's own pages show a run's report."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

# Below the address of Airflow's api-server.
PREFIX = "/robin"


def make_run_url(dag_id: str, run_id: str) -> str:
    """The address of the page of a DAG run."""
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    return f"{base}{PREFIX}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


class ReportLink(BaseOperatorLink):  # type: ignore[misc]  # Airflow's classes are not followed
    """A button at a task that leads to its run's report."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 (Airflow passes it)
        """The address of the page of the task's run."""
        return make_run_url(ti_key.dag_id, ti_key.run_id)
