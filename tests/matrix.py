"""The fault matrix: every answer of a run is lost, every commit of a run fails, in turn; is ROBIN right?

    python -m tests.matrix [--only sqlite|postgresql]

The real command tells a strict ROBIN a day on which every order changes and new ones come. At one of
its requests the answer is lost; or at one of its commits the disk is full, the connection to PostgreSQL
is gone, or another server answers: with all that was committed, without the last commit, or with a copy
from before the run. Then the export is corrected, and the command is started until it is through.

In the end ROBIN has to hold what the exports say, every `old_revenue` has to have been what it held,
only orders that were reported in doubt may have been told twice, none may be undecided, and the ledger
has to be what its journals say. `make test` runs a few of these.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from upath import UPath

from robin_etl.ledger import Ledger
from robin_etl.ledger.verify import verify
from robin_etl.sandbox.faults import Fault, Faults
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from tests import failing, forking, processes
from tests.failover import Address, Death, served
from tests.postgresql import serve_postgresql

KEY, SECRET = "matrix-key", "matrix-secret"
FIRST, SECOND = "2026-03-01", "2026-03-02"
HEADER = "order_number,email_address,revenue,order_date"
OLD, NEW = range(1, 7), range(7, 9)
MOST_TRIES = 4
STOPPED, DONE = 1, (0, 3)
NEVER = 10**6


class RecordingRobin(Robin):
    """A ROBIN that another can be made like."""

    def __init__(self) -> None:
        super().__init__(KEY, SECRET, limits=())
        self.heard: list[tuple[str | None, bytes]] = []

    def answer(self, authorization: str | None, body: bytes) -> tuple[int, Mapping[str, Any]]:
        self.heard.append((authorization, body))
        return super().answer(authorization, body)


@dataclass(frozen=True)
class Shop:
    """A shop that has told ROBIN its first day: the command, the folder of exports and runs, the ledger,
    ROBIN's port, and what ROBIN was told.
    """

    command: Path
    folder: Path
    ledger: str
    port: int
    heard: tuple[tuple[str | None, bytes], ...] = ()

    def export(self, day: str, orders: range, more: int) -> None:
        rows = [f"{n},c{n if n > 7 else n % 3}@x.nl,{more + n},{FIRST}T10:00:0{n}Z" for n in orders]
        (self.folder / f"orders_{day}.csv").write_text("\n".join([HEADER, *rows]) + "\n")

    def start(self, *arguments: str, **changed: str) -> processes.Completed:
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("ROBIN_ETL_")},
            "ROBIN_ETL_BASE_URL": f"http://127.0.0.1:{self.port}",
            "ROBIN_ETL_API_KEY": KEY,
            "ROBIN_ETL_API_SECRET": SECRET,
            "ROBIN_ETL_EXPORTS": str(self.folder),
            "ROBIN_ETL_LEDGER": self.ledger,
            "ROBIN_ETL_RUNS": str(self.folder / "runs"),
            "ROBIN_ETL_RATE_LIMITS": "100000/s",
            "ROBIN_ETL_CHUNK_SIZE": "2",
            "ROBIN_ETL_CONCURRENCY": "1",
            "ROBIN_ETL_MAX_ATTEMPTS": "1",
            **changed,
        }
        done = processes.run([self.command, *arguments], env=environment)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def run(self, day: str = SECOND, **changed: str) -> processes.Completed:
        return self.start("run", "--date", day, "--json", **changed)

    def make_robin(self) -> Robin:
        """A ROBIN that knows what the shop's has been told."""
        robin = Robin(KEY, SECRET, limits=())
        for authorization, body in self.heard:
            robin.answer(authorization, body)
        return robin


@dataclass(frozen=True)
class Place:
    """A shop on its second day; `copies` makes another like it, for one case, in a folder that is empty.
    `address`: what stands before its ledger, if anything does; `copy_ledger` gives the name of a copy of
    that ledger.
    """

    shop: Shop
    copies: Callable[[Path], Shop]
    address: Address | None = None
    copy_ledger: Callable[[], str] = str


def open_shop(command: Path, folder: Path, ledger: str) -> Shop:
    """A shop that has told ROBIN its first day."""
    folder.mkdir(parents=True)
    robin = RecordingRobin()
    with Sandbox(robin) as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
        shop = Shop(command, folder, ledger, port)
        shop.export(FIRST, OLD, 10)
        done = shop.run(FIRST)
        assert done.returncode in DONE, done.stderr
    assert robin.complaints == []
    return replace(shop, heard=tuple(robin.heard))


