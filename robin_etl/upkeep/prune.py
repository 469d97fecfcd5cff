"""Clearing away the files of old runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from errno import ENOTEMPTY
from shutil import rmtree

from upath import UPath

from robin_etl.ledger import Ledger
from robin_etl.private import is_local
from robin_etl.settings import Settings
from robin_etl.stages.files import Folder
from robin_etl.stages.run import Run, find_runs


def prune_runs(settings: Settings, older_than: timedelta) -> int:
    """Remove the folders of runs that were last written longer ago than that; how many.

    Those of runs that left something in doubt stay: they alone say what was sent. Raises `LedgerError`
    where that can't be found out.
    """
    root = Folder(settings.path(settings.runs))
    with Ledger.open(settings.ledger, read_only=True) as ledger:
        in_doubt = ledger.doubts.find_runs()
    before = datetime.now(UTC) - older_than
    removed = 0
    for folder in find_runs(root):
        try:
            if folder.path.name not in in_doubt and _read_age(folder) < before:
                _remove(folder.path)
                removed += 1
        except OSError as error:
            # Another clears it away too, or writes to it; what is left of it is old the next time.
            if not isinstance(error, FileNotFoundError) and error.errno != ENOTEMPTY:
                raise
    return removed


def _read_age(folder: Folder) -> datetime:
    """When a run was last written: its scope, or where that is gone, anything in its folder."""
    scope = folder.path / Run.kept_scope.name
    paths = [scope] if scope.exists() else list(folder.path.iterdir())
    moments = [path.stat().st_mtime for path in paths]
    return datetime.fromtimestamp(max(moments, default=0.0), UTC)


def _remove(folder: UPath) -> None:
    if is_local(folder):
        rmtree(folder.path)
    else:
        folder.rmdir(recursive=True)
