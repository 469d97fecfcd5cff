"""Exports and run files in object storage: a real S3 server, from the environment and from Airflow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from upath import UPath

from robin_etl import pipeline
from robin_etl.exceptions import ConfigurationError, ExportMissingError
from robin_etl.ledger import Binding, Ledger
from robin_etl.ledger.journal import Journals
from robin_etl.ledger.restore import rebuild
from robin_etl.ledger.verify import verify
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run
from tests.conftest import HEADER, KEY, SECRET

pytestmark = pytest.mark.filterwarnings("ignore")  # of moto, botocore and Airflow

ACCESS, SECRET_ACCESS = "AKIAEXAMPLE", "s3-secret-access-key"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server that keeps what it is told in memory."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of its own, and credentials for it in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"shop-{uuid4().hex}"
    UPath(f"s3://{name}").fs.mkdir(name, create_parents=True)
    return name


def put(bucket: str, day: str, *rows: str) -> None:
    path = UPath(f"s3://{bucket}/exports/orders_{day}.csv")
    path.write_text("\n".join([HEADER, *rows]) + "\n")


def run(settings: Settings, first: str, last: str | None = None) -> dict[str, Any]:
    started = Run.start(
        settings.runs,
        Scope(command="run", first=date.fromisoformat(first), last=date.fromisoformat(last or first)),
        path_of=settings.path,
    )
    return pipeline.run_all(settings, Run.open(started.location, path_of=settings.path)).counts()


@pytest.mark.parametrize("shards", [1, 3])
def test_exports_and_run_files_may_lie_in_s3(
    settings: Settings, bucket: str, sandbox: Sandbox, shards: int
) -> None:
    put(bucket, "2026-03-01", *(f"{n},c{n % 5}@x.nl,{n},2026-03-01" for n in range(30)))
    put(
        bucket,
        "2026-03-02",
        "7,c2@x.nl,1,2026-03-01",
        "31,,5,2026-03-02",
        *["8,c3@x.nl,9,2026-03-01"] * 30,
    )
    there = settings.model_copy(
        update={
            "exports": f"s3://{bucket}/exports",
            "runs": f"s3://{bucket}/runs",
            "shards": shards,
        }
    )
    assert run(there, "2026-03-01")["posted"] == 30
    summary = run(there, "2026-03-02")
    assert (summary["return"], summary["upsell"], summary["quarantined"]) == (1, 1, 1)
    assert sandbox.robin.read_state()["complaints"] == []
    kept = UPath(f"s3://{bucket}/runs/{summary['run']}")
    assert json.loads((kept / "summary.json").read_text()) == summary
    assert "31,,5,2026-03-02" in (kept / "quarantine.csv").read_text()
    with pytest.raises(ExportMissingError, match=f"s3://{bucket}/exports/orders_2026-03-03"):
        run(there, "2026-03-03")


def test_a_range_in_s3_is_found(settings: Settings, bucket: str, sandbox: Sandbox) -> None:
    for day in (1, 9, 30):
        put(bucket, f"2026-03-{day:02}", f"{day},a@x.nl,5,2026-03-{day:02}")
    there = settings.model_copy(update={"exports": f"s3://{bucket}/exports"})
    assert run(there, "2026-01-01", "2026-12-31")["posted"] == 3


@pytest.fixture
def airflow_connections(bucket: str, s3: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials in Airflow connections, and none in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    aws = {"conn_type": "aws", "login": ACCESS, "password": SECRET_ACCESS}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_S3", json.dumps({**aws, "extra": {"endpoint_url": s3}}))
    robin = {"conn_type": "robin", "host": sandbox.url, "login": KEY, "password": SECRET}
    monkeypatch.setenv("AIRFLOW_CONN_ROBIN_DEFAULT", json.dumps(robin))


def test_credentials_of_the_storage_come_from_the_airflow_connection_that_a_location_names(
    settings: Settings,
    bucket: str,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    put(bucket, "2026-03-01", "1,a@x.nl,5,2026-03-01")
    request.getfixturevalue("airflow_connections")
    monkeypatch.setenv("ROBIN_ETL_EXPORTS", f"s3://shop_s3@{bucket}/exports")
    monkeypatch.setenv("ROBIN_ETL_RUNS", f"s3://shop_s3@{bucket}/runs")
    monkeypatch.setenv("ROBIN_ETL_LEDGER", settings.ledger)
    from robin_etl.airflow.hook import RobinHook

    there = RobinHook().get_settings()
    assert SECRET_ACCESS not in repr(there)
    summary = run(there, "2026-03-01")
    assert summary["posted"] == 1
    kept = there.path(f"s3://shop_s3@{bucket}/runs/{summary['run']}")
    told = b"".join(path.read_bytes() for path in kept.iterdir())
    assert SECRET_ACCESS.encode() not in told
    with pytest.raises(ConfigurationError, match="connection shop_s3, which only Airflow's tasks know"):
        Settings.read().path(f"s3://shop_s3@{bucket}/exports")


def test_the_trigger_looks_into_s3_with_the_connection(
    bucket: str, s3: str, request: pytest.FixtureRequest
) -> None:
    from robin_etl.airflow.trigger import ExportTrigger

    put(bucket, "2026-03-01", "1,a@x.nl,5,2026-03-01")
    request.getfixturevalue("airflow_connections")
    now = datetime.now(UTC).isoformat()

    async def fired(day: str) -> Any:
        trigger = ExportTrigger(f"s3://shop_s3@{bucket}/exports", day, day, now, seconds=1)
        return (await anext(trigger.run())).payload

    assert asyncio.run(fired("2026-03-01")) == {"found": True}
    assert asyncio.run(fired("2026-03-02")) == {"found": False}


def test_journals_in_object_storage_are_an_object_a_run_and_a_ledger_is_made_from_them(
    bucket: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = Settings.read(
        base_url=sandbox.url,
        api_key=KEY,
        api_secret=SECRET,
        exports=f"s3://{bucket}/exports",
        runs=f"s3://{bucket}/runs",
        ledger=str(tmp_path / "ledger.db"),
        rate_limits="100000/s",
        chunk_size=2,
    )
    for day in ("2026-03-01", "2026-03-02"):
        put(bucket, day, *(f"{day[-1]}{n},c{n}@x.nl,10,{day}" for n in range(5)))
        run(settings, day)
    root = settings.path(settings.runs) / "journals"
    with Ledger.open(settings.ledger) as ledger:
        journals = Journals(root, ledger.id)
        assert len(journals.list_files()) == 2
        assert verify(ledger, root).is_right
    # As a crash leaves them: not put together, and once already in one.
    (first, _) = journals.list_files()
    head, *lines = first.read_bytes().splitlines(keepends=True)
    begun = b"".join([head, *lines[: len(lines) // 2]])
    first.with_name(first.name.replace(".2026", "-x.2026")).write_bytes(begun)
    restored = rebuild(str(tmp_path / "anew.db"), root, Binding.of(settings))
    assert (restored.orders, restored.missing) == (10, ())
    there = settings.model_copy(update={"ledger": str(tmp_path / "anew.db")})
    assert run(there, "2026-03-02")["requests"] == 0
    assert sandbox.robin.read_state()["complaints"] == []
    for path in journals.list_files():
        path.unlink()
    assert run(there, "2026-03-02")["requests"] == 0
    with Ledger.open(there.ledger) as ledger:
        assert ledger.write_snapshot(root, "by-hand") == 10
        assert verify(ledger, root).is_right
    again = rebuild(str(tmp_path / "again.db"), root, Binding.of(settings))
    assert (again.orders, again.missing) == (10, ())
