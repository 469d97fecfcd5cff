"""Erasing a customer, shown by looking for them in every byte; and clearing away old run files."""

from __future__ import annotations

import os
import re
import time
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from upath import UPath

from robin_etl import pipeline
from robin_etl.core import customers
from robin_etl.exceptions import ConfigurationError, LedgerBusyError
from robin_etl.ledger import Ledger
from robin_etl.ledger.deliveries import FORGOTTEN
from robin_etl.ledger.journal import Journals
from robin_etl.sandbox.faults import Faults
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.upkeep import forget, prune
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
    files = {"exported.parquet", "changes.parquet", "requests.jsonl", "quarantine.csv"}
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
