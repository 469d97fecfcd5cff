"""The benchmarks run, small, and their variants agree; what they measure is no test's business."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_small(benchmark: str, folder: Path) -> str:
    shutil.copytree(ROOT / "expectations", folder / "expectations")
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{benchmark}", "--size", "small"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_million_order_day_runs_small_and_all_variants_find_the_same(tmp_path: Path) -> None:
    shown = run_small("million_order_day", tmp_path)
    for variant in ("robin-etl, with the gate", "naive pandas", "DuckDB", "polars"):
        assert variant in shown


def test_the_parts_benchmark_runs_small_and_finds_the_same_in_any_number_of_parts(
    tmp_path: Path,
) -> None:
    shown = run_small("shards", tmp_path)
    for stage in ("extract", "classify", "validate", "load", "report"):
        assert stage in shown
