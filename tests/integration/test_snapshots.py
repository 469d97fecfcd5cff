"""Journals that lack what the ledger has: a run, or a person, makes up for it with a snapshot."""

from __future__ import annotations

import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from upath import UPath

from benchmarks.delivery import changes
from robin_etl.exceptions import RobinUnavailableError, UnavailableError
from robin_etl.ledger import Binding, Ledger
from robin_etl.ledger.backup import backup
from robin_etl.ledger.journal import Journals
from robin_etl.ledger.journal_writer import JournalWriter
from robin_etl.ledger.replay import roll_forward
from robin_etl.ledger.restore import restore
from robin_etl.ledger.retract import plan_retraction
from robin_etl.ledger.schema import META, ORDERS
from robin_etl.ledger.snapshot import STATES_IN_PART
from robin_etl.ledger.verify import verify
from robin_etl.sandbox.faults import Faults
from robin_etl.upkeep import forget
from tests import processes
from tests.integration.test_cli import environment
from tests.integration.test_doubt import DAYS, Shop, amounts, rows, shop
from tests.integration.test_journals import (
    all_journals,
    any_shop,
    check_verified,
    day_of,
    dump,
    journals_of,
    leave_in_doubt,
    lose,
    make_anew,
    run_until,
)

__all__ = ["any_shop", "shop"]


