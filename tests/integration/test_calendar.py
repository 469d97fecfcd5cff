"""Whatever befalls a shop's days, the last catch-up leaves ROBIN with what the final files say.

Random calendars: days on which nothing runs; exports that come late or never, are cut off, lack a part,
are wrong at first, or are yesterday's once more; runs that die, and a ROBIN that loses answers, fails
and refuses; manual runs and backfills between the scheduled ones.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from robin_etl import pipeline
from robin_etl.exceptions import RobinEtlError
from robin_etl.ledger import Ledger
from robin_etl.observer import Event, Progressed
from robin_etl.sandbox.faults import Fault, Faults
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.calendar import draw_calendar, find_days_to_retry
from robin_etl.stages.catch_up import keep_findings, plan_catch_up
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run
from tests.conftest import KEY, SECRET
from tests.integration.test_model import PROFILE, Row, Shop, expect

DAYS = tuple(f"2026-03-0{day}" for day in range(1, 9))
CONTACT_KEY = "Y29udGFjdHMgb2YgcmFuZG9tIGNhbGVuZGFycyAuLi4="

# What an export is like when its day is run. But for the first and the last two it is mended later.
WHOLE, ABSENT, STUCK, LATE, EMPTY, CUT_AT_LINE, CUT_WITHIN_LINE, PART_LACKING, WRONG, REPEATED = (
    *("whole", "absent", "stuck", "late", "empty", "cut at a line", "cut within a line"),
    *("a part is lacking", "wrong", "repeated"),
)
FINAL = (WHOLE, ABSENT, STUCK)
MENDED = (LATE, EMPTY, CUT_AT_LINE, CUT_WITHIN_LINE, PART_LACKING, WRONG, REPEATED)

# Faults that take no time.
QUICK = (
    *(Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.RESET_BEFORE, Fault.RESET_AFTER),
    *(Fault.EMPTY, Fault.BUSY_SECONDS, Fault.NOT_JSON, Fault.REDIRECT, Fault.SPEAKS_OF_ERRORS),
)


@dataclass(frozen=True)
class Day:
    """What befalls a day: how its export is at first, in how many parts, and how many days later it is
    mended; how ROBIN fares; after how many events its run dies; and what a person runs by hand.
    """

    export: str
    parts: int
    mended_after: int
    is_touched: bool
    is_down: bool
    faults: float
    refused: str
    dies_after: int | None
    by_hand: tuple[str, int, int] | None


days = st.builds(
    Day,
    export=st.sampled_from([WHOLE, WHOLE, *FINAL, *MENDED]),
    parts=st.sampled_from([1, 1, 2, 3]),
    mended_after=st.integers(1, 3),
    is_touched=st.booleans(),
    is_down=st.sampled_from([False, False, True]),
    faults=st.sampled_from([0, 0, 0.3]),
    refused=st.sampled_from(["", "", "[12]$"]),
    dies_after=st.none() | st.integers(1, 30),
    by_hand=st.none()
    | st.tuples(st.sampled_from(["run", "backfill", "final"]), st.integers(0, 7), st.integers(0, 7)),
)
ordinary = Day(WHOLE, 1, 1, False, False, 0, "", None, None)  # noqa: FBT003 (as the fields above)
calendars = st.lists(days, min_size=4, max_size=7).map(lambda others: [ordinary, *others])


class Died(BaseException):
    """A process that ends on the spot."""


@dataclass
class Dying:
    """An observer that ends its process at the event of that number; at none that the ledger's writer
    tells of, whom nothing would end but a real death.
    """

    left: int | None

    def __call__(self, event: Event) -> None:
        if self.left is not None and not isinstance(event, Progressed):
            self.left -= 1
            if self.left == 0:
                raise Died


@dataclass
class RandomShop(Shop):
    """A shop that has some of yesterday's orders in today's export too, or writes yesterday's again."""

    calendar: list[Day] = field(default_factory=list)

    def live(self) -> None:
        before: list[Row] = []
        for at, (day, plan) in enumerate(zip(DAYS, self.calendar, strict=False)):
            for number in self.new_numbers(at):
                self.orders[number] = self.place(day)
            changed = self.rng.sample(sorted(self.orders), k=min(len(self.orders), 6))
            for number in changed:
                self.change(self.orders[number])
            # What an export has said wrongly its mended one says again.
            again = [row["order_number"] for row in before] if plan.export == REPEATED else []
            rows = [
                self.write(number) for number in dict.fromkeys([*changed, *self.new_numbers(at), *again])
            ]
            self.rng.shuffle(rows)
            before = self.days[day] = before if plan.export == STUCK else rows

    @property
    def is_refused(self) -> bool:
        """Whether ROBIN refuses orders on any day. Then every row says all there is to say: a refused
        order that a later day's row brings through has nothing of what only the refused one said.
        """
        return any(plan.refused for plan in self.calendar)

    def write(self, number: str) -> Row:
        return (
            {"order_number": number, **self.orders[number]} if self.is_refused else super().write(number)
        )

    def change(self, order: Row) -> None:
        contact = {name: order[name] for name in ("email_address", "phone_number")}
        super().change(order)
        if self.is_refused:
            order |= contact

    def spoil(self, row: Row) -> Row:
        """The row with what a later one is sure to say otherwise: a blank cell would say nothing."""
        spoilt = {**row, "revenue": self.rng.choice(["1", "999"])}
        if row["status"] != "hold" and not row["profit"]:
            spoilt["status"] = self.rng.choice(["paid", "void", "hold"])
        return spoilt


