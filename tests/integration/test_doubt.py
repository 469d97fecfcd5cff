"""Doubt is settled first: whatever was lost, and whatever the exports say by the next try."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from robin_etl import pipeline
from robin_etl.core.payload import make_changes
from robin_etl.exceptions import BindingError, LedgerBusyError, RobinEtlError, RobinUnavailableError
from robin_etl.ledger import Ledger
from robin_etl.sandbox.faults import Fault, Faults
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run
from robin_etl.upkeep import forget, prune
from tests import processes
from tests.conftest import KEY, SECRET, Export, run_days
from tests.integration.test_cli import environment

DAYS = [f"2026-03-0{day}" for day in range(1, 5)]
NUMBERS = [f"{n}" for n in range(1, 7)]
CHUNK = 2


def rows(day: int, *, corrected: int = 0, numbers: list[str] = NUMBERS) -> list[str]:
    """A day's rows: every order at another amount each day, and another one once it is corrected."""
    more = 10 * day + corrected
    return [
        f"{number},c{int(number) % 2}@x.nl,{more + int(number)},2026-03-01T10:00:0{number}Z"
        for number in numbers
    ]


@dataclass
class Shop:
    """A shop whose runs send one request at a time, two orders in each, and try each once."""

    settings: Settings
    export: Export
    robin: Robin

    def run(self, day: int, **options: Any) -> dict[str, Any]:
        return run_days(self.settings, DAYS[day - 1], **options)

    def lose(self, request: int, fault: Fault = Fault.RESET_AFTER) -> None:
        """Lose the answer to this request from now on."""
        self.robin.faults = Faults(script={request: fault})

    def held(self) -> dict[str, float]:
        return {number: order["revenue"] for number, order in self.robin.orders.items()}

    def open_ledger(self) -> Ledger:
        return Ledger.open(self.settings.ledger)

    def complaints(self) -> list[str]:
        """What ROBIN complains of, but for what it was told twice."""
        said: list[str] = self.robin.read_state()["complaints"]
        return [one for one in said if "told twice" not in one]


@pytest.fixture
def shop(settings: Settings, export: Export, sandbox: Sandbox) -> Shop:
    slow = settings.model_copy(update={"chunk_size": CHUNK, "concurrency": 1, "backoff": 0.0})
    return Shop(slow, export, sandbox.robin)


@pytest.fixture
def on_postgresql(shop: Shop, request: pytest.FixtureRequest) -> Shop:
    url = request.getfixturevalue("postgresql")
    return Shop(shop.settings.model_copy(update={"ledger": url}), shop.export, shop.robin)


def amounts(day: int, corrected: int = 0) -> dict[str, float]:
    return {number: float(10 * day + corrected + int(number)) for number in NUMBERS}


def check_a_lost_answer(shop: Shop, day: int, request: int, fault: Fault) -> None:
    """Lose an answer on that day, change its export, and run on; ROBIN has to be told the truth."""
    for before in range(1, day):
        shop.export(DAYS[before - 1], *rows(before))
        shop.run(before)
    shop.export(DAYS[day - 1], *rows(day))
    shop.lose(request, fault)
    with pytest.raises(RobinEtlError):
        shop.run(day)
    shop.robin.faults = Faults()
    shop.export(DAYS[day - 1], *rows(day, corrected=5))
    summary = shop.run(day)
    lost = NUMBERS[(request - 1) * CHUNK : request * CHUNK]
    assert summary["orders_in_doubt"] == lost
    assert (summary["outcome"], summary["undecided"]) == ("done", 0)
    assert shop.held() == amounts(day, corrected=5)
    assert shop.complaints() == []
    assert set(shop.robin.repeats) == (set(lost) if fault.applies else set())
    assert shop.run(day)["requests"] == 0


