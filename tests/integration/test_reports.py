"""A run's page and the index of runs: what they say, what they escape, and what they never name."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from robin_etl import pipeline
from robin_etl.exceptions import GateError
from robin_etl.sandbox.faults import Fault, Faults
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.pages import INDEX
from robin_etl.stages.run import Run
from tests.conftest import Export, run_days
from tests.integration.test_partitions import in_parts, started

HEADER = "order_number,email_address,revenue,order_date"
HOSTILE = '<script>alert("x")</script>'


class Page(HTMLParser):
    """The text of a page, and what in it could run or load anything."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = ""
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def page_of(settings: Settings, day: str) -> Page:
    return Page(max(Path(settings.runs).glob(f"{day}*"), key=lambda path: path.name) / Run.page.name)


def index_of(settings: Settings) -> Page:
    return Page(Path(settings.runs) / INDEX)


@pytest.fixture
def rows() -> list[str]:
    return [f"{n},c{n % 20}@x.nl,10,2026-03-01T10:{n:02}:00Z" for n in range(40)]


@pytest.mark.parametrize("number", [1, 3])
def test_a_page_tells_kinds_money_requests_rules_and_what_was_set_aside(
    settings: Settings, export: Export, sandbox: Sandbox, rows: list[str], number: int
) -> None:
    settings = in_parts(settings, number)
    export("2026-03-01", *rows)
    new = "40,c1@x.nl,10,2026-03-02T10:00:00Z"
    bad = f"bad,{HOSTILE},1,2026-03-01"
    export("2026-03-02", "1,c1@x.nl,4.50,2026-03-01T10:01:00Z", *rows[2:], new, bad)
    run_days(settings, "2026-03-01")
    sandbox.robin.faults = Faults(refused="^1$")
    run_days(settings, "2026-03-02")
    first, second = (page_of(settings, day) for day in ("2026-03-01", "2026-03-02"))
    assert "first 20 200.00 0.00 200.00" in first.text
    assert "repeat 20 200.00 0.00 200.00" in first.text
    assert "accepted 201 1 40" in first.text
    assert "return 1 4.50 10.00 -5.50" in second.text
    assert "rejected 400 1 1" in second.text
    assert "1 2026-03-02 return 400" in second.text
    assert "order 1: this one is refused" in second.text
    assert "email_address_valid 1 orders_2026-03-02.csv: line 42" in second.text
    assert "degraded: 1 row quarantined, 1 order rejected" in second.text
    index = index_of(settings)
    assert "2026-03-02 degraded 1 row quarantined 1 order rejected 41" in index.text
    assert "Orders 41 Customers' first orders 20 Their revenue now 410.00" in index.text


def test_pages_load_nothing_run_nothing_and_name_no_address(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    hostile = f'"{HOSTILE.replace(chr(34), chr(34) * 2)}"'
    good = [f"{n},customer{n}@shop.example,10,2026-03-01T10:00:00Z" for n in range(40)]
    export("2026-03-01", f"{hostile},ann@shop.example,1,2026-03-01", *good, "x,bob@shop,1,2026-03-01")
    sandbox.robin.faults = Faults(refused="script", script={1: Fault.RESET_AFTER})
    run_days(settings.model_copy(update={"max_attempts": 3, "backoff": 0.01}), "2026-03-01")
    for page in (page_of(settings, "2026-03-01"), index_of(settings)):
        assert page.tags.isdisjoint({"script", "link", "img", "iframe", "object", "form"})
        loads = [value for name, value in page.attributes if name in ("src", "href", "xlink:href")]
        assert all(re.fullmatch(r"[\w./:+-]+\.html", value) for value in loads)
        assert not [name for name, _ in page.attributes if name.startswith("on")]
        assert not re.search(r"\S@\S", page.text)
    assert HOSTILE in page_of(settings, "2026-03-01").text


def test_a_page_says_of_a_429_that_it_was_waited_out(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", "1,a@x.nl,10,2026-03-01")
    sandbox.robin.faults = Faults(script={1: Fault.BUSY_DATE})
    run_days(settings, "2026-03-01")
    page = page_of(settings, "2026-03-01")
    assert "asked to wait, then sent again 429 1 1" in page.text
    assert "refused" not in page.text


def test_a_stopped_run_has_a_page_that_says_why(settings: Settings, export: Export) -> None:
    export("2026-03-01", "1,nobody,1,2026-03-01")
    with pytest.raises(GateError):
        run_days(settings, "2026-03-01")
    page = page_of(settings, "2026-03-01")
    assert "The gate stopped the export of 2026-03-01" in page.text
    assert "email_address_valid" in page.text
    assert "2026-03-01 stopped 1" in index_of(settings).text


def test_a_range_and_many_days_are_drawn_day_by_day(
    settings: Settings, export: Export, rows: list[str]
) -> None:
    for number in range(1, 5):
        export(f"2026-03-0{number}", *rows[number * 10 - 10 : number * 10])
    pipeline.run_all(settings, started(settings, "2026-03-01", "2026-03-02"))
    for day in ("2026-03-03", "2026-03-04"):
        run_days(settings, day)
    for page in (page_of(settings, "2026-03-01_2026-03-02"), index_of(settings)):
        assert "svg" in page.tags
    assert {"2026-03-01", "2026-03-02"} <= set(page_of(settings, "2026-03-01_").text.split())


def test_a_dry_run_has_a_page_of_its_own_and_leaves_the_index(
    settings: Settings, export: Export, rows: list[str]
) -> None:
    export("2026-03-01", *rows)
    run_days(settings, "2026-03-01")
    before = index_of(settings).text
    run = started(settings, "2026-03-01", dry_run=True)
    pipeline.run_all(settings, run)
    page = Page(Path(run.location) / Run.page.name)
    assert "dry run: nothing was posted" in page.text
    assert "Changes to post 0" in page.text
    assert index_of(settings).text == before


def test_only_their_owner_can_read_pages(settings: Settings, export: Export, rows: list[str]) -> None:
    export("2026-03-01", *rows)
    run_days(settings, "2026-03-01")
    for path in (Path(settings.runs) / INDEX, *Path(settings.runs).glob(f"*/{Run.page.name}")):
        assert path.stat().st_mode & 0o077 == 0
    assert json.loads(next(Path(settings.runs).glob("*/summary.json")).read_text())["posted"] == 40
