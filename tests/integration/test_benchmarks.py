"""The benchmarks run, small, and their variants agree; what they measure is no test's business."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests import processes

ROOT = Path(__file__).parents[2]

SHOWN = {
    "million_order_day": ("robin-etl, with the gate", "naive pandas", "DuckDB", "polars"),
    "shards": ("extract", "classify", "validate", "plan", "load", "report"),
    "ledger_growth": ("robin-etl, SQLite", "robin-etl, PostgreSQL", "DuckDB", "polars", "naive pandas"),
    "core": ("robin-etl", "DuckDB", "polars"),
    "gate": ("robin-etl", "by hand", "as usual"),
    "million_new_orders": ("extract", "classify", "validate", "plan", "load", "read and write"),
    "baseline": ("SQLite", "PostgreSQL", "to_sql"),
    "delivery": ("bare client", "robin-etl"),
    "ten_years": ("30 days", "ms a day"),
    "start": ("robin-etl run", "import great_expectations"),
    "dlt_end_to_end": ("quiet   robin-etl", "quiet   dlt"),
}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("benchmark", SHOWN)
def test_a_benchmark_runs_small_and_all_its_variants_find_the_same(
    benchmark: str, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "expectations", tmp_path / "expectations")
    done = processes.run(
        [sys.executable, "-m", f"benchmarks.{benchmark}", "--size", "small"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path)},
        succeeds=True,
        deadline=1500,  # some start a dozen processes, one after the other
    )
    for words in SHOWN[benchmark]:
        assert words in done.stdout


def test_every_benchmark_is_run() -> None:
    modules = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert modules - set(SHOWN) == {"__init__", "measuring", "rate_limits"}