@pytest.mark.parametrize("request_number", [1, 2, 3])
@pytest.mark.parametrize("day", [1, 2])
@pytest.mark.parametrize("fault", [Fault.RESET_AFTER, Fault.ERROR_AFTER, Fault.RESET_BEFORE])
def test_an_export_that_changed_after_a_lost_answer_is_told_from_what_robin_holds(
    shop: Shop, day: int, request_number: int, fault: Fault
) -> None:
    check_a_lost_answer(shop, day, request_number, fault)


def test_the_same_holds_on_postgresql(on_postgresql: Shop) -> None:
    check_a_lost_answer(on_postgresql, 2, 2, Fault.RESET_AFTER)


def start_again(started: Run, settings: Settings) -> dict[str, Any]:
    return pipeline.run_all(settings, Run.open(started.location)).counts()


def start_run(shop: Shop, day: int) -> Run:
    of_day = date.fromisoformat(DAYS[day - 1])
    return Run.start(shop.settings.runs, Scope("run", of_day, of_day, is_history=True))


@pytest.mark.parametrize("shards", [1, 3])
def test_a_run_that_is_tried_again_in_its_folder_settles_its_own_doubt_from_its_files_first(
    shop: Shop, shards: int
) -> None:
    sharded = shop.settings.model_copy(update={"shards": shards})
    shop.export(DAYS[0], *rows(1))
    started = start_run(shop, 1)
    shop.lose(2)
    with pytest.raises(RobinUnavailableError):
        pipeline.run_all(sharded, started)
    shop.robin.faults = Faults()
    shop.export(DAYS[0], *rows(1, corrected=5))
    summary = start_again(started, sharded)
    assert len(summary["orders_in_doubt"]) == CHUNK
    assert shop.held() == amounts(1, corrected=5)
    assert shop.complaints() == []


def test_classify_alone_settles_its_runs_doubt_before_it_writes_the_changes_anew(shop: Shop) -> None:
    shop.export(DAYS[0], *rows(1))
    started = start_run(shop, 1)
    shop.lose(1)
    with pytest.raises(RobinUnavailableError):
        pipeline.run_all(shop.settings, started)
    shop.robin.faults = Faults()
    with shop.open_ledger() as ledger, ledger.lock.hold("another"):
        for stage in (pipeline.extract, pipeline.classify):
            with pytest.raises(LedgerBusyError):
                stage(shop.settings, started)
    pipeline.classify(shop.settings, started)
    assert sorted(shop.robin.repeats) == ["1", "2"]
    pipeline.load(shop.settings, started)
    assert shop.held() == amounts(1)


def test_another_run_that_is_posting_settles_the_doubt_so_that_extract_goes_on(shop: Shop) -> None:
    shop.export(DAYS[0], *rows(1))
    shop.lose(1)
    with pytest.raises(RobinUnavailableError):
        shop.run(1)
    shop.robin.faults = Faults()
    started = start_run(shop, 1)
    with shop.open_ledger() as ledger, ledger.lock.hold("another"):
        pipeline.extract(shop.settings, started)
    assert not shop.robin.repeats
    pipeline.classify(shop.settings, started)
    pipeline.validate(shop.settings, started)
    pipeline.plan(shop.settings, started)
    pipeline.load(shop.settings, started)
    assert shop.held() == amounts(1)
    assert sorted(shop.robin.repeats) == ["1", "2"]


def test_settling_that_is_lost_too_goes_on_with_the_files_of_the_run_that_sent_first(
    shop: Shop,
) -> None:
    shop.export(DAYS[0], *rows(1))
    for times in range(1, 4):
        shop.lose(1)
        with pytest.raises(RobinUnavailableError):
            shop.run(1)
        shop.export(DAYS[0], *rows(1, corrected=times))
    shop.robin.faults = Faults()
    summary = shop.run(1)
    assert summary["orders_in_doubt"] == ["1", "2"]
    assert shop.held() == amounts(1, corrected=3)
    assert shop.robin.repeats == {"1": 3, "2": 3}
    assert shop.complaints() == []
    assert shop.run(1)["orders_in_doubt"] == []


