"""Erasing a customer, shown by looking for them in every byte; and clearing away old run files."""

from __future__ import annotations

import json
import os
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from robin_etl import pipeline
from robin_etl.core import customers
from robin_etl.exceptions import ConfigurationError, ExportError, LedgerBusyError
from robin_etl.ledger import Ledger
from robin_etl.ledger.deliveries import FORGOTTEN
from robin_etl.ledger.journal import Journals
from robin_etl.ledger.schema import METADATA, RUNS
from robin_etl.sandbox.faults import Fault, Faults
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.files import Folder
from robin_etl.upkeep import forget, prune
from robin_etl.upkeep.customer import Customer
from robin_etl.upkeep.run_files import erase_from_files
from tests.conftest import Export, run_days
from tests.integration.test_partitions import in_parts, started

HEADER = "order_number,email_address,phone_number,revenue,order_date"
ANN, PHONE = "ann.one@shop.example", "+31699887766"
BOB = "bob@shop.example"


def digest(contact: str, of: str) -> str:
    return str(customers.digest_contacts(pd.Series([contact], dtype="str"), of=of, key=b"").iloc[0])


def holding(settings: Settings, *words: str) -> set[str]:
    """The files of ours in which any of these words is, whatever the case."""
    found = set()
    places = [*Path(settings.runs).rglob("*"), *Path(settings.ledger).parent.glob("ledger.db*")]
    for path in places:
        if path.is_file() and any(word.encode() in path.read_bytes().lower() for word in words):
            found.add(path.name)
    return found


@pytest.fixture
def told(settings: Settings, export: Export, sandbox: Sandbox) -> Settings:
    """Three days with Ann in them: accepted, rejected, quarantined, in parts, and a dry run."""
    others = [f"o{n},c{n}@x.nl,,1,2026-03-01" for n in range(40)]
    export("2026-03-01", f"A1,{ANN.title()},{PHONE},10,2026-03-01T08:00:00Z", *others, header=HEADER)
    bad = f"A3,{ANN},,no money,2026-03-02"
    rows = [f"A2,{ANN},,20,2026-03-02", bad, f"B1,{BOB},,5,2026-03-02", *others]
    export("2026-03-02", *rows, header=HEADER)
    export(
        "2026-03-03", f"A4,{ANN},,20,2026-03-03", f"A5,,{PHONE},20,2026-03-03", *others, header=HEADER
    )
    run_days(settings, "2026-03-01")
    sandbox.robin.faults = Faults(refused="^A2$")
    run_days(in_parts(settings, 3), "2026-03-02")
    sandbox.robin.faults = Faults()
    pipeline.run_all(settings, started(settings, "2026-03-03", dry_run=True))
    return settings


def test_nothing_but_the_digest_is_left_of_a_customer_who_is_forgotten(told: Settings) -> None:
    files = {"exported.parquet", "changes.parquet", "requests.jsonl"}
    files |= {"quarantine.csv", "quarantine.jsonl"}
    assert files <= holding(told, ANN)
    erased = forget.forget_customer(told, ANN.upper())
    assert (erased.orders, erased.removed) == (1, False)
    # A5 names the phone number alone, which is another customer's contact as far as an export says.
    assert holding(told, ANN) == set()
    with Ledger.open(told.ledger) as ledger:
        journals = {
            path.name for path in Journals(UPath(told.runs) / "journals", ledger.id).list_files()
        }
    assert holding(told, digest(ANN, "email")) - journals == {"ledger.db"}
    with Ledger.open(told.ledger) as ledger:
        assert ledger.deliveries.history("A1") == ledger.deliveries.history("A2") == []
        assert len(ledger.deliveries.history(FORGOTTEN)) == erased.deliveries >= 2
        assert ledger.deliveries.rejected() == []
        assert ledger.deliveries.history("B1")


