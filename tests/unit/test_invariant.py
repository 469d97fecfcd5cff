"""Section 4's invariant: what ROBIN holds depends only on the set of exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from robin_etl.core import columns, customers, history, partition, payload
from robin_etl.core.reconcile import Reconciliation, reconcile

Row = dict[str, Any]
Days = dict[str, list[Row]]
Runs = list[tuple[list[str], int | None]]  # days, and after how many changes it dies

DAYS = ["2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04"]
HELD = ["email", "phone", "revenue", "profit", "order_date", "webstore_url", "is_first_order"]

NAMED = [("a@x.nl", None), ("a@x.nl", None), ("b@x.nl", None), ("a@x.nl", "+311"), (None, "+311")]
ERASED = (None, None)  # or redacted: the order's customer stays


def exports_of_one(contacts: list[tuple[str | None, str | None]]) -> st.SearchStrategy[Days]:
    """The exports of a little shop whose rows name these contacts."""
    rows = st.fixed_dictionaries(
        {
            "order_number": st.sampled_from(["01", "1", "2"]),
            "contact": st.sampled_from(contacts),
            "revenue": st.sampled_from([0, 100]),
            "profit": st.sampled_from([None, 50]),
            "order_date": st.sampled_from([f"2026-02-0{day}T10:00:00Z" for day in (1, 2)]),
            "webstore_url": st.sampled_from([None, "https://a"]),
            "is_cancelled": st.sampled_from([False, False, True]),
        }
    ).map(lambda row: row | {"revenue": 0} if row["is_cancelled"] else row)
    of_a_day = st.lists(rows, max_size=5, unique_by=lambda row: row["order_number"])
    return st.fixed_dictionaries(dict.fromkeys(DAYS, of_a_day))


def side_by_side(shops: list[Days]) -> Days:
    """The exports of several little shops as those of one: their orders and customers are apart.

    A run over four of them costs hardly more than one over one.
    """
    days: Days = {day: [] for day in DAYS}
    for at, shop in enumerate(shops):
        for day, rows in shop.items():
            for row in rows:
                number = f"{row['order_number']}-{at}"
                contact = tuple(one and f"{one}{at}" for one in row["contact"])
                days[day].append({**row, "order_number": number, "contact": contact})
    return days


exports = st.one_of(
    *(
        st.lists(exports_of_one(contacts), min_size=1, max_size=4).map(side_by_side)
        for contacts in (NAMED, [*NAMED, ERASED])
    )
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """A dozen rows are through before threads for them have started: a quarter of the time here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "run_side_by_side", lambda *calls: [call() for call in calls])
        yield