def test_a_baseline_settles_what_is_in_doubt_before_it_compares(shop: Shop, quick_command: Path) -> None:
    shop.export(DAYS[0], *rows(1))
    shop.run(1)
    shop.export(DAYS[1], *rows(2))
    shop.lose(1)
    with pytest.raises(RobinUnavailableError):
        shop.run(2)
    shop.robin.faults = Faults()
    shop.export(DAYS[1], *rows(2, corrected=5))
    asked = ["baseline", "--from", DAYS[1], "--to", DAYS[1], "--json"]
    done = processes.run([quick_command, *asked], env=environment(shop.settings), succeeds=True)
    summary = json.loads(done.stdout)
    assert (summary["orders_in_doubt"], summary["acknowledged"]) == (["1", "2"], 6)
    assert shop.held() == {**amounts(1), "1": 21.0, "2": 22.0}


def lose_files(shop: Shop, run: str) -> None:
    shutil.rmtree(Path(shop.settings.runs) / run)


def cut_files(shop: Shop, run: str) -> None:
    path = Path(shop.settings.runs) / run / "changes.parquet"
    path.write_bytes(path.read_bytes()[:100])


def change_files(shop: Shop, run: str) -> None:
    """As though they were of another try."""
    (other,) = {path.parent.name for path in Path(shop.settings.runs).glob("*/run.json")} - {run}
    for name in ("changes.parquet", "exported.parquet"):
        shutil.copy(Path(shop.settings.runs) / other / name, Path(shop.settings.runs) / run / name)


@pytest.mark.parametrize("spoil", [lose_files, cut_files, change_files])
def test_without_the_files_the_orders_are_named_once_and_the_run_goes_on_from_before(
    shop: Shop, quick_command: Path, spoil: Callable[[Shop, str], None]
) -> None:
    shop.export(DAYS[0], *rows(1))
    shop.run(1)
    shop.export(DAYS[1], *rows(2))
    shop.lose(1)
    with pytest.raises(RobinUnavailableError):
        shop.run(2)
    shop.robin.faults = Faults()
    with shop.open_ledger() as ledger:
        spoil(shop, ledger.runs.latest(1)[0].run)
    shop.export(DAYS[1], *rows(2, corrected=5))
    done = processes.run(
        [quick_command, "run", "--date", DAYS[1]], env=environment(shop.settings, CHUNK_SIZE="2")
    )
    assert done.returncode == 3, done.stderr
    assert "ROBIN may hold as before or as sent: 1, 2." in done.stdout
    assert "Degraded: 2 orders that ROBIN may hold at either amount." in done.stdout
    assert shop.held() == amounts(2, corrected=5)
    assert shop.complaints() == [  # which is what was said
        "Order 1 has old_revenue 11, but held 21",
        "Order 2 has old_revenue 12, but held 22",
    ]
    again = shop.run(2)
    assert (again["outcome"], again["orders_undecided"]) == ("done", [])


def test_pruning_keeps_the_files_of_what_is_in_doubt(shop: Shop) -> None:
    shop.export(DAYS[0], *rows(1))
    for _ in range(2):
        shop.lose(1)
        with pytest.raises(RobinUnavailableError):
            shop.run(1)
        assert prune.prune_runs(shop.settings, timedelta(days=-1)) == 0
    shop.robin.faults = Faults()
    summary = shop.run(1)
    assert (summary["orders_in_doubt"], summary["undecided"]) == (["1", "2"], 0)
    assert prune.prune_runs(shop.settings, timedelta(days=-1)) == 3


