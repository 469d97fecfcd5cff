"""A stride through the fault matrix; `python -m tests.matrix` plays all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import matrix
from tests.failover import Death


@pytest.fixture(scope="module")
def in_sqlite(quick_command: Path, tmp_path_factory: pytest.TempPathFactory) -> matrix.Place:
    return matrix.in_sqlite(quick_command, tmp_path_factory.mktemp("matrix"))


def test_any_answer_of_a_run_may_be_lost_and_one_of_the_next_as_well(
    in_sqlite: matrix.Place, tmp_path: Path
) -> None:
    assert matrix.lose_answer(in_sqlite, tmp_path / "none", matrix.NEVER) is None
    for first, at in ((4, 1), (2, 3)):
        seen = matrix.lose_answers(in_sqlite, tmp_path / f"{first}", at, first, is_whole=False)
        assert seen
        assert seen["repeats"] >= 2


def test_the_disk_may_be_full_at_any_commit_of_a_run(in_sqlite: matrix.Place, tmp_path: Path) -> None:
    commits = matrix.count_commits(in_sqlite, tmp_path / "none")
    for at in range(commits // 2, commits, commits // 6):
        assert matrix.fill_disk(in_sqlite, tmp_path / f"{at}", at, is_whole=False)


def test_the_database_may_go_away_or_be_another_one_at_any_commit_of_a_run(
    quick_command: Path, tmp_path: Path, postgresql_server: str
) -> None:
    with matrix.in_postgresql(quick_command, tmp_path / "shop", postgresql_server) as place:
        commits = matrix.count_commits(place, tmp_path / "none")
        for turn, death in enumerate(Death):
            at = commits * (5 + turn) // 10
            assert matrix.kill_server(place, tmp_path / death, at, death, is_whole=False)
