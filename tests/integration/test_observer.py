"""A run says what happens while it goes, to whoever is handed in."""

from __future__ import annotations

from datetime import date

import pytest

from robin_etl import pipeline
from robin_etl.exceptions import GateError
from robin_etl.observer import Answered, Event, Planned, Progressed, StageEnded, StageStarted, Waiting
from robin_etl.sandbox.faults import Fault, Faults
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run
from tests.conftest import Export

DAY = date(2026, 3, 1)
STAGES = ("extract", "classify", "validate", "plan", "load", "report")


def watch(settings: Settings, *, dry_run: bool = False) -> list[Event]:
    events: list[Event] = []
    run = Run.start(settings.runs, Scope("run", DAY, DAY, dry_run=dry_run))
    pipeline.run_all(settings, run, events.append)
    return events


def test_stages_plan_progress_and_answers_are_reported_in_order(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", *(f"{n},c{n}@x.nl,1,2026-03-01" for n in range(30)))
    events = watch(settings.model_copy(update={"chunk_size": 10, "rate_limits": "1000/s"}))
    started = [event.stage for event in events if isinstance(event, StageStarted)]
    ended = [event.stage for event in events if isinstance(event, StageEnded)]
    assert started == ended == list(STAGES)
    assert [event for event in events if isinstance(event, Planned)] == [Planned(30, 3, 0.0)]
    assert sum(event.changes for event in events if isinstance(event, Progressed)) == 30
    answers = [event for event in events if isinstance(event, Answered)]
    assert [answer.status for answer in answers] == [201, 201, 201]
    loaded = next(event for event in events if isinstance(event, StageEnded) and event.stage == "load")
    assert loaded.result.counts()["posted"] == 30


def test_partitions_are_named_by_their_number(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", *(f"{n},c{n}@x.nl,1,2026-03-01" for n in range(30)))
    events = watch(settings.model_copy(update={"shards": 2}))
    named = [(event.stage, event.partition) for event in events if isinstance(event, StageStarted)]
    of_partitions = [(stage, number) for stage in ("classify", "validate") for number in (1, 2)]
    assert named == [("extract", None), *of_partitions, ("plan", None), ("load", None), ("report", None)]


def test_a_wait_that_robin_asks_for_is_reported(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", "1,a@x.nl,1,2026-03-01")
    sandbox.robin.faults = Faults(script={1: Fault.BUSY_SECONDS}, retry_after=1)
    events = watch(settings.model_copy(update={"max_attempts": 3}))
    assert [event.seconds for event in events if isinstance(event, Waiting)] == [1.0]
    assert [event.status for event in events if isinstance(event, Answered)] == [429, 201]


def test_a_stage_that_stops_has_begun_and_not_ended(settings: Settings, export: Export) -> None:
    export("2026-03-01", "1,nobody,1,2026-03-01")
    events: list[Event] = []
    with pytest.raises(GateError):
        pipeline.run_all(settings, Run.start(settings.runs, Scope("run", DAY, DAY)), events.append)
    assert events == [StageStarted("extract")]


def test_a_dry_run_plans_no_post(settings: Settings, export: Export, sandbox: Sandbox) -> None:
    export("2026-03-01", "1,a@x.nl,1,2026-03-01")
    events = watch(settings, dry_run=True)
    assert not [event for event in events if isinstance(event, Planned | Progressed | Answered)]
    loaded = next(event for event in events if isinstance(event, StageEnded) and event.stage == "load")
    assert loaded.result.counts() == {"would_post": 1, "would_request": 1}
