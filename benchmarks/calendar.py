"""What is outstanding: what finding that costs, among a month of exports and among ten years of them.

    python -m benchmarks.calendar [--size small|full]

A ledger that knows every day, and a file of twenty orders for each, in a folder and on an S3 server of
our own: with nothing changed, one export written anew with the same bytes, and one of the same size
with other bytes. Shown are the best seconds of several, the server's own included, and the requests.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from upath import UPath

from benchmarks import measuring
from robin_etl.core.outcomes import DONE
from robin_etl.exports import locations, streams
from robin_etl.ledger import ExportRecord, Ledger
from robin_etl.settings import Settings
from robin_etl.stages.catch_up import CatchUp, plan_catch_up

DAYS = {"small": (3, 40), "full": (31, 3_650)}
TIMES = {"small": 1, "full": 5}
ORDERS_A_DAY = 20
FIRST = date(2016, 1, 1)
FOLDER = measuring.FOLDER / "calendar"


class Requests(logging.Handler):
    """How many requests the S3 server has logged."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def emit(self, _: logging.LogRecord) -> None:
        self.number += 1


@contextmanager
def serve_s3(requests: Requests) -> Iterator[str]:
    """A bucket on an S3 server that keeps what it is told in memory."""
    from moto.server import ThreadedMotoServer

    log = logging.getLogger("werkzeug")
    log.setLevel(logging.INFO)
    log.propagate = False
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    log.handlers = [requests]
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    UPath("s3://shop").fs.mkdir("shop", create_parents=True)
    yield "s3://shop"
    server.stop()


def make_text(at: int, *, step: int = 1) -> str:
    """The export of the day of that number; backwards with a `step` of -1."""
    numbers = np.arange(at * ORDERS_A_DAY, (at + 1) * ORDERS_A_DAY)[::step]
    text: str = measuring.shop_orders(numbers, customers=1_000).to_csv(index=False)
    return text


def write(folder: UPath, at: int, text: str) -> UPath:
    path = folder / f"orders_{FIRST + timedelta(days=at)}.csv"
    path.write_text(text)
    return path


def prepare(place: str, days: int, name: str) -> Settings:
    """Exports of so many days, and a ledger that knows them as they are."""
    folder = UPath(place) / f"{days}"
    texts = [make_text(at) for at in range(days)]
    if not place.startswith("s3://"):
        folder.mkdir(parents=True)
    for at, text in enumerate(texts):
        write(folder, at, text)
    settings = Settings.read(exports=str(folder), ledger=str(FOLDER / f"{name}-{days}.db"))
    digests = {}
    scratch = FOLDER / "scratch.csv"
    for at, text in enumerate(texts):
        scratch.write_text(text)
        digests[FIRST + timedelta(days=at)] = streams.digest(UPath(scratch))
    last = FIRST + timedelta(days=days - 1)
    found = locations.find_exports(settings.exports, locations.list_days(FIRST, last), settings.path)
    with Ledger.open(settings.ledger) as ledger:
        ledger.exports.record(
            ExportRecord(
                day,
                one.place,
                one.size,
                one.version,
                digests[day],
                ORDERS_A_DAY,
                run="before",
                outcome=DONE,
                read_at=ledger.engine.stamp(),
            )
            for day, (one,) in found.items()
        )
    return settings


def measure(settings: Settings, days: int, requests: Requests, times: int) -> tuple[float, int, CatchUp]:
    """The best seconds of a listing, its requests, and what it found."""
    until = FIRST + timedelta(days=days - 1)
    best = float("inf")
    for _ in range(times):
        before, began = requests.number, time.perf_counter()
        with Ledger.open(settings.ledger, read_only=True) as ledger:
            planned = plan_catch_up(settings, ledger, until)
        best = min(best, time.perf_counter() - began)
    return best, requests.number - before, planned


def main() -> None:
    """Measure each and print the table."""
    given = measuring.arguments(__doc__).parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    requests = Requests()
    with serve_s3(requests) as bucket:
        places: Mapping[str, str] = {"a folder": str(Path(FOLDER).absolute()), "S3": bucket}
        print(f"{'days':>6}  {'place':<10}{'what':<20}{'seconds':>8}{'requests':>10}")
        for days in DAYS[given.size]:
            for name, place in places.items():
                settings = prepare(place, days, name)
                folder = UPath(settings.exports)
                at = days - 2
                steps: Mapping[str, tuple[Callable[[], object], int]] = {
                    "nothing changed": (lambda: None, 0),
                    "one touched": (lambda: write(folder, at, make_text(at)), 0),  # noqa: B023
                    "one changed": (lambda: write(folder, at, make_text(at, step=-1)), 1),  # noqa: B023
                }
                for what, (change, outstanding) in steps.items():
                    change()
                    seconds, asked, planned = measure(settings, days, requests, TIMES[given.size])
                    assert len(planned.days) == outstanding, planned.describe()
                    shown = f"{asked:>10}" if place == bucket else f"{'':>10}"
                    print(f"{days:>6,}  {name:<10}{what:<20}{seconds:>8.3f}{shown}", flush=True)


if __name__ == "__main__":
    main()
