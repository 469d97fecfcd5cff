"""Runs that are faulted at random and killed at random, until they are through; is ROBIN right then?

    python -m tests.soak [--runs 200] [--ledger sqlite|postgresql] [--seed 0]

Each run starts with an empty ledger and an empty ROBIN that fails 30 % of its requests. The real
command is started over five days of orders, killed (SIGKILL) at a random moment as often as not, and
started again until it says that it is done.

Now and then the guards of a start trip at anything: it has to stop with nothing posted, and the next
one lets them pass. Other starts have a setting of another shop (an address, an API key, a customer
key): they have to stop, and no ROBIN may hear of them.

Between the starts the last day's export is corrected, the ledger is lost (and made anew from its
journals, or an older copy is put back, which has to post nothing until it is brought up to them), and
the last day is acknowledged by a baseline that is taken back.

In half of the runs a catch-up is started once a day instead, but not on every day, while exports come
late, half written, wrong at first, or never; the last one is started until it is done.

The orders are pending, cancelled and revived, change hands, and lose their customers to the shop's
eraser. Three of four ledgers keep contacts sealed; some of those do without the older exports, which are
deleted once they were told.

In the end ROBIN has to hold what an undisturbed run tells it of the last exports; every `old_revenue`
has to have been what it held; every order that it was told twice has to have been reported in doubt;
none may be undecided; and the ledger has to be what its journals say. An order that ended cancelled is
worth 0, with the flag that it was told with, or ROBIN never heard of it.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from upath import UPath

from robin_etl.ledger import Binding, Ledger, schema
from robin_etl.ledger.journal import Journals
from robin_etl.ledger.restore import bring_up, rebuild
from robin_etl.ledger.verify import verify
from robin_etl.sandbox.faults import Faults
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests.postgresql import serve_postgresql

KEY, SECRET = "soak-key", "soak-secret"
DAYS = [f"2026-03-0{day}" for day in range(1, 6)]
FAULTED, KILLED = 0.3, 0.7
GUARDED, MISTAKEN, DOWN = 0.3, 0.2, 0.5
CORRECTED, LOST, RETRACTED = 0.5, 0.6, 0.3
MOST_STARTS = 60

# Where every guard that a backfill is asked of trips at one order.
_TINY = {
    **dict.fromkeys(("corrections", "corrections_share", "returns", "returns_share"), 0),
    **dict.fromkeys(("scale", "settings", "identity", "identity_share"), 0),
}
TINY_GUARDS = {"ROBIN_ETL_GUARDS": json.dumps(_TINY)}
CUSTOMER_KEYS = ("", "soak-customers", "other-customers")
CONTACT_KEY = base64.b64encode(b"soaked contacts".ljust(32)).decode()
CUSTOMERS = 15
ERASED, REDACTED = "deleted@site.invalid,0000000000", ","
HEADER = "order_number,email_address,phone_number,revenue,order_date,status"
PROFILE = 'extends = "robin"\n[status]\ncolumn = "status"\npending = ["hold"]\ncancelled = ["void"]\n'
QUIET = 0.1  # seconds
STOPPED = 1
DONE = (0, 3)  # 3: there is something to look at

_processes = multiprocessing.get_context("forkserver")


@dataclass
class Order:
    """An order as the shop has it now; `contact` is the cells of its address and its number."""

    contact: str
    revenue: int
    placed: str
    status: str


def write_exports(folder: Path, seed: int, absent: str = "") -> set[str]:
    """Five days of orders that appear, repeat, shrink, grow, arrive late, change hands, wait, are
    cancelled and revived, and lose their customers; the numbers of those that end cancelled.

    The first new order of a day comes without a contact. The `absent` day has no export.
    """
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    orders: dict[str, Order] = {}
    cancelled: set[str] = set()
    for at, day in enumerate(DAYS):
        changed = rng.sample(sorted(orders), k=min(len(orders), 12))
        for number in changed:
            _change(orders[number], rng)
        erased = _erase(orders, rng) if at > 1 else []
        new = [f"{at}{n:03}" for n in range(25)]
        orders |= {number: _place(rng) for number in new}
        contacts = {number: orders[number].contact for number in [*changed, *new]}
        contacts |= dict.fromkeys(erased, ERASED) | dict.fromkeys([new[0], *changed[:3]], REDACTED)
        rows = []
        if day == absent:
            continue
        for number, contact in contacts.items():
            order = orders[number]
            rows.append(f"{number},{contact},{order.revenue},{order.placed},{order.status}")
            if order.status != "hold":
                (cancelled.add if order.status == "void" else cancelled.discard)(number)
        rng.shuffle(rows)
        (folder / f"orders_{day}.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return cancelled


def _place(rng: random.Random) -> Order:
    placed = f"2026-02-{rng.randrange(1, 28):02}T10:00:{rng.randrange(60):02}Z"
    status = rng.choice([*["paid"] * 8, "hold", "void"])
    return Order(_name_customer(rng), rng.choice([5, 10, 20]), placed, status)


def _change(order: Order, rng: random.Random) -> None:
    order.revenue = rng.choice([0, 5, 10, 20, 40])
    order.status = rng.choice([*["paid"] * 6, "hold", "void", "void"])
    if rng.random() < 0.2:
        order.contact = _name_customer(rng)


def _name_customer(rng: random.Random) -> str:
    """Address and number of somebody, or one of the two."""
    customer = rng.randrange(CUSTOMERS)
    email, phone = f"customer{customer}@x.nl", f"+316100000{customer:02}"
    return rng.choice([f"{email},{phone}", f"{email},", f"{email.upper()},{phone}", f",{phone}"])


def _erase(orders: Mapping[str, Order], rng: random.Random) -> list[str]:
    """The orders of somebody whom the shop erases."""
    email = f"customer{rng.randrange(CUSTOMERS)}@x.nl,"
    return [number for number, order in orders.items() if order.contact.lower().startswith(email)]


def correct_export(folders: list[Path], rng: random.Random) -> None:
    """Correct some amounts in the last day's export, in each of these folders."""
    name = f"orders_{DAYS[-1]}.csv"
    header, *lines = (folders[0] / name).read_text().splitlines()
    for at in rng.sample(range(len(lines)), k=4):
        number, email, phone, _, *others = lines[at].split(",")
        lines[at] = ",".join([number, email, phone, f"{rng.choice([1, 7, 15, 30])}", *others])
    for folder in folders:
        (folder / name).write_text("\n".join([header, *lines]) + "\n")


