"""Care of the ledger: older schemas, damage, verifying, backups, clocks and disks that misbehave."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from upath import UPath

import robin_etl
from robin_etl.exceptions import ConfigurationError, LedgerError
from robin_etl.ledger import Ledger, schema
from robin_etl.ledger.backup import backup
from robin_etl.ledger.journal import Journals
from robin_etl.ledger.lock import hold_file
from robin_etl.ledger.verify import Verification, verify
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests import processes
from tests.conftest import Export, run_days
from tests.integration.test_cli import Command, environment
from tests.integration.test_ledger import delivery, keys, states

original = command.upgrade
MIGRATIONS = Path(robin_etl.__file__).parent / "ledger" / "migrations"


# The second delivery of a request, and the first, as they were logged then.
UNTIL_3 = """
    insert into deliveries
        (id, request, run, order_number, kind, wave, payload, outcome, status, words, sent_at)
    values
        (7, 7, 'old', '9', 'first', 1, '{}', 'accepted', 201, null, '2026-03-01T10:00:00.000000Z'),
        (8, 7, 'old', '1', 'return', 1, '{}', 'accepted', 201, null, '2026-03-01T10:00:00.000000Z')
"""


def made_as_of(version: int, url: str) -> None:
    """A ledger as the first robin-etl of that schema version made it, with an order in it."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, f"{version}")
        connection.execute(sa.text("drop table alembic_version"))
        counted = {} if version < 7 else {"told_orders": 1}
        connection.execute(schema.META.insert().values(only=1, version=version, revision=7, **counted))
        row = next(iter(states({"order_number": "1"}).drop(columns="email").to_dict("records")))
        later = () if version >= 4 else ("is_cancelled", "is_told")
        plain = {
            name: None if pd.isna(value) else value for name, value in row.items() if name not in later
        }
        connection.execute(schema.ORDERS.insert().values(plain))
        if version < 3:
            connection.execute(sa.text(UNTIL_3))
        else:
            moment = {"sent_at": "2026-03-01T10:00:00.000000Z", "outcome": "accepted", "status": 201}
            connection.execute(schema.REQUESTS.insert().values(id=7, run="old", wave=1, **moment))
            told = {"request": 7, "order_number": "1", "payload": "{}"}
            connection.execute(schema.DELIVERIES.insert().values(position=1, kind="return", **told))
    engine.dispose()


def read_index(connection: sa.Connection, name: str) -> str:
    """The columns of an index in its order, as the database words them."""
    is_sqlite = connection.dialect.name == "sqlite"
    asked = (
        "select sql from sqlite_master where name = :name"
        if is_sqlite
        else "select indexdef from pg_indexes where indexname = :name"
    )
    made: str = connection.execute(sa.text(asked), {"name": name}).scalar_one()
    return made.partition("(")[2].removesuffix(")")


@pytest.mark.parametrize("version", range(1, schema.VERSION + 1))
def test_a_ledger_of_any_version_is_brought_up_to_this_one_with_all_that_is_in_it(
    version: int, ledger_url: str
) -> None:
    made_as_of(version, ledger_url)
    with Ledger.open(ledger_url) as ledger:
        assert ledger.states.totals().orders == 1
        assert ledger.states.rows_of(keys("1"))[["is_cancelled", "is_told"]].values.tolist() == [
            [False, True]
        ]
        assert ledger.states.revision() == 7
        record = ledger.deliveries.history("1")[0]
        assert (record.request, record.run, record.wave, record.kind) == (7, "old", 1, "return")
        assert (record.outcome, record.status, record.payload) == ("accepted", 201, {})
        assert ledger.deliveries.request_ages(1e10) != []
        ledger.acknowledge(
            ledger.deliveries.begin("r", [delivery("2")]), [delivery("2")], status=201, words=""
        )
        with ledger.engine.read() as connection:
            found = connection.execute(sa.select(schema.META.c.version)).scalar_one()
            context = MigrationContext.configure(connection)
            differences = compare_metadata(context, schema.METADATA)
            made = read_index(connection, "orders_by_customer")
    assert found == schema.VERSION
    # The comparison of all does not see which way an index goes.
    assert made == "customer, is_cancelled, is_first_order DESC, placed_at, order_number"
    assert [one for one in differences if "alembic_version" not in str(one)] == []
    with Ledger.open(ledger_url) as again:
        assert again.states.totals().orders == 2


def test_a_migration_that_is_cut_off_leaves_the_ledger_as_it_was(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_as_of(1, ledger_url)

    def cut_off(config: Config, to: str) -> None:
        original(config, to)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "upgrade", cut_off)  # at the last moment before all is committed
    with pytest.raises(KeyboardInterrupt):
        Ledger.open(ledger_url)
    monkeypatch.undo()
    with Ledger.open(ledger_url) as ledger, ledger.engine.read() as connection:
        assert ledger.states.totals().orders == 1
        assert connection.execute(sa.select(schema.META.c.version)).scalar_one() == schema.VERSION


def test_a_new_ledger_is_of_this_version_and_has_what_the_migrations_make(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger, ledger.engine.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.METADATA) == []
    newest = max(path.name for path in (MIGRATIONS / "versions").glob("*.py"))
    assert int(newest[:4]) == schema.VERSION


@pytest.fixture
def told(settings: Settings, export: Export, sandbox: Sandbox) -> Settings:
    export("2026-03-01", *(f"{n},c{n % 4}@x.nl,{n}.10,2026-03-01T10:00:{n}Z" for n in range(10, 30)))
    export("2026-03-02", "10,c2@x.nl,1,2026-03-01T10:00:10Z", "11,c3@x.nl,50.55,2026-03-01T10:00:11Z")
    run_days(settings, "2026-03-01", "2026-03-02")
    return settings


