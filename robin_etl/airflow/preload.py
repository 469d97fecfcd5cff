"""Importing what tasks need once, in the process that starts them, instead of in each of them.

Airflow starts a task as a copy of its scheduler (LocalExecutor) or of a Celery worker. What those have
imported, a task need not import, and nine tenths of a small day are imports. For
`airflow_local_settings.py`, which every process of Airflow imports, so it imports little.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from airflow.configuration import conf


def preload(arguments: Sequence[str] | None = None) -> bool:
    """Import what the stages need, if this process starts tasks as copies of itself; whether it did.

    `arguments` are those of the `airflow` command, by default this process's own. Elsewhere, such as in
    the api-server or on Kubernetes, where each task has a process to itself, nothing is imported.
    """
    if not _copies_itself(sys.argv[1:] if arguments is None else arguments):
        return False
    from robin_etl import pipeline  # noqa: F401, PLC0415 (see above)
    from robin_etl.gate.evaluating import Evaluator  # noqa: PLC0415

    Evaluator()
    return True


def _copies_itself(arguments: Sequence[str]) -> bool:
    if conf.getboolean("core", "execute_tasks_new_python_interpreter", fallback=False):
        return False
    if tuple(arguments[:2]) == ("celery", "worker"):
        return True
    return tuple(arguments[:1]) == ("scheduler",) and "LocalExecutor" in conf.get("core", "executor")