def command(environment: Mapping[str, str], arguments: list[str]) -> None:
    """The real command, in a process of its own."""
    os.environ.update(environment)
    sys.argv = ["robin-etl", *arguments]
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    from robin_etl.cli.main import main

    main()


@dataclass
class Shop:
    """A shop's settings, the ROBIN that they name, and the days to tell it: as a range, or by a catch-up
    where that `is_catching_up`.

    `mistakes`: by name, settings of other shops, of which one names the ROBIN `elsewhere`. `folders`:
    the exports that may be corrected between two starts. `may_lose`: whether the ledger may be lost.
    """

    environment: Mapping[str, str]
    robin: Robin
    mistakes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    elsewhere: Robin | None = None
    days: list[str] = field(default_factory=lambda: DAYS)
    folders: list[Path] = field(default_factory=list)
    may_lose: bool = False
    backup: dict[str, Any] | None = None
    is_catching_up: bool = False

    @property
    def ledger(self) -> str:
        return self.environment["ROBIN_ETL_LEDGER"]

    @property
    def journals(self) -> UPath:
        return UPath(self.environment["ROBIN_ETL_RUNS"]) / "journals"

    def start(self, settings: Mapping[str, str], allow: tuple[str, ...] = ()) -> Any:
        """A process of the real command, under way, with these settings instead of the shop's."""
        allowed = [word for guard in allow for word in ("--allow", guard)]
        days = ["backfill", "--from", self.days[0], "--to", self.days[-1]]
        if self.is_catching_up:
            days = ["catch-up", "--until", self.days[-1]]
        return self.start_command([*days, *allowed, "--json"], settings)

    def start_command(
        self, arguments: list[str], settings: Mapping[str, str] = MappingProxyType({})
    ) -> Any:
        environment = {**self.environment, **settings}
        process = _processes.Process(target=command, args=(environment, arguments))
        process.start()
        return process

    def lose_ledger(self, rng: random.Random) -> str:
        """Lose the ledger and get it back, by one way or another; by which."""
        if self.backup is not None and rng.random() < 0.5:
            return self.put_backup_back()
        with Ledger.open(self.ledger) as ledger:
            name = ledger.id
        if not Journals(self.journals, name).find_newest():
            return "new"
        empty_ledger(self.ledger)
        rebuild(self.ledger, self.journals, self.make_binding(), name=name)
        self.backup = None
        return "rebuilt"

    def put_backup_back(self) -> str:
        """Put an older copy back: it has to post nothing until it is brought up to its journals."""
        assert self.backup is not None
        put_tables(self.ledger, self.backup)
        with Ledger.open(self.ledger) as ledger:
            newest = Journals(self.journals, ledger.id).find_newest()
            is_stale = bool(newest and newest.after > ledger.states.revision() + 1)
        if is_stale:
            before = self.count_requests()
            process = self.start({})
            process.join()
            assert process.exitcode == STOPPED, f"an older ledger: {process.exitcode}"
            assert self.robin.faults.requests == before, "an older ledger has posted"
        bring_up(self.ledger, self.journals, self.make_binding())
        self.backup = None
        return "restored"

    def take_baseline_back(self) -> str:
        """Acknowledge the last day by mistake, and take that back."""
        days = ["--from", DAYS[-1], "--to", DAYS[-1]]
        process = self.start_command(["baseline", *days])
        process.join()
        if process.exitcode not in DONE:
            return "stopped"  # ROBIN was away as it was to settle a doubt
        process = self.start_command(["ledger", "retract", *days, "--yes"])
        process.join()
        assert process.exitcode == 0, f"retract: {process.exitcode}"
        return "retracted"

    def make_binding(self) -> Binding:
        names = ("base_url", "api_key", "api_secret", "customer_key")
        return Binding.of(
            Settings.read(**{name: self.environment[f"ROBIN_ETL_{name.upper()}"] for name in names})
        )

    def has_doubt(self) -> bool:
        with Ledger.open(self.ledger) as ledger:
            return ledger.doubts.has_open()

    def trip_guards(self) -> tuple[str, ...]:
        """Start with guards that trip at anything; which of them stopped the run.

        Raises `AssertionError` where it has posted all the same.
        """
        before, plans = self.count_requests(), set(self.find_plans())
        is_settling = self.has_doubt()
        process = self.start(TINY_GUARDS)
        process.join()
        tripped = find_stopping(self.find_plans() - plans)
        if tripped:
            assert process.exitcode == STOPPED, f"{tripped} tripped: {process.exitcode}"
            has_posted = self.robin.faults.requests > before
            assert is_settling or not has_posted, f"{tripped} tripped, and it has posted"
        return tripped

    def mistake_setting(self, rng: random.Random) -> None:
        """Start with a setting of another shop's; raises `AssertionError` where that is not refused."""
        before = self.count_requests()
        name = rng.choice(sorted(self.mistakes))
        process = self.start(self.mistakes[name])
        process.join()
        assert process.exitcode == STOPPED, f"with {name}: {process.exitcode}"
        assert self.robin.faults.requests == before, f"with {name} it has posted"
        assert self.elsewhere is None or not self.elsewhere.faults.requests, f"{name}: posted elsewhere"

    def run_in_vain(self) -> None:
        """Start once more; raises `AssertionError` where it posts anything though all is told."""
        before = self.count_requests()
        process = self.start({})
        process.join()
        assert process.exitcode in DONE, f"a run in vain: {process.exitcode}"
        assert self.robin.faults.requests == before, "what was told is told again"

    def has_binding(self) -> bool:
        """Whether the ledger belongs to a ROBIN, which it does as soon as it holds an order."""
        with Ledger.open(self.ledger) as ledger:
            return ledger.states.has_any()

    def count_requests(self) -> int:
        """The requests that ROBIN has had, once it has read all that a killed process has sent."""
        requests = -1
        while requests != self.robin.faults.requests:
            requests = self.robin.faults.requests
            time.sleep(QUIET)
        return requests

    def find_plans(self) -> set[Path]:
        return set(Path(self.environment["ROBIN_ETL_RUNS"]).glob("*/plan.json"))


