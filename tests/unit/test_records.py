"""What stages leave for each other comes back as it was, and says the same by name."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from upath import UPath

from robin_etl.core import columns
from robin_etl.core.figures import Figures, KindTotal, Tally
from robin_etl.core.guards import TrippedGuard
from robin_etl.exceptions import StoppedError
from robin_etl.stages.files import Folder, FrameFile, LinesFile, RecordFile, TableFile
from robin_etl.stages.records import (
    Basis,
    Classified,
    Delivered,
    Extracted,
    Loaded,
    Partitioning,
    Plan,
    Scope,
    Summary,
)
from robin_etl.stages.run import Partition, Run, describe_files

DAY = date(2026, 3, 1)
CLASSIFIED = Classified(3, {"first": 2, "return": 1}, {1: 2, 2: 1}, 4, 5, 6, 7, 8)
FIGURES = Figures(
    kinds={"first": KindTotal(2, 300, 0)},
    returns=Tally(1, ("7",)),
    scaled={"100": Tally(1, ("7",))},
    new=2,
    new_by_day={"2026-03-01": 2},
)
RECORDS = [
    Scope("run", DAY, DAY),
    Scope("backfill", DAY, DAY, final=True, exports=((DAY, "a.csv"),)),
    Extracted(1, 2, 3, 4, ("volume",)),
    Partitioning(7, 11),
    Basis(12, CLASSIFIED, FIGURES),
    Plan(3, 2, 1.5, FIGURES.kinds, (TrippedGuard("scale", "words", is_allowed=True),)),
    Loaded(("dead",), ("1", "2"), (4, 5), ("2",), held_back=("3",)),
    Loaded(acknowledged=0),
]


def summarize(
    *,
    extracted: Extracted = Extracted(),  # noqa: B008 (frozen)
    classified: Classified = Classified(),  # noqa: B008
    delivered: Delivered = Delivered(),  # noqa: B008
    warnings: tuple[str, ...] = (),
) -> Summary:
    return Summary("r", DAY, DAY, extracted, classified, 1, delivered, Loaded(), warnings)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(UPath(tmp_path / "run"))
    made.make()
    return made


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_is_read_as_it_was_written(folder: Folder, record: object) -> None:
    file = RecordFile(folder, "record.json", type(record))
    assert file.find() is None
    with pytest.raises(StoppedError, match=r"There is no record\.json in .*Run the day again"):
        file.read()
    file.write(record)
    assert file.read() == file.find() == record


def test_a_summary_is_parsed_from_its_counts() -> None:
    summary = Summary(
        run="r",
        first=DAY,
        last=DAY,
        extracted=Extracted(1, 2, 3, 4, without_customer=5),
        classified=Classified(kinds=dict.fromkeys(columns.KINDS, 2), stale=3),
        partitions=2,
        delivered=Delivered(5, 6, ("a",), ("b", "c"), ("c",), ("d",), 7, ("1 error",)),
        loaded=Loaded(would_post=9, would_request=1, would_settle=("e",)),
        warnings=("volume",),
    )
    assert Summary.parse(summary.counts()) == summary
    assert Summary.parse({}) is None
    older = {name: value for name, value in summary.counts().items() if name != "without_customer"}
    assert Summary.parse(older) == replace(
        summary, extracted=replace(summary.extracted, without_customer=0)
    )


def test_what_the_tries_at_loading_find_is_added_up() -> None:
    first = Loaded(("dead",), ("2",), (7,), undecided=("2",), acknowledged=0)
    both = first.add(Loaded((), ("1", "2"), (3,), held_back=("9",)))
    assert both == Loaded(("dead",), ("1", "2"), (3, 7), ("2",), ("9",), acknowledged=0)
    assert both.add(Loaded(acknowledged=5)).acknowledged == 5


def test_partitions_are_added_up() -> None:
    both = Classified.add_up([CLASSIFIED, CLASSIFIED])
    assert both == Classified(6, {"first": 4, "return": 2}, {1: 4, 2: 2}, 8, 10, 12, 14, 16)
    assert Classified.add_up([]) == Classified()


@pytest.mark.parametrize(
    ("summary", "to_look_at"),
    [
        (summarize(), ()),
        (summarize(delivered=Delivered(posted=1, in_doubt=("1",))), ()),
        (
            summarize(delivered=Delivered(in_doubt=("1", "2"), undecided=("1",))),
            ("1 order that ROBIN may hold at either amount",),
        ),
        (summarize(classified=Classified(stale=1, duplicates=1, untold=1)), ()),
        (summarize(extracted=Extracted(quarantined=1)), ("1 row quarantined",)),
        (summarize(delivered=Delivered(rejected=("1", "2"))), ("2 orders rejected",)),
        (summarize(delivered=Delivered(held_back=("1",))), ("1 order held back",)),
        (
            summarize(classified=Classified(without_contact=1)),
            ("1 change waiting for an address",),
        ),
        (summarize(delivered=Delivered(remarked=3)), ("3 changes taken with words of errors",)),
        (summarize(warnings=("a", "b")), ("the rule a warned", "the rule b warned")),
    ],
)
def test_a_run_is_degraded_by_what_somebody_has_to_look_at(
    summary: Summary, to_look_at: tuple[str, ...]
) -> None:
    assert summary.to_look_at == to_look_at
    assert summary.outcome == ("degraded" if to_look_at else "done")
    assert summary.is_degraded == bool(to_look_at)
    stopped = replace(summary, is_stopped=True)
    assert (stopped.outcome, stopped.is_degraded) == ("stopped", False)
    for one in (summary, stopped):
        assert one.counts()["outcome"] == one.outcome
        parsed = Summary.parse(one.counts())
        assert parsed is not None
        assert (parsed.outcome, parsed.to_look_at) == (one.outcome, one.to_look_at)


def test_a_frame_is_read_in_its_types_whole_or_in_batches_and_rows_are_dropped(folder: Folder) -> None:
    dtypes = {"order_number": columns.TEXT, "revenue": columns.CENTS, "broken": columns.FLAG}
    file = FrameFile(folder, "rows.parquet", dtypes)
    table = pd.DataFrame({"order_number": ["01", None, "3"], "revenue": [1, None, 3], "broken": True})
    rows = columns.conform(table, dtypes)
    assert not file.exists()
    file.write(rows, at_once=2)
    pd.testing.assert_frame_equal(file.read(), rows)
    batches = list(file.read_batches())
    assert [len(batch) for batch in batches] == [2, 1]
    pd.testing.assert_frame_equal(pd.concat(batches, ignore_index=True), rows)
    assert list(file.read(["revenue"]).columns) == ["revenue"]
    assert file.drop_rows(lambda frame: frame["order_number"].eq("01").fillna(value=False)) == 1
    assert file.drop_rows(lambda frame: frame["order_number"].eq("01").fillna(value=False)) == 0
    assert file.read()["revenue"].tolist()[1:] == [3]


def test_a_frame_of_another_version_that_lacks_a_column_is_not_read_as_null(folder: Folder) -> None:
    dtypes = {"order_number": columns.TEXT, "is_cancelled": columns.FLAG}
    old = FrameFile(folder, "rows.parquet", {"order_number": columns.TEXT})
    old.write(pd.DataFrame({"order_number": ["1"]}, dtype=columns.TEXT))
    file = FrameFile(folder, "rows.parquet", dtypes)
    for read in (file.read, lambda: list(file.read_batches())):
        with pytest.raises(StoppedError, match=r"rows\.parquet in .* has no is_cancelled"):
            read()
    assert file.read(["order_number"])["order_number"].tolist() == ["1"]


def test_a_table_gives_its_first_columns_whatever_stands_further_right(folder: Folder) -> None:
    file = TableFile(folder, "quarantine.csv", ("file", "line"))
    file.write(pd.DataFrame([["a.csv", 7, "NA"], ["b.csv", 8, ""]], columns=["file", "line", "file"]))
    assert file.read().to_numpy().tolist() == [["a.csv", "7"], ["b.csv", "8"]]
    assert file.drop_rows(lambda rows: rows.iloc[:, 2] == "NA") == 1
    assert file.read().to_numpy().tolist() == [["b.csv", "8"]]


# As a spreadsheet of either country splits a line, and as it strips a cell.
FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "x;=1",
    "x, =1",
    'x;"=1',
    "\uff1d1",
    "x\n=1",
]


def test_no_cell_of_a_table_begins_a_formula_wherever_a_spreadsheet_splits_it(folder: Folder) -> None:
    file = TableFile(folder, "quarantine.csv", ("file", "line"))
    rows = pd.DataFrame({"file": FORMULAS, "line": range(len(FORMULAS)), "=2": FORMULAS}).astype(
        {"file": "str"}
    )
    file.write(rows)
    text = folder.read(file.name).decode()
    pieces = re.split(r'[;,\n\t\r"]', text)
    assert [piece for piece in pieces if piece.strip()[:1] in ("=", "+", "-", "@", "\uff1d")] == []
    file.drop_rows(lambda frame: frame["line"] == "0")
    assert "''" not in folder.read(file.name).decode()


def test_a_table_says_what_it_was_given_where_nothing_begins_a_formula(folder: Folder) -> None:
    file = TableFile(folder, "quarantine.csv", ("file", "line"))
    file.write(pd.DataFrame({"file": ["a-b.csv"], "line": ["2"], "x": ["O'Brien <a@b.nl>, 2026-03-01"]}))
    assert folder.read(file.name).decode().splitlines()[1] == 'a-b.csv,2,"O\'Brien <a@b.nl>, 2026-03-01"'


def test_a_table_steers_no_terminal_that_prints_it(folder: Folder) -> None:
    file = TableFile(folder, "quarantine.csv", ("file", "line"))
    steering = ["\x1b]0;title\x07", "\x1b[2J", "a\u202eb", "\x9b2J", "\u2066x"]
    file.write(pd.DataFrame({"file": steering, "line": ["2"] * len(steering)}))
    text = folder.read(file.name).decode()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


def test_lines_come_back_as_they_were_written(folder: Folder) -> None:
    file = LinesFile(folder, "requests.jsonl")
    assert file.write(iter([b"{}", b"[1]"])) == 2
    assert file.read() == [b"{}", b"[1]"]


def test_every_file_has_one_name_a_stage_and_a_sentence() -> None:
    described = list(describe_files())
    for holder in (Run, Partition):
        names = [declared.name for owner, declared in described if owner is holder]
        assert len(names) == len(set(names)) > 0
    assert all(declared.about.endswith(".") and declared.by for _, declared in described)