def in_sqlite(command: Path, base: Path) -> Place:
    """A shop with a ledger in a file."""
    shop = open_shop(command, base / "shop", str(base / "shop" / "ledger.db"))

    def copy(folder: Path) -> Shop:
        shutil.copytree(shop.folder, folder)
        return replace(shop, folder=folder, ledger=str(folder / "ledger.db"))

    return Place(shop, copy)


@contextmanager
def in_postgresql(command: Path, base: Path, server: str) -> Iterator[Place]:
    """A shop with a ledger in PostgreSQL, behind an address that may move."""
    admin = sa.make_url(server).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(admin, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    first = _create_database(engine)
    with served(admin.set(database=first).render_as_string(hide_password=False)) as address:
        url = address.url.set(drivername="postgresql").render_as_string(hide_password=False)
        shop = open_shop(command, base / "shop", url)

        def copy(folder: Path) -> Shop:
            shutil.copytree(shop.folder, folder)
            address.mend()
            address.database = _create_database(engine, like=first)
            return replace(shop, folder=folder)

        yield Place(shop, copy, address, lambda: _create_database(engine, like=first))
    engine.dispose()


def _create_database(engine: sa.Engine, like: str = "template1") -> str:
    name = f"matrix_{uuid4().hex}"
    with engine.connect() as connection:
        # A session that was cut off may have the template open for a moment longer.
        end = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = :name"
        if like != "template1":
            connection.execute(sa.text(end), {"name": like})
        connection.execute(sa.text(f"create database {name} template {like}"))
    return name


def settle(shop: Shop, robin: Robin, *, is_whole: bool) -> Counter[str]:
    """Correct the export, start the command until it is through, and see whether all is right; what it
    took.
    """
    seen: Counter[str] = Counter()
    shop.export(SECOND, range(1, 9), 25)
    for _ in range(MOST_TRIES):
        seen["runs"] += 1
        done = shop.run()
        if done.returncode in DONE:
            break
        assert done.returncode == STOPPED, done.stderr
        seen["stopped"] += 1
        if "robin-etl ledger restore" in done.stderr:
            restored = shop.start("ledger", "restore")
            assert restored.returncode == 0, restored.stdout + restored.stderr
            seen["restored"] += 1
    else:
        raise AssertionError(f"not through after {MOST_TRIES} runs: {done.stderr}")
    if is_whole:
        before = robin.faults.requests
        assert shop.run().returncode in DONE
        assert robin.faults.requests == before, "what was told is told again"
    check_end(shop, robin, seen)
    return seen


def check_end(shop: Shop, robin: Robin, seen: Counter[str]) -> None:
    """Raise `AssertionError` where ROBIN or the ledger is not what the exports say."""
    assert {number: order["revenue"] for number, order in robin.orders.items()} == {
        f"{n}": float(25 + n) for n in (*OLD, *NEW)
    }
    others = [said for said in robin.read_state()["complaints"] if "told twice" not in said]
    assert not others, others
    doubted = _list_reported(shop, "orders_in_doubt")
    assert set(robin.repeats) <= doubted, f"told twice, but not in doubt: {sorted(robin.repeats)}"
    assert not _list_reported(shop, "orders_undecided"), "undecided though all files are there"
    with Ledger.open(shop.ledger) as ledger:
        verification = verify(ledger, UPath(shop.folder / "runs" / "journals"))
        assert verification.is_right, list(verification.describe())
        assert not ledger.doubts.has_open()
    seen["repeats"] += len(robin.repeats)
    seen["doubted"] += len(doubted)


def _list_reported(shop: Shop, name: str) -> set[str]:
    summaries = (
        json.loads(path.read_text() or "{}") for path in shop.folder.glob("runs/*/summary.json")
    )
    return {number for summary in summaries for number in summary.get(name, ())}


def lose_answer(place: Place, folder: Path, at: int, *, is_whole: bool = True) -> Counter[str] | None:
    """Lose the answer to this request of the run, counted from 1; None where it has no so many."""
    shop = place.copies(folder)
    robin = shop.make_robin()
    robin.faults = Faults(script={at: Fault.RESET_AFTER})
    shop.export(SECOND, range(1, 9), 20)
    with Sandbox(robin, port=shop.port):
        done = shop.run()
        if not robin.faults.played:
            assert done.returncode in DONE, done.stderr
            return None
        assert done.returncode == STOPPED
        robin.faults = Faults()
        return settle(shop, robin, is_whole=is_whole)


def lose_answers(
    place: Place, folder: Path, at: int, first: int, *, is_whole: bool = True
) -> Counter[str] | None:
    """Lose the answer to the `first` request of the run, say, and to this one of the next, which settles
    that first; None where that has no so many.
    """
    shop = place.copies(folder)
    robin = shop.make_robin()
    robin.faults = Faults(script={first: Fault.RESET_AFTER})
    shop.export(SECOND, range(1, 9), 20)
    with Sandbox(robin, port=shop.port):
        assert shop.run().returncode == STOPPED
        robin.faults = Faults(script={at: Fault.RESET_AFTER})
        shop.export(SECOND, range(1, 9), 40)
        done = shop.run()
        if not robin.faults.played:
            assert done.returncode in DONE, done.stderr
            return None
        robin.faults = Faults()
        return settle(shop, robin, is_whole=is_whole)


def fill_disk(place: Place, folder: Path, at: int, *, is_whole: bool = True) -> Counter[str] | None:
    """Let the disk be full from this commit of the run on; None where it has no so many."""
    shop = place.copies(folder)
    robin = shop.make_robin()
    shop.export(SECOND, range(1, 9), 20)
    commits = folder / "commits"
    commits.touch()
    with Sandbox(robin, port=shop.port):
        done = shop.run(**{failing.FULL_AT: f"{at}", failing.COMMITS: str(commits)})
        if commits.stat().st_size < at:
            assert done.returncode in DONE, done.stderr
            return None
        assert done.returncode in (STOPPED, *DONE), done.stderr
        return settle(shop, robin, is_whole=is_whole)


def kill_server(
    place: Place, folder: Path, at: int, death: Death, *, is_whole: bool = True
) -> Counter[str] | None:
    """Let the server die so at this commit of the run; None where it has no so many."""
    address = place.address
    assert address is not None
    shop = place.copies(folder)
    robin = shop.make_robin()
    shop.export(SECOND, range(1, 9), 20)
    copy = place.copy_ledger() if death is Death.BEHIND else ""
    address.kill_at(at, death, copy=copy)
    with Sandbox(robin, port=shop.port):
        done = shop.run()
        has_died = address.has_died
        address.mend()
        if not has_died:
            assert done.returncode in DONE, done.stderr
            return None
        return settle(shop, robin, is_whole=is_whole)


def count_commits(place: Place, folder: Path) -> int:
    """How many commits a run has that nothing befalls."""
    shop = place.copies(folder)
    commits = folder / "commits"
    commits.touch()
    shop.export(SECOND, range(1, 9), 20)
    with Sandbox(shop.make_robin(), port=shop.port):
        done = shop.run(**{failing.COMMITS: str(commits)})
    assert done.returncode in DONE, done.stderr
    return commits.stat().st_size


def walk(case: Callable[[Path, int], Counter[str] | None], base: Path) -> Counter[str]:
    """Play a case at each place in turn, until a run has no more; what it took, all together."""
    total: Counter[str] = Counter()
    for at in range(1, NEVER):
        folder = base / uuid4().hex
        try:
            seen = case(folder, at)
        except AssertionError as error:
            raise AssertionError(f"at {at}: {error}") from error
        shutil.rmtree(folder)
        if seen is None:
            return total
        total += seen
        total["cases"] += 1
    raise AssertionError("no end")


def walk_twice(place: Place, base: Path) -> Counter[str]:
    """Lose the answer to each request, and to each of the next run as well."""
    total: Counter[str] = Counter()
    for first in range(1, NEVER):
        if lose_answer(place, base / "once", first) is None:
            return total
        shutil.rmtree(base / "once")
        total += walk(partial(lose_answers, place, first=first), base)
    raise AssertionError("no end")


def main() -> None:
    """Play all of it, and print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        (base / "bin").mkdir()
        with forking.command(base / "bin") as command:
            if given.only != "postgresql":
                place = in_sqlite(command, base / "sqlite")
                _show("sqlite, answers lost", walk(partial(lose_answer, place), base))
                _show("sqlite, answers lost twice", walk_twice(place, base))
                _show("sqlite, disk full", walk(partial(fill_disk, place), base))
            if given.only != "sqlite":
                with (
                    serve_postgresql(base) as server,
                    in_postgresql(command, base / "postgresql", server) as place,
                ):
                    _show("postgresql, answers lost", walk(partial(lose_answer, place), base))
                    for death in Death:
                        kill = partial(kill_server, place, death=death)
                        _show(f"postgresql, {death}", walk(kill, base))


def _show(name: str, seen: Counter[str]) -> None:
    figures = ", ".join(f"{number} {what}" for what, number in sorted(seen.items()))
    print(f"{name}: {figures}", flush=True)


if __name__ == "__main__":
    main()