def find_stopping(plans: set[Path]) -> tuple[str, ...]:
    """The guards that these plans were stopped by."""
    guards = [guard for path in plans for guard in json.loads(path.read_text())["guards"]]
    return tuple(guard["name"] for guard in guards if not guard["is_allowed"])


def until_done(
    shop: Shop, rng: random.Random, *, killing: float, starts: int | None = None
) -> Counter[str]:
    """Start the command until it ends well, or so many times; how often it was started, killed, and
    stopped itself, was stopped by guards, and was refused for a mistaken setting.

    Some kills come after a time, whatever the command is at; most while it posts.
    """
    seen: Counter[str] = Counter()
    robin = shop.robin
    while seen["started"] < (starts or MOST_STARTS):
        seen["started"] += 1
        befall(shop, rng, seen)
        allow: tuple[str, ...] = ()
        if shop.mistakes and rng.random() < GUARDED:
            allow = shop.trip_guards()
            seen["guarded"] += bool(allow)
        plans = shop.find_plans()
        process = shop.start(TINY_GUARDS if allow else {}, allow)
        if rng.random() < killing:
            if rng.random() < 0.2:
                process.join(rng.uniform(0.05, 1.5))
            else:
                last = robin.faults.requests + rng.randrange(1, 20)
                while process.is_alive() and robin.faults.requests < last:
                    process.join(0.001)
                process.join(rng.uniform(0, 0.01))
            if process.is_alive():
                os.kill(process.pid or 0, signal.SIGKILL)
                seen["killed"] += 1
        process.join()
        stopping = find_stopping(shop.find_plans() - plans)
        assert not stopping, f"{stopping} stopped a run that allows {allow}"
        if process.exitcode in DONE:
            return seen
        seen["stopped"] += process.exitcode == STOPPED
        if process.exitcode not in (STOPPED, -signal.SIGKILL):
            raise AssertionError(f"the command ended with {process.exitcode}")
    if starts is None:
        raise AssertionError(f"not done after {MOST_STARTS} starts")
    return seen


