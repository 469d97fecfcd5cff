"""Airflow's own notifiers, deadlines, metrics, lineage and pages, with a shop's DAG in a whole Airflow.

An e-mail server, a StatsD server and OpenLineage's file are real ones, so that what is shown is what a
deployment gets.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_string, policy
from pathlib import Path
from typing import Any

import pytest
import requests

from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from tests.airflow_services import ANSWERED, DAG, Airflow, NotYetError
from tests.conftest import HEADER, KEY, SECRET

for needed in ("statsd", "airflow.providers.openlineage"):
    pytest.importorskip(needed, reason=f"{needed} is not installed; make test-airflow does it.")

FINISHED = 900.0

DAGS = """
from datetime import time
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import SyncCallback
from robin_etl.airflow.dag import robin_orders_dag
from robin_etl.airflow.notices import LATE_SUBJECT, LATE_TEXT, SUBJECT, TEXT

to = {{"from_email": "airflow@shop.test", "to": "team@shop.test"}}
dag = robin_orders_dag(
    schedule="{moment:%M %H} * * *",
    notifiers=[SmtpNotifier(**to, subject=SUBJECT, html_content=TEXT)],
    due=time.fromisoformat("{due:%H:%M}"),
    on_late=SyncCallback(SmtpNotifier, {{**to, "subject": LATE_SUBJECT, "html_content": LATE_TEXT}}),
)
"""


class MailHandler(socketserver.StreamRequestHandler):
    """As much of SMTP as a client needs to hand over a message."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            command = line.decode().split()[0].upper()
            if command == "DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = []
                while (line := self.rfile.readline()) != b".\r\n":
                    lines.append(line.decode())
                message = message_from_string("".join(lines), policy=policy.default)
                assert isinstance(self.server, MailServer)
                self.server.messages.append(message)
            elif command == "QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 fine\r\n")


class MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MailHandler)
        self.messages: list[Any] = []

    def find(self, subject: str) -> str:
        """The text of the first message with that subject; raises `NotYetError`."""
        for message in list(self.messages):
            if message["subject"] == subject:
                content: str = message.get_body(("html", "plain")).get_content()
                return content
        raise NotYetError(f"{[message['subject'] for message in self.messages]}")


@contextmanager
def serving(server: MailServer) -> Iterator[MailServer]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def listening_for_metrics() -> Iterator[tuple[int, list[str]]]:
    """A StatsD server: its port, and what it is sent."""
    lines: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def listen() -> None:
            while (data := server.recv(65_536)) != b"end":
                lines.extend(data.decode().splitlines())

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield server.getsockname()[1], lines
        server.sendto(b"end", server.getsockname())
        thread.join()


def state_of(airflow: Airflow, run_id: str) -> Callable[[], str]:
    def look() -> str:
        state: str = airflow.get(f"/dags/{DAG}/dagRuns/{run_id}")["state"]
        if state in ("queued", "running"):
            raise NotYetError(f"{run_id} is {state}")
        return state

    return look


def open_page(airflow: Airflow, path: str) -> requests.Response:
    token = requests.get(f"{airflow.url}/auth/token", timeout=ANSWERED).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{airflow.url}{path}", headers=headers, timeout=ANSWERED)


