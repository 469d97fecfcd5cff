"""Several commands at once on one folder of runs and one ledger."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from robin_etl.exceptions import StoppedError
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.run import Run
from robin_etl.upkeep import forget
from tests import processes
from tests.conftest import Export, run_days
from tests.integration.test_cli import environment

ANN = "ann.one@shop.example"
DAYS = ("2026-03-01", "2026-03-02")


def test_two_runs_an_erasure_and_a_clearing_away_at_once_end_in_words_and_lose_nothing(
    settings: Settings, export: Export, sandbox: Sandbox, quick_command: Path
) -> None:
    for day in DAYS:
        export(day, *(f"{day}-{n},c{n}@x.nl,1,{day}" for n in range(300)), f"{day}-A,{ANN},1,{day}")
    export("2026-02-28", f"old,{ANN},1,2026-02-28")
    old = Path(settings.runs) / str(run_days(settings, "2026-02-28")["run"])
    for number in range(20):  # what is cleared away while it is looked through
        copy = shutil.copytree(old, old.with_name(f"old-{number:02}"))
        os.utime(copy / "run.json", (0, 0))
    asked = [
        ["run", "--date", DAYS[0], "--json"],
        ["run", "--date", DAYS[1], "--json"],
        ["forget", ANN, "--json"],
        ["prune", "--older-than", "1"],
    ]
    with ExitStack() as all_of_them:
        at_once = [
            all_of_them.enter_context(
                processes.started([quick_command, *one], env=environment(settings, CHUNK_SIZE="10"))
            )
            for one in asked * 2
        ]
        for process in at_once:
            assert process.ended() in (0, 1, 3), process.printed
            assert "Traceback" not in process.printed
            assert "broke" not in process.printed
    assert list(Path(settings.runs).glob("old-*")) == []
    run_days(settings, *DAYS)
    assert len(sandbox.robin.orders) == 603
    assert sandbox.robin.read_state()["repeats"] == []
    assert forget.forget_customer(settings, ANN).left == ()
    for path in Path(settings.runs).rglob("*"):
        assert path.is_dir() or ANN.encode() not in path.read_bytes(), path


def test_a_file_that_is_cleared_away_under_a_run_is_a_sentence(
    settings: Settings, export: Export
) -> None:
    export(DAYS[0], f"1,{ANN},1,{DAYS[0]}")
    kept = run_days(settings, DAYS[0])
    run = Run.open(f"{settings.runs}/{kept['run']}")
    for name in ("exported.parquet", "quarantine.csv", "run.json"):
        (Path(run.folder.path) / name).unlink()
    with pytest.raises(StoppedError, match=r"There is no exported.parquet .* Run the day again"):
        run.exported.read()
    with pytest.raises(StoppedError, match=r"There is no quarantine.csv .* Run the day again"):
        run.quarantine.read()
