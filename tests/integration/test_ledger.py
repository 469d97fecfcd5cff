"""The ledger, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from robin_etl.core import columns
from robin_etl.core.outcomes import DEGRADED, DONE, STOPPED
from robin_etl.core.payload import Change
from robin_etl.exceptions import ConfigurationError, LedgerBusyError, LedgerError
from robin_etl.ledger import ExportRecord, Ledger, OpenDoubt, Totals
from robin_etl.ledger.deliveries import ACCEPTED, IN_DOUBT, REJECTED
from robin_etl.ledger.exports import MISSING
from robin_etl.settings import Settings


def states(*rows: dict[str, Any]) -> pd.DataFrame:
    usual = {
        "day": "2026-03-01",
        "customer": "c1",
        "email": "c1",
        "email_day": "2026-03-01",
        "revenue": 1000,
        "order_date": "2026-03-01T10:00:00Z",
        "placed_at": "2026-03-01T10:00:00Z",
        "is_first_order": False,
        "is_cancelled": False,
        "is_told": True,
    }
    return columns.conform(pd.DataFrame([{**usual, **row} for row in rows]), columns.LEDGER_DTYPES)


def keys(*values: str) -> pd.Series:
    return pd.Series(values, dtype=columns.TEXT)


def delivery(order_number: str) -> Change:
    state = next(columns.iterate_states(states({"order_number": order_number})))
    kept = json.dumps({"order_number": order_number, "revenue": 10})
    return Change(order_number, "first", 0, kept, kept, state)


def test_what_was_acknowledged_is_looked_up_as_it_was(ledger_url: str) -> None:
    told = states(
        {"order_number": "01", "profit": -5, "profit_day": "2026-02-01", "is_first_order": True},
        {"order_number": "1", "customer": "p", "email": None, "phone": "p", "phone_day": "2026-03-01"},
        {
            "order_number": "é'\"\\",
            "webstore_url": "https://a",
            "revenue": 10**14,
            "customer": "c2",
            "email": "c2",
        },
    )
    with Ledger.open(ledger_url) as ledger:
        ledger.states.baseline(told)
    with Ledger.open(ledger_url) as ledger:
        found = ledger.states.look_up(told["order_number"], keys())
    pd.testing.assert_frame_equal(
        found.sort_values("order_number", ignore_index=True),
        told.sort_values("order_number", ignore_index=True),
    )


def test_a_look_up_finds_of_each_customer_the_flagged_and_the_earliest_other(ledger_url: str) -> None:
    told = states(
        {"order_number": "1", "is_first_order": True, "placed_at": "2026-03-05T00:00:00Z"},
        {"order_number": "2", "placed_at": "2026-03-02T00:00:00Z"},
        {"order_number": "10", "placed_at": "2026-03-02T00:00:00Z"},
        {"order_number": "4", "placed_at": "2026-03-01T00:00:00Z"},
        {"order_number": "5", "customer": "c2", "email": "c2"},
        {"order_number": "6", "customer": "c3", "email": "c3"},
    )
    with Ledger.open(ledger_url) as ledger:
        ledger.states.baseline(told)
        by_customer = ledger.states.look_up(keys("4", "new"), keys("c2"))
    # 4 is asked for, and so its customer c1: 1 is flagged, 10 the earliest of the rest (as text).
    assert sorted(by_customer["order_number"]) == ["1", "10", "4", "5"]
    # Of the three that were not asked for by number, what the index holds.
    others = by_customer.set_index("order_number").drop("4")
    assert others["customer"].to_dict() == {"1": "c1", "10": "c1", "5": "c2"}
    assert others["is_first_order"].to_dict() == {"1": True, "10": False, "5": False}
    assert others.loc["10", "placed_at"] == "2026-03-02T00:00:00Z"
    assert others["revenue"].isna().all()


@pytest.mark.parametrize("seed", range(3))
def test_of_a_customer_with_many_orders_all_flagged_and_the_earliest_other_are_found(
    seed: int, ledger_url: str
) -> None:
    dice = random.Random(seed)
    rows = [
        {
            "order_number": f"{customer}-{dice.random()}",
            "customer": f"c{customer}",
            "email": f"c{customer}",
            "placed_at": f"2026-03-{dice.randrange(1, 9):02}T10:00:00Z",
            "is_first_order": dice.random() < flagged,
            "is_cancelled": dice.random() < 0.2,
        }
        for customer, flagged in enumerate((0, 0.01, 0.5, 0.99, 1) * 4)
        for _ in range(dice.choice((1, 2, 3, 4, 48, 60)))
    ]
    told = states(*rows)
    # Of some customers all orders but one or two, and of others none.
    asked = told["order_number"][told["customer"].isin(["c2", "c9", "c11"]) & (told.index % 40 > 0)]
    left = told[~told["is_cancelled"] & ~told["order_number"].isin(asked)]
    flagged = left["order_number"][left["is_first_order"]]
    in_order = left[~left["is_first_order"]].sort_values(["placed_at", "order_number"])
    earliest = in_order.drop_duplicates("customer")["order_number"]
    with Ledger.open(ledger_url) as ledger:
        ledger.states.baseline(told)
        found = ledger.states.look_up(asked, told["customer"])
    assert sorted(found["order_number"]) == sorted([*asked, *flagged, *earliest])
    expected = told.set_index("order_number").loc[found["order_number"]]
    for name in ("customer", "email", "placed_at", "is_first_order", "is_cancelled", "is_told"):
        assert found[name].tolist() == expected[name].tolist()


def test_others_come_back_as_they_were_whatever_their_numbers(ledger_url: str) -> None:
    numbers = ['1"2', "a\\b", "x,y", "[]", "null", "é☃", "0012", "{'1': 2}"]
    flagged = [{"order_number": number, "is_first_order": True} for number in numbers]
    plain = [
        {"order_number": f"{number}+", "customer": f"c{at}", "email": f"c{at}"}
        for at, number in enumerate(numbers, 5)
    ]
    with Ledger.open(ledger_url) as ledger:
        ledger.states.baseline(states(*flagged, *plain))
        found = ledger.states.look_up(keys(), keys("c1", *(one["customer"] for one in plain), "nobody"))
    assert sorted(found["order_number"][found["is_first_order"]]) == sorted(numbers)
    rest = found[~found["is_first_order"]]
    expected = {one["customer"]: one["order_number"] for one in plain}
    assert rest.set_index("customer")["order_number"].to_dict() == expected


def test_looking_up_nothing_finds_nothing_with_types(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        found = ledger.states.look_up(keys(), keys())
    assert found.empty
    assert found.dtypes.astype(str).to_dict() == columns.LEDGER_DTYPES


def test_many_keys_are_one_question(ledger_url: str) -> None:
    told = states(
        *({"order_number": f"{n}", "customer": f"c{n}", "email": f"c{n}"} for n in range(3000))
    )
    with Ledger.open(ledger_url) as ledger:
        ledger.states.baseline(told)
        assert len(ledger.states.look_up(told["order_number"], told["customer"])) == 3000


def test_an_accepted_request_moves_states_and_log_together(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        before = ledger.states.revision()
        both = [delivery("1"), delivery("2")]
        request = ledger.deliveries.begin("run-1", both)
        assert ledger.states.revision() == before
        ledger.acknowledge(request, both, status=201, words="{}")
        assert ledger.states.revision() == before + 1
        log = ledger.deliveries.deliveries_of("run-1")
        assert log["outcome"].tolist() == [ACCEPTED, ACCEPTED]
        assert set(log["request"]) == {1}
        assert len(ledger.states.look_up(keys("1", "2"), keys())) == 2


def test_what_was_not_accepted_moves_no_state(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        for outcome, words in ((REJECTED, "bad address"), (IN_DOUBT, "reset")):
            request = ledger.deliveries.begin("run-1", [delivery("1")])
            ledger.deliveries.answer(request, outcome, status=None, words=words)
        assert ledger.states.look_up(keys("1"), keys()).empty
        log = ledger.deliveries.deliveries_of("run-1")
        assert log[["outcome", "words"]].to_numpy().tolist() == [
            [REJECTED, "bad address"],
            [IN_DOUBT, "reset"],
        ]
        assert log["request"].is_monotonic_increasing


def test_what_a_dead_run_left_as_sending_is_in_doubt_at_the_next_start(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        ledger.deliveries.begin("run-1", [delivery("2"), delivery("1")])
        assert ledger.doubts.has_open()
        found = ledger.doubts.describe_open()
        assert found == OpenDoubt((), None, ("1", "2"), found.under_way_since, erased=0)
    with Ledger.open(ledger_url) as ledger:
        taken = ledger.doubts.take_over("run-2")
        assert (taken.orders, taken.requests) == (("1", "2"), (1,))
        assert ledger.doubts.describe_open().orders == ("1", "2")
        assert set(ledger.deliveries.deliveries_of("run-1")["outcome"]) == {IN_DOUBT}


def test_a_doubt_is_named_until_a_run_has_reported_how_it_was_closed(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        for run in ("dead", "stopped"):
            ledger.runs.start(run, command="run", first=date(2026, 3, 1), last=date(2026, 3, 1))
            request = ledger.deliveries.begin(run, [delivery(run)])
            ledger.deliveries.answer(request, IN_DOUBT, status=500, words="")
        ledger.runs.finish("stopped", STOPPED, counts={})
        again = [delivery("dead")]
        ledger.acknowledge(ledger.deliveries.begin("next", again), again, status=201, words="")
        assert list(ledger.doubts.read().open["order_number"]) == ["stopped"]
        for asking in ("next", "the one after, since the next one died"):
            found = ledger.doubts.take_over(asking)
            assert (found.dead, found.orders) == (("dead",), ("dead", "stopped"))
            judged = ledger.doubts.judge()
            assert judged.undecided == ()
        ledger.runs.close_interrupted(found.dead)
        ledger.doubts.close(found.requests)
        found = ledger.doubts.take_over("last")
        assert (found.dead, found.orders) == ((), ("stopped",))
        assert {run.run: run.outcome for run in ledger.runs.latest(9)} == {
            "dead": "interrupted",
            "stopped": "stopped",
        }
        assert ledger.doubts.judge(["stopped"]).undecided == ("stopped",)
        assert not ledger.doubts.has_open()


def test_an_order_that_was_in_doubt_and_is_rejected_since_is_undecided(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        for outcome in (IN_DOUBT, REJECTED):
            request = ledger.deliveries.begin("run", [delivery("1")])
            ledger.deliveries.answer(request, outcome, status=None, words="")
        judged = ledger.doubts.judge()
        assert (judged.undecided, judged.requests) == (("1",), (1,))
        ledger.doubts.close(judged.requests)
        assert ledger.doubts.read().requests == ()


def test_confirming_moves_only_the_days_that_are_given(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        ledger.states.baseline(states({"order_number": "1"}, {"order_number": "2"}))
        confirmed = states({"order_number": "1", "day": "2026-03-09"})
        ledger.states.acknowledge(columns.iterate_states(confirmed))
        found = ledger.states.look_up(keys("1", "2"), keys()).set_index("order_number")["day"]
    assert found.to_dict() == {"1": "2026-03-09", "2": "2026-03-01"}


def test_runs_are_logged_from_start_to_end(ledger_url: str) -> None:
    moments = iter(datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 20))
    with Ledger.open(ledger_url, clock=lambda: next(moments)) as ledger:
        for run, files, exported in (("a", 1, 100), ("b", 2, 60)):
            ledger.runs.start(run, command="run", first=date(2026, 3, 1), last=date(2026, 3, 2))
            ledger.runs.finish(run, DONE, counts={}, files=files, exported=exported)
        ledger.runs.start("c", command="run", first=date(2026, 3, 1), last=date(2026, 3, 1))
        ledger.runs.finish("c", STOPPED, words="because", counts={})
        assert [run.run for run in ledger.runs.latest(2)] == ["c", "b"]
        assert ledger.runs.latest(1)[0].words == "because"


def read_export(day: int, **said: Any) -> ExportRecord:
    described = {"place": f"orders_{day}.csv", "outcome": DONE, "digest": f"d{day}", **said}
    return ExportRecord(date(2026, 3, day), **described)


def test_the_days_that_a_ledger_knows_are_those_of_exports_that_finished_runs_have_read(
    ledger_url: str,
) -> None:
    with Ledger.open(ledger_url) as ledger:
        assert (ledger.exports.first_day(), ledger.exports.last_day()) == (None, None)
        ledger.runs.start("history", command="baseline", first=date(2026, 3, 1), last=date(2026, 3, 1))
        ledger.exports.record(
            [
                read_export(1, run="history", rows=5000),
                read_export(2, rows=100, new_orders=40, ends_within_line=True),
                read_export(3, place="a.csv", rows=20, new_orders=7, quarantined=2, notes=("odd",)),
                read_export(3, place="b.csv", rows=10, digest="d2", ends_within_line=False),
                read_export(4, rows=9, outcome=STOPPED, quarantined=1),
                ExportRecord(date(2026, 3, 5), outcome=MISSING),
            ]
        )
        exports = ledger.exports
        assert (exports.first_day(), exports.last_day()) == (date(2026, 3, 1), date(2026, 3, 3))
        assert exports.row_counts(5) == [30, 100]
        assert exports.new_orders(date(2026, 3, 4), 5) == [7, 40]
        assert exports.new_orders(date(2026, 3, 3), 5) == [40]
        assert exports.line_ends(5) == [False, True]
        assert [one.day.day for one in exports.with_digests(["d2", "d4"])] == [2, 3]
        assert [(one.place, one.notes) for one in exports.set_aside()] == [("a.csv", ("odd",))]
        assert [one.day.day for one in exports.between(date(2026, 3, 3), date(2026, 3, 9))] == [
            3,
            3,
            4,
            5,
        ]


def test_what_is_known_of_an_export_is_replaced_and_a_day_with_one_misses_none(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        ledger.exports.record([read_export(1), ExportRecord(date(2026, 3, 2), outcome=MISSING)])
        ledger.exports.record([read_export(1, rows=7, outcome=DEGRADED), read_export(2)])
        known = ledger.exports.between(date(2026, 3, 1), date(2026, 3, 2))
        assert [(one.place, one.rows, one.outcome) for one in known] == [
            ("orders_1.csv", 7, DEGRADED),
            ("orders_2.csv", 0, DONE),
        ]
        ledger.exports.remove(date(2026, 3, 1), date(2026, 3, 1))
        assert ledger.exports.first_day() == date(2026, 3, 2)


def test_totals_say_what_robin_was_told(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        assert ledger.states.totals() == Totals(orders=0, first_orders=0, revenue=0, newest_day=None)
        ledger.states.baseline(
            states({"order_number": "1", "is_first_order": True}, {"order_number": "2"})
        )
        assert ledger.states.totals().first_orders == 1
        assert ledger.states.totals().revenue == 2000


def test_only_one_holds_the_posting_lock_and_then_the_next_one_can(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as one, Ledger.open(ledger_url) as two:
        busy = pytest.raises(LedgerBusyError, match=r"Another run is posting .* one \(process")
        with one.lock.hold("one"), busy, two.lock.hold("two"):
            raise AssertionError("two hold it")
        with two.lock.hold("two"):
            assert two.states.revision() == 0


def test_a_ledger_of_a_newer_schema_is_refused(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger, ledger.engine.write() as connection:
        connection.execute(sa.text("update meta set version = 99"))
    with pytest.raises(LedgerError, match="schema version 99"):
        Ledger.open(ledger_url)


def test_two_that_open_a_new_ledger_at_once_both_get_it(ledger_url: str) -> None:
    failures: list[Exception] = []

    def work() -> None:
        try:
            with Ledger.open(ledger_url) as ledger:
                ledger.states.revision()
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the result)
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("location", ["mysql://x/y", "://"])
def test_a_location_that_can_be_no_ledger_is_a_setting_to_mend(location: str) -> None:
    with pytest.raises(ConfigurationError, match="ROBIN_ETL_LEDGER"):
        Ledger.open(location)


def test_a_database_that_is_away_is_a_sentence_without_its_password() -> None:
    with pytest.raises(LedgerError, match="can't be opened") as caught:
        Ledger.open("postgresql://robin:hush@127.0.0.1:9/none?connect_timeout=2")
    assert "hush" not in str(caught.value)


def test_a_file_that_is_no_database_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_text("not a database, but long enough to be taken for one" * 50)
    with pytest.raises(LedgerError, match="file is not a database"):
        Ledger.open(str(path))


def test_reading_only_creates_nothing(tmp_path: Path) -> None:
    with Ledger.open(str(tmp_path / "folder" / "ledger.db"), read_only=True) as ledger:
        assert ledger.states.totals().orders == 0
    assert list(tmp_path.iterdir()) == []


def test_sqlite_keeps_every_acknowledgement_through_a_power_loss(tmp_path: Path) -> None:
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger, ledger.engine.read() as connection:
        assert connection.execute(sa.text("pragma synchronous")).scalar() == 2
        assert connection.execute(sa.text("pragma journal_mode")).scalar() == "wal"


def test_a_look_up_uses_indexes_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    asked: list[tuple[str, Any]] = []
    with Ledger.open(str(path)) as ledger:
        ledger.states.baseline(states({"order_number": "1"}))
        sa.event.listen(
            ledger.engine.database,
            "before_cursor_execute",
            lambda _connection, _cursor, statement, parameters, *_: asked.append(
                (statement, parameters)
            ),
        )
        ledger.states.look_up(keys("1"), keys("c1"))
    with closing(sqlite3.connect(path)) as connection:
        for statement, parameters in asked:
            plan = connection.execute(f"explain query plan {statement}", parameters).fetchall()
            touching = [row[3] for row in plan if "orders" in row[3]]
            assert touching
            assert all(step.startswith("SEARCH") for step in touching), plan
            assert not any("TEMP B-TREE" in row[3] for row in plan), plan


def test_a_look_up_in_postgresql_asks_for_keys_in_the_order_of_its_indexes(postgresql: str) -> None:
    told = states(*({"order_number": f"{n:05}", "customer": f"c{n}"} for n in range(20_000)))
    asked: list[tuple[str, Any]] = []
    with Ledger.open(postgresql) as ledger:
        ledger.states.baseline(told)
        sa.event.listen(
            ledger.engine.database,
            "before_cursor_execute",
            lambda _connection, _cursor, statement, parameters, *_: asked.append(
                (statement, parameters)
            ),
        )
        ledger.states.look_up(told["order_number"][::2], told["customer"][::3])
        with ledger.engine.read() as connection:
            plans = [
                "\n".join(connection.exec_driver_sql(f"explain {statement}", parameters).scalars())
                for statement, parameters in list(asked)
            ]
    assert len(plans) == 2
    for plan, index in zip(plans, ("orders_pkey", "orders_by_customer"), strict=True):
        assert index in plan
        assert not any(step in plan for step in ("Seq Scan", "Hash", "Sort")), plan


def test_shops_share_a_database_each_in_a_schema_of_its_own_with_its_own_lock(postgresql: str) -> None:
    nl, de = (Settings.read(ledger=postgresql, ledger_schema=name).ledger for name in ("nl", "de"))
    with Ledger.open(nl) as one, Ledger.open(de) as other, Ledger.open(postgresql) as public:
        with one.lock.hold("nl"), other.lock.hold("de"), public.lock.hold("public"):
            one.states.baseline(states({"order_number": "1"}))
            with (
                Ledger.open(nl) as again,
                pytest.raises(LedgerBusyError, match="nl"),
                again.lock.hold("x"),
            ):
                pass
        assert [opened.states.totals().orders for opened in (one, other, public)] == [1, 0, 0]
        other.states.baseline(states({"order_number": "1"}, {"order_number": "2"}))
    with Ledger.open(nl, read_only=True) as one, Ledger.open(de, read_only=True) as other:
        assert [opened.states.totals().orders for opened in (one, other)] == [1, 2]


@pytest.mark.parametrize(
    ("ledger", "schema", "words"),
    [
        ("data/ledger.db", "nl", "only a ledger in PostgreSQL has one"),
        ("postgresql://db/robin", "nl; drop", "ROBIN_ETL_LEDGER_SCHEMA"),
        ("postgresql://db/robin", "NL", "ROBIN_ETL_LEDGER_SCHEMA"),
    ],
)
def test_a_schema_that_can_be_none_is_one_sentence(ledger: str, schema: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Settings.read(ledger=ledger, ledger_schema=schema)