@pytest.mark.timeout(3000)
def test_whoever_waits_is_told_and_what_a_run_did_is_seen_in_airflow(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    # Late enough that Airflow knows the DAG by then; after that it makes the run whenever it starts.
    moment = datetime.now(UTC) + timedelta(minutes=2)
    code = DAGS.format(moment=moment, due=moment + timedelta(minutes=1))
    (tmp_path / "dags" / "robin_orders.py").write_text(code)
    (tmp_path / "exports").mkdir()
    rows = [f"{n},c{n}@x.nl,10,2026-03-01" for n in range(200)]
    for day, bad in (("2026-03-01", "bad,no-address,10,2026-03-01"), ("2026-03-02", "x,y,ten,never")):
        content = [HEADER, *(rows if day == "2026-03-01" else []), bad]
        (tmp_path / "exports" / f"orders_{day}.csv").write_text("\n".join(content) + "\n")
    with (
        Sandbox(Robin(KEY, SECRET, limits=())) as sandbox,
        serving(MailServer()) as mail,
        listening_for_metrics() as (port, metrics),
    ):
        robin = {"conn_type": "robin", "host": sandbox.url, "login": KEY, "password": SECRET}
        smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": mail.server_address[1]}
        smtp["extra"] = {"disable_ssl": True, "disable_tls": True}
        transport = {"type": "file", "log_file_path": str(tmp_path / "lineage"), "append": True}
        environment = {
            "AIRFLOW_CONN_ROBIN_DEFAULT": json.dumps(robin),
            "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(smtp),
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": f"{port}",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
            "ROBIN_ETL_EXPORTS": str(tmp_path / "exports"),
            "ROBIN_ETL_EXPORT_SETTLE": "0",
            "ROBIN_ETL_LEDGER": str(tmp_path / "ledger.db"),
            "ROBIN_ETL_ON_DEGRADED": "notify",
            "ROBIN_ETL_RUNS": str(tmp_path / "runs"),
        }
        with Airflow(tmp_path / "airflow", environment, dags=tmp_path / "dags") as airflow:
            airflow.serve_all()
            # The scheduled run waits for today's export, which does not come, beyond when it is due.
            late = airflow.until(lambda: mail.find(f"{DAG}: the run is late"), seconds=FINISHED)
            assert "ROBIN may not know today's orders yet" in late
            (run,) = airflow.runs(DAG)
            assert run["run_type"] == "scheduled"
            airflow.patch(f"/dags/{DAG}/dagRuns/{run['dag_run_id']}", state="failed")

            airflow.trigger("degraded", from_date="2026-03-01", allow=["no_history"])
            assert airflow.until(state_of(airflow, "degraded"), seconds=FINISHED) == "success"
            told = airflow.until(lambda: mail.find(f"{DAG}: the run is degraded"), seconds=FINISHED)
            page = f"/robin/dags/{DAG}/runs/degraded"
            assert "The run is degraded: 1 row quarantined." in told
            assert f"{airflow.url}{page}" in told

            airflow.trigger("failed", from_date="2026-03-02")
            assert airflow.until(state_of(airflow, "failed"), seconds=FINISHED) == "failed"
            told = airflow.until(lambda: mail.find(f"{DAG}: the run is failed"), seconds=FINISHED)
            assert "1 of 1 rows break a rule" in told
            assert all("x.nl" not in f"{message}" for message in mail.messages)

            check_pages(airflow, page, tmp_path / "runs")

    sent = {line.partition("|")[0] for line in metrics}
    for name in (
        "exported:201",
        "quarantined:1",
        "posted:200",
        "requests.accepted:1",
        "outcome.degraded:1",
    ):
        assert f"airflow.robin.{DAG}.{name}" in sent
    assert any(line.startswith(f"airflow.robin.{DAG}.load.duration:") for line in metrics)

    check_lineage(tmp_path, sandbox.url)


def check_pages(airflow: Airflow, page: str, runs: Path) -> None:
    """That the pages are there, lead to each other, and show nothing else of the runs' folder."""
    shown = open_page(airflow, page)
    assert shown.status_code == 200, shown.text
    assert "degraded: 1 row quarantined" in shown.text
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    assert f'href="dags/{DAG}/index.html"' in open_page(airflow, "/robin/").text
    index = open_page(airflow, f"/robin/dags/{DAG}/index.html")
    assert "2026-03-01" in index.text
    folder = next(runs.glob("2026-03-01*")).name
    assert open_page(airflow, f"/robin/dags/{DAG}/{folder}/report.html").status_code == 200
    for path in (f"/robin/dags/{DAG}/{folder}/quarantine.csv", "/robin/dags/other/index.html"):
        assert open_page(airflow, path).status_code == 404
    link = airflow.get(f"/dags/{DAG}/dagRuns/degraded/taskInstances/report/links")
    assert link["extra_links"] == {"Report": f"{airflow.url}{page}"}


def check_lineage(folder: Path, url: str) -> None:
    """That OpenLineage has ROBIN's orders come from the exports."""
    events = [json.loads(line) for line in (folder / "lineage").read_text().splitlines()]
    loads = [event for event in events if event["job"]["name"] == f"{DAG}.load"]
    done = [event for event in loads if event["eventType"] == "COMPLETE"]
    assert [(one["namespace"], one["name"]) for one in done[0]["inputs"]] == [
        ("file", str(folder / "exports"))
    ]
    host = url.removeprefix("http://")
    assert [(one["namespace"], one["name"]) for one in done[0]["outputs"]] == [
        (f"robin://{host}", "orders")
    ]
