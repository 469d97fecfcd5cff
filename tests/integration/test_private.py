"""What lies on this machine is read and written by its owner alone, whatever the umask is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from upath import UPath

from robin_etl.exceptions import UnavailableError
from robin_etl.ledger import Binding, Ledger
from robin_etl.ledger.backup import backup
from robin_etl.ledger.restore import rebuild, restore
from robin_etl.settings import Settings
from robin_etl.stages.files import Folder
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run, locate_journals
from robin_etl.upkeep import forget
from tests.conftest import Export, run_days
from tests.integration.test_partitions import in_parts

DAY = "2026-03-01"


@pytest.fixture(autouse=True)
def _open_to_everybody() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def find_open(folder: Path) -> set[str]:
    """What under a folder others than its owner may read or write, with its mode."""
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    return {f"{path.relative_to(folder)} {mode:o}" for path, mode in modes.items() if mode & 0o077}


@pytest.mark.parametrize("scheme", ["", "file://", "local://"])
def test_everything_that_is_kept_is_its_owner_s_however_its_place_is_written(
    settings: Settings, tmp_path: Path, export: Export, scheme: str
) -> None:
    kept = tmp_path / "kept"
    places = {"runs": f"{scheme}{kept}/deep/runs", "ledger": f"{kept}/deep/ledger/ledger.db"}
    there = in_parts(settings.model_copy(update=places), 2)
    rows = [f"O{n},c{n}@x.nl,{'no' if n == 3 else 1},{DAY}" for n in range(40)]
    export(DAY, *rows)
    run_days(there, DAY)
    run_days(there, DAY, dry_run=True)
    forget.forget_customer(there, "c1@x.nl")
    copy = str(kept / "copy.db")
    backup(there.ledger, copy)
    journals, wanted = locate_journals(there.path(there.runs)), Binding.of(there)
    restore(there.ledger, copy, journals, wanted)
    rebuild(there.ledger, journals, wanted)
    with Ledger.open(there.ledger) as ledger, ledger.lock.hold("a test"):
        assert (kept / "deep" / "ledger" / "ledger.db.lock").exists()
        assert find_open(kept) == set()
    assert list((kept / "deep" / "runs" / "journals").rglob("*.jsonl"))


def test_a_file_that_was_open_to_everybody_is_so_no_more_once_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "run.json").touch()
    Folder(UPath(tmp_path)).write("run.json", b"{}")
    assert "run.json 666" not in find_open(tmp_path)


def test_a_link_that_was_planted_is_not_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("kept")
    run = Run.start(f"file://{tmp_path}/runs", Scope("run", date(2026, 3, 1), date(2026, 3, 1)))
    (Path(run.folder.path) / "load.json").symlink_to(outside)
    with pytest.raises(UnavailableError, match="it is a link, which is not followed; remove it"):
        run.folder.write("load.json", b"{}")
    assert outside.read_text() == "kept"
