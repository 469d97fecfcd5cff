"""The browser, and whether pictures of the documentation are taken anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.browser.looking import Browser

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-images", action="store_true", help="take docs/images anew")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    pytest.importorskip("selenium", reason="Selenium is not installed; make test-browser does it.")
    from tests.browser.looking import start_browser

    try:
        running = start_browser()
        started = running.__enter__()
    except LookupError as error:
        pytest.skip(str(error))
    yield started
    running.__exit__(None, None, None)


@pytest.fixture
def picture(request: pytest.FixtureRequest, browser: Browser) -> Callable[[str], None]:
    """Keeps what is shown as an image of the documentation, where that is asked for."""

    def keep(name: str) -> None:
        if request.config.getoption("--renew-images"):
            browser.save(IMAGES / name)

    return keep
