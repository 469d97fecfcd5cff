"""The ledger can be lost: journals, restored backups, a ledger made anew, and a baseline taken back."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from upath import UPath

from robin_etl import pipeline
from robin_etl.exceptions import (
    BindingError,
    ConfigurationError,
    LedgerBusyError,
    LedgerError,
    RobinEtlError,
    RobinUnavailableError,
    StaleLedgerError,
    StoppedError,
    UnavailableError,
)
from robin_etl.ledger import Binding, Ledger
from robin_etl.ledger.backup import backup
from robin_etl.ledger.journal import Journals, list_ledgers
from robin_etl.ledger.restore import Restored, bring_up, rebuild, restore
from robin_etl.ledger.retract import plan_retraction, retract
from robin_etl.ledger.schema import ORDERS
from robin_etl.ledger.verify import verify
from robin_etl.sandbox.faults import Fault, Faults
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run
from robin_etl.upkeep import forget, prune
from tests import processes
from tests.conftest import KEY, SECRET, run_days
from tests.integration.test_cli import environment
from tests.integration.test_doubt import DAYS, NUMBERS, Shop, amounts, rows, shop

__all__ = ["shop"]


@pytest.fixture(params=["sqlite", "postgresql"])
def any_shop(shop: Shop, request: pytest.FixtureRequest) -> Shop:
    """The shop, with a ledger of either kind."""
    if request.param == "sqlite":
        return shop
    url = request.getfixturevalue("postgresql")
    return Shop(shop.settings.model_copy(update={"ledger": url}), shop.export, shop.robin)


def journals_of(shop: Shop) -> Journals:
    with shop.open_ledger() as ledger:
        return Journals(UPath(shop.settings.runs) / "journals", ledger.id)


def all_journals(shop: Shop) -> UPath:
    return UPath(shop.settings.runs) / "journals"


def run_until(shop: Shop, last: int) -> None:
    for day in range(1, last + 1):
        shop.export(DAYS[day - 1], *rows(day))
        shop.run(day)


def leave_in_doubt(shop: Shop) -> None:
    """Run a day, and lose an answer of the next, whose run stops."""
    run_until(shop, 1)
    shop.export(DAYS[1], *rows(2))
    shop.lose(2)
    with pytest.raises(RobinUnavailableError):
        shop.run(2)


def dump(shop: Shop) -> list[Any]:
    """All states that the ledger holds."""
    with shop.open_ledger() as ledger, ledger.engine.read() as connection:
        return [tuple(row) for row in connection.execute(sa.select(ORDERS).order_by("order_number"))]


def lose(shop: Shop) -> None:
    for ending in ("", "-wal", "-shm"):
        Path(f"{shop.settings.ledger}{ending}").unlink(missing_ok=True)


def make_anew(shop: Shop) -> Restored:
    return rebuild(shop.settings.ledger, all_journals(shop), Binding.of(shop.settings))


def revision_of(shop: Shop) -> int:
    with shop.open_ledger() as ledger:
        return ledger.states.revision()


def check_verified(shop: Shop) -> None:
    with shop.open_ledger() as ledger:
        verification = verify(ledger, all_journals(shop))
    assert verification.is_right, list(verification.describe())
    assert verification.journaled is not None
    assert verification.journaled.missing == ()
    assert verification.journaled.orders == verification.orders == len(NUMBERS)


def test_a_journal_has_what_robin_acknowledged_and_no_contact(any_shop: Shop) -> None:
    run_until(any_shop, 2)
    journals = journals_of(any_shop)
    texts = [path.read_text() for path in journals.list_files()]
    assert len(texts) == 2
    assert not any("@" in text for text in texts)
    transactions = list(journals.read())
    moves = [move for one in transactions for move in one.moves]
    assert {move[0] for move in moves} == {"sending", "accepted"}
    # Each is a revision of the ledger.
    assert [(one.before, one.after) for one in transactions] == [
        (at, at + 1) for at in range(revision_of(any_shop))
    ]
    states = [change[3:] for move in moves if move[0] == "accepted" for change in move[-1]]
    assert [(state[0], state[6]) for state in states[-2:]] == [("5", 2500), ("6", 2600)]
    check_verified(any_shop)


def test_an_empty_ledger_beside_the_journals_of_another_posts_nothing_unless_it_is_meant(
    shop: Shop, quick_command: Path
) -> None:
    run_until(shop, 2)
    before = dump(shop)
    lose(shop)
    requests = shop.robin.faults.requests
    there = environment(shop.settings)
    stopped = processes.run([quick_command, "run", "--date", DAYS[1]], env=there)
    assert stopped.returncode == 1
    assert "The ledger is empty, and" in stopped.stderr
    assert "robin-etl ledger rebuild" in stopped.stderr
    processes.run([quick_command, "ledger", "rebuild"], env=there, succeeds=True)
    assert dump(shop) == before
    assert shop.robin.faults.requests == requests
    lose(shop)
    baseline(shop, 1, 2)
    assert shop.run(2)["requests"] == 0


@pytest.mark.parametrize("with_backup", [True, False])
def test_a_lost_ledger_is_put_back_and_holds_what_robin_holds(
    shop: Shop, tmp_path: Path, with_backup: bool
) -> None:
    run_until(shop, 2)
    copy = str(tmp_path / "backup.db")
    backup(shop.settings.ledger, copy)
    backed_up = revision_of(shop)
    shop.export(DAYS[2], *rows(3))
    shop.run(3)
    before, revision = dump(shop), revision_of(shop)
    with shop.open_ledger() as ledger:
        name, history = ledger.id, ledger.deliveries.history("1")
    lose(shop)
    if with_backup:
        there = (all_journals(shop), Binding.of(shop.settings))
        restored = restore(shop.settings.ledger, copy, *there)
        assert (restored.from_revision, restored.revision) == (backed_up, revision)
    else:
        restored = make_anew(shop)
        assert (restored.from_revision, restored.revision) == (0, revision)
    assert (restored.ledger, restored.orders, restored.missing) == (name, 6, ())
    assert dump(shop) == before
    with shop.open_ledger() as ledger:
        again = ledger.deliveries.history("1")
        assert ledger.bindings.read() == Binding.of(shop.settings)
    assert [(one.run, one.kind, one.payload, one.outcome, one.day) for one in again] == [
        (one.run, one.kind, one.payload, one.outcome, one.day) for one in history
    ]
    check_verified(shop)
    assert shop.run(3)["requests"] == 0
    shop.export(DAYS[3], *rows(4))
    shop.run(4)
    assert shop.held() == amounts(4)
    assert shop.robin.read_state()["complaints"] == []
    check_verified(shop)


def test_a_backup_that_was_put_back_by_hand_posts_nothing_and_says_what_to_do(
    shop: Shop, tmp_path: Path, quick_command: Path
) -> None:
    run_until(shop, 2)
    copy = tmp_path / "backup.db"
    backup(shop.settings.ledger, str(copy))
    backed_up = revision_of(shop)
    shop.export(DAYS[2], *rows(3))
    shop.run(3)
    revision = revision_of(shop)
    lose(shop)
    shutil.copy(copy, shop.settings.ledger)
    requests = shop.robin.faults.requests
    stopped = processes.run([quick_command, "run", "--date", DAYS[2]], env=environment(shop.settings))
    assert stopped.returncode == 1
    assert (
        f"The ledger is at revision {backed_up}, and its journals go up to {revision} (the run "
        "2026-03-03."
    ) in stopped.stderr
    assert "robin-etl ledger restore" in stopped.stderr
    assert shop.robin.faults.requests == requests
    told = processes.run([quick_command, "ledger", "verify"], env=environment(shop.settings))
    assert told.returncode == 1
    behind = revision - backed_up
    assert f"The ledger is {behind} revisions behind its journals" in told.stdout
    done = processes.run(
        [quick_command, "ledger", "restore"], env=environment(shop.settings), succeeds=True
    )
    assert f"It was at revision {backed_up}, and its journals brought it to {revision}" in done.stdout
    assert shop.run(3)["requests"] == 0


def test_a_database_that_its_own_tools_put_back_is_brought_up(any_shop: Shop) -> None:
    shop = any_shop
    run_until(shop, 1)
    backed_up = revision_of(shop)
    with shop.open_ledger() as ledger, ledger.engine.read() as connection:
        old = [
            (table, [tuple(row) for row in connection.execute(sa.select(table))])
            for table in reversed(sa.inspect(ORDERS).metadata.sorted_tables)
        ]
    shop.export(DAYS[1], *rows(2))
    shop.run(2)
    revision = revision_of(shop)
    with shop.open_ledger() as ledger, ledger.engine.write() as connection:
        for table, of_table in old:
            connection.execute(table.delete())
            names = table.c.keys()
            if of_table:
                values = [dict(zip(names, row, strict=True)) for row in of_table]
                connection.execute(table.insert(), values)
    with pytest.raises(StaleLedgerError, match="Nothing was posted"):
        shop.run(2)
    restored = bring_up(shop.settings.ledger, all_journals(shop), Binding.of(shop.settings))
    assert (restored.from_revision, restored.revision) == (backed_up, revision)
    assert shop.run(2)["requests"] == 0
    check_verified(shop)


def test_a_database_in_postgresql_is_made_anew_only_in_an_empty_place(
    shop: Shop, postgresql: str
) -> None:
    run_until(shop, 2)
    there = (all_journals(shop), Binding.of(shop.settings))
    before = dump(shop)
    moved = Shop(shop.settings.model_copy(update={"ledger": postgresql}), shop.export, shop.robin)
    rebuild(postgresql, *there)
    assert dump(moved) == before
    check_verified(moved)
    with pytest.raises(LedgerError, match="in an empty schema or database"):
        rebuild(postgresql, *there)
    assert moved.run(2)["requests"] == 0


def test_what_a_lost_ledger_had_in_doubt_is_sent_again_word_for_word(shop: Shop) -> None:
    leave_in_doubt(shop)
    shop.robin.faults = Faults()
    lose(shop)
    make_anew(shop)
    shop.export(DAYS[1], *rows(2, corrected=5))
    summary = shop.run(2)
    assert summary["orders_in_doubt"] == ["3", "4"]
    assert shop.held() == amounts(2, corrected=5)
    assert shop.complaints() == []


def fail_commit(ledger: Ledger, at: int, name: str = "accepted") -> None:
    """Break the connection right before this commit of such a move, behind the journal."""
    keep_moves = ledger.engine.keep_moves
    seen = [0]

    def breaking(keep: Callable[..., None], withdraw: Callable[[], None]) -> Any:
        def kept(moves: list[tuple[Any, ...]], revision: int) -> None:
            keep(moves, revision)
            seen[0] += any(move[0] == name for move in moves)
            if seen[0] == at:
                raise LedgerError("the disk is full")

        return keep_moves(kept, withdraw)

    ledger.engine.keep_moves = breaking  # type: ignore[method-assign]


def test_a_request_that_could_not_be_logged_never_left_and_its_number_is_another_ones(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_until(shop, 1)
    shop.export(DAYS[1], *rows(2))
    opened = Ledger.open

    def opening(location: str, **options: Any) -> Ledger:
        ledger = opened(location, **options)
        fail_commit(ledger, 1, "sending")
        return ledger

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "open", opening)
        with pytest.raises(LedgerError, match="the disk is full"):
            shop.run(2)
    shop.export(DAYS[1], *rows(2, numbers=["6"]))  # the other orders are in no export any more
    assert shop.run(2)["orders_in_doubt"] == []
    before = dump(shop)
    with shop.open_ledger() as ledger:
        history = ledger.deliveries.history("1")
    lose(shop)
    make_anew(shop)
    assert dump(shop) == before
    with shop.open_ledger() as ledger:
        assert len(ledger.deliveries.history("1")) == len(history) == 1
        assert not ledger.doubts.has_open()
    check_verified(shop)


def test_a_journal_that_cannot_be_written_acknowledges_nothing(shop: Shop) -> None:
    run_until(shop, 1)
    revision = revision_of(shop)
    folder = journals_of(shop).folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    Path(folder).write_text("in the way")
    shop.export(DAYS[1], *rows(2))
    with pytest.raises((UnavailableError, NotADirectoryError)):
        shop.run(2)
    assert revision_of(shop) == revision
    Path(folder).unlink()
    assert shop.run(2)["posted"] == 6
    assert shop.held() == amounts(2)


def test_a_line_that_a_crash_has_cut_off_is_no_transaction(shop: Shop) -> None:
    run_until(shop, 1)
    (path,) = journals_of(shop).list_files()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines) + lines[-2] + b'{"before":3,"aft')
    assert journals_of(shop).find_newest() is not None
    assert [one.after for one in journals_of(shop).read()][-1] == revision_of(shop)
    check_verified(shop)
    shop.export(DAYS[1], *rows(2))
    shop.run(2)
    check_verified(shop)


def test_journals_that_are_missing_are_named(shop: Shop, quick_command: Path) -> None:
    run_until(shop, 4)
    files = journals_of(shop).list_files()
    begins = [int(path.name.partition("-")[0]) for path in files]
    with shop.open_ledger() as ledger:
        runs = [run.run for run in reversed(ledger.runs.latest(9))]
    files[1].unlink()
    files[2].unlink()
    lose(shop)
    done = processes.run([quick_command, "ledger", "rebuild"], env=environment(shop.settings))
    assert done.returncode == 3, done.stderr
    assert (
        f"The journals lack the revisions {begins[1] + 1} to {begins[3]}, written after the run "
        f"{runs[0]} and before the run {runs[3]}."
    ) in done.stdout
    assert "robin-etl baseline" in done.stdout
    files[0].unlink()
    lose(shop)
    restored = make_anew(shop)
    words = f"The journals begin at revision {begins[3]}, with the run {runs[3]}: what was acknowledged"
    assert restored.missing == (f"{words} before is not in them.",)


def test_a_ledger_whose_first_journals_are_gone_is_compared_as_far_as_they_go(shop: Shop) -> None:
    run_until(shop, 2)
    journals_of(shop).list_files()[0].unlink()
    with shop.open_ledger() as ledger:
        verification = verify(ledger, all_journals(shop))
    assert not verification.is_right
    assert verification.journaled
    assert "The journals begin at revision" in verification.journaled.missing[0]
    assert verification.journaled.differing == ()
    with closing(sqlite3.connect(shop.settings.ledger)) as connection:
        connection.execute("update orders set revenue = 1 where order_number = '2'")
        connection.commit()
    with shop.open_ledger() as ledger:
        found = verify(ledger, all_journals(shop)).journaled
    assert found
    assert found.differing == ("2",)


def test_what_was_changed_behind_its_back_is_named_and_a_rebuild_mends_it(
    shop: Shop, quick_command: Path
) -> None:
    run_until(shop, 2)
    before = dump(shop)
    with closing(sqlite3.connect(shop.settings.ledger)) as connection:
        connection.execute("update orders set placed_at = '1999' where order_number = '2'")
        connection.execute("delete from orders where order_number = '3'")
        connection.execute("update orders set order_number = '4b' where order_number = '4'")
        connection.commit()
    told = processes.run([quick_command, "ledger", "verify", "--json"], env=environment(shop.settings))
    assert told.returncode == 1
    found = json.loads(told.stdout)["journaled"]
    assert (found["lost"], found["unknown"], found["differing"]) == (["3", "4"], ["4b"], ["2"])
    words = processes.run([quick_command, "ledger", "verify"], env=environment(shop.settings)).stdout
    assert "In the journals, but not in the ledger: 3, 4." in words
    assert "Run robin-etl ledger rebuild" in words
    done = processes.run(
        [quick_command, "ledger", "rebuild", "--json"], env=environment(shop.settings), succeeds=True
    )
    assert dump(shop) == before
    kept = json.loads(done.stdout)["replaced"]
    assert Path(kept).exists()
    check_verified(shop)


def test_a_ledger_is_verified_while_a_run_writes_to_it(any_shop: Shop) -> None:
    shop = any_shop
    run_until(shop, 1)
    found: list[bool] = []

    class Verifying(Robin):
        def answer(self, authorization: str | None, body: bytes) -> tuple[int, Any]:
            with shop.open_ledger() as ledger:
                found.append(verify(ledger, all_journals(shop)).is_right)
            return super().answer(authorization, body)

    robin = Verifying(KEY, SECRET, limits=())
    with Sandbox(robin) as sandbox:
        there = shop.settings.model_copy(update={"base_url": sandbox.url})
        with shop.open_ledger() as ledger, ledger.lock.hold("ledger bind"):
            ledger.bindings.rebind(Binding.of(there), is_moved=True)
        shop.export(DAYS[1], *rows(2))
        run_days(there, DAYS[1])
    assert found == [True, True, True]


def test_two_shops_under_one_folder_have_journals_of_their_own(
    shop: Shop, tmp_path: Path, quick_command: Path
) -> None:
    run_until(shop, 1)
    robin = Robin("x", SECRET, limits=())
    with Sandbox(robin) as sandbox:
        key = Settings.read(api_key="x").api_key
        there = {"ledger": str(tmp_path / "other.db"), "base_url": sandbox.url, "api_key": key}
        other = shop.settings.model_copy(update=there)
        run_days(other, DAYS[0])
        assert len(list_ledgers(all_journals(shop))) == 2
        lose(shop)
        assert make_anew(shop).orders == 6  # by the ROBIN and the key
        assert shop.run(1)["requests"] == 0
        wrong = Binding.of(other)
        with shop.open_ledger() as ledger:
            name = ledger.id
        with pytest.raises(BindingError):
            rebuild(shop.settings.ledger, all_journals(shop), wrong, name=name)
    assert dump(shop)


def test_a_restore_changes_nothing_unless_it_works(shop: Shop, tmp_path: Path, postgresql: str) -> None:
    run_until(shop, 1)
    there = (all_journals(shop), Binding.of(shop.settings))
    before = dump(shop)
    with pytest.raises(ConfigurationError, match="There is no backup"):
        restore(shop.settings.ledger, str(tmp_path / "none.db"), *there)
    with pytest.raises(ConfigurationError, match="PostgreSQL's own tool"):
        restore(postgresql, str(tmp_path / "none.db"), *there)
    junk = tmp_path / "junk.db"
    junk.write_text("no database" * 1000)
    with pytest.raises(LedgerError, match=r"is no backup of a ledger|damaged"):
        restore(shop.settings.ledger, str(junk), *there)
    other = tmp_path / "other.db"
    with Ledger.open(str(other)):
        pass
    with pytest.raises(BindingError, match="a backup of another ledger"):
        restore(shop.settings.ledger, str(other), *there)
    copy = str(tmp_path / "copy.db")
    backup(shop.settings.ledger, copy)
    with shop.open_ledger() as ledger, ledger.lock.hold("a run"), pytest.raises(LedgerBusyError):
        restore(shop.settings.ledger, copy, *there)
    elsewhere = shop.settings.model_copy(update={"base_url": "https://else.example.com"})
    with pytest.raises(BindingError, match="belongs to the ROBIN at"):
        restore(shop.settings.ledger, copy, all_journals(shop), Binding.of(elsewhere))
    with pytest.raises(LedgerError, match="There are no journals"):
        rebuild(str(tmp_path / "new.db"), UPath(tmp_path / "none"), Binding.of(shop.settings))
    assert dump(shop) == before
    assert {path.name for path in tmp_path.glob("*.new*")} == set()


def test_prune_keeps_journals_and_a_ledger_can_be_made_from_them_after_it(shop: Shop) -> None:
    run_until(shop, 2)
    before = dump(shop)
    assert prune.prune_runs(shop.settings, timedelta(days=-1)) == 2
    lose(shop)
    assert make_anew(shop).missing == ()
    assert dump(shop) == before


@pytest.mark.parametrize("everything", [False, True])
def test_a_customer_who_was_forgotten_stays_so_in_journals_and_in_an_older_backup(
    shop: Shop, tmp_path: Path, everything: bool
) -> None:
    ann = "ann.one@shop.example"
    shop.export(DAYS[0], f"A7777,{ann},10,2026-03-01", "2,bob@x.nl,20,2026-03-01")
    sealing = shop.settings.model_copy(update={})
    run_days(sealing, DAYS[0])
    copy = str(tmp_path / "copy.db")
    backup(shop.settings.ledger, copy)
    forget.forget_customer(shop.settings, ann, everything=everything)
    before = dump(shop)
    texts = b"".join(path.read_bytes() for path in journals_of(shop).list_files())
    assert (b"A7777" in texts) != everything
    assert b'"order_number\\":\\"A7777' not in texts
    for is_restored in (True, False):
        if is_restored:
            there = (all_journals(shop), Binding.of(shop.settings))
            restore(shop.settings.ledger, copy, *there)
        else:
            make_anew(shop)
        assert dump(shop) == before
        with shop.open_ledger() as ledger:
            assert ledger.deliveries.history("A7777") == []
            assert len(ledger.deliveries.history("(forgotten)")) == 1
            assert verify(ledger, all_journals(shop)).is_right


@pytest.mark.parametrize("everything", [False, True])
def test_a_customer_is_forgotten_in_a_ledger_that_is_older_than_its_journals(
    shop: Shop, tmp_path: Path, everything: bool
) -> None:
    ann = "ann.one@shop.example"
    shop.export(DAYS[0], "2,bob@x.nl,20,2026-03-01")
    run_days(shop.settings, DAYS[0])
    copy = str(tmp_path / "copy.db")
    backup(shop.settings.ledger, copy)
    shop.export(DAYS[1], f"A7777,{ann},10,2026-03-02", f"A7778,{ann},10,2026-03-02")
    run_days(shop.settings.model_copy(update={"chunk_size": 1}), DAYS[1])
    lose(shop)
    shutil.copy(copy, shop.settings.ledger)
    erased = forget.forget_customer(shop.settings, ann, everything=everything)
    assert (erased.orders, erased.deliveries, erased.left) == (2, 2, ())
    before = dump(shop)
    for is_rebuilt in (False, True):
        if is_rebuilt:
            make_anew(shop)
        else:
            bring_up(shop.settings.ledger, all_journals(shop), Binding.of(shop.settings))
        assert dump(shop) == before
        with shop.open_ledger() as ledger:
            assert ledger.deliveries.history("A7777") == ledger.deliveries.history("A7778") == []
            theirs = ledger.states.rows_of(pd.Series(["A7777", "A7778"], dtype="str"))
            assert len(theirs) == (0 if everything else 2)


# Taking a baseline back


def baseline(shop: Shop, first: int, last: int) -> None:
    scope = Scope("baseline", day_of(first), day_of(last), final=True, is_history=True)
    pipeline.baseline(shop.settings, Run.start(shop.settings.runs, scope))


def day_of(number: int) -> date:
    return date.fromisoformat(DAYS[number - 1])


def test_a_baseline_that_went_a_day_too_far_is_taken_back_and_the_day_is_told(
    any_shop: Shop, tmp_path: Path
) -> None:
    shop = any_shop
    shop.export(DAYS[0], *rows(1, numbers=["1", "2"]))
    # ROBIN has the first day by other means.
    run_days(shop.settings.model_copy(update={"ledger": str(tmp_path / "before.db")}), DAYS[0])
    shop.export(DAYS[1], *rows(2, numbers=["2", "3", "4"]))
    baseline(shop, 1, 2)
    with shop.open_ledger() as ledger:
        taken = retract(ledger, all_journals(shop), day_of(2), day_of(2))
    assert (taken.days, taken.left) == ({DAYS[1]: 3}, 0)
    baseline(shop, 1, 1)  # which knows order 2 as it was on that day
    assert shop.run(2)["posted"] == 3
    assert shop.held() == {"1": 11.0, "2": 22.0, "3": 23.0, "4": 24.0}
    assert shop.robin.read_state()["complaints"] == []
    with shop.open_ledger() as ledger:
        assert verify(ledger, all_journals(shop)).is_right


def test_what_robin_was_told_stays_or_goes_back_to_what_it_was_told(shop: Shop) -> None:
    run_until(shop, 1)
    shop.export(DAYS[1], *rows(2, numbers=["1", "2"]), "8,new@x.nl,80,2026-03-02")
    shop.export(DAYS[2], *rows(3, numbers=["2"]))
    baseline(shop, 2, 2)
    shop.run(3)  # told from what the baseline said, which ROBIN does not hold
    with shop.open_ledger() as ledger:
        planned = plan_retraction(ledger, all_journals(shop), day_of(2), day_of(2))
        assert (planned.days, planned.left) == ({DAYS[1]: 1}, 0)
        assert planned.states["order_number"].tolist() == ["1"]
        retract(ledger, all_journals(shop), day_of(2), day_of(2))
        assert ledger.states.rows_of(pd.Series(["1"]))[["day", "revenue"]].values.tolist() == [
            [DAYS[0], 1100]
        ]
    assert shop.run(2)["posted"] == 2
    assert shop.held() == {**amounts(1), "1": 21.0, "2": 32.0, "8": 80.0}
    assert shop.complaints() == ["Order 2 has old_revenue 22, but held 12"]


def test_without_journals_what_was_told_is_read_from_the_delivery_log(shop: Shop) -> None:
    run_until(shop, 1)
    shop.export(DAYS[1], *rows(2, numbers=["1"]))
    baseline(shop, 2, 2)
    before = dump(shop)
    shutil.rmtree(all_journals(shop))
    with shop.open_ledger() as ledger:
        retract(ledger, all_journals(shop), day_of(2), day_of(2))
    assert dump(shop) != before
    shop.run(2)
    assert shop.held() == {**amounts(1), "1": 21.0}
    assert shop.complaints() == []


def test_nothing_is_taken_back_while_something_is_in_doubt(shop: Shop) -> None:
    shop.export(DAYS[0], *rows(1))
    shop.lose(1)
    with suppress(RobinEtlError):
        shop.run(1)
    with shop.open_ledger() as ledger, pytest.raises(StoppedError, match="in doubt"):
        retract(ledger, all_journals(shop), day_of(1), day_of(1))


def test_the_command_shows_by_day_what_it_takes_back_and_asks(shop: Shop, quick_command: Path) -> None:
    def run(*arguments: str) -> processes.Completed:
        days = ["--from", DAYS[0], "--to", DAYS[1]]
        return processes.run(
            [quick_command, "ledger", "retract", *days, *arguments], env=environment(shop.settings)
        )

    shop.export(DAYS[0], *rows(1, numbers=["1", "2"]))
    shop.export(DAYS[1], *rows(2, numbers=["3"]))
    baseline(shop, 1, 2)
    asked = run()
    assert asked.returncode == 1
    assert f"{DAYS[0]}: 2 orders that ROBIN was never told of." in asked.stdout
    assert f"{DAYS[1]}: 1 order that ROBIN was never told of." in asked.stdout
    assert json.loads(run("--json").stdout)["is_done"] is False
    assert len(dump(shop)) == 3
    assert "These days are outstanding again" in run("--yes").stdout
    assert dump(shop) == []
    assert "There is nothing to take back" in run("--yes").stdout


def test_a_lost_answer_and_a_failing_settlement_leave_journals_that_verify(shop: Shop) -> None:
    run_until(shop, 1)
    shop.export(DAYS[1], *rows(2))
    for fault in (Fault.RESET_AFTER, Fault.ERROR_BEFORE):
        shop.lose(1, fault)
        with pytest.raises(RobinUnavailableError):
            shop.run(2)
    shop.robin.faults = Faults(refused="^2$")
    assert shop.run(2)["orders_undecided"] == ["2"]
    check_verified(shop)
    before = dump(shop)
    lose(shop)
    make_anew(shop)
    assert dump(shop) == before
    with shop.open_ledger() as ledger:
        assert not ledger.doubts.has_open()
        assert [one.order_number for one in ledger.deliveries.rejected()] == ["2"]


def test_a_backup_from_before_the_first_post_is_bound_as_its_journals_are(
    shop: Shop, tmp_path: Path
) -> None:
    with shop.open_ledger():
        copy = str(tmp_path / "copy.db")
        backup(shop.settings.ledger, copy)
    run_until(shop, 1)
    restore(shop.settings.ledger, copy, all_journals(shop), Binding.of(shop.settings))
    with shop.open_ledger() as ledger:
        assert ledger.bindings.read() == Binding.of(shop.settings)
    check_verified(shop)


def test_going_back_to_an_older_version_is_a_restore_of_the_backup_of_before(
    shop: Shop, tmp_path: Path
) -> None:
    run_until(shop, 1)
    copy = str(tmp_path / "copy.db")
    backup(shop.settings.ledger, copy)
    shop.export(DAYS[1], *rows(2))
    shop.run(2)
    with closing(sqlite3.connect(shop.settings.ledger)) as connection:
        connection.execute("update meta set version = 999")
        connection.commit()
    for path in journals_of_any(shop):  # a newer version has a column more in the middle
        text = path.read_text().replace('"revenue","profit"', '"revenue","newer","profit"', 1)
        lines = [widen(line) for line in text.splitlines()]
        path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(LedgerError, match="Use the newer robin-etl"):
        shop.run(2)
    restore(shop.settings.ledger, copy, all_journals(shop), Binding.of(shop.settings))
    assert shop.run(2)["requests"] == 0
    assert shop.held() == amounts(2)
    assert shop.robin.read_state()["complaints"] == []


def journals_of_any(shop: Shop) -> list[Path]:
    return sorted(Path(str(all_journals(shop))).glob("*/*.jsonl"))


def widen(line: str) -> str:
    """A line of a journal with one value more behind each revenue."""
    value = json.loads(line)
    if isinstance(value, list) and value[0] == "accepted":
        value[-1] = [[*change[:10], "new", *change[10:]] for change in value[-1]]
    return json.dumps(value)


def test_an_order_that_lost_its_flag_to_a_baseline_has_it_back_with_it(shop: Shop) -> None:
    shop.export(DAYS[0], "1,ann@x.nl,10,2026-02-20")
    shop.run(1)
    shop.export(DAYS[1], "2,ann@x.nl,20,2026-02-10")  # placed before, and so ann's first
    baseline(shop, 2, 2)
    with shop.open_ledger() as ledger:
        planned = retract(ledger, all_journals(shop), day_of(2), day_of(2))
        assert planned.removed.tolist() == ["2"]
        assert planned.states[["order_number", "is_first_order"]].values.tolist() == [["1", True]]
    assert shop.run(2)["posted"] == 2  # order 2 as the first, and order 1 as it no more
    assert shop.robin.read_state()["complaints"] == []