def test_the_state_that_robin_was_told_is_verified(told: Settings) -> None:
    with Ledger.open(told.ledger) as ledger:
        assert verify(ledger) == Verification(20, 20, (), (), baselines=False)


def test_a_state_that_was_tampered_with_or_lost_is_named(
    told: Settings, ledger_command: Command
) -> None:
    with closing(sqlite3.connect(told.ledger)) as connection:
        connection.execute("update orders set revenue = 1 where order_number = '12'")
        connection.execute("delete from orders where order_number = '13'")
        connection.commit()
    with Ledger.open(told.ledger) as ledger:
        verification = verify(ledger)
    assert (verification.missing, verification.differing) == (("13",), ("12",))
    done = ledger_command("verify", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["missing"] == ["13"]
    assert "In the ledger otherwise than sent: 12." in ledger_command("verify").stdout


def test_orders_that_a_baseline_acknowledged_are_no_fault(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        ledger.states.baseline(states({"order_number": "1"}, {"order_number": "2"}))
        assert verify(ledger) == Verification(2, 0, (), (), baselines=False)


@pytest.fixture
def ledger_command(told: Settings, quick_command: Path) -> Command:
    def run(*arguments: str) -> processes.Completed:
        return processes.run([quick_command, "ledger", *arguments], env=environment(told))

    return run


def test_a_backup_is_a_whole_ledger_though_a_run_writes_meanwhile(
    told: Settings, tmp_path: Path
) -> None:
    stop = threading.Event()

    def write() -> None:
        with Ledger.open(told.ledger) as ledger:
            number = 1000
            while not stop.is_set():
                change = delivery(f"{number}")
                ledger.acknowledge(
                    ledger.deliveries.begin("r", [change]), [change], status=201, words=""
                )
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        size = backup(told.ledger, str(tmp_path / "copy.db"))
    finally:
        stop.set()
        writer.join()
    assert size == (tmp_path / "copy.db").stat().st_size
    assert (tmp_path / "copy.db").stat().st_mode & 0o077 == 0
    with Ledger.open(str(tmp_path / "copy.db")) as copy:
        assert copy.states.totals().orders >= 20
        copy.engine.check_integrity()


def test_a_backup_overwrites_nothing_and_leaves_postgresql_to_its_own_tool(
    told: Settings, tmp_path: Path, postgresql: str
) -> None:
    (tmp_path / "copy.db").write_text("mine")
    with pytest.raises(ConfigurationError, match="is there already"):
        backup(told.ledger, str(tmp_path / "copy.db"))
    with pytest.raises(ConfigurationError, match="pg_dump"):
        backup(postgresql, str(tmp_path / "other.db"))
    with pytest.raises(ConfigurationError, match="no ledger"):
        backup(str(tmp_path / "none.db"), str(tmp_path / "other.db"))


@pytest.mark.parametrize("damage", ["its header", "a page in the middle", "cut in half", "another file"])
def test_a_damaged_file_is_a_sentence_that_says_what_to_do(
    told: Settings, ledger_command: Command, damage: str
) -> None:
    with Ledger.open(told.ledger) as ledger:
        ledger.engine.write_back()
    path = Path(told.ledger)
    content = bytearray(path.read_bytes())
    if damage == "its header":
        content[:16] = os.urandom(16)
    elif damage == "a page in the middle":
        for page in range(1, len(content) // 4096):
            content[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    elif damage == "cut in half":
        del content[len(content) // 2 :]
    else:
        content = bytearray(b"order_number,email_address\n" * 500)
    path.write_bytes(content)
    done = ledger_command("verify")
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert "ledger rebuild" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_disk_that_can_only_be_read_is_a_sentence(told: Settings) -> None:
    # Root may write anywhere, so SQLite is asked for a file that it may only read.
    url = f"sqlite:///file:{told.ledger}?mode=ro&uri=true"
    with pytest.raises(LedgerError, match="readonly database"), Ledger.open(url) as ledger:
        ledger.runs.start(
            "r", command="run", first=datetime.now(UTC).date(), last=datetime.now(UTC).date()
        )


def test_a_clock_that_was_set_back_counts_what_was_sent_as_just_sent(ledger_url: str) -> None:
    moments: list[datetime] = [datetime(2026, 3, 1, 12, tzinfo=UTC)]
    with Ledger.open(ledger_url, clock=lambda: moments[-1]) as ledger:
        ledger.deliveries.begin("r", [delivery("1")])
        moments.append(moments[0] - timedelta(hours=1))
        assert ledger.deliveries.request_ages(60) == [0.0]
        change: Any = delivery("2")
        ledger.acknowledge(ledger.deliveries.begin("r", [change]), [change], status=201, words="")
        assert len(ledger.states.look_up(keys("2"), keys())) == 1


def test_a_clock_that_was_set_back_between_two_runs_hides_no_journal(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    folder.mkdir()
    for moment, run, after in (("20260301T12", "before", 5), ("20260301T11", "set-back", 8)):
        closing = {"before": 5, "after": after, "at": "2026-03-01T12:00:00.000000Z"}
        (folder / f"{5:012}-{moment}.{run}.jsonl").write_text(
            json.dumps(closing, separators=(",", ":")) + "\n"
        )
    newest = Journals(UPath(tmp_path), "ledger").find_newest()
    assert newest is not None
    assert (newest.run, newest.after) == ("set-back", 8)


def test_a_place_where_no_lock_can_be_made_is_a_sentence() -> None:
    # Not even root may write there.
    with pytest.raises(LedgerError, match="can't be locked"), hold_file(Path("/proc/robin/ledger.db")):
        pass
    with pytest.raises(LedgerError, match=r"can't be made .* Set ROBIN_ETL_LEDGER"):
        Ledger.open("/proc/robin/ledger.db")