def test_an_order_that_robin_refuses_now_is_named_once_and_the_others_are_settled(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.export(DAYS[0], *rows(1))
    shop.lose(1)
    with pytest.raises(RobinUnavailableError):
        shop.run(1)
    shop.robin.faults = Faults(refused="^2$")
    summary = shop.run(1)
    assert summary["outcome"] == "degraded"
    assert summary["orders_in_doubt"] == ["1", "2"]
    assert summary["orders_undecided"] == summary["orders_rejected"] == ["2"]
    assert caplog.text.count("ROBIN may hold 1 order at either amount") == 1
    assert shop.held() == amounts(1)
    assert set(shop.robin.repeats) == {"1"}
    shop.robin.faults = Faults()
    assert shop.run(1)["orders_undecided"] == []


def test_an_order_lost_and_then_refused_within_one_run_is_named_too(shop: Shop) -> None:
    patient = Shop(shop.settings.model_copy(update={"max_attempts": 3}), shop.export, shop.robin)
    patient.export(DAYS[0], *rows(1))
    shop.robin.faults = Faults(script={1: Fault.RESET_BEFORE}, refused="^1$")
    summary = patient.run(1)
    assert summary["orders_in_doubt"] == ["1", "2"]
    assert summary["orders_undecided"] == ["1"]
    assert patient.run(1)["orders_undecided"] == []


def last_run(shop: Shop) -> str:
    with shop.open_ledger() as ledger:
        return ledger.runs.latest(1)[0].run


def test_a_customer_who_was_forgotten_is_not_sent_again_and_counted_once(
    shop: Shop, quick_command: Path
) -> None:
    shop.export(DAYS[0], "1,ann@x.nl,10,2026-03-01", "2,bob@x.nl,20,2026-03-01")
    shop.lose(1)
    with pytest.raises(RobinUnavailableError):
        shop.run(1)
    shop.robin.faults = Faults()
    forget.forget_customer(shop.settings, "ann@x.nl")
    shop.export(DAYS[0], "2,bob@x.nl,25,2026-03-01")
    said = "since the customer was erased: 1 order."
    there = environment(shop.settings, CHUNK_SIZE="2")
    status = processes.run([quick_command, "status"], env=there, succeeds=True)
    assert f"In doubt, but never to be settled, {said}" in status.stdout
    done = processes.run([quick_command, "run", "--date", DAYS[0]], env=there, succeeds=True)
    assert f"In doubt, but not settled, {said}" in done.stdout
    (page,) = Path(shop.settings.runs).glob(f"{last_run(shop)}/report.html")
    assert said in page.read_text()
    assert "doubt, ROBIN may have seen twice: 2." in done.stdout
    assert shop.held() == {"1": 10.0, "2": 25.0}
    assert shop.complaints() == []
    again = processes.run([quick_command, "run", "--date", DAYS[0]], env=there, succeeds=True)
    assert "erased" not in again.stdout
    assert "erased" not in processes.run([quick_command, "status"], env=there).stdout


def test_a_dry_run_says_what_it_would_settle_and_sends_nothing(shop: Shop, quick_command: Path) -> None:
    shop.export(DAYS[0], *rows(1))
    shop.lose(1)
    with pytest.raises(RobinUnavailableError):
        shop.run(1)
    requests = shop.robin.faults.requests
    there = environment(shop.settings, CHUNK_SIZE="2")
    done = processes.run(
        [quick_command, "run", "--date", DAYS[0], "--dry-run"], env=there, succeeds=True
    )
    assert "In doubt, would be sent again first: 1, 2." in done.stdout
    assert shop.robin.faults.requests == requests
    with shop.open_ledger() as ledger:
        assert ledger.doubts.describe_open().orders == ("1", "2")


def test_status_says_what_is_in_doubt_and_since_when(shop: Shop, quick_command: Path) -> None:
    def status(*arguments: str) -> str:
        there = environment(shop.settings)
        return processes.run([quick_command, "status", *arguments], env=there, succeeds=True).stdout

    shop.export(DAYS[0], *rows(1))
    shop.lose(1)
    with pytest.raises(RobinUnavailableError):
        shop.run(1)
    said = json.loads(status("--json"))["in_doubt"]
    assert (said["orders"], said["under_way"]) == (["1", "2"], [])
    since = said["since"][:16].replace("T", " ")
    assert f"In doubt since {since}: 2 orders (1, 2). The next run sends again first" in status()
    shop.robin.faults = Faults()
    shop.run(1)
    assert not any(json.loads(status("--json"))["in_doubt"].values())
    assert "In doubt" not in status()


def test_what_a_run_had_under_way_as_it_died_is_in_status_and_in_a_dry_run(
    shop: Shop, quick_command: Path
) -> None:
    shop.export(DAYS[0], *rows(1))
    started = start_run(shop, 1)
    for stage in (pipeline.extract, pipeline.classify, pipeline.validate, pipeline.plan):
        stage(shop.settings, started)
    changes = make_changes(started.partitions[0].changes.read())
    with shop.open_ledger() as ledger:
        ledger.deliveries.begin(started.id, changes[:2])
    there = environment(shop.settings, CHUNK_SIZE="2")
    status = processes.run([quick_command, "status"], env=there, succeeds=True).stdout
    assert "Under way since 20" in status
    assert ": 2 orders (1, 2). If the run that sent them died, they are in doubt." in status
    asked: processes.Arguments = [quick_command, "run", "--date", DAYS[0], "--dry-run"]
    assert "In doubt, would be sent again first: 1, 2." in processes.run(asked, env=there).stdout
    assert shop.run(1)["orders_in_doubt"] == ["1", "2"]


@pytest.mark.parametrize("stopping", ["guard", "gate"])
def test_a_run_that_is_stopped_after_it_settled_a_doubt_says_so(
    shop: Shop, quick_command: Path, stopping: str
) -> None:
    shop.export(DAYS[0], *rows(1))
    shop.lose(2)
    with pytest.raises(RobinUnavailableError):
        shop.run(1)
    shop.robin.faults = Faults()
    if stopping == "gate":
        shop.export(DAYS[0], *(f"{n},nobody,5,2026-03-01" for n in range(20)))
    else:
        shop.export(DAYS[0], *rows(1, corrected=-5))
    guards = json.dumps({"returns": 0, "returns_share": 0})
    there = environment(shop.settings, CHUNK_SIZE="2", GUARDS=guards)
    asked: processes.Arguments = [quick_command, "run", "--date", DAYS[0]]
    stopped = processes.run(asked, env=there)
    assert stopped.returncode == 1
    assert "No change was posted (2 orders in doubt, settled before)" in stopped.stderr
    assert "Nothing was posted" not in stopped.stderr
    again = processes.run(asked, env=there)
    assert "Nothing was posted" in again.stderr


@pytest.fixture
def elsewhere() -> Iterator[Sandbox]:
    with Sandbox(Robin(KEY, SECRET, limits=())) as running:
        yield running


def test_what_is_in_doubt_is_sent_again_to_no_other_robin(shop: Shop, elsewhere: Sandbox) -> None:
    shop.export(DAYS[0], *rows(1))
    shop.lose(1)
    with pytest.raises(RobinUnavailableError):
        shop.run(1)  # into a ledger that holds no order yet
    there = shop.settings.model_copy(update={"base_url": elsewhere.url})
    with pytest.raises(BindingError, match="belongs to the ROBIN at"):
        run_days(there, DAYS[0])
    assert elsewhere.robin.faults.requests == 0


def test_requests_of_one_run_after_another_are_in_the_history_of_their_order(shop: Shop) -> None:
    shop.export(DAYS[0], *rows(1))
    shop.lose(1)
    with pytest.raises(RobinUnavailableError):
        shop.run(1)
    shop.robin.faults = Faults()
    summary = shop.run(1)
    with shop.open_ledger() as ledger:
        first, second = ledger.deliveries.history("1")
    assert (first.outcome, second.outcome) == ("in doubt", "accepted")
    assert first.payload == second.payload
    assert second.run == summary["run"] != first.run
