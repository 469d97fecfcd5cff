"""No day is forgotten: what was not run, was read too early or has changed is seen and made up for."""

from __future__ import annotations

import json
import os
import threading
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from robin_etl import pipeline
from robin_etl.exceptions import (
    BindingError,
    ExportError,
    GateError,
    LedgerBusyError,
    RobinUnavailableError,
)
from robin_etl.exports import files, profiles
from robin_etl.ledger import Binding, ExportRecord, Ledger
from robin_etl.ledger.backup import backup
from robin_etl.ledger.restore import restore
from robin_etl.sandbox.faults import Fault, Faults
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.calendar import Calendar, draw_calendar, find_days_to_retry
from robin_etl.stages.catch_up import plan_catch_up
from robin_etl.stages.pages import INDEX
from robin_etl.stages.run import Run
from tests.conftest import HEADER, Export, run_days
from tests.integration.test_cli import Command, robin_etl
from tests.integration.test_reports import Page

__all__ = ["robin_etl"]  # a fixture

ROW = "1,a@x.nl,5,2026-03-01"
DAYS = tuple(f"2026-03-0{day}" for day in range(1, 8))


def orders(day: str, count: int = 3, *, revenue: str = "10") -> list[str]:
    """New orders of a day."""
    return [f"{day}-{n},c{day}-{n}@x.nl,{revenue},{day}T10:00:00Z" for n in range(count)]


def write_days(export: Export, *days: str) -> None:
    for day in days:
        export(day, *orders(day))


def calendar_of(settings: Settings, until: str = DAYS[-1], days: int = 31) -> Calendar:
    with Ledger.open(settings.ledger, read_only=True) as ledger:
        return draw_calendar(settings, ledger, date.fromisoformat(until), days=days)


def states_of(settings: Settings, until: str = DAYS[-1]) -> dict[str, str]:
    """What is said of each day that is not done."""
    return {
        f"{one.day}": f"{one.state}: {one.why}"
        for one in calendar_of(settings, until).days
        if one.state != "done"
    }


def catch_up(settings: Settings, until: str) -> dict[str, Any]:
    """All stages over what is outstanding; the summary."""
    with Ledger.open(settings.ledger) as ledger:
        planned = plan_catch_up(settings, ledger, date.fromisoformat(until))
    run = Run.start(settings.runs, planned.make_scope("catch-up"))
    return pipeline.run_all(settings, run).counts()


def held_by(sandbox: Sandbox) -> dict[str, float]:
    """What ROBIN holds: the revenue of each order."""
    return {number: order["revenue"] for number, order in sandbox.robin.orders.items()}


def test_a_day_that_was_not_run_is_outstanding_and_a_catch_up_tells_it(
    robin_etl: Command, settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS[:4])
    for day in (DAYS[0], DAYS[1], DAYS[3]):
        run_days(settings, day)
    assert states_of(settings) == {DAYS[2]: "outstanding: never read"}
    shown = robin_etl("status")
    assert f"{DAYS[2]} outstanding: never read" in shown.stdout
    assert "1 day outstanding: robin-etl catch-up runs it." in shown.stdout
    told = robin_etl("catch-up", "--until", DAYS[3])
    assert told.returncode == 0, told.stderr
    assert f"Catching up: {DAYS[2]} (never read)." in told.stderr
    assert "Posted 3 changes in 1 request." in told.stdout
    assert len(sandbox.robin.orders) == 12
    again = robin_etl("catch-up", "--until", DAYS[3])
    assert (again.returncode, again.stdout) == (0, f"No day is outstanding until {DAYS[3]}.\n")
    assert json.loads(robin_etl("status", "--json").stdout)["outstanding"] == []


def test_several_days_of_outage_are_one_run_in_waves(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, DAYS[0], DAYS[1])
    export(DAYS[2], f"{DAYS[1]}-0,c{DAYS[1]}-0@x.nl,4,{DAYS[1]}T10:00:00Z", *orders(DAYS[2]))
    run_days(settings, DAYS[0])
    summary = catch_up(settings, DAYS[2])
    assert (summary["first"], summary["return"], summary["from"], summary["to"]) == (6, 1, *DAYS[1:3])
    assert held_by(sandbox)[f"{DAYS[1]}-0"] == 4
    assert states_of(settings) == {}


