"""Airflow as a person sees it: the forms of a run, a connection and `approve`, and our pages in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from tests.airflow_services import DAG, STARTED, Airflow, NotYetError
from tests.conftest import HEADER, KEY, SECRET

if TYPE_CHECKING:
    from tests.browser.looking import Browser

DAY = "2026-03-01"
DIALOG = "[role=dialog][data-state=open]"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Robin(KEY, SECRET, limits=())) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(
    browser: Browser, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow]:
    """An Airflow with an export at which a guard trips."""
    folder: Path = tmp_path_factory.mktemp("airflow")
    (folder / "exports").mkdir()
    rows = [f"old{n},c{n}@x.nl,{n + 10},2024-01-{n + 1:02}" for n in range(25)]
    (folder / "exports" / f"orders_{DAY}.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    connection = {"conn_type": "robin", "host": sandbox.url, "login": KEY, "password": SECRET}
    environment = {
        "AIRFLOW_CONN_ROBIN_DEFAULT": json.dumps(connection),
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "ROBIN_ETL_EXPORT_SETTLE": "0",
        "ROBIN_ETL_EXPORTS": str(folder / "exports"),
        "ROBIN_ETL_LEDGER": str(folder / "ledger.db"),
        "ROBIN_ETL_RUNS": str(folder / "runs"),
    }
    with Airflow(folder / "airflow", environment) as running:
        running.serve_all()
        yield running


def wait_for(airflow: Airflow, shown: Callable[[], bool]) -> None:
    """Wait until the page shows it."""

    def look() -> None:
        if not shown():
            raise NotYetError("the page does not show it")

    airflow.until(look, seconds=STARTED)


def test_the_trigger_form_asks_for_the_days_first_and_for_nothing_that_may_be_blank(
    browser: Browser, airflow: Airflow, picture: Callable[[str], None]
) -> None:
    browser.open(f"{airflow.url}/dags/{DAG}", height=1340)
    wait_for(airflow, lambda: "Trigger" in browser.text())
    browser.button("Trigger Dag").click()
    wait_for(airflow, lambda: "Allow guards" in browser.text())
    text = browser.find(DIALOG).text
    names = ["From", "To", "Final versions only", "Dry run", "Allow guards", "Settings of this run"]
    places = [text.index(f"\n{name}\n") for name in names]
    assert places == sorted(places)
    assert "*" not in text
    assert browser.list_unreached(DIALOG) == []
    assert browser.list_errors() == []
    picture("trigger-form.png")


def test_the_connection_form_names_the_fields_as_robin_does_and_the_test_button_works(
    browser: Browser, airflow: Airflow, sandbox: Sandbox, picture: Callable[[str], None]
) -> None:
    browser.open(f"{airflow.url}/connections")
    wait_for(airflow, lambda: "Add Connection" in browser.text())
    browser.button("Add Connection").click()
    wait_for(airflow, lambda: "Connection ID" in browser.text())
    browser.find("[name=connection_id]").send_keys("robin_b")
    browser.find(f"{DIALOG} [role=combobox]").send_keys("ROBIN")
    wait_for(airflow, lambda: "ROBIN" in browser.find("[role=listbox]").text)
    browser.find(f"{DIALOG} [role=combobox]").send_keys("\n")
    wait_for(airflow, lambda: "API secret" in browser.text())
    for words in ("Address", "Port", "API key", "Extra Fields"):
        assert words in browser.find(DIALOG).text
    assert browser.list_unreached(DIALOG) == []
    picture("connection-form.png")
    port = sandbox.url.rpartition(":")[2]
    fields = {"host": "http://127.0.0.1", "port": port, "login": KEY, "password": "mistyped"}
    for name, value in fields.items():
        browser.find(f"{DIALOG} [name={name}]").send_keys(value)
    browser.button("Save").click()
    wait_for(airflow, lambda: "robin_b" in browser.text())
    browser.button("Test Connection").click()
    wait_for(airflow, lambda: "Mend both in the connection" in browser.text())
    assert "ROBIN refused the API key or secret (401)." in browser.text()


def test_who_is_asked_sees_what_the_guard_found_and_what_the_answer_does(
    browser: Browser, airflow: Airflow, sandbox: Sandbox, picture: Callable[[str], None]
) -> None:
    airflow.trigger("asked", from_date=DAY)

    def look() -> None:
        states = {task["task_id"]: task["state"] for task in airflow.tasks("asked")}
        assert "failed" not in states.values(), states
        if states.get("approve") != "awaiting_input":
            raise NotYetError(f"{states}")

    airflow.until(look, seconds=STARTED)
    browser.open(f"{airflow.url}/dags/{DAG}/runs/asked/tasks/approve/required_actions", height=860)
    wait_for(airflow, lambda: "Reject stops the run" in browser.text())
    for words in ("May this run pass: old_orders?", "25 of 25 new orders", "first\n25\n"):
        assert words.replace("\n", " ") in browser.text().replace("\n", " ")
    code = browser.find("code.language-text").find_element("xpath", "..")
    assert code.get_property("scrollWidth") <= code.get_property("clientWidth") + 1
    picture("approve-form.png")
    browser.button("Approve").click()
    airflow.finished(1, seconds=STARTED)
    assert len(sandbox.robin.orders) == 25


def test_the_reports_open_inside_airflow_and_lead_to_each_other(
    browser: Browser, airflow: Airflow
) -> None:
    """Goes on from the run that was asked about."""
    browser.open(f"{airflow.url}/plugin/robin")
    wait_for(airflow, lambda: bool(browser.driver.find_elements("css selector", "iframe")))
    browser.driver.switch_to.frame(browser.find("iframe"))
    wait_for(airflow, lambda: "Shops that ROBIN is told of" in browser.text())
    browser.find("a").click()
    wait_for(airflow, lambda: DAY in browser.text())
    browser.find("a[href$='report.html']").click()
    wait_for(airflow, lambda: f"Orders of {DAY}" in browser.text())
    browser.find("a").click()
    wait_for(airflow, lambda: DAY in browser.text())
    browser.driver.switch_to.default_content()
    assert browser.list_errors() == []
    page = f"{airflow.url}/robin/dags/{DAG}/runs/asked"
    browser.open(page, width=360)
    assert f"Orders of {DAY}" in browser.text()
    assert browser.list_cut_off() == browser.list_errors() == []
    assert {url for url in browser.list_requests() if "favicon" not in url} == {page}
