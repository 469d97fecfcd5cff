"""Section 4's invariant: what ROBIN holds depends only on the set of exports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import example, given, settings
from hypothesis import strategies as st

from robin_etl.core import columns, customers, partition, payload
from robin_etl.core.reconcile import Reconciliation, reconcile

Days = dict[str, list[dict[str, Any]]]

DAYS = ["2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04"]
HELD = ["email", "phone", "revenue", "profit", "order_date", "webstore_url", "is_first_order"]

contacts = st.sampled_from(
    [("a@x.nl", None), ("a@x.nl", None), ("b@x.nl", None), ("a@x.nl", "+311"), (None, "+311")]
)
rows = st.fixed_dictionaries(
    {
        "order_number": st.sampled_from(["01", "1", "2"]),
        "contact": contacts,
        "revenue": st.sampled_from([0, 100]),
        "profit": st.sampled_from([None, 50]),
        "order_date": st.sampled_from([f"2026-02-0{day}T10:00:00Z" for day in (1, 2)]),
        "webstore_url": st.sampled_from([None, "https://a"]),
    }
)
exports = st.fixed_dictionaries(
    {day: st.lists(rows, max_size=5, unique_by=lambda row: row["order_number"]) for day in DAYS}
)


@dataclass
class Robin:
    """What ROBIN and the ledger hold, told by whole or interrupted runs."""

    ledger: pd.DataFrame = field(default_factory=lambda: columns.make_empty(columns.LEDGER_DTYPES))
    held: dict[str, dict[str, object]] = field(default_factory=dict)
    posts: int = 0

    def run_in_parts(
        self, exported: pd.DataFrame, number: int, *, stop_after: int | None, final: bool
    ) -> list[Reconciliation]:
        """Split by customer, reconcile each part with what is known before, then deliver all."""
        known = self.ledger[self.ledger["order_number"].isin(exported["order_number"])]
        parts = partition.assign_partitions(
            partition.hash_keys(exported["order_number"]),
            partition.hash_keys(customers.identify_customers(exported)),
            (partition.hash_keys(known["order_number"]), partition.hash_keys(known["customer"])),
            number,
        )
        results = []
        for part in range(number):
            rows = exported[parts == part]
            results.append(reconcile(rows, self.known(rows), final=final))
        for result in results:
            self.acknowledge(result.confirmed)
        frames = [iter([result.changes]) for result in results if len(result.changes)]
        changes = pd.concat(
            [result.changes.head(0) for result in results] + [*payload.merge_partitions(frames)]
        )
        for _wave, told in changes.iloc[:stop_after].groupby("wave", sort=True):
            assert not told["order_number"].duplicated().any()
            self.post(told)
            self.acknowledge(told)
        return results

    def run(
        self, exported: pd.DataFrame, *, stop_after: int | None = None, final: bool = False
    ) -> Reconciliation:
        """Reconcile and deliver; `stop_after` so many changes the run dies."""
        result = reconcile(exported, self.known(exported), final=final)
        self.acknowledge(result.confirmed)
        for _wave, changes in result.changes.iloc[:stop_after].groupby("wave", sort=True):
            assert not changes["order_number"].duplicated().any()
            self.post(changes)
            self.acknowledge(changes)
        return result

    def known(self, exported: pd.DataFrame) -> pd.DataFrame:
        """What a look-up gives: the orders, and of their customers the flagged and the earliest."""
        asked = self.ledger["order_number"].isin(exported["order_number"])
        named = {*customers.identify_customers(exported).dropna(), *self.ledger["customer"][asked]}
        others = self.ledger[self.ledger["customer"].isin(named) & ~asked]
        flagged = others[others["is_first_order"]]
        earliest = (
            others[~others["is_first_order"]]
            .sort_values(["placed_at", "order_number"])
            .drop_duplicates("customer")
        )
        return pd.concat([self.ledger[asked], flagged, earliest], ignore_index=True)

    def post(self, changes: pd.DataFrame) -> None:
        for change in changes.to_dict("records"):
            order = change["order_number"]
            known = self.held.get(order)
            if known is None:
                assert change["kind"] in columns.NEW_KINDS
                assert pd.isna(change["old_revenue"])
            else:
                assert change["kind"] not in columns.NEW_KINDS
                assert change["old_revenue"] == known["revenue"]
                assert none(change["old_profit"]) == known["profit"]
            told = {name: none(change[name]) for name in HELD}
            assert told != known, "a post that says nothing new"
            self.held[order] = told
            self.posts += 1

    def acknowledge(self, changes: pd.DataFrame) -> None:
        rows = columns.conform(changes, columns.LEDGER_DTYPES)
        both = pd.concat([self.ledger, rows], ignore_index=True)
        self.ledger = both.drop_duplicates("order_number", keep="last").reset_index(drop=True)


def none(value: Any) -> Any:
    return None if value is None or pd.isna(value) else value


def frame(days: Days, chosen: Iterable[str]) -> pd.DataFrame:
    records = [
        {
            **row,
            "day": day,
            "email_address": row["contact"][0],
            "phone_number": row["contact"][1],
        }
        for day in sorted(chosen)
        for row in days[day]
    ]
    table = pd.DataFrame(records, columns=[*columns.EXPORTED_DTYPES])
    return customers.add_digests(columns.conform(table, columns.EXPORTED_DTYPES), key=b"")


def expected(days: Days) -> dict[str, dict[str, object]]:
    """The same in a dozen lines of plain Python: for each value, the newest export that said it."""
    exported = frame(days, DAYS).to_dict("records")
    held: dict[str, dict[str, object]] = {}
    placed: dict[str, object] = {}
    for row in exported:
        order = held.setdefault(row["order_number"], dict.fromkeys(HELD))
        order |= {name: row[name] for name in HELD[:-1] if none(row[name]) is not None}
        number, moment = row["order_number"], row["order_date"]
        placed[number] = min(placed.get(number, moment), moment)
    firsts: dict[object, str] = {}
    for number in sorted(held, key=lambda number: (placed[number], number)):
        customer = held[number]["email"] or held[number]["phone"]
        firsts.setdefault(customer, number)
        held[number]["is_first_order"] = firsts[customer] == number
    return held


@st.composite
def schedules(draw: st.DrawFn) -> list[tuple[list[str], int | None]]:
    """Runs over days in any order and grouping, some cut off; each cut-off one is run again later."""
    shuffled = draw(st.permutations(DAYS))
    cuts = draw(st.lists(st.booleans(), min_size=len(DAYS) - 1, max_size=len(DAYS) - 1))
    groups: list[list[str]] = [[shuffled[0]]]
    for day, cut in zip(shuffled[1:], cuts, strict=True):
        groups.append([day]) if cut else groups[-1].append(day)
    extra = draw(st.lists(st.sampled_from(DAYS), max_size=2))
    runs: list[tuple[list[str], int | None]] = []
    for group in [*groups, *([day] for day in extra)]:
        stop = draw(st.none() | st.integers(0, 4))
        runs.append((group, stop))
        if stop is not None:
            runs.insert(draw(st.integers(len(runs), len(runs))), (group, None))
    return runs


def row(number: str, email: str | None, phone: str | None = None) -> dict[str, object]:
    said = {"revenue": 0, "profit": None, "order_date": "2026-02-01T10:00:00Z", "webstore_url": None}
    return {"order_number": number, "contact": (email, phone), **said}


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


@settings(max_examples=3 * settings().max_examples)
@given(exports, schedules(), st.booleans())
@example(days=DEPARTURE, runs=CUT_OFF + REST, final=False)
@example(days=DEPARTURE, runs=CUT_OFF + REST, final=True)
@example(
    days=LATE_ADDRESS, runs=[(["2026-03-01", "2026-03-04"], None), (["2026-03-03"], None)], final=False
)
def test_robin_ends_with_what_the_exports_say_however_their_days_are_run(
    days: Days, runs: list[tuple[list[str], int | None]], final: bool
) -> None:
    robin = Robin()
    for group, stop_after in runs:
        robin.run(frame(days, group), stop_after=stop_after, final=final)
    assert robin.held == expected(days)


@settings(max_examples=3 * settings().max_examples)
@given(exports, schedules(), st.booleans(), st.integers(1, 5))
@example(days=DEPARTURE, runs=CUT_OFF + REST, final=False, number=3)
@example(
    days=ONE_NUMBER,
    runs=[(DAYS[2:3], None), (DAYS[3:], None), (DAYS[1:2], 1), (DAYS[1:2], None)],
    final=False,
    number=2,
)
def test_robin_ends_with_the_same_into_however_many_parts_a_run_is_split(
    days: Days, runs: list[tuple[list[str], int | None]], final: bool, number: int
) -> None:
    robin, whole = Robin(), Robin()
    for group, stop_after in runs:
        exported = frame(days, group)
        parts = robin.run_in_parts(exported, number, stop_after=stop_after, final=final)
        if stop_after is None and robin.ledger.equals(whole.ledger):
            one = whole.run(exported, final=final)
            for count in ("unchanged", "stale", "superseded"):
                assert sum(getattr(part, count) for part in parts) == getattr(one, count)
    assert robin.held == expected(days)


@given(exports, schedules())
def test_a_failed_run_may_wait_until_all_others_are_done(
    days: Days, runs: list[tuple[list[str], int | None]]
) -> None:
    robin = Robin()
    failed = []
    for group, stop_after in runs:
        robin.run(frame(days, group), stop_after=stop_after)
        if stop_after is not None:
            failed.append(group)
    for group in failed:
        robin.run(frame(days, group))
    assert robin.held == expected(days)


@given(exports, schedules())
def test_running_everything_again_posts_nothing(
    days: Days, runs: list[tuple[list[str], int | None]]
) -> None:
    robin = Robin()
    for group, _ in runs:
        robin.run(frame(days, group))
    posts = robin.posts
    for group, _ in runs:
        again = robin.run(frame(days, group))
        assert again.changes.empty
        assert again.confirmed.empty
    assert robin.posts == posts


@given(exports)
def test_every_exported_row_is_accounted_for(days: Days) -> None:
    robin = Robin()
    for day in DAYS:
        exported = frame(days, [day])
        result = robin.run(exported)
        own = result.changes["order_number"].isin(exported["order_number"])
        assert len(exported) >= own.sum()
        assert result.unchanged + result.stale + own.sum() >= len(exported)
    assert np.isin(robin.ledger["order_number"], list(robin.held)).all()


@given(exports)
def test_the_ledger_holds_what_robin_holds(days: Days) -> None:
    robin = Robin()
    robin.run(frame(days, DAYS))
    kept = robin.ledger.set_index("order_number")[HELD].to_dict("index")
    plain = {number: {name: none(value) for name, value in row.items()} for number, row in kept.items()}
    assert plain == robin.held