@dataclass
class Robin:
    """What ROBIN and the ledger hold after whole and interrupted runs, each checked for itself."""

    ledger: dict[str, Row] = field(default_factory=dict)
    held: dict[str, Row] = field(default_factory=dict)
    set_aside: int = 0  # rows that named nobody, of orders of which nobody knew whose they are

    def run(
        self,
        exported: pd.DataFrame,
        *,
        stop_after: int | None = None,
        final: bool = False,
        partitions: int = 1,
    ) -> list[Reconciliation]:
        """Reconcile each partition with what is known before, then deliver all.

        `stop_after` so many changes the run dies.
        """
        exported = self.pass_gate(exported)
        results = [
            reconcile(rows, self.known(rows), final=final) for rows in self.split(exported, partitions)
        ]
        for result in results:
            self.acknowledge(records(result.confirmed))
        frames = [iter([result.changes]) for result in results if len(result.changes)]
        # What is not split is in order as it is.
        merged = payload.merge_partitions(frames) if partitions > 1 else [results[0].changes]
        changes = [change for frame in merged for change in records(frame)]
        counted = sum(
            result.unchanged + result.stale + result.superseded + result.untold for result in results
        )
        own = {*exported["order_number"]}
        assert counted + sum(change["order_number"] in own for change in changes) >= len(exported)
        for _wave, alike in groupby(changes[:stop_after], key=itemgetter("wave")):
            posted = list(alike)
            assert len({change["order_number"] for change in posted}) == len(posted)
            self.post(posted)
            self.acknowledge(posted)
        return results

    def pass_gate(self, exported: pd.DataFrame) -> pd.DataFrame:
        """Without the rows that name nobody, of orders of which nobody knows whose they are."""
        named = {number for number, order in self.ledger.items() if order["customer"]}
        has_contact = exported["email"].notna() | exported["phone"].notna()
        named |= {*exported["order_number"][has_contact]}
        passes = has_contact | exported["order_number"].isin(named)
        self.set_aside += int((~passes).sum())
        return exported[passes]

    def split(self, exported: pd.DataFrame, partitions: int) -> list[pd.DataFrame]:
        if partitions == 1:
            return [exported]
        asked = [self.ledger[n] for n in exported["order_number"].unique() if n in self.ledger]
        known = as_frame(asked, columns.LEDGER_DTYPES)
        numbers = partition.assign_partitions(
            partition.hash_keys(exported["order_number"]),
            partition.hash_keys(customers.identify_customers(exported)),
            (partition.hash_keys(known["order_number"]), partition.hash_keys(known["customer"])),
            partitions,
        )
        return [exported[numbers == number] for number in range(partitions)]

    def known(self, exported: pd.DataFrame) -> pd.DataFrame:
        """What a look-up gives: the orders, and of their customers the flagged and the earliest."""
        numbers = {*exported["order_number"]}
        asked = [row for number, row in self.ledger.items() if number in numbers]
        named = {*customers.identify_customers(exported).dropna(), *(row["customer"] for row in asked)}
        others = [
            row
            for number, row in self.ledger.items()
            if number not in numbers and row["customer"] in named and not row["is_cancelled"]
        ]
        flagged = [row for row in others if row["is_first_order"]]
        earliest: dict[object, Row] = {}
        for row in sorted(others, key=itemgetter("placed_at", "order_number")):
            if not row["is_first_order"]:
                earliest.setdefault(row["customer"], row)
        return as_frame([*asked, *flagged, *earliest.values()], columns.LEDGER_DTYPES)

    def post(self, changes: list[Row]) -> None:
        for change in changes:
            known = self.held.get(change["order_number"])
            if known is None:
                assert change["kind"] in columns.NEW_KINDS
                assert change["old_revenue"] is None
            else:
                assert change["kind"] not in columns.NEW_KINDS
                assert change["old_revenue"] == known["revenue"]
                assert change["old_profit"] == known["profit"]
            new = {name: change[name] for name in HELD}
            assert new != known, "a post that says nothing new"
            self.held[change["order_number"]] = new

    def acknowledge(self, changes: list[Row]) -> None:
        for change in changes:
            row = {name: change[name] for name in columns.LEDGER_DTYPES}
            self.ledger[change["order_number"]] = row


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows, null as None."""
    values = zip(*(columns.to_list(frame[name]) for name in frame), strict=True)
    return [dict(zip(frame.columns, row, strict=True)) for row in values]


def as_frame(rows: list[Row], dtypes: Mapping[str, str]) -> pd.DataFrame:
    # As columns.conform does, but without a frame of objects first, which takes as long as reconciling.
    values = {name: [row.get(name) for row in rows] for name in dtypes}
    return pd.DataFrame({name: pd.Series(values[name], dtype=kind) for name, kind in dtypes.items()})


def frame(days: Days) -> pd.DataFrame:
    """All that is exported, day by day."""
    rows = [
        {**row, "day": day, "email_address": row["contact"][0], "phone_number": row["contact"][1]}
        for day in DAYS
        for row in days[day]
    ]
    return customers.add_digests(as_frame(rows, columns.EXPORTED_DTYPES), key=b"")


def chosen(exported: pd.DataFrame, days: list[str]) -> pd.DataFrame:
    return exported[exported["day"].isin(days)]


def expected(exported: pd.DataFrame) -> tuple[dict[str, Row], dict[str, Row]]:
    """The same in plain Python: for each value, the newest export that said it; of orders, and of those
    that ended cancelled.
    """
    held: dict[str, Row] = {}
    placed: dict[str, str] = {}
    cancelled: dict[str, bool] = {}
    for row in records(exported):
        order = held.setdefault(row["order_number"], dict.fromkeys(HELD))
        order |= {name: row[name] for name in HELD[:-1] if row[name] is not None}
        number, moment = row["order_number"], row["order_date"]
        placed[number] = min(placed.get(number, moment), moment)
        cancelled[number] = row["is_cancelled"]
    held = {number: order for number, order in held.items() if order["email"] or order["phone"]}
    real = {number: order for number, order in held.items() if not cancelled[number]}
    firsts: dict[object, str] = {}
    for number in sorted(real, key=lambda number: (placed[number], number)):
        customer = real[number]["email"] or real[number]["phone"]
        firsts.setdefault(customer, number)
        real[number]["is_first_order"] = firsts[customer] == number
    return real, {number: order for number, order in held.items() if cancelled[number]}


def check_end(robin: Robin, exported: pd.DataFrame) -> None:
    """ROBIN holds what the exports say, a cancelled order worth 0 or not at all; the ledger the same.

    Rows that were set aside while nobody knew whose their order is are run again first.
    """
    if robin.set_aside:
        robin.run(exported)
    real, cancelled = expected(exported)
    held = {number: order for number, order in robin.held.items() if number not in cancelled}
    assert held == real
    for number in robin.held.keys() & cancelled.keys():
        flag = robin.held[number]["is_first_order"]
        assert robin.held[number] == cancelled[number] | {"is_first_order": flag}
        assert robin.held[number]["revenue"] == 0
    assert robin.held == {
        number: {name: row[name] for name in HELD}
        for number, row in robin.ledger.items()
        if row["is_told"]
    }
    assert {number for number, row in robin.ledger.items() if row["is_cancelled"]} == {*cancelled}


@st.composite
def schedules(draw: st.DrawFn) -> Runs:
    """Runs over days in any order and grouping, some cut off.

    Each that is cut off is run again: at once, or when all others are done.
    """
    shuffled = draw(st.permutations(DAYS))
    cuts = draw(st.lists(st.booleans(), min_size=len(DAYS) - 1, max_size=len(DAYS) - 1))
    groups: list[list[str]] = [[shuffled[0]]]
    for day, cut in zip(shuffled[1:], cuts, strict=True):
        groups.append([day]) if cut else groups[-1].append(day)
    extra = draw(st.lists(st.sampled_from(DAYS), max_size=2))
    runs: Runs = []
    waiting: Runs = []
    for group in [*groups, *([day] for day in extra)]:
        stop = draw(st.none() | st.integers(0, 9))
        runs.append((group, stop))
        if stop is not None:
            (waiting if draw(st.booleans()) else runs).append((group, None))
    return runs + waiting


def row(number: str, email: str | None, phone: str | None = None) -> Row:
    said = {"revenue": 0, "profit": None, "order_date": "2026-02-01T10:00:00Z", "webstore_url": None}
    return {"order_number": number, "contact": (email, phone), "is_cancelled": False, **said}


# The third day, run last, knows an address that is newer than the ledger's, though the ledger's row of
# the fourth is newer than both; and every row of it names one.
LATE_ADDRESS: Days = {
    "2026-03-01": [row("2", "b@x.nl")],
    "2026-03-02": [],
    "2026-03-03": [row("2", "a@x.nl")],
    "2026-03-04": [row("2", None, "+311")],
}

# Order 1 leaves b, so order 01 becomes b's first; once that departure is acknowledged, neither the day
# nor the ledger names b any more, so a run cut off between the two must not have told the departure yet.
DEPARTURE: Days = {
    "2026-03-01": [row("1", "b@x.nl"), row("01", "b@x.nl") | {"order_date": "2026-02-02T10:00:00Z"}],
    "2026-03-02": [row("1", "a@x.nl")],
    "2026-03-03": [],
    "2026-03-04": [],
}
# Order 2 is a's, and names the phone number that is the customer of order 1; that must not make the part
# of a's orders look at order 1, which another part reconciles.
ONE_NUMBER: Days = {
    "2026-03-01": [],
    "2026-03-02": [row("01", "a@x.nl"), row("1", None, "+311"), row("2", "a@x.nl", "+311")],
    "2026-03-03": [row("01", None, "+311"), row("1", None, "+311"), row("2", "a@x.nl")],
    "2026-03-04": [row("2", "a@x.nl")],
}
CUT_OFF = [(["2026-03-01"], None), (["2026-03-02"], 1), (["2026-03-02"], None)]
REST = [(["2026-03-03", "2026-03-04"], None)]


@given(exports, schedules(), st.booleans())
@example(days=DEPARTURE, runs=CUT_OFF + REST, final=False)
@example(days=DEPARTURE, runs=CUT_OFF + REST, final=True)
@example(
    days=LATE_ADDRESS, runs=[(["2026-03-01", "2026-03-04"], None), (["2026-03-03"], None)], final=False
)
def test_robin_ends_with_what_the_exports_say_however_their_days_are_run_and_hears_it_once(
    days: Days, runs: Runs, final: bool
) -> None:
    robin, exported = Robin(), frame(days)
    for group, stop_after in runs:
        robin.run(chosen(exported, group), stop_after=stop_after, final=final)
    check_end(robin, exported)
    # Running everything again posts nothing.
    for group in {tuple(group): group for group, _ in runs}.values():
        [again] = robin.run(chosen(exported, group), final=final)
        assert again.changes.empty
        assert again.confirmed.empty


@given(exports, schedules(), st.booleans(), st.integers(2, 3))
@example(days=DEPARTURE, runs=CUT_OFF + REST, final=False, partitions=3)
@example(
    days=ONE_NUMBER,
    runs=[(DAYS[2:3], None), (DAYS[3:], None), (DAYS[1:2], 1), (DAYS[1:2], None)],
    final=False,
    partitions=2,
)
def test_robin_ends_with_the_same_into_however_many_partitions_a_run_is_split(
    days: Days, runs: Runs, final: bool, partitions: int
) -> None:
    robin, exported = Robin(), frame(days)
    for group, stop_after in runs:
        rows = robin.pass_gate(chosen(exported, group))
        whole = reconcile(rows, robin.known(rows), final=final)
        parts = robin.run(rows, stop_after=stop_after, final=final, partitions=partitions)
        for count in ("unchanged", "stale", "superseded", "untold"):
            assert sum(getattr(part, count) for part in parts) == getattr(whole, count)
    check_end(robin, exported)
