"""Contacts that no row names: sealed in the ledger with a key, and from earlier exports without one."""

from __future__ import annotations

import base64
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from robin_etl.core import columns, sealing
from robin_etl.core.sealing import Sealer
from robin_etl.exceptions import ConfigurationError, LedgerError
from robin_etl.ledger import Ledger
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.upkeep.forget import forget_customer
from tests.conftest import Export, run_days
from tests.integration.test_cli import Command, robin_etl

__all__ = ["robin_etl"]  # a fixture

NEW, OLD = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
HEADER = "order_number,email_address,phone_number,revenue,order_date"


def sealer(keys: str) -> Sealer:
    return Sealer(sealing.parse_keys(keys))


def contacts(**by_digest: str) -> pd.Series:
    return pd.Series(by_digest, dtype=columns.TEXT)


def digests(*values: str) -> pd.Series:
    return pd.Series(values, dtype=columns.TEXT)


def test_what_is_sealed_is_opened_by_its_key_for_its_digest_alone() -> None:
    sealed = sealer(NEW).seal("ann@x.nl", "d1")
    assert b"ann" not in sealed
    assert sealer(NEW).open(sealed, "d1") == "ann@x.nl"
    assert sealer(f"{OLD},{NEW}").open(sealed, "d1") == "ann@x.nl"
    assert sealer(OLD).open(sealed, "d1") is None
    assert sealer(NEW).open(sealed, "d2") is None
    assert sealer(NEW).open(sealed[:-1] + bytes([sealed[-1] ^ 1]), "d1") is None
    assert sealer(NEW).seal("ann@x.nl", "d1") != sealed


def test_contacts_are_kept_once_and_resealed_under_a_new_key(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        kept = ledger.contacts
        kept.keep(contacts(d1="ann@x.nl", d2="+316"), sealer(OLD))
        kept.keep(contacts(d1="ann@x.nl", d3="bob@x.nl"), sealer(OLD))
        assert kept.find(digests("d1", "d3", "d9"), sealer(OLD)).to_dict() == {
            "d1": "ann@x.nl",
            "d3": "bob@x.nl",
        }
        with pytest.raises(LedgerError, match="ROBIN_ETL_CONTACT_KEY does not open"):
            kept.find(digests("d1"), sealer(NEW))
        assert kept.reseal(sealer(f"{NEW},{OLD}")) == 3
        assert kept.find(digests("d1"), sealer(NEW)).to_dict() == {"d1": "ann@x.nl"}
        kept.remove(digests("d1"))
        assert kept.find(digests("d1", "d2"), sealer(NEW)).to_dict() == {"d2": "+316"}
        assert kept.remove_all() == 2
        with ledger.engine.read() as connection:
            assert connection.execute(sa.text("select count(*) from contacts")).scalar_one() == 0


def tell_a_late_first(settings: Settings, export: Export) -> None:
    """Order 1 of Ann's leaves her for Bob on the second day, so that order 2 becomes her first."""
    first = export(
        "2026-03-01", "1,ann@x.nl,,10,2026-03-01", "2,ann@x.nl,+316,20,2026-03-02", header=HEADER
    )
    run_days(settings, "2026-03-01")
    first.unlink()
    export("2026-03-02", "1,bob@x.nl,,10,2026-03-01", header=HEADER)


def test_with_a_key_a_correction_needs_no_old_export(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    with_key = settings.model_copy(
        update=Settings.read(contact_key=NEW).model_dump(include={"contact_key"})
    )
    tell_a_late_first(with_key, export)
    assert run_days(with_key, "2026-03-02")["without_contact"] == 0
    order = sandbox.robin.orders["2"]
    assert (order["email_address"], order["phone_number"]) == ("ann@x.nl", "+316")
    assert order["is_first_order"] is True
    assert b"ann@x.nl" not in everything(settings)


def test_without_a_key_it_waits_and_the_ledger_is_free_of_contacts(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    tell_a_late_first(settings, export)
    assert run_days(settings, "2026-03-02")["without_contact"] == 1
    assert sandbox.robin.orders["2"]["is_first_order"] is False
    with Ledger.open(settings.ledger) as ledger, ledger.engine.read() as connection:
        assert connection.execute(sa.text("select count(*) from contacts")).scalar_one() == 0


def everything(settings: Settings) -> bytes:
    """All bytes of the ledger's files."""
    return b"".join(path.read_bytes() for path in Path(settings.ledger).parent.glob("ledger.db*"))


def test_forgetting_a_customer_removes_what_is_sealed_of_them(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    with_key = settings.model_copy(
        update=Settings.read(contact_key=NEW).model_dump(include={"contact_key"})
    )
    tell_a_late_first(with_key, export)
    forget_customer(with_key, "ann@x.nl")
    with Ledger.open(settings.ledger) as ledger, ledger.engine.read() as connection:
        assert connection.execute(sa.text("select count(*) from contacts")).scalar_one() == 0


def test_contacts_are_resealed_and_removed_by_a_command(
    robin_etl: Command, settings: Settings, export: Export
) -> None:
    export("2026-03-01", "1,ann@x.nl,+316,10,2026-03-01", header=HEADER)
    assert robin_etl("run", "--date", "2026-03-01", CONTACT_KEY=OLD).returncode == 0
    resealed = robin_etl("ledger", "reseal", CONTACT_KEY=f"{NEW},{OLD}")
    assert resealed.stdout == "Sealed anew: 2 contacts.\n"
    assert robin_etl("ledger", "reseal", CONTACT_KEY=OLD).returncode == 1
    assert robin_etl("ledger", "reseal").returncode == 2
    assert robin_etl("ledger", "reseal", "--remove").stdout == "Removed: 2 contacts.\n"


@pytest.mark.parametrize("key", ["short", "not base64!", base64.b64encode(b"x" * 31).decode()])
def test_a_key_that_is_none_is_refused_with_a_sentence_that_does_not_show_it(key: str) -> None:
    with pytest.raises(ConfigurationError, match="32 bytes in base64") as caught:
        Settings.read(contact_key=key)
    assert key not in str(caught.value)
