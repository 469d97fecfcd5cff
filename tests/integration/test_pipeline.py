"""The stages, end to end, against the sandbox."""

from __future__ import annotations

import gzip
import json
import os
import stat
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from robin_etl import pipeline
from robin_etl.exceptions import (
    AuthenticationError,
    ExportError,
    ExportMissingError,
    GateError,
    GuardError,
    LedgerBusyError,
    RobinUnavailableError,
    StoppedError,
)
from robin_etl.ledger import Ledger
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run
from tests.conftest import KEY, SECRET, Export, run_days

KINDS = ("first", "repeat", "return", "upsell", "correction")


def told(sandbox: Sandbox) -> dict[str, Any]:
    state = sandbox.robin.read_state()
    assert state["complaints"] == []
    orders: dict[str, Any] = state["orders"]
    return orders


def counts(summary: dict[str, Any]) -> dict[str, int]:
    return {kind: summary[kind] for kind in KINDS if summary[kind]}


class Recording(Robin):
    """A ROBIN that keeps every request it was sent."""

    def __init__(self) -> None:
        super().__init__(KEY, SECRET, limits=())
        self.bodies: list[list[dict[str, Any]]] = []
        self.statuses_to_give: list[int] = []

    def answer(self, authorization: str | None, body: bytes) -> tuple[int, Any]:
        self.bodies.append(json.loads(body)["orders"])
        if self.statuses_to_give and (status := self.statuses_to_give.pop(0)) != 201:
            return status, {"error": "told to"}
        return super().answer(authorization, body)


def test_the_four_situations_are_posted_literally_as_robin_documents_them(
    settings: Settings, export: Export
) -> None:
    first, later = "2017-04-05T12:34:56Z", "2017-04-07T13:44:56Z"
    export("2017-04-05", f"O1234,ann@x.nl,10,{first}", f"O4000,bob@x.nl,1,{first}")
    export("2017-04-06", "O1235,ann@x.nl,15,2017-04-06T09:00:00Z", f"O4321,bob@x.nl,20,{later}")
    export("2017-04-07", f"O1234,ann@x.nl,5,{first}", f"O4321,bob@x.nl,30,{later}")
    robin = Recording()
    with Sandbox(robin) as sandbox:
        there = settings.model_copy(update={"base_url": sandbox.url})
        for day in ("2017-04-05", "2017-04-06", "2017-04-07"):
            run_days(there, day)
        told(sandbox)
    sent = {
        order["order_number"] + f"@{at}": order for at, body in enumerate(robin.bodies) for order in body
    }
    assert sent["O1234@0"] == {
        "order_number": "O1234",
        "email_address": "ann@x.nl",
        "revenue": 10,
        "order_date": first,
        "is_first_order": True,
    }
    assert sent["O1235@1"] == {
        "order_number": "O1235",
        "email_address": "ann@x.nl",
        "revenue": 15,
        "order_date": "2017-04-06T09:00:00Z",
        "is_first_order": False,
    }
    assert sent["O1234@2"] == {
        "order_number": "O1234",
        "email_address": "ann@x.nl",
        "revenue": 5,
        "old_revenue": 10,
        "order_date": first,
        "is_first_order": True,
    }
    assert sent["O4321@2"] == {
        "order_number": "O4321",
        "email_address": "bob@x.nl",
        "revenue": 30,
        "old_revenue": 20,
        "order_date": later,
        "is_first_order": False,
    }


