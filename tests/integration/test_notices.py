"""Who is told of a run in Airflow, in which words, by when; its metrics, lineage and pages."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")  # of Airflow's own imports

TASK = SimpleNamespace(dag_id="shop", run_id="scheduled__1", task_id="load", log_url="http://log")


def make_notifier() -> Any:
    """A notifier as Airflow has them, that keeps what it is told."""
    from airflow.sdk import BaseNotifier

    from robin_etl.airflow import notices

    class Kept(BaseNotifier):  # type: ignore[misc]  # Airflow's classes are not followed
        template_fields = ("subject", "text")

        def __init__(self) -> None:
            super().__init__()
            self.subject, self.text = notices.SUBJECT, notices.TEXT
            self.told: list[tuple[str, str]] = []

        def notify(self, context: Any) -> None:
            self.told.append((self.subject, self.text))

    return Kept()


def test_a_notifier_is_told_the_sentence_and_the_address_of_the_report() -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from robin_etl.airflow import notices

    notifier = make_notifier()
    _, call = notices.make_failure_callbacks({}, [notifier])
    error = AirflowFailException("A guard stopped it.")
    call({"ti": TASK, "exception": error, notices.REPORT: "http://airflow/robin/report"})
    assert notifier.told == [
        ("shop: the run is failed", "A guard stopped it. http://airflow/robin/report")
    ]


def test_what_a_library_says_of_a_file_is_left_to_the_log() -> None:
    from robin_etl.airflow import notices

    notice = notices.make_notice({"ti": TASK, "exception": KeyError("ann@x.nl")})
    assert notice.sentence == "The task load failed (KeyError); its log says why."
    assert notice.log == "http://log"


def test_a_notifier_is_told_of_a_degraded_run_only_where_that_is_to_be_told() -> None:
    from robin_etl.airflow import notices

    notifier = make_notifier()
    (call,) = notices.make_degraded_callbacks([notifier])
    call({"ti": TASK})
    assert notifier.told == []
    call({"ti": TASK, notices.DEGRADED: "The run is degraded: 1 row quarantined."})
    assert notifier.told == [
        ("shop: the run is degraded", "The run is degraded: 1 row quarantined. http://log")
    ]


@pytest.mark.parametrize(
    ("moment", "due"),
    [
        (datetime(2026, 3, 28, 5, tzinfo=UTC), datetime(2026, 3, 28, 8, tzinfo=UTC)),
        (datetime(2026, 3, 29, 4, tzinfo=UTC), datetime(2026, 3, 29, 7, tzinfo=UTC)),  # summer time
        (datetime(2026, 3, 28, 21, tzinfo=UTC), datetime(2026, 3, 29, 7, tzinfo=UTC)),
    ],
)
def test_a_run_is_due_at_the_next_such_hour_of_the_clock_there(moment: datetime, due: datetime) -> None:
    from robin_etl.airflow.deadline import find_due

    assert find_due(moment, time(9), "Europe/Amsterdam") == due


def test_a_deadline_is_read_back_as_airflow_keeps_it_and_the_plugin_says_where_it_is() -> None:
    from robin_etl.airflow.deadline import ScheduledRunDeadline
    from robin_etl.airflow.plugin import RobinPlugin

    reference = ScheduledRunDeadline("09:30:00", "Europe/Amsterdam")
    kept = reference.serialize_reference()
    assert ScheduledRunDeadline.deserialize_reference(kept) == reference
    assert RobinPlugin.deadline_references == [ScheduledRunDeadline]


@pytest.mark.parametrize("given", [{"due": time(9)}, {"on_late": print}])
def test_by_when_and_what_is_called_otherwise_belong_together(given: dict[str, Any]) -> None:
    from robin_etl.airflow.dag import robin_orders_dag

    with pytest.raises(ValueError, match="due and on_late belong together"):
        robin_orders_dag(**given)


class Sent:
    """Keeps what is sent instead of Airflow's `stats`."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, float]] = []

    def incr(self, stat: str, count: int = 1, *, tags: dict[str, str]) -> None:
        self.lines.append((stat, count))

    def timing(self, stat: str, dt: float, *, tags: dict[str, str]) -> None:
        assert tags == {"dag_id": "shop"}
        self.lines.append((stat, dt))

    def gauge(self, stat: str, value: float, *, tags: dict[str, str]) -> None:
        self.lines.append((stat, value))


