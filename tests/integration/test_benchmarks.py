"""The benchmarks run, small, and their variants agree; what they measure is no test's business."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_million_order_day_runs_small_and_all_variants_find_the_same(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "expectations", tmp_path / "expectations")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.million_order_day", "--size", "small"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for variant in ("robin-etl, with the gate", "naive pandas", "DuckDB", "polars"):
        assert variant in done.stdout