def upload(export: Path, to: Path, rng: random.Random, seen: Counter[str]) -> None:
    """The export of a day as it is when its time has come: whole, late, half written or wrong."""
    text = export.read_text() if export.exists() else ""
    lines = text.splitlines(keepends=True)
    first = rng.choice(["whole", "late", "cut", "wrong"]) if text else "absent"
    seen[first] += 1
    match first:
        case "whole":
            to.write_text(text)
        case "cut":
            to.write_text(text[: rng.randrange(len(HEADER) + 1, len(text))])
        case "wrong":
            cells = (line.split(",") for line in lines[1:])
            wrong = (",".join([*own[:3], "999", *own[4:]]) for own in cells)
            to.write_text("".join([lines[0], *wrong]))


def live_through(shop: Shop, rng: random.Random, exports: Path, uploaded: Path) -> Counter[str]:
    """Each day its export comes, the one before is whole by then, and a catch-up is started, or none;
    after the last day until it is done. What befell the days.
    """
    seen: Counter[str] = Counter()
    there = {"ROBIN_ETL_EXPORTS": str(uploaded)}
    # A ledger that is made anew knows no days, and what is sealed in it is in no journal.
    options: dict[str, Any] = {"folders": [], "may_lose": False, "is_catching_up": True}
    shop = replace(shop, environment={**shop.environment, **there}, **options)
    uploaded.mkdir()

    def mend(day: str) -> None:
        export = exports / f"orders_{day}.csv"
        if export.exists():
            shutil.copy(export, uploaded)

    mend(shop.days[0])
    seen += until_done(replace(shop, days=shop.days[:1]), rng, killing=0)
    for before, day in itertools.pairwise(shop.days):
        mend(before)
        upload(exports / f"orders_{day}.csv", uploaded / f"orders_{day}.csv", rng, seen)
        if rng.random() < DOWN:
            seen["down"] += 1
            continue
        today = replace(shop, days=shop.days[: shop.days.index(day) + 1])
        seen += until_done(today, rng, killing=KILLED, starts=1)
    mend(shop.days[-1])
    return seen + until_done(shop, rng, killing=KILLED)