def test_with_all_the_digest_goes_too_and_a_second_time_finds_nothing_more(told: Settings) -> None:
    forget.forget_customer(told, ANN, everything=True)
    forget.forget_customer(told, PHONE, everything=True)
    assert holding(told, ANN, PHONE, digest(ANN, "email"), digest(PHONE, "phone")) == set()
    assert holding(told, BOB)
    again = forget.forget_customer(told, ANN, everything=True)
    assert (again.orders, again.deliveries, again.rows, again.files) == (0, 0, 0, 0)


@pytest.mark.parametrize(("everything", "kind"), [(False, "repeat"), (True, "first")])
def test_the_next_order_of_a_forgotten_customer_is_a_first_one_only_with_all(
    told: Settings, export: Export, sandbox: Sandbox, everything: bool, kind: str
) -> None:
    forget.forget_customer(told, ANN, everything=everything)
    export("2026-03-04", f"A9,{ANN},,20,2026-03-04", header=HEADER)
    assert run_days(told, "2026-03-04")[kind] == 1


def test_forgetting_works_on_postgresql_as_well(
    settings: Settings, export: Export, postgresql: str
) -> None:
    export("2026-03-03", f"A4,{ANN},,20,2026-03-03", header=HEADER)
    there = settings.model_copy(update={"ledger": postgresql})
    run_days(there, "2026-03-03")
    erased = forget.forget_customer(there, ANN)
    assert (erased.orders, erased.deliveries) == (1, 1)
    with Ledger.open(postgresql) as ledger:
        assert ledger.deliveries.history("A4") == []


def test_a_run_that_posts_is_not_forgotten_under_its_feet(settings: Settings) -> None:
    with (
        Ledger.open(settings.ledger) as ledger,
        ledger.lock.hold("a run"),
        pytest.raises(LedgerBusyError),
    ):
        forget.forget_customer(settings, ANN)


