"""Importing what tasks need once, in the process that starts them, instead of in each of them.

Where processes are forked, Airflow starts a task as a copy of its scheduler (LocalExecutor) or of a
Celery worker. What those have imported, a task need not import, and nine tenths of a small day are
imports. For `airflow_local_settings.py`, which every process of Airflow imports, so it imports little.

The imports start threads, of OpenBLAS and of Arrow's allocator. Both stop and start them around a fork;
Python 3.12 and later warn of it all the same.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections.abc import Sequence

from airflow.configuration import conf

log = logging.getLogger(__name__)


def preload(arguments: Sequence[str] | None = None) -> bool:
    """Import what the stages need, if this process starts tasks as copies of itself; whether it did.

    `arguments` are those of the `airflow` command, by default this process's own. Elsewhere, such as in
    the api-server, on Kubernetes, on macOS, or where `mp_start_method` is not `fork` (the default from
    Python 3.14 on is another), a task begins with nothing, and nothing is imported here. Where
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
    is_new = conf.getboolean("core", "execute_tasks_new_python_interpreter", fallback=False)
    if is_new or sys.platform == "darwin":  # where Airflow starts each task anew
        return False
    if tuple(arguments[:2]) == ("celery", "worker"):  # whose pool always forks
        return True
    is_local = "LocalExecutor" in conf.get("core", "executor")
    return tuple(arguments[:1]) == ("scheduler",) and is_local and _find_start_method() == "fork"


def _find_start_method() -> str:
    """How the scheduler starts processes, which it is told a little later than this is asked."""
    for section in ("scheduler", "core"):
        if method := conf.get(section, "mp_start_method", fallback=None):
            return str(method)
    # The first of all is the default; to ask for the method itself would settle it.
    return (
        multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    )
