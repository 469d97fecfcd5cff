"""The reports inside Airflow: a list of shops, all runs of a shop, and a run, as Airflow's api-server
shows them to whoever may see the DAG.

Which folder is a run's is what its `extract` handed on. The api-server reads the page from there, so it
has to reach the folder, or the bucket by the connection that the location names.
"""

from __future__ import annotations

from html import escape
from typing import Annotated, Any
from urllib.parse import quote

import sqlalchemy as sa
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models import DagModel, DagTag
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import HTMLResponse

from robin_etl.airflow.connections import open_storage
from robin_etl.exceptions import RobinEtlError
from robin_etl.settings import Settings
from robin_etl.stages.pages import INDEX
from robin_etl.stages.run import Run

TAG = "robin"
# A report is read from where a task says that it is, so nothing in it may run or load anything.
_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
_LIST = (
    '<!doctype html><html lang="en"><meta name="color-scheme" content="light dark">'
    "<title>ROBIN</title><style>body{{font:16px/1.5 system-ui,sans-serif;padding:1rem 1.25rem}}</style>"
    "<h1>Shops that ROBIN is told of</h1><ul>{shops}</ul>{none}"
)
_MAY_READ = Depends(requires_access_dag("GET", DagAccessEntity.XCOM))

app = FastAPI(openapi_url=None)


@app.get("/", response_class=HTMLResponse)
def show_shops(user: GetUserDep) -> HTMLResponse:
    """The DAGs of shops that the reader may see, each leading to all its runs."""
    allowed = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
    with create_session() as session:
        query = sa.select(DagModel.dag_id).join(DagTag, DagTag.dag_id == DagModel.dag_id)
        found = session.scalars(query.where(DagTag.name == TAG, ~DagModel.is_stale)).all()
    shops = "".join(
        f'<li><a href="dags/{quote(dag_id, safe="")}/index.html">{escape(dag_id)}</a></li>'
        for dag_id in sorted(set(found) & allowed)
    )
    none = "" if shops else "<p>No DAG with the tag robin.</p>"
    return HTMLResponse(_LIST.format(shops=shops, none=none), headers=_HEADERS)


@app.get("/dags/{dag_id}/index.html", response_class=HTMLResponse, dependencies=[_MAY_READ])
def show_runs(dag_id: str) -> HTMLResponse:
    """All runs of a shop, as its newest run left the index."""
    folder, _, _ = _find_location(dag_id).rpartition("/")
    return _show(folder, INDEX)


@app.get("/dags/{dag_id}/runs/{run_id}", response_class=HTMLResponse, dependencies=[_MAY_READ])
def show_run(dag_id: str, run_id: str) -> HTMLResponse:
    """The report of one DAG run."""
    return _show(_find_location(dag_id, run_id), Run.page.name)


@app.get("/dags/{dag_id}/{folder}/{name}", response_class=HTMLResponse, dependencies=[_MAY_READ])
def show_linked(
    dag_id: str, folder: Annotated[str, "a run's folder, as the index names it"], name: str
) -> HTMLResponse:
    """The report of a run by its folder: where the index leads to."""
    if name != Run.page.name or "/" in folder or folder.startswith("."):
        raise HTTPException(404, "There is no such page.")
    runs, _, _ = _find_location(dag_id).rpartition("/")
    return _show(f"{runs}/{folder}", name)


def _find_location(dag_id: str, run_id: str | None = None) -> str:
    """Where the files of a DAG run are, or those of the newest of all."""
    query = (
        sa.select(XComModel)
        .where(XComModel.dag_id == dag_id, XComModel.task_id == "extract")
        .where(XComModel.key == "return_value")
        .order_by(XComModel.timestamp.desc())
        .limit(1)
    )
    with create_session() as session:
        row = session.scalars(
            query if run_id is None else query.where(XComModel.run_id == run_id)
        ).first()
        handed: Any = XComModel.deserialize_value(row) if row else None
    if not handed:
        raise HTTPException(
            404, "The run has read no export yet, or stopped before it had: see its log."
        )
    return str(handed[0]["run"]).rstrip("/")


def _show(folder: str, name: str) -> HTMLResponse:
    try:
        settings = open_storage(Settings.of_places(runs=folder), ("runs",))
        content = (settings.path(folder) / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise HTTPException(404, f"There is no {name} in the run's folder (yet).") from None
    except (RobinEtlError, OSError, ImportError) as error:
        # What a storage says may hold a secret; what Airflow may not reach is its operator's to mend.
        raise HTTPException(
            502, f"The api-server can't read the run's folder ({type(error).__name__})."
        ) from error
    return HTMLResponse(content, headers=_HEADERS)
