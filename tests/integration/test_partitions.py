"""Runs that are split by customer: whatever the number of parts, ROBIN ends up holding the same."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from robin_etl import pipeline
from robin_etl.core import partition
from robin_etl.exceptions import ConfigurationError, GateError, GuardError, RobinUnavailableError
from robin_etl.ledger import Ledger
from robin_etl.sandbox.faults import Fault, Faults
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run
from tests.conftest import KEY, SECRET, Export, run_days

NUMBERS = (1, 7)
DAY = "2026-03-02"


def in_parts(settings: Settings, number: int) -> Settings:
    return settings.model_copy(update={"shards": number})


def started(settings: Settings, first: str, last: str | None = None, **options: Any) -> Run:
    return Run.start(
        settings.runs,
        Scope(
            command="run",
            first=date.fromisoformat(first),
            last=date.fromisoformat(last or first),
            **options,
        ),
    )


def classified(settings: Settings, run: Run) -> None:
    """All stages before load."""
    pipeline.extract(settings, run)
    for part in range(1, len(run.partitions) + 1):
        pipeline.classify(settings, run, part)
        pipeline.validate(settings, run, part)


def state(sandbox: Sandbox) -> dict[str, Any]:
    told = sandbox.robin.read_state()
    assert told["complaints"] == []
    return told


@pytest.mark.parametrize("number", NUMBERS)
def test_an_order_that_stands_twice_under_two_customers_is_one_order(
    settings: Settings, export: Export, sandbox: Sandbox, number: int
) -> None:
    others = [f"o{n},c{n}@x.nl,1,2026-03-02T12:00:00Z" for n in range(20)]
    rows = ["7,a@x.nl,10,2026-03-01", "8,a@x.nl,1,2026-03-02", *others, "7,b@x.nl,12,2026-03-01"]
    export(DAY, *rows, "9,b@x.nl,1,2026-03-02")
    summary = run_days(in_parts(settings, number), DAY)
    assert (summary["partitions"], summary["duplicates"], summary["posted"]) == (number, 1, 23)
    told = state(sandbox)["orders"]
    assert (told["7"]["email_address"], told["7"]["revenue"]) == ("b@x.nl", 12)
    firsts = {name: told[name]["is_first_order"] for name in ("7", "8", "9")}
    assert firsts == {"7": True, "8": True, "9": False}


@pytest.mark.parametrize("number", NUMBERS)
def test_an_order_that_moves_between_customers_whom_the_ledger_knows_corrects_both(
    settings: Settings, export: Export, sandbox: Sandbox, number: int
) -> None:
    export("2026-03-01", "1,a@x.nl,10,2026-03-01T08:00:00Z", "2,a@x.nl,10,2026-03-01T09:00:00Z")
    others = [f"o{n},c{n}@x.nl,1,2026-03-02T12:00:00Z" for n in range(20)]
    # Order 1 goes to b, so a's order 2 is first; a's new order 3 must not be.
    moved = ["1,b@x.nl,10,2026-03-01T08:00:00Z", "3,a@x.nl,5,2026-03-02", "4,b@x.nl,5,2026-03-02"]
    export(DAY, *others, *moved)
    run_days(settings, "2026-03-01")
    run_days(in_parts(settings, number), DAY)
    told = state(sandbox)["orders"]
    firsts = {name for name in "1234" if told[name]["is_first_order"]}
    assert firsts == {"1", "2"}


@pytest.mark.parametrize("number", NUMBERS)
def test_a_correction_that_robin_rejected_is_made_again_by_one_part_alone(
    settings: Settings, export: Export, sandbox: Sandbox, number: int
) -> None:
    header = "order_number,email_address,phone_number,revenue,order_date"
    by_phone = ["1,,+311,10,2026-03-01T08:00:00Z", "2,,+311,10,2026-03-01T09:00:00Z"]
    export("2026-03-01", *by_phone, header=header)
    export("2026-03-02", "1,a@x.nl,,10,2026-03-01T08:00:00Z", header=header)
    # Order 3 is a's, and also bears the phone number whose customer has order 2.
    others = [f"o{n},c{n}@x.nl,,1,2026-03-03T12:00:00Z" for n in range(20)]
    export("2026-03-03", by_phone[1], "3,a@x.nl,+311,10,2026-03-03", *others, header=header)
    run_days(settings, "2026-03-01")
    sandbox.robin.faults = Faults(refused="^2$")
    assert run_days(settings, "2026-03-02")["orders_rejected"] == ["2"]
    sandbox.robin.faults = Faults()
    summary = run_days(in_parts(settings, number), "2026-03-03")
    assert (summary["correction"], summary["first"], summary["repeat"]) == (1, 20, 1)
    assert state(sandbox)["orders"]["2"]["is_first_order"]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_last_row_wins_in_every_part_even_where_it_is_quarantined(
    settings: Settings, export: Export, sandbox: Sandbox, number: int
) -> None:
    others = [f"o{n},c{n}@x.nl,1,2026-03-02T12:00:00Z" for n in range(40)]
    export(DAY, "7,a@x.nl,10,2026-03-01", "8,a@x.nl,10,2026-03-02", *others, "7,,x,2026-03-01")
    summary = run_days(in_parts(settings, number), DAY)
    assert (summary["quarantined"], summary["duplicates"]) == (1, 1)
    told = state(sandbox)["orders"]
    assert "7" not in told
    assert told["8"]["is_first_order"]


def test_partitions_are_posted_together_wave_by_wave_oldest_first_in_full_requests(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    seen: list[list[dict[str, Any]]] = []

    class Listening(Robin):
        def answer(self, authorization: str | None, body: bytes) -> tuple[int, Any]:
            seen.append(json.loads(body)["orders"])
            return super().answer(authorization, body)

    with Sandbox(Listening(KEY, SECRET, limits=())) as robin:
        there = settings.model_copy(update={"base_url": robin.url, "chunk_size": 10, "concurrency": 1})
        for day, revenue in (("2026-03-01", 5), ("2026-03-02", 6)):
            export(day, *(f"{n},c{n}@x.nl,{revenue},2026-03-01T10:{59 - n}:00Z" for n in range(25)))
        run = started(there, "2026-03-01", "2026-03-02")
        summary = pipeline.run_all(in_parts(there, 4), run).counts()
        assert state(robin)["situations"] == {"first": 25, "upsell": 25}
    assert [len(orders) for orders in seen] == [10, 10, 5, 10, 10, 5]
    moments = [order["order_date"] for orders in seen[:3] for order in orders]
    assert moments == sorted(moments)
    assert (summary["posted"], summary["requests"], summary["partitions"]) == (50, 6, 4)


def test_partitions_that_another_run_linked_meanwhile_are_made_anew_before_anything_is_posted(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    there = in_parts(settings, 5)
    export("2026-03-01", "1,a@x.nl,10,2026-03-01T08:00:00Z")
    others = [f"o{n},c{n}@x.nl,1,2026-03-03T12:00:00Z" for n in range(20)]
    export("2026-03-02", "1,b@x.nl,10,2026-03-01T08:00:00Z")
    export("2026-03-03", *others, "2,a@x.nl,5,2026-03-03", "3,b@x.nl,5,2026-03-03")
    run_days(settings, "2026-03-01")
    slow = started(there, "2026-03-03")
    classified(there, slow)
    run_days(settings, "2026-03-02")
    pipeline.load(there, slow)
    told = state(sandbox)["orders"]
    assert {name for name in "123" if told[name]["is_first_order"]} == {"1", "2"}


def test_a_load_of_parts_that_was_cut_off_goes_on_where_it_stopped(
    settings: Settings, export: Export
) -> None:
    export(DAY, *(f"{n},c{n % 9}@x.nl,5,2026-03-02T10:00:{n:02}Z" for n in range(60)))
    robin = Robin(KEY, SECRET, limits=(), faults=Faults(script={3: Fault.ERROR_BEFORE}))
    with Sandbox(robin) as sandbox:
        there = settings.model_copy(
            update={"base_url": sandbox.url, "chunk_size": 10, "concurrency": 1, "shards": 3}
        )
        run = started(there, DAY)
        classified(there, run)
        with pytest.raises(RobinUnavailableError):
            pipeline.load(there, Run.open(run.location))
        pipeline.load(there, Run.open(run.location))
        summary = pipeline.report(there, run).counts()
        assert len(state(sandbox)["orders"]) == 60
        assert state(sandbox)["repeats"] == []
    assert (summary["first"], summary["repeat"], summary["posted"]) == (9, 51, 60)


def test_corrections_in_masses_are_counted_over_all_parts(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    rows = [f"{n},c{n}@x.nl,10,2026-03-01" for n in range(1100)]
    export("2026-03-01", *rows)
    header = "order_number,email_address,revenue,order_date,profit"
    export(DAY, *(f"{row},3" for row in rows), header=header)
    run_days(settings, "2026-03-01")
    with pytest.raises(GuardError, match="1,100 corrections in 1,100 rows"):
        run_days(in_parts(settings, 4), DAY)


def test_one_broken_part_keeps_every_part_from_being_posted(
    settings: Settings, export: Export, sandbox: Sandbox, tmp_path: Path
) -> None:
    suites = tmp_path / "suites"
    suites.mkdir()
    for name in ("export.json", "changes.json"):
        suite = json.loads((Path("expectations") / name).read_text())
        if name == "changes.json":
            suite["expectations"].append(
                {
                    "type": "expect_column_values_to_not_match_regex",
                    "severity": "critical",
                    "kwargs": {"column": "order_number", "regex": "^bad$"},
                    "meta": {"rule": "no_bad"},
                }
            )
        (suites / name).write_text(json.dumps(suite))
    there = in_parts(settings, 4).model_copy(update={"expectations": str(suites)})
    export(DAY, *(f"{n},c{n}@x.nl,5,2026-03-02" for n in range(40)), "bad,z@x.nl,5,2026-03-02")
    with pytest.raises(GateError, match="no_bad"):
        run_days(there, DAY)
    assert state(sandbox)["requests"] == 0


def test_a_run_that_one_part_has_stopped_stays_stopped_while_others_go_on(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    there = in_parts(settings, 3)
    export(DAY, *(f"{n},c{n}@x.nl,5,2026-03-02" for n in range(40)))
    run = started(there, DAY)
    pipeline.extract(there, run)
    missing = there.model_copy(update={"expectations": "/nowhere"})
    for part in (1, 2, 3):
        pipeline.classify(there, run, part)
    with pytest.raises(ConfigurationError, match="can't be read"):
        pipeline.validate(missing, run, 1)
    pipeline.validate(there, run, 2)
    with Ledger.open(there.ledger) as ledger:
        assert [one.outcome for one in ledger.runs.latest(1)] == ["stopped"]


def test_a_baseline_in_parts_acknowledges_all_of_them(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    there = in_parts(settings, 4)
    export(DAY, *(f"{n},c{n % 9}@x.nl,5,2026-03-02" for n in range(40)))
    run = Run.start(
        there.runs,
        Scope(
            command="baseline", first=date.fromisoformat(DAY), last=date.fromisoformat(DAY), final=True
        ),
    )
    assert pipeline.baseline(there, run).loaded.acknowledged == 40
    assert run_days(there, DAY)["posted"] == 0


def test_a_dry_run_in_parts_keeps_the_requests_that_the_real_one_would_send(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    export(DAY, *(f"{n},c{n % 9}@x.nl,5,2026-03-02T10:00:{n:02}Z" for n in range(60)))
    bodies = {}
    for number in (1, 4):
        there = in_parts(settings, number).model_copy(update={"chunk_size": 25})
        run = started(there, DAY, dry_run=True)
        summary = pipeline.run_all(there, run).counts()
        assert (summary["would_post"], summary["would_request"]) == (60, 3)
        bodies[number] = (run.folder.path / "requests.jsonl").read_text()
    assert bodies[1] == bodies[4]


def test_a_day_without_orders_may_be_split_as_well(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    export(DAY)
    summary = run_days(in_parts(settings, 3), DAY)
    assert (summary["partitions"], summary["exported"], summary["posted"]) == (3, 0, 0)


def test_the_number_of_parts_goes_by_the_size_of_the_export() -> None:
    rows = partition.ROWS_IN_A_PARTITION
    sizes = (0, 1, rows, rows + 1, 5 * rows, 10_000 * rows)
    assert [partition.choose_number(size) for size in sizes] == [
        1,
        1,
        1,
        2,
        5,
        partition.MOST_PARTITIONS,
    ]