@contextmanager
def limited_size(size: int) -> Iterator[None]:
    """While this lasts no file gets larger than so many bytes, as on a disk that is full."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


def cut_off(path: UPath, transactions: int) -> None:
    """Lose the last transactions of a journal, the first of them half, as a loss of power does."""
    lines = path.read_bytes().splitlines(keepends=True)
    ends = [at for at, line in enumerate(lines) if line.startswith(b'{"before"')]
    last = ends[-1 - transactions]
    path.write_bytes(b"".join(lines[: last + 1]) + lines[last + 1][:20] + bytes(100))


def test_what_a_loss_of_power_cut_off_is_written_by_the_next_run(any_shop: Shop) -> None:
    shop = any_shop
    run_until(shop, 2)
    cut_off(journals_of(shop).list_files()[-1], 3)
    with shop.open_ledger() as ledger:
        verification = verify(ledger, all_journals(shop))
    assert verification.is_right
    assert "The ledger is 3 revisions newer than its journals" in "\n".join(verification.describe())
    shop.export(DAYS[2], *rows(3))
    shop.run(3)
    before = dump(shop)
    check_verified(shop)
    if shop.settings.ledger.endswith(".db"):
        lose(shop)
        assert make_anew(shop).missing == ()
        assert dump(shop) == before
        check_verified(shop)
        assert shop.run(3)["requests"] == 0
        with shop.open_ledger() as ledger:
            assert [one.outcome for one in ledger.deliveries.history("6")].count("accepted") >= 2
            assert not ledger.doubts.has_open()


def test_a_ledger_without_journals_begins_one_with_all_that_it_holds(shop: Shop) -> None:
    run_until(shop, 2)
    shutil.rmtree(all_journals(shop))
    shop.export(DAYS[2], *rows(3, numbers=["1", "2"]))
    shop.run(3)
    before = dump(shop)
    with shop.open_ledger() as ledger:
        (last,) = {one.request for one in ledger.deliveries.history("1")[-1:]}
    lose(shop)
    assert make_anew(shop).missing == ()
    assert dump(shop) == before
    check_verified(shop)
    with shop.open_ledger() as ledger:
        # What ROBIN was told stays, though no request of then is known.
        assert plan_retraction(ledger, all_journals(shop), day_of(1), day_of(3)).is_empty
        assert [one.outcome for one in ledger.deliveries.history("6")] == ["accepted"]
    shop.export(DAYS[3], *rows(4))
    shop.run(4)
    assert shop.held() == amounts(4)
    assert shop.complaints() == []
    with shop.open_ledger() as ledger:
        assert ledger.deliveries.history("1")[-1].request > last
    check_verified(shop)


def test_a_snapshot_of_several_parts_is_all_that_there_is(tmp_path: Path) -> None:
    journals = UPath(tmp_path / "journals")
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger, ledger.posting("run", journals):
        ledger.baseline(changes(2 * STATES_IN_PART + 500))
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        number = ledger.states.count()
        assert ledger.write_snapshot(journals, "by-hand") == number
        with ledger.engine.read() as connection:
            states = connection.execute(sa.select(ORDERS).order_by("order_number")).all()
        kept = Journals(journals, ledger.id)
    first, last = kept.list_files()
    first.unlink()
    for name, missing in (("made.db", []), ("behind.db", [0, STATES_IN_PART, number - 1])):
        with Ledger.open(str(tmp_path / name)) as made:
            made.states.acknowledge(tuple(states[at])[:1] + tuple(states[0])[1:] for at in missing)
            made.states.acknowledge([("0", *states[0][1:]), ("z", *states[0][1:])])
            with made.engine.write() as connection:
                connection.execute(META.update().values(revision=0))
            roll_forward(made.engine, kept)
            with made.engine.read() as connection:
                found = connection.execute(sa.select(ORDERS).order_by("order_number")).all()
        assert found == states
    # One that was cut off while it was written is none.
    last.write_bytes(b"".join(last.read_bytes().splitlines(keepends=True)[:-2]))
    assert kept.find_newest() is None
    assert list(kept.read()) == []


def test_an_older_backup_is_brought_up_across_what_was_cut_off(shop: Shop, tmp_path: Path) -> None:
    shop.export(DAYS[0], *rows(1), "x,gone@x.nl,5,2026-03-01")
    shop.run(1)
    copy = str(tmp_path / "copy.db")
    backup(shop.settings.ledger, copy)
    shop.export(DAYS[1], *rows(2))
    shop.run(2)
    forget.forget_customer(shop.settings, "gone@x.nl", everything=True)
    for path in journals_of(shop).list_files()[1:]:
        path.unlink()
    shop.export(DAYS[2], *rows(3, numbers=["5"]))
    shop.run(3)
    before = dump(shop)
    restored = restore(shop.settings.ledger, copy, all_journals(shop), Binding.of(shop.settings))
    assert restored.missing == ()
    assert dump(shop) == before
    check_verified(shop)
    with shop.open_ledger() as ledger:
        assert ledger.deliveries.history("x") == []
    assert shop.run(2)["requests"] == shop.run(3)["requests"] == 0


def test_what_is_in_doubt_as_a_snapshot_is_written_stays_so(shop: Shop) -> None:
    leave_in_doubt(shop)
    shutil.rmtree(all_journals(shop))
    with shop.open_ledger() as ledger:
        assert ledger.write_snapshot(all_journals(shop), "by-hand") == 6
    lose(shop)
    make_anew(shop)
    with shop.open_ledger() as ledger:
        assert ledger.doubts.describe_open().orders == ("3", "4")
    shop.robin.faults = Faults()
    shop.export(DAYS[1], *rows(2, corrected=5))
    assert shop.run(2)["orders_in_doubt"] == ["3", "4"]
    assert shop.held() == amounts(2, corrected=5)
    assert shop.complaints() == []
    check_verified(shop)


def test_journals_that_are_gone_from_between_fail_to_verify_until_there_is_a_snapshot(
    shop: Shop, quick_command: Path
) -> None:
    def ask(*arguments: str) -> processes.Completed:
        return processes.run([quick_command, "ledger", *arguments], env=environment(shop.settings))

    run_until(shop, 3)
    journals_of(shop).list_files()[1].unlink()
    failed = ask("verify")
    assert failed.returncode == 1
    assert "The journals lack the revisions" in failed.stdout
    assert "run robin-etl ledger snapshot" in failed.stdout
    assert "Wrote a new journal of 6 orders." in ask("snapshot").stdout
    assert ask("verify").returncode == 0
    before = dump(shop)
    with closing(sqlite3.connect(shop.settings.ledger)) as connection:
        connection.execute("update orders set revenue = 1 where order_number = '2'")
        connection.commit()
    assert "In the ledger otherwise than in the journals: 2." in ask("verify").stdout
    lose(shop)
    make_anew(shop)
    assert dump(shop) == before


@pytest.mark.parametrize("everything", [False, True])
def test_a_customer_who_was_forgotten_is_in_no_snapshot(shop: Shop, everything: bool) -> None:
    ann = "ann.one@shop.example"
    shop.export(DAYS[0], f"A7777,{ann},10,2026-03-01", "2,bob@x.nl,20,2026-03-01")
    shop.lose(1)
    with pytest.raises(RobinUnavailableError):
        shop.run(1)
    shop.robin.faults = Faults()
    with shop.open_ledger() as ledger:
        ledger.write_snapshot(all_journals(shop), "in-doubt")
    shop.run(1)
    with shop.open_ledger() as ledger:
        ledger.write_snapshot(all_journals(shop), "by-hand")
    unfinished = journals_of(shop).folder / "cut-off.jsonl.new"
    unfinished.write_text("A7777")
    forget.forget_customer(shop.settings, ann, everything=everything)
    texts = b"".join(path.read_bytes() for path in journals_of(shop).folder.iterdir())
    assert (b"A7777" in texts) != everything
    before = dump(shop)
    lose(shop)
    make_anew(shop)
    assert dump(shop) == before
    with shop.open_ledger() as ledger:
        assert verify(ledger, all_journals(shop)).is_right


def test_a_copy_that_lacks_only_that_a_request_left_is_brought_up_first(
    shop: Shop, tmp_path: Path
) -> None:
    run_until(shop, 1)
    copy = str(tmp_path / "copy.db")
    backup(shop.settings.ledger, copy)
    with shop.open_ledger() as ledger, ledger.posting("dead", all_journals(shop)):
        pass
    shop.export(DAYS[1], *rows(2))
    shop.lose(1)
    with pytest.raises(RobinUnavailableError):
        shop.run(2)
    # The request was logged and left; that its answer was lost could not be logged.
    cut_off(journals_of(shop).list_files()[-1], 1)
    lose(shop)
    shutil.copy(copy, shop.settings.ledger)
    shop.robin.faults = Faults()
    shop.export(DAYS[1], *rows(2, corrected=5))
    assert shop.run(2)["orders_in_doubt"] == ["1", "2"]
    assert shop.held() == amounts(2, corrected=5)
    assert shop.complaints() == []
    check_verified(shop)


def test_a_line_that_a_full_disk_cut_off_takes_nothing_of_the_next_transaction_with_it(
    tmp_path: Path,
) -> None:
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        journals = Journals(UPath(tmp_path), ledger.id)
        with JournalWriter(journals, "run", ledger.bindings.read) as writer:
            writer.write([("reported", [1])], before=0, after=1)
            (path,) = journals.list_files()
            fill = Path(path).stat().st_size + 5
            with limited_size(fill), pytest.raises(UnavailableError, match="can't be written"):
                writer.write([("reported", [2])], before=1, after=2)
            writer.withdraw()
            writer.write([("reported", [3])], before=1, after=2)
        assert [one.moves for one in journals.read()] == [(["reported", [1]],), (["reported", [3]],)]
