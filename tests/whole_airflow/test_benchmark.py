"""The benchmarks that need a whole Airflow run; those without are in `tests/integration`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import processes

ROOT = Path(__file__).parents[2]


SHOWN = {
    "airflow_tasks": (
        *("\nwait ", "\nextract ", "\nclassify ", "\nvalidate ", "\nplan ", "\nload ", "\nreport "),
        *("\nalert ", "With imports made once"),
    ),
    "celery_workers": ("\n         2        1 ", "\n         2        2 "),
}


DEADLINE = 2700


@pytest.mark.timeout(DEADLINE + 300)
@pytest.mark.parametrize("benchmark", SHOWN)
def test_a_benchmark_in_a_whole_airflow_runs_small(benchmark: str, tmp_path: Path) -> None:
    done = processes.run(
        [sys.executable, "-m", f"benchmarks.{benchmark}", "--size", "small"],
        env={
            "PATH": "",
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
            "ROBIN_TESTS_RUN": processes.RUN,  # so that what it starts is ended with the tests
        },
        cwd=tmp_path,
        succeeds=True,
        deadline=DEADLINE,
    )
    for words in SHOWN[benchmark]:
        assert words in done.stdout, done.stdout