def befall(shop: Shop, rng: random.Random, seen: Counter[str]) -> None:
    """What may befall a shop between two starts."""
    if shop.folders and rng.random() < CORRECTED:
        correct_export(shop.folders, rng)
        seen["corrected"] += 1
    # A catch-up that has nothing to do looks at no setting.
    is_looking = bool(shop.mistakes) and not shop.is_catching_up
    if is_looking and rng.random() < MISTAKEN and shop.has_binding():
        shop.mistake_setting(rng)
        seen["mistaken"] += 1
    if not shop.may_lose:
        return
    shop.count_requests()  # until which a killed process may be heard of
    if rng.random() < RETRACTED and shop.days[-1] == DAYS[-1] and shop.has_binding():
        seen[shop.take_baseline_back()] += 1
    if rng.random() < LOST:
        seen[shop.lose_ledger(rng)] += 1
    if shop.backup is None:
        shop.backup = copy_tables(shop.ledger)


def copy_tables(location: str) -> dict[str, Any]:
    """All that a ledger holds, as a backup has it."""
    with Ledger.open(location) as ledger, ledger.engine.read() as connection:
        return {
            table.name: [dict(row._mapping) for row in connection.execute(sa.select(table))]
            for table in schema.METADATA.sorted_tables
        }


def put_tables(location: str, tables: Mapping[str, Any]) -> None:
    """Put a backup in a ledger's place."""
    with Ledger.open(location) as ledger, ledger.engine.write() as connection:
        for table in schema.METADATA.sorted_tables:
            connection.execute(table.delete())
            if tables[table.name]:
                connection.execute(table.insert(), tables[table.name])


def empty_ledger(location: str) -> None:
    """Lose a ledger: what is left is a new one."""
    with Ledger.open(":memory:") as new, new.engine.read() as connection:
        (meta,) = (dict(row._mapping) for row in connection.execute(sa.select(schema.META)))
    put_tables(location, {table.name: [] for table in schema.METADATA.sorted_tables} | {"meta": [meta]})


def reported(runs: Path, name: str) -> set[str]:
    """Every order that any run's summary names as in doubt, say."""
    summaries = [json.loads(path.read_text()) for path in runs.glob("*/summary.json")]
    return {order for summary in summaries for order in summary[f"orders_{name}"]}


def delete_exports(folder: Path, days: list[str]) -> int:
    """Delete the exports of these days; how many."""
    for day in days:
        (folder / f"orders_{day}.csv").unlink()
    return len(days)


def leave_out(cancelled: set[str], robin: Robin) -> dict[str, Any]:
    """The orders that ROBIN holds, but for the cancelled ones, which have to be worth 0."""
    worth = {number: robin.orders[number]["revenue"] for number in cancelled & robin.orders.keys()}
    assert not any(worth.values()), f"cancelled and worth something: {worth}"
    return {number: order for number, order in robin.orders.items() if number not in cancelled}


