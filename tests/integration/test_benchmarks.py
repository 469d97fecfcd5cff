"""The benchmarks run, small, and their variants agree; what they measure is no test's business."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import processes

ROOT = Path(__file__).parents[2]

SHOWN = {
    "million_order_day": ("robin-etl, with the gate", "naive pandas", "DuckDB", "polars"),
    "shards": ("extract", "classify", "validate", "plan", "load", "report"),
    "ledger_growth": (
        "robin-etl, SQLite",
        "bare read, PostgreSQL",
        "DuckDB",
        "polars",
        "naive pandas",
        "A whole day",
    ),
    "core": ("robin-etl", "DuckDB", "polars"),
    "gate": ("robin-etl", "by hand", "as usual"),
    "million_new_orders": ("extract", "classify", "validate", "plan", "load", "read and write"),
    "baseline": ("SQLite", "PostgreSQL", "to_sql"),
    "delivery": ("bare client", "robin-etl", "no journal"),
    "rate_limits": ("by arrival", "by fixed window", "by sliding window", "by tokens", "one by one"),
    "rebuild": ("made anew", "verified"),
    "ten_years": ("30 days", "ms a day"),
    "calendar": ("a folder  one touched", "S3        one changed"),
    "start": ("robin-etl run", "import great_expectations", "A quiet day takes"),
    "tasks": ("10 orders", "extract", "report", "together"),
    "dlt_end_to_end": ("quiet   robin-etl", "quiet   dlt", "quiet   plain script"),
}


# Runs each as `python -m` does, in a process that has imported what they share.
PREPARED = """
import json, os, runpy, sys
from tests import prepared

for line in sys.stdin:
    benchmark, folder = json.loads(line)
    process = os.fork()
    if process == 0:
        os.chdir(folder)
        sys.argv = [benchmark, "--size", "small"]
        runpy.run_module(f"benchmarks.{benchmark}", run_name="__main__", alter_sys=True)
        break
    print("ENDED with", os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[processes.Process]:
    home = tmp_path_factory.mktemp("home")
    # OpenBLAS alone would start threads, and a process with threads must not fork.
    environment = {
        "PYTHONPATH": str(ROOT),
        "PATH": "",
        "HOME": str(home),
        "OPENBLAS_NUM_THREADS": "1",
    }
    with processes.started([sys.executable, "-c", PREPARED], env=environment) as process:
        yield process
        process.hang_up()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("benchmark", SHOWN)
def test_a_benchmark_runs_small_and_all_its_variants_find_the_same(
    benchmark: str, tmp_path: Path, prepared: processes.Process
) -> None:
    shutil.copytree(ROOT / "expectations", tmp_path / "expectations")
    before = len(prepared.printed)
    prepared.say(json.dumps([benchmark, str(tmp_path)]) + "\n")
    ended = prepared.line_with("ENDED with", deadline=1500)
    printed = prepared.printed[before:]
    assert ended == "ENDED with 0\n", printed
    for words in SHOWN[benchmark]:
        assert words in printed


def test_every_benchmark_is_run() -> None:
    modules = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    in_airflow = {"airflow_tasks", "celery_workers"}  # run by tests/whole_airflow
    assert modules - set(SHOWN) == {"__init__", "measuring", "simulated_robin", *in_airflow}