@pytest.fixture
def wrecked(told: Settings) -> Settings:
    """The same, and whatever a killed or a stopped run, or another program, leaves under RUNS."""
    runs = Path(told.runs)
    whole = next(runs.glob("2026-03-03*/exported.parquet")).read_bytes()
    rows = f"file,line,rules,contact\norders.csv,2,a rule,{ANN}\norders.csv,3,a rule,{ANN[:-3]}"
    order = f'{{"orders": [{{"order_number": "A4", "email_address": "{ANN}"}}]}}'
    wrecks: dict[str, bytes] = {
        "empty/exported.parquet": b"",
        "empty/quarantine.csv": b"",
        "empty/run.json": b"",
        "cut/exported.parquet": whole[: len(whole) // 2],
        "cut/run.json": f'{{"command": "run {ANN}'.encode(),
        "cut/summary.json": f'{{"notes": ["{ANN}"'.encode(),
        "cut/quarantine.csv": rows.encode(),
        "cut/requests.jsonl": f"{order}\n{order[:-9]}".encode(),
        "cut/partition-001/changes.parquet": whole[:-1],
        "cut/partition-002/changes.parquet.new": whole[:100],
        "cut/partition-002/confirmed.parquet": whole,
        "foreign/exported.parquet": ANN.encode(),
        "foreign/quarantine.csv": bytes(range(256)) + ANN.encode() + b"\n",
        "foreign/summary.json": f'[{{"{ANN}": ["{PHONE}"]}}, 1]'.encode(),
        "cut/quarantine.jsonl": f'{{"cells": {{"x": "{ANN}"}}}}\n{{"cells": {{"x": "{ANN[:9]}'.encode(),
        "foreign/load.json": b"\xff\xfe",
        "foreign/requests.jsonl": f'{{"orders": "{ANN}"}}\n'.encode(),
        "foreign/report.html/notes.txt": ANN.encode(),
        "foreign/exported.parquet.d/notes.txt": f"{ANN}, {PHONE}".encode(),
    }
    for name, content in wrecks.items():
        path = runs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    frame = pd.DataFrame({"something": [ANN], "else": [PHONE]})
    frame.to_parquet(runs / "foreign" / "changes.parquet")
    return told


def test_whatever_killed_runs_and_other_programs_leave_is_erased_or_removed(wrecked: Settings) -> None:
    erased = forget.forget_customer(wrecked, ANN, everything=True)
    assert forget.forget_customer(wrecked, PHONE, everything=True).left == erased.left == ()
    assert holding(wrecked, ANN, PHONE, "ann.one", "A4") == set()
    assert {
        "empty/exported.parquet",
        "cut/run.json",
        "cut/quarantine.csv",
        "cut/partition-002/changes.parquet.new",
        "foreign/changes.parquet",
    } <= set(erased.removed_files)
    # What can be read is kept without the customer.
    assert (Path(wrecked.runs) / "cut" / "partition-002" / "confirmed.parquet").exists()
    assert json.loads((Path(wrecked.runs) / "foreign" / "summary.json").read_text())[1] == 1
    again = forget.forget_customer(wrecked, ANN)
    assert (again.rows, again.files, again.removed_files) == (0, 0, ())


def test_what_is_no_run_s_is_named_and_left(settings: Settings, export: Export) -> None:
    export("2026-03-01", f"A1,{ANN},,10,2026-03-01", header=HEADER)
    run_days(settings, "2026-03-01")
    runs = Path(settings.runs)
    (runs / "notes").mkdir()
    (runs / "notes" / "ann.txt").write_text(f"call {ANN}")
    (runs / "notes" / "joann.txt").write_text(f"call jo{ANN}")
    copy = Path(f"{settings.ledger}.before-2026")
    copy.write_bytes(ANN.encode())
    (file, kept) = forget.forget_customer(settings, ANN).left
    assert file == "notes/ann.txt: it is no file of a run; look at it yourself"
    assert kept.startswith(f"{copy}: a copy of the ledger")


def test_a_link_in_the_runs_is_taken_away_and_leads_nobody_out_of_them(
    told: Settings, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "run.json").write_text(ANN)
    os.utime(outside / "run.json", (0, 0))
    run = next(Path(told.runs).glob("2026-03-03*"))
    for planted in (run / "quarantine.csv", run / "report.html", run / "partition-009"):
        planted.unlink(missing_ok=True)
        planted.symlink_to(outside / "run.json" if planted.suffix else outside)
    (Path(told.runs) / "planted").symlink_to(outside)
    erased = forget.forget_customer(told, ANN)
    assert {f"{run.name}/quarantine.csv", f"{run.name}/partition-009"} <= set(erased.removed_files)
    assert prune.prune_runs(told, timedelta(days=1)) == 0
    assert (outside / "run.json").read_text() == ANN
    assert not (run / "report.html").is_symlink()


class KeepingFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """A storage that lets nothing be removed, and nothing be written."""

    protocol = "keeping"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("keeping://", "memory://")))

    def _rm(self, path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "rb":
            raise PermissionError(13, "Permission denied", path)
        return super()._open(path, mode, **options)


@pytest.mark.filterwarnings("ignore:UPath 'keeping' filesystem")
def test_a_file_that_can_not_be_removed_is_named_and_the_others_are_looked_at() -> None:
    fsspec.register_implementation("keeping", KeepingFileSystem, clobber=True)
    there = MemoryFileSystem()
    rows = pd.DataFrame({"order_number": ["A1", "B1"], "email_address": [ANN, BOB]})
    with there.open("/runs/one/exported.parquet", "wb") as stream:
        rows.to_parquet(stream)
    there.pipe("/runs/one/quarantine.csv", ANN.encode())
    there.pipe("/runs/two/summary.json", b"{}\n")
    erased = erase_from_files(
        Folder(UPath("keeping:///runs")), Customer(ANN, ANN, digest(ANN, "email")), delivered=()
    )
    assert erased.left == (
        "one/exported.parquet: it can't be read, nor removed (Permission denied)",
        "one/quarantine.csv: it can't be read, nor removed (Permission denied)",
    )
    there.rm("/runs", recursive=True)


def test_what_a_file_without_a_header_made_an_earlier_version_say_is_forgotten(
    settings: Settings, export: Export
) -> None:
    export("2026-03-01", f"A2,{BOB},,1,2026-03-01", header=f"A1,{ANN},{PHONE},10,2026-03-01")
    with pytest.raises(ExportError) as caught:
        run_days(settings, "2026-03-01")
    assert ANN not in str(caught.value)
    assert holding(settings, ANN, PHONE) == set()
    # As it was said until now: the row that stood where the header should be.
    (run,) = (path for path in Path(settings.runs).glob("2026-03-01*"))
    words = f"its columns are: 10, A1, {ANN}, {PHONE}"
    page = run / "report.html"
    page.write_text(page.read_text().replace("</h1>", f"</h1><p>{words}</p>"))
    with Ledger.open(settings.ledger) as ledger, ledger.engine.write() as connection:
        connection.execute(RUNS.update().values(words=words))
    assert holding(settings, ANN) == {"ledger.db", "report.html"}
    forget.forget_customer(settings, ANN)
    assert holding(settings, ANN, PHONE) == set()
    assert "named a customer who was forgotten" in page.read_text()


def test_robin_s_words_of_errors_go_from_summary_page_and_ledger(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    sandbox.robin.faults = Faults(script={1: Fault.SPEAKS_OF_ERRORS})
    export("2026-03-01", f"A1,{ANN},,10,2026-03-01", header=HEADER)
    run_days(settings, "2026-03-01")
    assert holding(settings, "something is not right") >= {"report.html", "summary.json"}
    forget.forget_customer(settings, ANN)
    assert holding(settings, "something is not right") == set()


def test_numbers_of_orders_go_from_records_and_pages_too(told: Settings) -> None:
    (run,) = Path(told.runs).glob("2026-03-02*")
    for name in ("summary.json", "report.html"):
        assert b"A2" in (run / name).read_bytes()
    forget.forget_customer(told, ANN)
    assert b'"A2"' not in (run / "summary.json").read_bytes()
    assert b">A2<" not in (run / "report.html").read_bytes()
    assert b"(forgotten)" in (run / "summary.json").read_bytes()


def test_no_table_of_postgresql_has_the_customer_afterwards(
    settings: Settings, export: Export, postgresql: str
) -> None:
    there = settings.model_copy(update={"ledger": postgresql})
    export("2026-03-03", f"A4,{ANN},{PHONE},20,2026-03-03", header=HEADER)
    run_days(there, "2026-03-03")
    with Ledger.open(postgresql) as ledger, ledger.engine.write() as connection:
        connection.execute(RUNS.update().values(words=f"its columns are: {ANN}, {PHONE}"))
    forget.forget_customer(there, ANN, everything=True)
    with Ledger.open(postgresql) as ledger, ledger.engine.read() as connection:
        kept = [
            str(row) for table in METADATA.sorted_tables for row in connection.execute(table.select())
        ]
    words = (ANN, PHONE, "A4", digest(ANN, "email"), digest(PHONE, "phone"))
    assert [row for row in kept if any(word in row for word in words)] == []


def test_a_blank_contact_is_refused(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="Name the e-mail address"):
        forget.forget_customer(settings, " ")


def test_only_runs_that_are_old_enough_are_pruned(told: Settings) -> None:
    (Path(told.runs) / "notes").mkdir()
    old = min(path for path in Path(told.runs).iterdir() if (path / "run.json").exists())
    long_ago = time.time() - 91 * 86_400
    os.utime(old / "run.json", (long_ago, long_ago))
    assert prune.prune_runs(told, timedelta(days=90)) == 1
    assert not old.exists()
    assert (Path(told.runs) / "notes").is_dir()
    run_days(told, "2026-03-01")
    index = (Path(told.runs) / "index.html").read_text()
    assert old.name not in index
    assert re.search(r'href="2026-03-02[^"]*/report\.html"', index)
