"""What tests share: a sandbox, both kinds of ledger, settings, and exports written on the spot."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import hypothesis
import pytest

from tests import forking, processes
from tests.postgresql import serve_postgresql

# The process that only hands out tests reads this file too: seconds before any of them begins.
if TYPE_CHECKING:
    from robin_etl.sandbox.server import Sandbox
    from robin_etl.settings import Settings

hypothesis.settings.register_profile("quick", max_examples=18, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=1000, deadline=None)  # `make thorough`
hypothesis.settings.load_profile("quick")

KEY, SECRET = "the-api-key", "the-api-secret"
HEADER = "order_number,email_address,revenue,order_date"

REAL_SHOP = Path(__file__).parents[2] / "shared" / "data" / "online-retail"

Export = Callable[..., Path]

# Files whose tests take minutes go first, so that no core waits for one of them at the end.
LONG = (
    *(
        "test_airflow_services",
        "test_dag",
        "test_several_shops",
        "test_bad_nights",
        "test_destination",
        "test_docs",
        "test_cli",
    ),
    *(
        "test_catch_up",
        "test_benchmarks",
        "test_guards",
        "test_real_shop",
        "test_doubt",
        "test_degraded",
    ),
    *("test_airflow_package", "test_partitions", "test_pipeline", "test_faults", "test_customers"),
    *(
        "test_one_account",
        "test_object_storage",
        "test_model",
        "test_erasure",
        "test_odd_rows",
        "test_cancelled",
    ),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG)

    items.sort(key=place)


def pytest_configure(config: pytest.Config) -> None:
    if config.option.basetemp:  # which pytest makes, but not the folder it is in
        Path(config.option.basetemp).parent.mkdir(parents=True, exist_ok=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):  # the process that started the others
        processes.end_what_is_left()


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ROBIN_ETL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A ROBIN without rate limits on a free port."""
    from robin_etl.sandbox.robin import Robin
    from robin_etl.sandbox.server import Sandbox

    with Sandbox(Robin(KEY, SECRET, limits=())) as running:
        yield running


@pytest.fixture(scope="session")
def quick_command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A `robin-etl` as a process of its own that does not pay for its imports."""
    with forking.command(tmp_path_factory.mktemp("bin")) as path:
        yield path


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real PostgreSQL server, started for the tests."""
    with serve_postgresql(tmp_path_factory.mktemp("pg")) as url:
        yield url


@pytest.fixture
def postgresql(postgresql_server: str) -> str:
    """The URL of an empty database of the test's own, so that no test sees another's runs."""
    import sqlalchemy as sa

    url = sa.make_url(postgresql_server).set(drivername="postgresql+psycopg")
    name = f"ledger_{uuid4().hex}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"create database {name}"))
    engine.dispose()
    return url.set(database=name, drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place for a ledger, once in SQLite and once in PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    url: str = request.getfixturevalue("postgresql")
    return url


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    folder = tmp_path / "exports"
    folder.mkdir()
    return folder


@pytest.fixture
def export(exports: Path) -> Export:
    """Writes a day's csv from its rows as text; `header` names the columns."""

    def write(day: str, *rows: str, header: str = HEADER) -> Path:
        path = exports / f"orders_{day}.csv"
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def settings(tmp_path: Path, exports: Path, sandbox: Sandbox) -> Settings:
    """Settings for the sandbox, without limits, with everything under the test's own folder."""
    from robin_etl.settings import Settings

    return Settings.read(
        base_url=sandbox.url,
        api_key=KEY,
        api_secret=SECRET,
        exports=str(exports),
        ledger=str(tmp_path / "ledger.db"),
        runs=str(tmp_path / "runs"),
        rate_limits="100000/s",
        max_attempts=1,
    )


def run_days(settings: Settings, first: str, last: str | None = None, **options: Any) -> dict[str, Any]:
    """All stages over these days, as history unless the scope's `options` say otherwise; the summary."""
    from robin_etl import pipeline
    from robin_etl.stages.records import Scope
    from robin_etl.stages.run import Run

    days = {"first": date.fromisoformat(first), "last": date.fromisoformat(last or first)}
    scope = Scope(**{"command": "run", "is_history": True, **days, **options})
    started = Run.start(settings.runs, scope)
    return pipeline.run_all(settings, started).counts()