def tell_undisturbed(
    environment: Mapping[str, str], folder: Path, exports: Path, rng: random.Random, *, by_day: bool
) -> Robin:
    """A ROBIN that was told of these exports by a run that nothing befell, or one for each day."""
    calm = Robin(KEY, SECRET, limits=())
    with Sandbox(calm) as sandbox:
        there = {
            "ROBIN_ETL_BASE_URL": sandbox.url,
            "ROBIN_ETL_EXPORTS": str(exports),
            "ROBIN_ETL_LEDGER": str(folder / "calm.db"),
            "ROBIN_ETL_RUNS": str(folder / "calm"),
            "ROBIN_ETL_TIMEOUT": "30",
        }
        days = [day for day in DAYS if (exports / f"orders_{day}.csv").exists()]
        for own in [[day] for day in days] if by_day else [DAYS]:
            until_done(Shop({**environment, **there}, calm, days=own), rng, killing=0)
    assert calm.read_state()["complaints"] == []
    return calm


def compare(stormy: Robin, calm: Robin, cancelled: set[str], runs: Path, name: str) -> set[str]:
    """The orders that were reported in doubt; raises `AssertionError` where a ROBIN is not right."""
    held = stormy.read_state()
    wanted = leave_out(cancelled, calm)
    doubted = reported(runs, "in_doubt")
    undecided = reported(runs, "undecided")
    assert not undecided, f"{name}: undecided though all files are there: {sorted(undecided)}"
    assert set(wanted) == set(leave_out(cancelled, stormy)), f"{name}: orders lost"
    assert wanted == leave_out(cancelled, stormy), f"{name}: another end state"
    unreported = set(held["repeats"]) - doubted
    assert not unreported, f"{name}: repeats that were not reported: {sorted(unreported)}"
    others = [said for said in held["complaints"] if "told twice" not in said]
    assert not others, f"{name}: {others[:3]}"
    return doubted


