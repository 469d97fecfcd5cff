"""How long a small day takes from the shell: `robin-etl run` over ten orders, and `--help`.

    python -m benchmarks.start [--size small|full]

Then a hundred orders of which none changed, beside the bare import of all that it needs, in the same
way; and what importing Great Expectations takes as anyone imports it. The server accepts everything. The
best of several times counts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import numpy as np

from benchmarks import measuring

TIMES = {"small": 1, "full": 7}
DAY = "2026-03-02"
FOLDER = measuring.FOLDER / "start"
QUIET = "2026-03-03"
# What a run has imported at its end, by the same names.
IMPORTS = """
from robin_etl import pipeline
from robin_etl.cli import main, progress
from robin_etl.gate.importing import import_great_expectations
import_great_expectations()
from great_expectations.validator.validator import Validator
"""
COMMAND = (sys.executable, "-c", "from robin_etl.cli.main import main; main()")


def seconds(*command: str, environment: dict[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, check=False, capture_output=True)
    assert done.returncode in (0, 3), done.stderr  # 3: a rule on the whole may warn of so small a day
    return time.perf_counter() - began


def main() -> None:
    """Measure each and print the table."""
    given = measuring.arguments(__doc__).parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    table = measuring.shop_orders(np.arange(10), customers=6)
    table.to_csv(FOLDER / f"orders_{DAY}.csv", index=False, float_format="%.2f")
    table = measuring.shop_orders(np.arange(100), customers=60)
    table.to_csv(FOLDER / f"orders_{QUIET}.csv", index=False, float_format="%.2f")
    found: dict[str, list[float]] = {}
    with measuring.accepting_server() as url:
        settings = {"BASE_URL": url, "API_KEY": "k", "API_SECRET": "s", "EXPORTS": str(FOLDER)}
        settings |= {"RUNS": str(FOLDER / "runs"), "LEDGER": str(FOLDER / "ledger.db")}
        environment = os.environ | {f"ROBIN_ETL_{name}": value for name, value in settings.items()}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        commands = {
            "robin-etl --help": (*COMMAND, "--help"),
            "robin-etl run": (*COMMAND, "run", "--date", DAY),
            "a first run of a hundred": (*COMMAND, "run", "--date", QUIET, *measuring.allow_all()),
            "a quiet day": (*COMMAND, "run", "--date", QUIET, *measuring.allow_all()),
            "its imports alone": (sys.executable, "-c", IMPORTS),
            "import great_expectations": (sys.executable, "-c", "import great_expectations"),
        }
        for _ in range(TIMES[given.size]):
            (FOLDER / "ledger.db").unlink(missing_ok=True)
            shutil.rmtree(FOLDER / "runs", ignore_errors=True)
            for name, command in commands.items():
                found.setdefault(name, []).append(seconds(*command, environment=environment))
    print(f"{'command':<28}{'seconds (best)':>15}")
    for name, taken in found.items():
        print(f"{name:<28}{min(taken):>15.2f}")
    ratio = min(found["robin-etl run"]) / min(found["import great_expectations"])
    print(f"\nA run takes {ratio:.2f} times as long as importing Great Expectations otherwise does.")
    ratio = min(found["a quiet day"]) / min(found["its imports alone"])
    print(f"A quiet day takes {ratio:.2f} times as long as its imports alone.")


if __name__ == "__main__":
    main()