@dataclass
class Folder:
    """The files of the shop's exports, each day's in parts: as they are at first, and mended."""

    path: Path
    shop: RandomShop

    def write_first(self, at: int) -> None:
        plan, rng = self.shop.calendar[at], self.shop.rng
        rows, before = self.shop.days[DAYS[at]], self.shop.days.get(DAYS[at - 1], [])
        texts = self.format(at, rows)
        match plan.export:
            case "absent" | "late":
                return
            case "empty":
                texts = [""]
            case "stuck" | "repeated":
                texts = self.format(at - 1, before)
            case "a part is lacking":
                texts.pop(rng.randrange(len(texts)))
            case "wrong":
                texts = self.format(at, [self.shop.spoil(row) for row in rows])
            case "cut at a line":
                lines = texts[-1].splitlines(keepends=True)
                texts[-1] = "".join(lines[: rng.randrange(1, len(lines))])
            case "cut within a line":
                texts[-1] = texts[-1][: rng.randrange(1, len(texts[-1]))]
        self.write(at, texts)

    def mend(self, at: int) -> None:
        plan = self.shop.calendar[at]
        if plan.export in MENDED:
            self.write(at, self.format(at, self.shop.days[DAYS[at]]))
        elif plan.is_touched:
            for path in self.path.glob(f"orders_{DAYS[at]}*"):
                os.utime(path)

    def write(self, at: int, texts: list[str]) -> None:
        for old in self.path.glob(f"orders_{DAYS[at]}*"):
            old.unlink()
        for number, text in enumerate(texts):
            (self.path / f"orders_{DAYS[at]}_{number}.csv").write_bytes(text.encode())

    def format(self, at: int, rows: list[Row]) -> list[str]:
        """The texts of a day's files."""
        size = -(-len(rows) // self.shop.calendar[at].parts)
        return [_format(rows[start : start + size]) for start in range(0, len(rows), size)]


def _format(rows: list[Row]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@dataclass
class Machine:
    """What runs, scheduled or by hand, on a day of the calendar."""

    settings: Settings
    robin: Robin

    def catch_up(self, until: str, observer: Dying) -> None:
        """What a scheduled run does, or the command."""
        with Ledger.open(self.settings.ledger) as ledger:
            planned = plan_catch_up(self.settings, ledger, date.fromisoformat(until))
            keep_findings(ledger, planned)
        if not planned.days:
            return
        self.run(planned.make_scope("catch-up"), observer)

    def retry(self) -> None:
        """The command."""
        with Ledger.open(self.settings.ledger) as ledger:
            found = tuple(one.day for one in find_days_to_retry(ledger))
        if found:
            self.run(Scope("retry", found[0], found[-1], days=found))

    def run_by_hand(self, command: str, first: str, last: str, observer: Dying) -> None:
        first_day, last_day = date.fromisoformat(first), date.fromisoformat(last)
        self.run(
            Scope(command, first_day, last_day, is_history=True, final=command == "final"), observer
        )

    def run(self, scope: Scope, observer: Dying | None = None) -> None:
        started = Run.start(self.settings.runs, scope)
        pipeline.run_all(self.settings, started, observer or Dying(None))

    def find_named(self, name: str) -> set[str]:
        """The orders that any run's summary has under this name."""
        summaries = [
            json.loads(path.read_text()) for path in Path(self.settings.runs).glob("*/summary.json")
        ]
        return {order for summary in summaries for order in summary[name]}


def live_through(calendar: list[Day], machine: Machine, folder: Folder) -> None:
    """Day by day what befalls the shop; in the end every export is as it stays."""
    last = len(calendar) - 1
    for at, plan in enumerate(calendar):
        for earlier, one in enumerate(calendar[:at]):
            if earlier + one.mended_after == at:
                folder.mend(earlier)
        folder.write_first(at)
        machine.robin.faults = Faults(
            share=plan.faults, kinds=QUICK, seed=at, retry_after=0, refused=plan.refused or None
        )
        observer = Dying(plan.dies_after)
        if plan.by_hand:
            command, *ends = plan.by_hand
            first, until = sorted(min(end, at) for end in ends)
            if command == "run":
                first = until
            with suppress(RobinEtlError, Died):
                machine.run_by_hand(command, DAYS[first], DAYS[until], observer)
        if not plan.is_down:
            with suppress(RobinEtlError, Died):
                machine.catch_up(DAYS[at], observer)
    for at, plan in enumerate(calendar):
        if at + plan.mended_after > last:
            folder.mend(at)
    machine.robin.faults = Faults()


def check(calendar: list[Day], machine: Machine, shop: RandomShop) -> None:
    """ROBIN holds what the final files say, was told nothing twice without doubt, and no day is left."""
    absent = {day for day, plan in zip(DAYS, calendar, strict=False) if plan.export == ABSENT}
    settings, state = machine.settings, machine.robin.read_state()
    wanted, cancelled = expect({day: rows for day, rows in shop.days.items() if day not in absent})
    held = state["orders"]
    assert {number: order for number, order in held.items() if number not in cancelled} == wanted
    assert all(held[number]["revenue"] == 0 for number in cancelled & held.keys())
    assert set(state["repeats"]) <= machine.find_named("orders_in_doubt")
    undecided = machine.find_named("orders_undecided")
    complaints = [
        said
        for said in state["complaints"]
        if "told twice" not in said and said.split()[1] not in undecided
    ]
    assert complaints == []
    with Ledger.open(settings.ledger, read_only=True) as ledger:
        until = date.fromisoformat(DAYS[len(calendar) - 1])
        drawn = draw_calendar(settings, ledger, until, days=31, is_expected=True)
    assert drawn.find("outstanding") == ()
    assert {f"{one.day}" for one in drawn.find("missing")} == absent


def make_machine(folder: Path, url: str, robin: Robin, **more: Any) -> Machine:
    profile_path = folder / "shop.toml"
    profile_path.write_text(PROFILE)
    settings = Settings.read(
        base_url=url,
        api_key=KEY,
        api_secret=SECRET,
        exports=f"{folder}/exports/orders_{{date}}_*.csv",
        profile=str(profile_path),
        ledger=str(folder / "ledger.db"),
        runs=str(folder / "runs"),
        contact_key=CONTACT_KEY,
        rate_limits="100000/s",
        max_attempts=2,
        backoff=0.001,
        chunk_size=4,
        concurrency=2,
        **more,
    )
    return Machine(settings, robin)


def check_a_calendar(calendar: list[Day], seed: int) -> None:
    robin = Robin(KEY, SECRET, limits=())
    shop = RandomShop(random.Random(seed), calendar=calendar)
    shop.live()
    with tempfile.TemporaryDirectory() as temporary, Sandbox(robin) as sandbox:
        path = Path(temporary)
        (path / "exports").mkdir()
        machine = make_machine(path, sandbox.url, robin)
        live_through(calendar, machine, Folder(path / "exports", shop))
        machine.catch_up(DAYS[len(calendar) - 1], Dying(None))
        machine.retry()
        check(calendar, machine, shop)


@given(calendar=calendars, seed=st.integers(0, 99))
@profile(
    max_examples=profile().max_examples // 2,  # each is a dozen runs
    suppress_health_check=[HealthCheck.too_slow],
)
def test_the_last_catch_up_leaves_robin_with_what_the_final_files_say(
    calendar: list[Day], seed: int
) -> None:
    check_a_calendar(calendar, seed)
