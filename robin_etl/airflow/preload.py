"""Importing what tasks need once, in the process that starts them, instead of in each of them.

Airflow starts a task as a copy of its scheduler (LocalExecutor) or of a Celery worker. What those have
imported, a task need not import, and nine tenths of a small day are imports. For
`airflow_local_settings.py`, which every process of Airflow imports, so it imports little.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from airflow.configuration import conf

log = logging.getLogger(__name__)


def preload(arguments: Sequence[str] | None = None) -> bool:
    """Import what the stages need, if this process starts tasks as copies of itself; whether it did.

    `arguments` are those of the `airflow` command, by default this process's own. Elsewhere, such as in
    the api-server or on Kubernetes, where each task has a process to itself, nothing is imported. Where
    it can't be imported, a warning is logged, and the process starts all the same.
    """
    if not _copies_itself(sys.argv[1:] if arguments is None else arguments):
        return False
    try:
        from robin_etl import pipeline  # noqa: F401, PLC0415 (see above)
        from robin_etl.gate.evaluating import Evaluator  # noqa: PLC0415

        Evaluator()
    except Exception as error:  # noqa: BLE001 (no other DAG's tasks may stand still for it)
        log.warning(
            "What the tasks of robin-etl need can't be imported (%s: %s). Airflow starts without it; "
            "each of these tasks will try it, and fail with the reason.",
            type(error).__name__,
            error,
        )
        return False
    return True


def _copies_itself(arguments: Sequence[str]) -> bool:
    if conf.getboolean("core", "execute_tasks_new_python_interpreter", fallback=False):
        return False
    if tuple(arguments[:2]) == ("celery", "worker"):
        return True
    return tuple(arguments[:1]) == ("scheduler",) and "LocalExecutor" in conf.get("core", "executor")
