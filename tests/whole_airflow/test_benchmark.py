"""The benchmark that needs a whole Airflow runs; those without are in `tests/integration`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import processes

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(3000)
def test_the_benchmark_of_tasks_in_airflow_runs_small_and_shows_every_task(tmp_path: Path) -> None:
    done = processes.run(
        [sys.executable, "-m", "benchmarks.airflow_tasks", "--size", "small"],
        env={"PATH": "", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        succeeds=True,
    )
    shown = done.stdout
    for task in ("wait", "extract", "classify", "validate", "plan", "load", "report", "alert"):
        assert f"\n{task} " in shown, shown
    assert "With imports made once" in shown
