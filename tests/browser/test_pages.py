"""Our own pages: a run's report in each state, the index, the sandbox's page, the documentation."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tenacity

from robin_etl.exceptions import GateError
from robin_etl.sandbox.faults import Fault, Faults
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.pages import INDEX
from robin_etl.stages.run import Run
from tests.conftest import HEADER, KEY, SECRET, run_days

if TYPE_CHECKING:
    from tests.browser.looking import Browser

ROOT = Path(__file__).parents[2]
STATES = {
    "done": "2026-03-08",
    "degraded": "2026-03-09",
    "stopped": "2026-03-10",
    "dry run": "2026-03-11",
    "range": "2026-03-01",
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs that ended in each way there is."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "exports").mkdir()
    with Sandbox(Robin(KEY, SECRET, limits=())) as sandbox:
        settings = Settings.read(
            base_url=sandbox.url,
            api_key=KEY,
            api_secret=SECRET,
            exports=str(folder / "exports"),
            ledger=str(folder / "ledger.db"),
            runs=str(folder / "runs"),
            rate_limits="100000/s",
        )
        for number in range(11):
            write_orders(settings, date(2026, 3, 1) + timedelta(days=number))
        run_days(settings, "2026-03-01", "2026-03-07")
        run_days(settings, "2026-03-08")
        sandbox.robin.faults = Faults(refused="^9-7$", script={1: Fault.BUSY_DATE})
        write_orders(settings, date(2026, 3, 9), f"bad,{'no-address-' * 12},1,2026-03-09")
        run_days(settings, "2026-03-09")
        write_orders(settings, date(2026, 3, 10), *(f"x{n},c@x.nl,ten,2026-03-10" for n in range(90)))
        with pytest.raises(GateError):
            run_days(settings, "2026-03-10")
        run_days(settings, "2026-03-11", dry_run=True)
    return folder / "runs"


def write_orders(settings: Settings, day: date, *more: str) -> None:
    """A day's export: first and repeat orders, and one return or upsell of the day before."""
    rows = [
        f"{day.day}-{n},c{n * day.day % 40}@x.nl,{n + 10}.50,{day}T{n % 24:02}:00:00Z" for n in range(40)
    ]
    if day.day > 1:
        before = day - timedelta(days=1)
        rows += [f"{before.day}-{n},c{n * before.day % 40}@x.nl,{n * 3},{before}" for n in range(1, 9)]
    path = Path(settings.exports) / f"orders_{day}.csv"
    path.write_text("\n".join([HEADER, *rows, *more]) + "\n")


def find_page(runs: Path, state: str) -> str:
    (page,) = runs.glob(f"{STATES[state]}*/{Run.page.name}")
    return page.as_uri()


def check(browser: Browser, url: str, *, is_alone: bool = True) -> None:
    """That a page at both widths, in both colours, has no error and nothing cut off or faint."""
    for width in (1200, 360):
        for is_dark in (False, True):
            browser.open(url, width=width, is_dark=is_dark)
            where = f"{url} at {width}, {'dark' if is_dark else 'light'}"
            assert browser.list_cut_off() == [], where
            assert browser.list_faint() == [], where
            assert browser.list_errors() == [], where
            if is_alone:
                assert browser.list_requests() == [url], where
    assert browser.list_unreached() == [], url


@pytest.mark.parametrize("state", STATES)
def test_a_runs_page_can_be_read_everywhere_and_loads_nothing(
    browser: Browser, runs: Path, state: str
) -> None:
    check(browser, find_page(runs, state))


def test_the_index_can_be_read_everywhere_and_leads_to_each_run(browser: Browser, runs: Path) -> None:
    index = (runs / INDEX).as_uri()
    check(browser, index)
    browser.open(index)
    links = browser.driver.find_elements("css selector", "a[href*='report.html']")
    assert len(links) >= 4
    links[0].click()
    assert browser.find("h1").text.startswith("Orders of ")


def test_the_pictures_of_the_documentation_show_a_run(
    browser: Browser, runs: Path, picture: Callable[[str], None]
) -> None:
    for name, is_dark in (("report.png", False), ("report-dark.png", True)):
        browser.open(find_page(runs, "range"), width=960, height=900, is_dark=is_dark)
        picture(name)


def test_the_sandboxs_page_shows_what_it_is_told_while_it_is_told(
    browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "exports").mkdir()
    with Sandbox(Robin(KEY, SECRET, limits=())) as sandbox:
        settings = Settings.read(
            base_url=sandbox.url,
            api_key=KEY,
            api_secret=SECRET,
            exports=str(tmp_path / "exports"),
            ledger=str(tmp_path / "ledger.db"),
            runs=str(tmp_path / "runs"),
            rate_limits="100000/s",
        )
        browser.open(sandbox.url)
        write_orders(settings, date(2026, 3, 1))
        run_days(settings, "2026-03-01")
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_delay(60), wait=tenacity.wait_fixed(0.1)
        ):
            with attempt:
                assert "40 orders from" in browser.text()
        assert "WIN, new customer" in browser.text()
        assert {url.split("?")[0] for url in browser.list_requests()} <= {
            f"{sandbox.url}/",
            f"{sandbox.url}/sandbox/latest",
            f"{sandbox.url}/favicon.ico",
        }
        check(browser, f"{sandbox.url}/", is_alone=False)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", "docs", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=600)
    return folder


@pytest.mark.parametrize(
    "name", ["index", "quickstart", "deployment", "settings", "how-to/guard", "after-a-bad-night"]
)
def test_a_page_of_the_documentation_can_be_read_everywhere_and_loads_only_its_own_files(
    browser: Browser, site: Path, name: str
) -> None:
    url = (site / f"{name}.html").as_uri()
    check(browser, url, is_alone=False)
    browser.open(url)
    assert all(asked.startswith(site.as_uri()) for asked in browser.list_requests())


def test_what_is_looked_for_is_found(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><body style='background:#fff'><p style='width:900px'>wide</p>"
        "<p style='color:#ccc'>faint</p><script>nothing.there()</script>"
        "<button onkeydown='event.preventDefault()'>trap</button><button>behind</button>"
        "<img src='other.png'>"
    )
    browser.open(page.as_uri(), width=360)
    assert len(browser.list_cut_off()) == 2
    assert browser.list_faint() == ["1.61: faint"]
    assert "nothing is not defined" in browser.list_errors()[0]
    assert browser.list_requests() == [page.as_uri(), (tmp_path / "other.png").as_uri()]
    assert browser.list_unreached() == ["<button>behind</button>"]
