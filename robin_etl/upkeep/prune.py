"""Clearing away the files of old runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from shutil import rmtree

from upath import UPath

from robin_etl.settings import Settings
from robin_etl.stages.files import Folder
from robin_etl.stages.run import Run, find_runs


def prune_runs(settings: Settings, older_than: timedelta) -> int:
    """Remove the folders of runs that were last written longer ago than that; how many."""
    root = Folder(settings.path(settings.runs))
    before = datetime.now(UTC) - older_than
    old = [folder for folder in find_runs(root) if _read_age(folder) < before]
    for folder in old:
        _remove(folder.path)
    return len(old)


def _read_age(folder: Folder) -> datetime:
    return datetime.fromtimestamp((folder.path / Run.kept_scope.name).stat().st_mtime, UTC)


def _remove(folder: UPath) -> None:
    if folder.protocol in ("", "file", "local"):
        rmtree(folder.path)
    else:
        folder.rmdir(recursive=True)