def test_a_run_sends_its_answers_waits_durations_and_counts_as_metrics() -> None:
    from robin_etl.airflow.metrics import Metrics
    from robin_etl.observer import Answered, StageEnded, StageStarted, Waiting
    from robin_etl.stages.records import Classified, Delivered, Extracted, Loaded, Summary

    moments = iter((0.0, 10.0, 12.5, 20.0, 21.0))
    sent = Sent()
    observe = Metrics("shop", sent, lambda: next(moments))
    day = date(2026, 3, 1)
    summary = Summary(
        run="1",
        first=day,
        last=day,
        extracted=Extracted(exported=9, quarantined=2),
        classified=Classified(kinds={"first": 7}),
        partitions=1,
        delivered=Delivered(posted=7, requests=2),
        loaded=Loaded(),
        outstanding=(day,),
    )
    for event in (
        StageStarted("load"),
        Answered("busy", 429),
        Waiting(2, "ROBIN asks to wait"),
        Answered("not sent", None),
        StageEnded("load", Delivered(posted=7)),
        StageStarted("report"),
        StageEnded("report", summary),
    ):
        observe(event)
    assert sent.lines == [
        ("robin.shop.requests.busy", 1),
        ("robin.shop.waited", 2000),
        ("robin.shop.requests.not_sent", 1),
        ("robin.shop.load.duration", 2500),
        ("robin.shop.report.duration", 1000),
        ("robin.shop.outcome.degraded", 1),
        ("robin.shop.exported", 9),
        ("robin.shop.quarantined", 2),
        ("robin.shop.first", 7),
        ("robin.shop.posted", 7),
        ("robin.shop.outstanding", 1),
    ]


@pytest.mark.parametrize(
    ("location", "uri"),
    [
        ("s3://shop_s3@shop/exports", "s3://shop/exports"),
        ("s3://shop/exports/{date:%Y}/orders_{date}.csv", "s3://shop/exports"),
        ("/srv/exports/orders_*.csv", "file:///srv/exports"),
        ("sftp://user@host/folder", "sftp://host/folder"),
    ],
)
def test_lineage_names_exports_by_folder_without_a_connection(location: str, uri: str) -> None:
    from robin_etl.airflow.lineage import name_exports

    assert name_exports(location) == uri


def test_a_place_that_airflow_does_not_take_into_its_lineage_fails_no_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from airflow.sdk import BaseHook
    from airflow.sdk.lineage import HookLineageCollector

    from robin_etl.airflow.lineage import note_exports
    from robin_etl.settings import Settings

    collector = HookLineageCollector()
    with caplog.at_level("INFO", "robin_etl.airflow.lineage"):
        note_exports(BaseHook(), Settings.read(exports="s3:///no-bucket"), collector)
    assert caplog.messages == ["Airflow takes no such URI into its lineage: s3:///no-bucket."]
    note_exports(BaseHook(), Settings.read(exports="s3://shop/exports"), collector)
    assert [one.asset.uri for one in collector.collected_assets.inputs] == ["s3://shop/exports"]


def test_lineage_names_robin_by_its_host() -> None:
    from robin_etl.airflow.lineage import name_robin

    assert name_robin("https://api.robinhq.com/") == "robin://api.robinhq.com/orders"


@pytest.mark.parametrize(
    "path", ["/", "/dags/shop/index.html", "/dags/shop/runs/1", "/dags/shop/a-run/report.html"]
)
def test_a_report_is_shown_to_nobody_whom_airflow_does_not_know(path: str) -> None:
    from fastapi.testclient import TestClient

    from robin_etl.airflow import pages

    assert TestClient(pages.app).get(path).status_code == 401