def test_a_bad_row_is_quarantined_as_it_was_and_the_rest_goes_on(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    good = [f"{n},c{n}@x.nl,1,2026-03-01" for n in range(20)]
    export("2026-03-01", *good, '"0099", ,"1,5",x')
    summary = run_days(settings, "2026-03-01")
    assert summary["quarantined"] == 1
    assert summary["posted"] == len(told(sandbox)) == 20
    kept = pd.read_csv(Path(settings.runs) / summary["run"] / "quarantine.csv", dtype=str)
    assert kept.to_dict("records") == [
        {
            "file": "orders_2026-03-01.csv",
            "line": "22",
            "rules": "contact_present; revenue_is_a_number; order_date_readable",
            "order_number": "0099",
            "email_address": " ",
            "revenue": "1,5",
            "order_date": "x",
        }
    ]


def test_the_last_row_of_an_order_wins_and_the_others_are_counted(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    rows = [f"1,a@x.nl,{revenue},2026-03-01" for revenue in (10, 20, 30)]
    summary = run_days(settings, _written(export, "2026-03-01", *rows))
    assert summary["duplicates"] == 2
    assert told(sandbox)["1"]["revenue"] == 30


def test_a_bad_last_row_does_not_bring_an_older_one_back(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    others = [f"{n},c{n}@x.nl,1,2026-03-01" for n in range(100, 130)]
    rows = ["1,a@x.nl,10,2026-03-01", "1,a@x.nl,oops,2026-03-01"]
    summary = run_days(settings, _written(export, "2026-03-01", *others, *rows))
    assert summary["quarantined"] == 1
    assert "1" not in told(sandbox)


def _written(export: Export, day: str, *rows: str) -> str:
    export(day, *rows)
    return day


def test_running_a_day_again_posts_nothing(settings: Settings, export: Export, sandbox: Sandbox) -> None:
    export("2026-03-01", "1,a@x.nl,10,2026-03-01", "2,a@x.nl,10,2026-03-01")
    assert run_days(settings, "2026-03-01")["posted"] == 2
    again = run_days(settings, "2026-03-01")
    assert (again["posted"], again["requests"], again["unchanged"]) == (0, 0, 2)
    told(sandbox)


def test_a_run_that_fails_half_way_goes_on_where_it_stopped(settings: Settings, export: Export) -> None:
    export("2026-03-01", *(f"{n:03},c{n % 7}@x.nl,10,2026-03-01T00:00:{n:02}Z" for n in range(50)))
    export("2026-03-02", *(f"{n:03},c{n % 7}@x.nl,5,2026-03-01T00:00:{n:02}Z" for n in range(50)))
    robin = Recording()
    robin.statuses_to_give = [201] * 7 + [503]
    with Sandbox(robin) as sandbox:
        sizes = {"chunk_size": 10, "concurrency": 1}
        there = settings.model_copy(update={"base_url": sandbox.url, **sizes})
        with pytest.raises(RobinUnavailableError, match="has acknowledged 70 changes of this run"):
            run_days(there, "2026-03-01", "2026-03-02")
        summary = run_days(there, "2026-03-01", "2026-03-02")
        assert summary["posted"] == 30
        assert all(order["revenue"] == 5 for order in told(sandbox).values())
    with Ledger.open(settings.ledger) as ledger:
        assert [run.outcome for run in ledger.runs.latest(2)] == ["done", "stopped"]


def test_a_load_that_is_tried_again_posts_only_the_rest(settings: Settings, export: Export) -> None:
    export("2026-03-01", *(f"{n},c{n}@x.nl,10,2026-03-01" for n in range(30)))
    robin = Recording()
    robin.statuses_to_give = [201, 503]
    with Sandbox(robin) as sandbox:
        there = settings.model_copy(update={"base_url": sandbox.url, "chunk_size": 10})
        day = date(2026, 3, 1)
        started = Run.start(there.runs, Scope(command="airflow", first=day, last=day))
        pipeline.extract(there, started)
        pipeline.classify(there, started)
        pipeline.validate(there, started)
        with pytest.raises(RobinUnavailableError):
            pipeline.load(there, Run.open(started.location))
        pipeline.load(there, Run.open(started.location))
        summary = pipeline.report(there, started).counts()
        assert len(told(sandbox)) == 30
    assert (summary["first"], summary["posted"]) == (30, 30)
    assert (summary["requests"], summary["in_doubt"]) == (4, 10)


def test_changes_that_another_run_overtook_are_made_anew_before_they_are_posted(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", "1,a@x.nl,10,2026-03-01")
    export("2026-03-02", "1,a@x.nl,20,2026-03-01", "2,a@x.nl,20,2026-03-02")
    day = date(2026, 3, 2)
    slow = Run.start(settings.runs, Scope(command="run", first=day, last=day))
    pipeline.extract(settings, slow)
    pipeline.classify(settings, slow)
    pipeline.validate(settings, slow)
    run_days(settings, "2026-03-01")
    pipeline.load(settings, slow)
    assert {number: order["revenue"] for number, order in told(sandbox).items()} == {"1": 20, "2": 20}
    assert sandbox.robin.read_state()["situations"] == {"first": 1, "upsell": 1, "repeat": 1}


def test_days_in_any_order_end_the_same(settings: Settings, export: Export, sandbox: Sandbox) -> None:
    export("2026-03-01", "1,a@x.nl,10,2026-03-01", "2,b@x.nl,10,2026-03-01")
    export("2026-03-02", "1,a@x.nl,4,2026-03-01", "3,a@x.nl,10,2026-03-02")
    export("2026-03-03", "1,a@x.nl,10,2026-03-01")
    for day in ("2026-03-03", "2026-03-01", "2026-03-02"):
        run_days(settings, day)
    orders = told(sandbox)
    assert orders["1"]["revenue"] == 10
    assert [number for number, order in orders.items() if order["is_first_order"]] == ["1", "2"]


def test_an_order_that_leaves_a_customer_makes_the_next_one_first_by_the_earlier_export(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", "1,ann@x.nl,10,2026-03-01T01:00:00Z", "2,ann@x.nl,10,2026-03-01T02:00:00Z")
    export("2026-03-02", "1,bob@x.nl,10,2026-03-01T01:00:00Z")
    run_days(settings, "2026-03-01")
    summary = run_days(settings, "2026-03-02")
    assert counts(summary) == {"correction": 2}
    orders = told(sandbox)
    assert orders["2"]["email_address"] == "ann@x.nl"
    assert orders["2"]["is_first_order"]


def test_a_correction_without_any_known_address_waits_until_there_is_one(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    gone = export(
        "2026-03-01", "1,ann@x.nl,10,2026-03-01T01:00:00Z", "2,ann@x.nl,10,2026-03-01T02:00:00Z"
    )
    run_days(settings, "2026-03-01")
    gone.unlink()
    export("2026-03-02", "1,bob@x.nl,10,2026-03-01T01:00:00Z")
    assert run_days(settings, "2026-03-02")["without_contact"] == 1
    export("2026-03-03", "3,ann@x.nl,10,2026-03-03")
    assert counts(run_days(settings, "2026-03-03")) == {"repeat": 1, "correction": 1}
    told(sandbox)


def test_a_dry_run_touches_neither_robin_nor_ledger_and_keeps_what_it_would_send(
    settings: Settings, export: Export, sandbox: Sandbox, tmp_path: Path
) -> None:
    export("2026-03-01", "1,a@x.nl,10,2026-03-01", "2,a@x.nl,10,2026-03-02")
    export("2026-03-02", "1,a@x.nl,4,2026-03-01")
    summary = run_days(settings, "2026-03-01", "2026-03-02", dry_run=True)
    assert (summary["would_post"], summary["would_request"]) == (3, 2)
    assert sandbox.robin.read_state()["requests"] == 0
    assert not (tmp_path / "ledger.db").exists()
    kept = (Path(settings.runs) / summary["run"] / "requests.jsonl").read_text().splitlines()
    assert [len(json.loads(line)["orders"]) for line in kept] == [2, 1]
    real = run_days(settings, "2026-03-01", "2026-03-02")
    assert (real["posted"], real["requests"]) == (3, 2)


def test_a_baseline_is_acknowledged_without_a_post_and_later_days_build_on_it(
    settings: Settings, export: Export
) -> None:
    export("2026-03-01", "1,a@x.nl,10,2026-03-01", "2,b@x.nl,10,2026-03-01")
    export("2026-03-02", "1,a@x.nl,4,2026-03-01", "3,b@x.nl,1,2026-03-02", "4,c@x.nl,1,2026-03-02")
    day = date(2026, 3, 1)
    robin = Recording()
    with Sandbox(robin) as sandbox:
        there = settings.model_copy(update={"base_url": sandbox.url})
        started = Run.start(there.runs, Scope(command="baseline", first=day, last=day, final=True))
        summary = pipeline.baseline(there, started).counts()
        assert (summary["acknowledged"], summary["posted"]) == (2, 0)
        assert robin.bodies == []
        assert counts(run_days(there, "2026-03-02")) == {"first": 1, "repeat": 1, "return": 1}
    assert robin.bodies[0][0]["old_revenue"] == 10


def test_a_gate_that_stops_the_run_posts_nothing_and_says_why_in_its_files(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", "1,a@x.nl,eleven,2026-03-01", "2,a@x.nl,ten,2026-03-01")
    with pytest.raises(GateError, match=r"2 of 2 rows break a rule \(revenue_is_a_number 2\)"):
        run_days(settings, "2026-03-01")
    assert sandbox.robin.read_state()["requests"] == 0
    (folder,) = Path(settings.runs).glob("*/")
    assert json.loads((folder / "verdict_export.json").read_text())["broken_rows"] == 2
    assert "ten" in (folder / "quarantine.csv").read_text()
    with Ledger.open(settings.ledger) as ledger:
        assert ledger.runs.latest(1)[0].outcome == "stopped"


def test_a_day_without_orders_succeeds(settings: Settings, export: Export, sandbox: Sandbox) -> None:
    export("2026-03-01")
    summary = run_days(settings, "2026-03-01")
    assert (summary["exported"], summary["posted"], summary["requests"]) == (0, 0, 0)


def test_a_day_without_an_export_is_an_error_and_in_a_range_a_closed_day(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    with pytest.raises(ExportMissingError, match="There is no export for 2026-03-01"):
        run_days(settings, "2026-03-01")
    export("2026-03-03", "1,a@x.nl,10,2026-03-01")
    assert run_days(settings, "2026-03-01", "2026-03-05")["posted"] == 1


def test_corrections_in_masses_stop_the_run_unless_they_are_allowed(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    header = "order_number,email_address,revenue,order_date,profit"
    rows = [f"{n},c{n}@x.nl,10,2026-03-01" for n in range(1100)]
    export("2026-03-01", *rows)
    export("2026-03-02", *(f"{row},3" for row in rows), header=header)
    run_days(settings, "2026-03-01")
    with pytest.raises(GuardError, match="1,100 corrections in 1,100 rows") as caught:
        run_days(settings, "2026-03-02")
    assert caught.value.guards == ("corrections",)
    summary = run_days(settings, "2026-03-02", allow=("corrections",))
    assert summary["correction"] == summary["posted"] == 1100
    told(sandbox)


def test_a_thousand_corrections_or_a_fifth_of_the_rows_pass(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    header = "order_number,email_address,revenue,order_date,profit"
    rows = [f"{n},c{n}@x.nl,10,2026-03-01" for n in range(5100)]
    export("2026-03-01", *rows[:5010])
    export("2026-03-02", *(f"{row},3" for row in rows[:1000]), header=header)
    mixed = [f"{row}," if n > 1010 else f"{row},4" for n, row in enumerate(rows)]
    export("2026-03-03", *mixed, header=header)
    run_days(settings, "2026-03-01")
    assert run_days(settings, "2026-03-02")["correction"] == 1000
    assert run_days(settings, "2026-03-03")["correction"] == 1011


def test_far_fewer_rows_than_the_days_before_are_a_warning_not_a_stop(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    for day in ("2026-03-01", "2026-03-02"):
        export(day, *(f"{n},c{n}@x.nl,10,2026-03-01" for n in range(100)))
        assert run_days(settings, day)["warnings"] == []
    export("2026-03-03", "7,c7@x.nl,10,2026-03-01")
    assert run_days(settings, "2026-03-03")["warnings"] == ["volume"]


def test_a_wrong_secret_is_one_request_and_stays_out_of_every_file(
    settings: Settings, export: Export, sandbox: Sandbox, tmp_path: Path
) -> None:
    export("2026-03-01", *(f"{n},c{n}@x.nl,10,2026-03-01" for n in range(300)))
    wrong = Settings.read(**{**settings.model_dump(), "api_secret": "hush-hush-hush"})
    with pytest.raises(AuthenticationError, match="Nothing more was sent"):
        run_days(wrong, "2026-03-01")
    assert sandbox.robin.read_state()["statuses"] == {"401": 1}
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"hush-hush-hush" not in path.read_bytes(), path


def test_while_another_run_posts_this_one_stops_with_a_sentence(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", "1,a@x.nl,10,2026-03-01")
    with Ledger.open(settings.ledger) as other, other.lock.hold("other"), pytest.raises(LedgerBusyError):
        run_days(settings, "2026-03-01")
    assert run_days(settings, "2026-03-01")["posted"] == 1


def test_addresses_are_in_the_runs_own_files_alone_and_those_are_the_owners(
    settings: Settings, export: Export, sandbox: Sandbox, tmp_path: Path
) -> None:
    export("2026-03-01", "1,ann.person@x.nl,10,2026-03-01")
    summary = run_days(settings, "2026-03-01")
    folder = Path(settings.runs) / summary["run"]
    holding = {path.name for path in folder.iterdir() if b"ann.person" in path.read_bytes()}
    assert holding == {"exported.parquet", "changes.parquet"}
    for path in tmp_path.glob("ledger.db*"):
        assert b"ann.person" not in path.read_bytes()
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in folder.iterdir()} == {0o600}


def test_a_folder_that_holds_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match="There is no run in"):
        Run.open(str(tmp_path))


@pytest.mark.parametrize("chunk_size", [1, 3, 1000])
def test_the_chunk_size_changes_nothing_but_the_requests(
    settings: Settings, export: Export, sandbox: Sandbox, chunk_size: int
) -> None:
    export("2026-03-01", *(f"{n},c{n % 3}@x.nl,10,2026-03-01T00:00:0{n}Z" for n in range(7)))
    export("2026-03-02", *(f"{n},c{n % 3}@x.nl,{n},2026-03-01T00:00:0{n}Z" for n in range(7)))
    sized = settings.model_copy(update={"chunk_size": chunk_size})
    summary = run_days(sized, "2026-03-01", "2026-03-02")
    assert summary["requests"] == 2 * -(-7 // chunk_size)
    assert [order["revenue"] for order in told(sandbox).values()] == list(range(7))


def test_a_run_waits_for_the_marker_that_says_an_export_is_whole(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    careful = settings.model_copy(update={"done_marker": ".done"})
    path = export("2026-03-01", "1,a@x.nl,10,2026-03-01")
    with pytest.raises(ExportMissingError):
        run_days(careful, "2026-03-01")
    path.with_name(f"{path.name}.done").touch()
    assert run_days(careful, "2026-03-01")["posted"] == 1
    assert len(sandbox.robin.orders) == 1


def test_a_bomb_is_refused_by_the_limit_that_is_set(settings: Settings, exports: Path) -> None:
    (exports / "orders_2026-03-01.csv.gz").write_bytes(gzip.compress(b"order_number\n" * 1_000_000))
    small = settings.model_copy(update={"max_export_size": 1_000_000})
    with pytest.raises(ExportError, match="more than 1,000,000 bytes"):
        run_days(small, "2026-03-01")