def test_an_export_that_was_read_half_written_is_read_again_when_it_is_whole(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    export(DAYS[0], *orders(DAYS[0], 40)[:20])
    run_days(settings, DAYS[0])
    export(DAYS[0], *orders(DAYS[0], 40))
    assert states_of(settings) == {DAYS[0]: "outstanding: changed since it was read"}
    assert catch_up(settings, DAYS[0])["posted"] == 20
    assert len(sandbox.robin.orders) == 40
    assert states_of(settings) == {}


def test_a_last_line_that_is_cut_within_a_cell_is_not_told_and_a_catch_up_heals_it(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    path = export(DAYS[0], *orders(DAYS[0], 30))
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    summary = run_days(settings, DAYS[0])
    assert summary["to_look_at"] == [
        "1 row quarantined",
        f"orders_{DAYS[0]}.csv ends within a line",
    ]
    assert len(sandbox.robin.orders) == 29
    path.write_bytes(whole)
    summary = catch_up(settings, DAYS[0])
    assert (summary["posted"], summary["outcome"]) == (1, "done")
    assert sandbox.robin.orders[f"{DAYS[0]}-29"]["order_date"] == f"{DAYS[0]}T10:00:00Z"


@pytest.mark.parametrize(
    ("name", "whole", "cut"),
    [
        (
            "orders_2026-03-01.jsonl",
            json.dumps(dict(zip(HEADER.split(","), ROW.split(","), strict=True))) + "\n",
            '{"order_number": "2", "email_address": "b@x.nl", "reve',
        ),
        ("orders_2026-03-01.csv", f"{HEADER}\n{ROW}\n", '2,"b@x.n'),
        ("orders_2026-03-01.csv", f"{HEADER}\r\n{ROW}\r\n", "2,b@x.nl,5,2026-0"),
    ],
    ids=["half an object", "an open quote", "line ends of Windows"],
)
def test_half_a_record_at_the_end_is_set_aside_and_named(
    name: str, whole: str, cut: str, settings: Settings, exports: Path, sandbox: Sandbox
) -> None:
    (exports / name).write_text(whole + cut, newline="")
    summary = run_days(settings, DAYS[0])
    assert summary["to_look_at"] == ["1 row quarantined", f"{name} ends within a line"]
    assert list(held_by(sandbox)) == ["1"]


def test_a_system_that_never_ends_the_last_line_is_known_by_the_days_before(
    settings: Settings, exports: Path, sandbox: Sandbox
) -> None:
    for day in DAYS[:2]:
        text = "\n".join([HEADER, *orders(day)])
        (exports / f"orders_{day}.csv").write_text(text)
    assert run_days(settings, DAYS[0])["quarantined"] == 1
    assert run_days(settings, DAYS[1])["outcome"] == "done"
    assert run_days(settings, DAYS[0], command="retry")["outcome"] == "done"
    assert len(sandbox.robin.orders) == 6


def test_an_export_that_was_replaced_is_seen_and_one_that_was_only_touched_is_not_run_again(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS[:2])
    run_days(settings, DAYS[0], DAYS[1])
    path = export(DAYS[0], *orders(DAYS[0], revenue="99"))
    os.utime(path.with_name(f"orders_{DAYS[1]}.csv"), (1, 1))
    assert states_of(settings) == {DAYS[0]: "outstanding: changed since it was read"}
    summary = catch_up(settings, DAYS[1])
    assert (summary["files"], summary["upsell"]) == (1, 3)
    assert states_of(settings) == {}


def test_a_file_that_has_moved_is_not_run_again(
    settings: Settings, export: Export, tmp_path: Path
) -> None:
    write_days(export, *DAYS[:2])
    run_days(settings, DAYS[0], DAYS[1])
    Path(settings.exports).rename(tmp_path / "elsewhere")
    moved = settings.model_copy(update={"exports": str(tmp_path / "elsewhere")})
    assert states_of(moved) == {}


def test_a_stopped_day_is_outstanding_whatever_stopped_it_and_a_dry_run_counts_for_nothing(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS[:3])
    run_days(settings, DAYS[0])
    run_days(settings, DAYS[1], dry_run=True)
    sandbox.robin.faults = Faults(script={1: Fault.ERROR_BEFORE})
    with pytest.raises(RobinUnavailableError):
        run_days(settings, DAYS[2])
    assert states_of(settings) == {
        DAYS[1]: "outstanding: never read",
        DAYS[2]: "outstanding: its run stopped",
    }


def test_a_finished_day_stays_done_where_a_later_run_of_the_same_file_stops(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, DAYS[0])
    run_days(settings, DAYS[0])
    with pytest.raises(BindingError, match="another API key"):
        run_days(settings.model_copy(update={"api_key": settings.api_secret}), DAYS[0])
    assert states_of(settings) == {}


def test_a_missing_day_is_named_once_and_told_when_its_export_comes_after_all(
    robin_etl: Command, settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, DAYS[0], DAYS[2])
    run_days(settings, DAYS[0])
    summary = catch_up(settings, DAYS[2])
    assert summary["to_look_at"] == [f"no export of {DAYS[1]}"]
    assert states_of(settings) == {DAYS[1]: "missing: no export"}
    write_days(export, DAYS[3])
    assert catch_up(settings, DAYS[3])["outcome"] == "done"
    write_days(export, DAYS[1])
    assert states_of(settings) == {DAYS[1]: "outstanding: never read"}
    assert catch_up(settings, DAYS[3])["posted"] == 3
    assert states_of(settings) == {}
    nothing = robin_etl("catch-up", "--until", DAYS[4])
    assert nothing.returncode == 3
    assert nothing.stdout.endswith(f"Degraded: no export of {DAYS[4]}.\n")
    assert robin_etl("catch-up", "--until", DAYS[4]).returncode == 0


def test_the_days_of_a_range_without_an_export_are_named(settings: Settings, export: Export) -> None:
    write_days(export, DAYS[1], DAYS[4])
    summary = run_days(settings, DAYS[0], DAYS[6])
    assert summary["to_look_at"] == [f"no export of {DAYS[2]}, {DAYS[3]}"]
    assert run_days(settings, DAYS[0], DAYS[6])["outcome"] == "done"


def test_a_baseline_counts_and_so_does_every_day_of_a_range(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS[:5])
    run = run_days(settings, DAYS[0], DAYS[2])
    assert run["outcome"] == "done"
    assert states_of(settings) == dict.fromkeys(DAYS[3:5], "outstanding: never read")


def test_named_files_stand_for_their_days_until_the_days_own_change(
    robin_etl: Command, settings: Settings, export: Export, tmp_path: Path
) -> None:
    write_days(export, *DAYS[:2])
    other = tmp_path / f"corrected_{DAYS[1]}.csv"
    other.write_text("\n".join([HEADER, *orders(DAYS[1], revenue="7"), ""]))
    run_days(settings, DAYS[0])
    assert robin_etl("run", str(other)).returncode == 0
    assert states_of(settings) == {}
    export(DAYS[1], *orders(DAYS[1], revenue="8"))
    assert list(states_of(settings)) == [DAYS[1]]


def test_an_exporter_that_is_stuck_leaves_the_run_degraded_by_name(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    first = export(DAYS[0], *orders(DAYS[0], 20))
    run_days(settings, DAYS[0])
    first.with_name(f"orders_{DAYS[1]}.csv").write_bytes(first.read_bytes())
    copied = run_days(settings, DAYS[1])
    assert copied["to_look_at"] == [
        f"orders_{DAYS[1]}.csv is byte for byte the export of {DAYS[0]}",
        f"orders_{DAYS[1]}.csv brings no new order, where the days before had 20",
    ]
    export(DAYS[2], *orders(DAYS[0], 19))
    assert run_days(settings, DAYS[2])["outcome"] == "done"  # half of the days before had none either


def test_what_a_day_repeats_of_itself_is_no_standstill(settings: Settings, export: Export) -> None:
    export(DAYS[0], *orders(DAYS[0], 25))
    export(DAYS[1], *orders(DAYS[1], 25))
    run_days(settings, DAYS[0], DAYS[1])
    assert run_days(settings, DAYS[1])["outcome"] == "done"
    assert run_days(settings, DAYS[0], DAYS[1])["outcome"] == "done"


def test_rejected_orders_are_told_with_their_day_and_retry_runs_just_those_days(
    robin_etl: Command, settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS[:3])
    sandbox.robin.faults = Faults(refused=f"^{DAYS[1]}-1$")
    run_days(settings, DAYS[0], DAYS[2])
    assert states_of(settings) == {DAYS[1]: "degraded: 1 order rejected"}
    assert f"{DAYS[1]}-1 {DAYS[1]} first" in robin_etl("rejected").stdout
    sandbox.robin.faults = Faults()
    retried = robin_etl("retry")
    assert retried.returncode == 0, retried.stderr
    assert f"Running again: {DAYS[1]} (1 order rejected)." in retried.stderr
    assert len(sandbox.robin.orders) == 9
    assert states_of(settings) == {}
    assert robin_etl("retry").stdout == "No day has anything set aside.\n"


def test_what_only_a_refused_row_said_is_told_once_its_day_is_run_again(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    header = f"{HEADER},profit"
    export(DAYS[0], f"1,a@x.nl,10,{DAYS[0]},3", header=header)
    export(DAYS[1], f"1,a@x.nl,10,{DAYS[0]},", header=header)
    sandbox.robin.faults = Faults(refused="^1$")
    run_days(settings, DAYS[0])
    sandbox.robin.faults = Faults()
    run_days(settings, DAYS[1])
    assert sandbox.robin.orders["1"].get("profit") is None
    assert states_of(settings) == {DAYS[0]: "degraded: 1 change waiting"}
    with Ledger.open(settings.ledger, read_only=True) as ledger:
        assert [one.day for one in find_days_to_retry(ledger)] == [date(2026, 3, 1)]
    run_days(settings, DAYS[0], command="retry")
    assert sandbox.robin.orders["1"]["profit"] == 3
    assert states_of(settings) == {}


def test_a_ledger_that_knows_orders_and_no_day_reads_the_last_days_again(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS[:4])
    run_days(settings, DAYS[0], DAYS[3])
    with Ledger.open(settings.ledger) as ledger:
        ledger.exports.remove(date(2026, 3, 1), date(2026, 3, 4))
    assert set(states_of(settings)) == set(DAYS[:4])
    assert catch_up(settings, DAYS[3])["posted"] == 0
    assert states_of(settings) == {}


def test_a_catch_up_reaches_back_so_many_days_and_says_what_lies_before(
    robin_etl: Command, settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS)
    run_days(settings, DAYS[0])
    done = robin_etl("catch-up", "--until", DAYS[6], CATCH_UP_DAYS="2")
    assert done.returncode == 0, done.stderr
    assert "3 days before the last 2 days were never run: robin-etl backfill runs them." in done.stderr
    assert sorted({number[:10] for number in held_by(sandbox)}) == [DAYS[0], *DAYS[4:]]


BAD = {
    "no export at all": "this is no export\n1,2\n",
    "rows that can't be sent": "\n".join([HEADER, *(f"{n},,1,{DAYS[1]}" for n in range(12)), ""]),
    "cut off within a quote": f'{HEADER}\n1,"a@x.nl,1,{DAYS[1]}\n2,b@x.nl,1,{DAYS[1]}\n',
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_an_older_day_that_would_stop_a_catch_up_is_left_out_and_stays_outstanding(
    content: str, settings: Settings, exports: Path, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, DAYS[0], DAYS[2], DAYS[3])
    run_days(settings, DAYS[0])
    bad = exports / f"orders_{DAYS[1]}.csv"
    bad.write_text(content)
    summary = catch_up(settings, DAYS[3])
    assert summary["to_look_at"] == [f"{bad.name} stops a run, and is left out"]
    assert (summary["posted"], summary["outstanding"]) == (6, [DAYS[1]])
    assert states_of(settings) == {DAYS[1]: "outstanding: its run stopped"}
    write_days(export, DAYS[1])
    assert catch_up(settings, DAYS[3])["posted"] == 3
    assert states_of(settings) == {}


def test_a_day_with_two_exports_holds_no_other_day_back(
    settings: Settings, exports: Path, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS[:3])
    run_days(settings, DAYS[0])
    second = exports / f"orders_{DAYS[1]}.jsonl"
    second.write_text("{}")
    assert states_of(settings)[DAYS[1]] == "outstanding: it has two exports"
    summary = catch_up(settings, DAYS[2])
    assert summary["to_look_at"] == [f"{DAYS[1]} has two exports, and is left out"]
    assert (summary["posted"], summary["outstanding"]) == (3, [DAYS[1]])
    second.unlink()
    assert catch_up(settings, DAYS[2])["posted"] == 3


def test_the_day_of_a_catch_up_itself_stops_it(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS[:2])
    run_days(settings, DAYS[0])
    export(DAYS[2], *(f"{n},,1,{DAYS[1]}" for n in range(12)))
    with pytest.raises(GateError):
        catch_up(settings, DAYS[2])
    assert set(states_of(settings)) == {DAYS[1], DAYS[2]}


def test_a_ledger_that_knows_no_day_catches_up_with_the_day_alone(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS[:3])
    assert catch_up(settings, DAYS[2])["posted"] == 3


def test_an_export_that_changes_while_it_is_read_stops_the_run(
    settings: Settings, export: Export
) -> None:
    path = export(DAYS[0], *orders(DAYS[0], 100))
    reading = files.read_batches(
        settings.path(str(path)), profiles.load_profile("robin"), date(2026, 3, 1), batch_bytes=1000
    )
    next(reading)
    with path.open("a") as file:
        file.write(f"x,x@x.nl,1,{DAYS[0]}\n")
    with pytest.raises(ExportError, match="changed while it was read"):
        list(reading)


def test_the_files_of_a_day_are_one_export_in_the_order_of_their_names(
    settings: Settings, exports: Path, sandbox: Sandbox
) -> None:
    folder = exports / "20260301"
    folder.mkdir()
    for name, revenue in (("part-1.csv", 1), ("part-2.csv", 2)):
        rows = [f"{name},{name}@x.nl,5,{DAYS[0]}", f"shared,s@x.nl,{revenue},{DAYS[0]}"]
        (folder / name).write_text("\n".join([HEADER, *rows, ""]))
    parts = settings.model_copy(update={"exports": f"{exports}/{{date:%Y%m%d}}/part-*.csv"})
    assert run_days(parts, DAYS[0])["files"] == 2
    assert held_by(sandbox) == {"part-1.csv": 5, "part-2.csv": 5, "shared": 2}
    (folder / "part-3.csv").write_text(f"{HEADER}\nlate,l@x.nl,5,{DAYS[0]}\n")
    assert states_of(parts) == {DAYS[0]: "outstanding: 1 further file never read"}
    catch_up(parts, DAYS[0])
    assert held_by(sandbox)["late"] == 5


def test_the_index_draws_what_robin_acknowledged_by_day_ranges_included(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS[:3])
    run_days(settings, DAYS[0], DAYS[1])
    sandbox.robin.faults = Faults(script={1: Fault.ERROR_BEFORE})
    with pytest.raises(RobinUnavailableError):
        run_days(settings, DAYS[2])
    with Ledger.open(settings.ledger) as ledger:
        counted = ledger.exports.acknowledged(10)
    assert counted.to_numpy().tolist() == [[DAYS[0], "first", 3], [DAYS[1], "first", 3]]
    index = Page(Path(settings.runs) / INDEX)
    assert f"{DAYS[2]} outstanding : its run stopped" in index.text
    assert "01 Mar done" in index.text


def test_status_adds_up_what_robin_was_told_by_month_and_by_day(
    robin_etl: Command, settings: Settings, export: Export
) -> None:
    rows = [
        "1,a@x.nl,10,2026-02-28T23:30:00Z",
        "2,a@x.nl,5,2026-03-01T00:30:00Z",
        "3,b@x.nl,2.50,2026-03-01T01:00:00Z",
    ]
    export(DAYS[0], *rows)
    run_days(settings, DAYS[0])
    by_month = json.loads(robin_etl("status", "--by", "month", "--json").stdout)
    assert [(one["period"], one["acquisition"], one["retention"]) for one in by_month] == [
        ("2026-02", 1000, 0),
        ("2026-03", 250, 500),
    ]
    local = robin_etl("status", "--by", "month", TIMEZONE="Europe/Amsterdam").stdout
    assert local.splitlines()[1].split() == ["2026-03", "3", "2", "12.50", "5.00", "17.50", "0.00"]
    by_day = robin_etl("status", "--by", "day", TIMEZONE="Asia/Kolkata").stdout
    assert by_day.splitlines()[1].split()[:2] == ["2026-03-01", "3"]


def test_the_very_first_run_that_stops_is_made_up_for_the_day_after(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS[:2])
    sandbox.robin.faults = Faults(script={1: Fault.ERROR_BEFORE})
    with pytest.raises(RobinUnavailableError):
        run_days(settings, DAYS[0])
    assert states_of(settings, DAYS[1]) == {
        DAYS[0]: "outstanding: its run stopped",
        DAYS[1]: "outstanding: never read",
    }
    assert catch_up(settings, DAYS[1])["posted"] == 6
    assert states_of(settings) == {}


def test_a_bad_row_a_day_holds_no_catch_up_back_that_it_would_not_have_held_back_day_by_day(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    for day in DAYS:
        export(day, *orders(day, 5), *(f"{day}-bad{n},,1,{day}" for n in range(2)))
    run_days(settings, DAYS[0])
    summary = catch_up(settings, DAYS[-1])
    assert (summary["posted"], summary["quarantined"]) == (30, 12)
    assert set(states_of(settings).values()) == {"degraded: 2 rows quarantined"}


def test_a_day_that_is_to_be_retried_and_has_no_export_any_more_is_named(
    robin_etl: Command, settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS[:2])
    sandbox.robin.faults = Faults(refused="-1$")
    run_days(settings, DAYS[0], DAYS[1])
    sandbox.robin.faults = Faults()
    (Path(settings.exports) / f"orders_{DAYS[0]}.csv").unlink()
    retried = robin_etl("retry")
    assert retried.returncode == 3
    assert f"no export of {DAYS[0]}" in retried.stdout, retried.stdout
    assert len(sandbox.robin.orders) == 5
    gone = robin_etl("retry")
    assert gone.returncode == 1
    assert f"There is no export for {DAYS[0]}" in gone.stderr


def test_a_file_that_was_touched_or_has_moved_is_read_once_and_then_known(
    robin_etl: Command, settings: Settings, export: Export, tmp_path: Path, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS[:3])
    run_days(settings, DAYS[0], DAYS[2])
    os.utime(Path(settings.exports) / f"orders_{DAYS[0]}.csv", (1, 1))
    assert len(calendar_of(settings).unchanged) == 1
    assert robin_etl("catch-up", "--until", DAYS[2], "--dry-run").returncode == 0
    assert len(calendar_of(settings).unchanged) == 1
    assert robin_etl("catch-up", "--until", DAYS[2]).returncode == 0
    assert calendar_of(settings).unchanged == ()
    Path(settings.exports).rename(tmp_path / "elsewhere")
    moved = settings.model_copy(update={"exports": str(tmp_path / "elsewhere")})
    (tmp_path / "elsewhere" / f"orders_{DAYS[3]}.csv").write_text(
        "\n".join([HEADER, *orders(DAYS[3]), ""])
    )
    assert len(calendar_of(moved).unchanged) == 3
    catch_up(moved, DAYS[3])
    assert calendar_of(moved).unchanged == ()
    with Ledger.open(settings.ledger, read_only=True) as ledger:
        assert ledger.exports.row_counts(7) == [3, 3, 3, 3]


def test_a_catch_up_in_a_dry_run_shows_what_it_would_post_and_leaves_everything_outstanding(
    robin_etl: Command, settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS[:3])
    empty = robin_etl("catch-up", "--until", DAYS[0], "--dry-run", "--json")
    assert (empty.returncode, json.loads(empty.stdout)["would_post"]) == (0, 3)
    run_days(settings, DAYS[0])
    before = states_of(settings)
    shown = robin_etl("catch-up", "--until", DAYS[3], "--dry-run", "--json")
    assert shown.returncode == 3, shown.stderr
    summary = json.loads(shown.stdout)
    assert (summary["would_post"], summary["missing"]) == (6, [DAYS[3]])
    assert states_of(settings) == before
    assert len(sandbox.robin.orders) == 3


def test_a_day_that_another_run_finishes_meanwhile_is_posted_once(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    write_days(export, *DAYS[:3])
    run_days(settings, DAYS[0])
    with Ledger.open(settings.ledger) as ledger:
        planned = plan_catch_up(settings, ledger, date.fromisoformat(DAYS[2]))
        run = Run.start(settings.runs, planned.make_scope("catch-up"))
        with ledger.lock.hold("another"), pytest.raises(LedgerBusyError):
            pipeline.run_all(settings, run)
    assert set(states_of(settings).values()) == {"outstanding: its run stopped"}
    run_days(settings, DAYS[1])
    assert pipeline.run_all(settings, run).counts()["posted"] == 3
    assert states_of(settings) == {}
    assert sandbox.robin.read_state()["complaints"] == []


@pytest.mark.parametrize("place", ["s3://shop/exports", "sftp://127.0.0.1:1/exports"])
def test_status_says_why_exports_can_not_be_listed_and_shows_the_rest(
    place: str,
    robin_etl: Command,
    settings: Settings,
    export: Export,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "key")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    write_days(export, DAYS[0])
    run_days(settings, DAYS[0])
    gone = {"EXPORTS": place}
    shown = robin_etl("status", **gone)
    assert shown.returncode == 0
    assert "Which days are outstanding is not known: " in shown.stderr
    assert DAYS[0] in shown.stdout
    assert json.loads(robin_etl("status", "--json", **gone).stdout)["outstanding"] == []
    stopped = robin_etl("catch-up", "--until", DAYS[1], **gone)
    assert stopped.returncode == 1
    assert "can't be listed" in stopped.stderr
    assert "Traceback" not in stopped.stderr


class Shelf(BaseHTTPRequestHandler):
    """A web server without any file; it notes what it is asked for."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


def test_a_web_server_is_asked_for_the_days_within_reach_alone(settings: Settings) -> None:
    Shelf.asked = []
    with Ledger.open(settings.ledger) as ledger:
        ledger.exports.record([ExportRecord(date(2024, 1, 1), "x", outcome="done", read_at="x")])
    with ThreadingHTTPServer(("127.0.0.1", 0), Shelf) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        exports = f"http://127.0.0.1:{server.server_address[1]}/{{date}}.csv"
        drawn = calendar_of(settings.model_copy(update={"exports": exports}), until=DAYS[-1], days=6)
        server.shutdown()
    assert {path[1:11] for path in Shelf.asked} == {*DAYS}
    assert drawn.older == 0


def test_a_ledger_from_an_older_backup_has_its_days_outstanding_again_and_posts_nothing_twice(
    settings: Settings, export: Export, sandbox: Sandbox, tmp_path: Path
) -> None:
    write_days(export, *DAYS[:3])
    run_days(settings, DAYS[0])
    copy = str(tmp_path / "backup.db")
    backup(settings.ledger, copy)
    run_days(settings, DAYS[1], DAYS[2])
    restore(settings.ledger, copy, UPath(settings.runs) / "journals", Binding.of(settings))
    assert states_of(settings) == dict.fromkeys(DAYS[1:3], "outstanding: never read")
    requests = sandbox.robin.read_state()["requests"]
    assert catch_up(settings, DAYS[2])["unchanged"] == 6
    assert sandbox.robin.read_state()["requests"] == requests
    assert states_of(settings) == {}


def test_days_are_looked_after_in_postgresql_alike(
    settings: Settings, export: Export, sandbox: Sandbox, postgresql: str
) -> None:
    there = settings.model_copy(update={"ledger": postgresql})
    write_days(export, *DAYS[:2], DAYS[3])
    sandbox.robin.faults = Faults(script={1: Fault.ERROR_BEFORE})
    with pytest.raises(RobinUnavailableError):
        run_days(there, DAYS[0])
    summary = catch_up(there, DAYS[3])
    assert (summary["posted"], summary["missing"]) == (9, [DAYS[2]])
    os.utime(Path(settings.exports) / f"orders_{DAYS[0]}.csv", (1, 1))
    export(DAYS[1], *orders(DAYS[1], revenue="99"))
    assert states_of(there)[DAYS[1]] == "outstanding: changed since it was read"
    assert catch_up(there, DAYS[3])["upsell"] == 3
    assert calendar_of(there).unchanged == ()
    assert states_of(there) == {DAYS[2]: "missing: no export"}