def one(seed: int, folder: Path, ledger: str) -> Counter[str]:
    """One run with its faults and kills; raises `AssertionError` where ROBIN is not right then."""
    rng = random.Random(seed)
    exports = folder / "exports"
    is_catching_up = seed % 4 in (1, 2)
    cancelled = write_exports(exports, seed % 10, rng.choice(DAYS[1:-1]) if is_catching_up else "")
    profile = folder / "shop.toml"
    profile.write_text(PROFILE)
    has_contact_key = seed % 2 == 1 or is_catching_up  # which else lacks the addresses of days before
    is_deleting = seed % 6 in (1, 5) and not is_catching_up
    customer_key, *other_keys = rng.sample(CUSTOMER_KEYS, k=len(CUSTOMER_KEYS))
    environment = {
        "ROBIN_ETL_CUSTOMER_KEY": customer_key,
        "ROBIN_ETL_API_KEY": KEY,
        "ROBIN_ETL_API_SECRET": SECRET,
        "ROBIN_ETL_EXPORTS": str(exports),
        "ROBIN_ETL_PROFILE": str(profile),
        "ROBIN_ETL_CHUNK_SIZE": "9",
        "ROBIN_ETL_CONCURRENCY": "3",
        "ROBIN_ETL_RATE_LIMITS": "100000/s",
        "ROBIN_ETL_MAX_ATTEMPTS": "4",
        "ROBIN_ETL_BACKOFF": "0.01",
        "ROBIN_ETL_TIMEOUT": "0.4",
    }
    last_exports = folder / "last-exports"
    shutil.copytree(exports, last_exports)
    stormy = Robin(KEY, SECRET, limits=(), faults=Faults(share=FAULTED, seed=seed, retry_after=0))
    elsewhere = Robin(KEY, SECRET, limits=())
    with Sandbox(stormy) as sandbox, Sandbox(elsewhere) as another:
        there = {
            "ROBIN_ETL_BASE_URL": sandbox.url,
            "ROBIN_ETL_LEDGER": ledger,
            "ROBIN_ETL_RUNS": str(folder / "stormy"),
            "ROBIN_ETL_SHARDS": f"{1 + seed % 4}",
            "ROBIN_ETL_CONTACT_KEY": CONTACT_KEY if has_contact_key else "",
        }
        mistakes = {
            "another address": {"ROBIN_ETL_BASE_URL": another.url},
            "another API key": {"ROBIN_ETL_API_KEY": "another"},
            **{f"the customer key {key!r}": {"ROBIN_ETL_CUSTOMER_KEY": key} for key in other_keys},
        }
        shop = Shop({**environment, **there}, stormy, mistakes, elsewhere)
        shop.folders = [exports, last_exports]
        shop.may_lose = not (
            is_deleting or is_catching_up
        )  # what is sealed in a ledger is in no journal
        seen: Counter[str] = Counter()
        if is_deleting:
            seen += until_done(replace(shop, days=DAYS[:3]), rng, killing=KILLED)
            seen["deleted"] = delete_exports(exports, DAYS[:3])
            shop = replace(shop, days=DAYS[3:])
        if is_catching_up:
            seen += live_through(shop, rng, exports, folder / "uploaded")
        else:
            seen += until_done(shop, rng, killing=KILLED)
        shop.mistake_setting(rng)
        seen["mistaken"] += 1
        if shop.may_lose and rng.random() < LOST:
            seen[shop.lose_ledger(rng)] += 1
            seen["lost at the end"] += 1
            shop.run_in_vain()
        with Ledger.open(ledger) as opened:
            verification = verify(opened, shop.journals)
        assert verification.is_right, f"seed {seed}: {list(verification.describe())}"
    calm = tell_undisturbed(environment, folder, last_exports, rng, by_day=is_catching_up)
    doubted = compare(stormy, calm, cancelled, folder / "stormy", f"seed {seed}")
    seen.update(cancelled=len(cancelled & stormy.orders.keys()))
    seen.update(untold=len(cancelled - stormy.orders.keys()), keyed=has_contact_key)
    seen.update(requests=stormy.faults.requests, faults=len(stormy.faults.played))
    seen.update(repeats=len(stormy.repeats), doubted=len(doubted))
    return seen


def soak(runs: int, seed: int, ledgers: Callable[[Path], str], base: Path) -> Counter[str]:
    """So many runs, and what befell them."""
    _processes.set_forkserver_preload(["pytest", "tests.soak", "tests.prepared"])  # the last one freezes
    total: Counter[str] = Counter()
    for at in range(runs):
        folder = base / f"run-{at}"
        total += one(seed + at, folder, ledgers(folder))
        total["runs"] += 1
        shutil.rmtree(folder)
    return total


def in_file(folder: Path) -> str:
    """A new file for each run."""
    return str(folder / "ledger.db")


def postgresql_ledgers(url: str) -> Callable[[Path], str]:
    """A new database for each run."""
    import sqlalchemy as sa

    server = sa.make_url(url).set(drivername="postgresql+psycopg")

    def ledger(_: Path) -> str:
        name = f"soak_{uuid4().hex}"
        engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"create database {name}"))
        engine.dispose()
        there = server.set(database=name, drivername="postgresql")
        return there.render_as_string(hide_password=False)

    return ledger


def main() -> None:
    """Soak, and print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--ledger", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        if given.ledger == "sqlite":
            figures = soak(given.runs, given.seed, in_file, base)
        else:
            with serve_postgresql(base) as url:
                ledgers = postgresql_ledgers(url)
                figures = soak(given.runs, given.seed, ledgers, base)
    told = ", ".join(f"{count:,} {name}" for name, count in sorted(figures.items()))
    print(f"{given.ledger}: {told}; orders lost: 0; unreported repeats: 0", end="")
    print(f" ({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
