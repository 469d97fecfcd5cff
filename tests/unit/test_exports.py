"""From bytes to rows: every format, and one clear error for what is no export."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from robin_etl.core import columns
from robin_etl.exceptions import ConfigurationError, ExportError, ExportMissingError
from robin_etl.exports import files, locations, profiles
from robin_etl.exports.bounds import Measure
from robin_etl.exports.jsonl import read_jsonl
from robin_etl.exports.profiles import Profile
from robin_etl.exports.text import read_lines

DAY = date(2026, 3, 1)
ROBIN = profiles.load_profile("robin")
HEADER = "order_number,email_address,revenue,order_date"
ROW = "01235, Ann@X.nl ,113.345,2026-03-01T10:00:00Z"


def read(path: Path, profile: Profile = ROBIN) -> files.Export:
    return files.read_export(UPath(path), profile, DAY)


def written(folder: Path, content: str | bytes, name: str = "orders_2026-03-01.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def values(export: files.Export, row: int = 0) -> dict[str, Any]:
    record = export.orders.rows.iloc[row].to_dict()
    return {str(key): None if pd.isna(value) else value for key, value in record.items()}


CANONICAL = {
    "order_number": "01235",
    "day": "2026-03-01",
    "email_address": "ann@x.nl",
    "revenue": 11335,
    "order_date": "2026-03-01T10:00:00Z",
    "profit": None,
}


def test_csv_becomes_canonical_rows_with_the_raw_text_beside_them(tmp_path: Path) -> None:
    export = read(written(tmp_path, f"{HEADER}\n{ROW}\n"))
    row = values(export)
    assert CANONICAL.items() <= row.items()
    assert row["revenue_text"] == "113.345"
    assert export.orders.lines.tolist() == [2]
    assert export.orders.cells["email_address"].tolist() == [" Ann@X.nl "]


def test_gzipped_csv_reads_as_csv_does(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(f"{HEADER}\n{ROW}\n".encode(), mtime=0), "orders.csv.gz")
    assert CANONICAL.items() <= values(read(path)).items()


def test_jsonl_keeps_numbers_and_zeros_as_they_were_written(tmp_path: Path) -> None:
    lines = [
        '{"order_number": "01235", "email_address": "ann@x.nl", "revenue": 113.345, "order_date": D}',
        "",
        '{"order_number": 7, "email_address": "b@x.nl", "tags": ["n"], "revenue": "5", "order_date": D}',
    ]
    lines = [line.replace("D}", '"2026-03-01T10:00:00Z", "profit": null}') for line in lines]
    export = read(written(tmp_path, "\n".join(lines), "orders.jsonl"))
    assert CANONICAL.items() <= values(export).items()
    assert values(export, 1)["order_number"] == "7"
    assert export.orders.lines.tolist() == [1, 3]
    assert export.orders.cells["tags"].tolist()[1] == '["n"]'


def test_parquet_reads_typed_columns_exactly(tmp_path: Path) -> None:
    table = pa.table(
        {
            "order_number": pa.array(["01235", "7"]).dictionary_encode(),
            "email_address": ["Ann@X.nl", None],
            "revenue": pa.array([Decimal("113.345"), Decimal("1.000")], pa.decimal128(9, 3)),
            "profit": pa.array([1.1, None]),
            "order_date": pa.array([datetime(2026, 3, 1, 10, tzinfo=UTC)] * 2).cast(
                pa.timestamp("us", "Europe/Amsterdam")
            ),
            "clicks": pa.array([[1], [2]]),
        }
    )
    pq.write_table(table, tmp_path / "orders.parquet")
    export = read(tmp_path / "orders.parquet")
    assert {**CANONICAL, "profit": 110}.items() <= values(export).items()
    assert values(export, 1)["profit"] is None


def test_the_text_na_is_no_null_and_a_byte_order_mark_no_header(tmp_path: Path) -> None:
    row = "NA,null@x.nl,1,2026-03-01"
    export = read(written(tmp_path, b"\xef\xbb\xbf" + f"{HEADER}\n{row}\n".encode()))
    assert values(export)["order_number"] == "NA"


@pytest.mark.parametrize("cell", ["abc", "1,5", "", "1e99"])
def test_a_cell_that_cannot_be_read_becomes_null_beside_its_text(tmp_path: Path, cell: str) -> None:
    export = read(written(tmp_path, f'{HEADER}\n1,a@x.nl,"{cell}",2026-03-01\n'))
    assert values(export)["revenue"] is None
    assert values(export)["revenue_text"] == (cell or None)


def test_lines_are_those_of_the_file_across_breaks_and_blanks(tmp_path: Path) -> None:
    text = f'{HEADER}\r\n1,"a\r\n@x.nl",1,2026-03-01\r\n\r\n2,b@x.nl,1,2026-03-01\r\n3,c@x.nl,1,x'
    export = read(written(tmp_path, text))
    assert export.orders.lines.tolist() == [2, 5, 6]
    assert export.orders.rows["order_number"].tolist() == ["1", "2", "3"]


@pytest.mark.parametrize("place", [0, 1])
def test_cells_beyond_the_header_are_kept_apart(tmp_path: Path, place: int) -> None:
    rows = ["1,a@x.nl,1,2026-03-01", "2,b@x.nl,1"]
    rows.insert(place, "3,c@x.nl,1,500,2026-03-01,x")
    export = read(written(tmp_path, "\n".join([HEADER, *rows])))
    assert values(export, place)["surplus_cells"] == "2026-03-01,x"
    assert export.orders.rows["surplus_cells"].notna().sum() == 1
    assert export.orders.rows["order_number"].notna().sum() == 3


def test_an_object_of_a_list_is_numbered_by_the_line_it_begins_on(tmp_path: Path) -> None:
    order = {"order_number": "1", "email_address": "a@x.nl", "revenue": 1.10, "order_date": "2026-03-01"}
    text = json.dumps({"orders": [order, order]}, indent=1)
    export = read(written(tmp_path, text, "orders.json"))
    assert export.orders.lines.tolist() == [3, 9]
    assert values(export)["revenue"] == 110


def test_numbers_in_lists_of_objects_are_added_up_exactly_and_texts_are_not(tmp_path: Path) -> None:
    refunds = [
        {"total": "-0.10", "why": "late"},
        {"total": -0.2, "why": 7, "parts": [{"n": 1}, {"n": 2}]},
    ]
    order = {
        "order_number": "1",
        "email_address": "a@x.nl",
        "order_date": "2026-03-01",
        "refunds": refunds,
    }
    lines = [{**order, "revenue": 1}, {**order, "order_number": "2", "revenue": 1, "refunds": []}]
    path = written(tmp_path, "\n".join(map(json.dumps, lines)), "orders.jsonl")
    [cells] = [cells for cells, _ in read_jsonl(iter([(1, path.read_bytes())]), "it", Measure("it"))]
    assert cells["refunds.*.total"].fillna("").tolist() == ["-0.30", ""]
    assert cells["refunds.*.parts.*.n"].fillna("").tolist() == ["3", ""]
    assert "refunds.*.why" not in cells
    text = 'extends = "robin"\n[columns]\nrevenue = "revenue + [refunds.*.total]?"'
    orders = read(path, profiles.parse_profile(text, "shop")).orders
    assert orders.rows["revenue"].tolist() == [70, 100]


def test_a_header_without_rows_is_a_day_without_orders(tmp_path: Path) -> None:
    empty = (("o.csv", HEADER + "\n"), ("p.csv", HEADER), ("o.jsonl", "\n"), ("o.json", "[]"))
    for name, content in empty:
        export = read(written(tmp_path, content, name))
        assert export.orders.rows.empty
        assert str(export.orders.rows["revenue"].dtype) == "Int64"


def test_an_unknown_column_is_ignored_even_twice(tmp_path: Path) -> None:
    export = read(written(tmp_path, f"note,{HEADER},note\nx,{ROW},y\n"))
    assert CANONICAL.items() <= values(export).items()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("orders.csv", b"", "empty"),
        ("orders.csv", b"\n\n", "blank line where the header should be"),
        ("orders.csv", b"order_number,revenue,order_date\n", "has no column email_address"),
        ("orders.csv", f"{HEADER},revenue\n".encode(), "column revenue 2 times"),
        ("orders.csv", f"{HEADER}\n1,\xe9@x.nl,1,2026\n".encode("latin-1"), r"byte 48 \(line 2\)"),
        ("orders.csv", f'{HEADER}\n1,"a@x.nl,1,2026\n2,b@x.nl,1,2026'.encode(), "from line 2 on"),
        ("orders.csv.gz", gzip.compress(b"x" * 9000, mtime=0)[:-12], "not a whole gzip file"),
        ("orders.csv.gz", b"not gzip", "not a whole gzip file"),
        ("orders.jsonl", b'{"order_number": 1}\n{oops}', "not JSON on line 2"),
        ("orders.jsonl", b"[1]", "something else than an object on line 1"),
        ("orders.jsonl", b'{"order_number": 1}', "has no columns email_address"),
        ("orders.json", b'[{"order_number": 1}\n, 2]', "something else than an object on line 2"),
        ("orders.json", b'[{"order_number": 1},\n{"a"', "is not JSON on line 2"),
        ("orders.json", b'[{"order_number": 1}', "ends within its list of orders"),
        ("orders.json", b'[{"order_number": 1}{}]', "is no list of objects"),
        ("orders.json", b'{"shop": "x", "customers": [{}]}', "an object without a list of orders"),
        ("orders.json", b"7", "is no list of objects"),
        ("orders.json", b'[{"order_number": "\xff"}]', "is not UTF-8"),
        ("orders.parquet", b"PAR1 not", "not a readable Parquet"),
        ("orders.xlsx", b"PK", "not a readable spreadsheet"),
        ("orders.xls", b"PK", "its name ends in none of .* Save it as .xlsx or .csv there"),
    ],
)
def test_what_is_no_export_is_one_error_that_names_the_file(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = written(tmp_path, content, name)
    with pytest.raises(ExportError, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert caught.value.path == str(path)


@pytest.mark.parametrize(
    ("column", "values"),
    [("order_number", [1.5]), ("revenue", [True]), ("order_date", [7]), ("email_address", [3])],
)
def test_a_parquet_column_of_the_wrong_type_is_named(
    tmp_path: Path, column: str, values: list[Any]
) -> None:
    good = {
        "order_number": ["1"],
        "email_address": ["a@x.nl"],
        "revenue": ["1"],
        "order_date": ["2026-03-01"],
    }
    pq.write_table(pa.table({**good, column: values}), tmp_path / "orders.parquet")
    with pytest.raises(ExportError, match=f"in column {column}") as caught:
        read(tmp_path / "orders.parquet")
    assert caught.value.column == column


def test_a_profile_says_delimiter_encoding_and_time_zone(tmp_path: Path) -> None:
    dutch = ROBIN.model_copy(
        update={"delimiter": ";", "encoding": "cp1252", "timezone": "Europe/Amsterdam"}
    )
    text = f"{HEADER};shop\n{ROW}Z".replace(",", ";")
    text = "order_number;email_address;revenue;order_date\n1;a@x.nl;1;2026-07-01 12:00;caf\xe9"
    export = read(written(tmp_path, text.encode("cp1252")), dutch)
    assert values(export)["order_date"] == "2026-07-01T10:00:00Z"


def test_exports_are_found_in_a_folder_by_day(tmp_path: Path) -> None:
    days = [date(2026, 3, day) for day in (1, 2, 3, 4)]
    for name in ("orders_2026-03-01.csv", "orders_2026-03-02.parquet", "orders_2026-03-04.csv.gz"):
        written(tmp_path, b"", name)
    found = locations.find_exports(str(tmp_path), days)
    assert [day.day for day in found] == [1, 2, 4]


def test_two_exports_for_a_day_are_an_error(tmp_path: Path) -> None:
    written(tmp_path, b"", "orders_2026-03-01.csv")
    written(tmp_path, b"", "orders_2026-03-01.jsonl")
    with pytest.raises(ExportError, match=r"orders_2026-03-01\.csv and orders_2026-03-01\.jsonl"):
        locations.find_exports(str(tmp_path), [DAY])


@pytest.mark.parametrize("pattern", ["{date}/export.csv", "{date:%Y/%m}/x{date:%d}.csv"])
def test_a_pattern_with_the_date_finds_the_file(tmp_path: Path, pattern: str) -> None:
    for name in ("2026-03-01/export.csv", "2026/03/x01.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{HEADER}\n{ROW}\n")
    found = locations.find_exports(f"{tmp_path}/{pattern}", [DAY])
    assert list(found) == [DAY]
    assert CANONICAL.items() <= values(files.read_export(found[DAY][0].path, ROBIN, DAY)).items()


def test_an_export_behind_a_url_is_found_and_read() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/shop/orders_2026-03-01.csv", f"{HEADER}\n{ROW}\n".encode())
    found = locations.find_exports("memory://shop", [DAY])
    assert CANONICAL.items() <= values(files.read_export(found[DAY][0].path, ROBIN, DAY)).items()
    memory.rm("/shop", recursive=True)


def test_a_file_that_is_not_there_is_missing_not_broken(tmp_path: Path) -> None:
    with pytest.raises(ExportMissingError, match="There is no file"):
        read(tmp_path / "orders.csv")
    assert "any day from" in str(locations.make_missing_error("x", DAY, date(2026, 3, 2)))


def test_a_range_that_runs_backwards_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ends"):
        locations.list_days(DAY, date(2026, 2, 1))


def test_an_unknown_profile_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"no profile 'shop'.*robin"):
        profiles.load_profile("shop")


def test_every_canonical_column_is_in_the_rows(tmp_path: Path) -> None:
    export = read(written(tmp_path, f"{HEADER}\n{ROW}\n"))
    assert set(columns.EXPORTED_DTYPES) <= set(export.orders.rows.columns)
    assert json.dumps(export.orders.lines.tolist()) == "[2]"


AWKWARD = {
    "even": f"{HEADER}\n" + "".join(f"{n},a{n}@x.nl,{n}.5,2026-03-01\n" for n in range(15)),
    "quoted line breaks": f'{HEADER},note\n1,a@x.nl,5,2026-03-01,"two\nlines"\n2,b@x.nl,6,2026-03-02,\n',
    "a late line break": f"{HEADER},note\n"
    + "".join(f"{n},a@x.nl,5,2026-03-01,x\n" for n in range(12))
    + '21,a@x.nl,5,2026-03-01,"two\n\nlines"\n22,a@x.nl,5,2026-03-01,"a ""b"""\n',
    "blank lines": f"{HEADER}\n\n1,a@x.nl,5,2026-03-01\n\n\n2,b@x.nl,6,2026-03-02",
    "surplus cells": f"{HEADER}\n1,a@x.nl,5,2026-03-01\n2,b@x.nl,6,2026-03-02,x,y\n3,c@x.nl,7\n",
    "stray quotes": f'{HEADER},note\n1,a@x.nl,5,2026-03-01,5" pipe\n2,b@x.nl,6,2026-03-02,plain\n',
    "line ends of Windows": f"{HEADER}\r\n1,a@x.nl,5,2026-03-01\r\n2,b@x.nl,6,2026-03-02\r\n",
    "line ends of old": f"{HEADER}\r1,a@x.nl,5,2026-03-01\r2,b@x.nl,6,2026-03-02\r",
    "header over two lines": f'{HEADER},"a\nnote"\n1,a@x.nl,5,2026-03-01,x\n',
    "more than ASCII": f"{HEADER}\n1,zoë@x.nl,5,2026-03-01\n2,ünal@x.nl,6,2026-03-02\n",
    "only a header": f"{HEADER}\n",
}


@pytest.mark.parametrize("content", AWKWARD.values(), ids=AWKWARD)
def test_a_file_reads_the_same_in_batches_of_any_size(tmp_path: Path, content: str) -> None:
    path = UPath(written(tmp_path, content))
    whole = files.read_export(path, ROBIN, DAY)
    for size in (1, 7, 50, 333):
        parts = list(files.read_batches(path, ROBIN, DAY, batch_bytes=size))
        for name in ("cells", "lines", "rows"):
            expected = getattr(whole.orders, name)
            joined = pd.concat([getattr(part.orders, name) for part in parts], ignore_index=True)
            if name == "cells":  # a batch without surplus cells has no column for them
                joined = joined.reindex(columns=expected.columns).fillna("")
                expected = expected.fillna("")
            assert joined.equals(expected), (name, size)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_wrong_byte_is_named_by_its_place_in_the_file_however_it_is_read(
    tmp_path: Path, size: int
) -> None:
    path = UPath(written(tmp_path, f"{HEADER}\n1,zoë@x.nl,5,2026-03-01\n".encode("windows-1252")))
    with pytest.raises(ExportError, match=rf"byte {len(HEADER) + 5} \(line 2\) is 0xeb"):
        list(files.read_batches(path, ROBIN, DAY, batch_bytes=size))


awkward = st.lists(st.text("x1,\"\n\r\t \x00;é'\\", max_size=14), max_size=4).map("\n".join)


@given(awkward.map(str.encode))
def test_the_quick_way_to_read_csv_reads_what_the_careful_one_does_or_leaves_it(text: bytes) -> None:
    quick = read_lines(text, ROBIN, ["a", "b", "c"])
    if text and quick is not None:
        reader = csv.reader(io.StringIO(text.decode(), newline=""), strict=True)
        assert quick.to_numpy().tolist() == list(reader)


@pytest.mark.parametrize("location", ["{folder}", "{folder}/orders_{{date}}.csv"])
def test_with_a_done_marker_a_file_is_there_once_its_marker_is(tmp_path: Path, location: str) -> None:
    where = location.format(folder=tmp_path)
    days = [date(2026, 3, day) for day in (1, 2, 3, 4, 5)]
    for day in days[:2]:
        written(tmp_path, b"", f"orders_{day}.csv")
    written(tmp_path, b"", "orders_2026-03-02.csv.done")
    assert list(locations.find_exports(where, days, done_marker=".done")) == [days[1]]
    assert list(locations.find_exports(where, days[:1], done_marker=".done")) == []
    assert list(locations.find_exports(where, days)) == days[:2]


def test_a_symbolic_link_is_the_file_that_it_leads_to_or_missing(tmp_path: Path) -> None:
    real = written(tmp_path, f"{HEADER}\n{ROW}\n", "real.csv")
    (tmp_path / "orders.csv").symlink_to(real)
    assert len(read(tmp_path / "orders.csv").orders.rows) == 1
    real.unlink()
    with pytest.raises(ExportMissingError):
        read(tmp_path / "orders.csv")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    with pytest.raises(ExportError):
        read(tmp_path / "loop.csv")


NUMBERED = [
    {
        "order_number": f"{n:02}",
        "email_address": f"c{n % 7}@x.nl",
        "revenue": f"{n}.50",
        "order_date": "2026-03-01",
    }
    for n in range(40)
]


def _as_csv(*, quoting: Literal[0, 1] = csv.QUOTE_MINIMAL, break_in: int | None = None) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*NUMBERED[0], "note"], quoting=quoting, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {**row, "note": f"about 07\nand {n}" if n == break_in else "é"} for n, row in enumerate(NUMBERED)
    )
    return text.getvalue().encode()


def _as_parquet() -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(NUMBERED), stream)
    return stream.getvalue()


ALIKE = {
    "a.csv": _as_csv(),
    "quoted.csv": _as_csv(quoting=csv.QUOTE_ALL),
    "broken-lines.csv": _as_csv(break_in=3),
    "carriage.csv": _as_csv().replace(b"\n", b"\r\n"),
    "old-mac.csv": _as_csv().replace(b"\n", b"\r"),
    "no-last-end.csv": _as_csv().removesuffix(b"\n"),
    "marked.csv": b"\xef\xbb\xbf" + _as_csv(),
    "a.csv.gz": gzip.compress(_as_csv()),
    "a.jsonl": "\n".join(map(json.dumps, NUMBERED)).encode(),
    "escaped.jsonl": "\n".join(map(json.dumps, NUMBERED)).replace('"07"', '"\\u0030\\u0037"').encode(),
    "a.json": json.dumps(NUMBERED, indent=1).encode(),
    "wrapped.json": json.dumps({"count": 40, "links": ["x"], "Orders": NUMBERED, "next": None}).encode(),
    "a.parquet": _as_parquet(),
}


@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize("size", [64, 1 << 20])
@pytest.mark.parametrize("wanted", [["07"], ["00", "07", "39"], ["7", "x|.*"], []])
def test_only_the_orders_that_are_asked_for_are_read_whatever_the_format(
    name: str, size: int, wanted: list[str], tmp_path: Path
) -> None:
    path = UPath(written(tmp_path, ALIKE[name], name))
    every = read(Path(path)).orders.rows
    only = pd.Series(wanted, dtype=columns.TEXT)
    found = [
        one.orders.rows for one in files.read_batches(path, ROBIN, DAY, batch_bytes=size, only=only)
    ]
    rows = pd.concat([every.iloc[:0], *found], ignore_index=True)
    expected = every[every["order_number"].isin(wanted)].reset_index(drop=True)
    ends = ["cut_off"]  # only whoever reads a file whole sees how it ends
    pd.testing.assert_frame_equal(
        rows.astype(str).drop(columns=ends), expected.astype(str).drop(columns=ends)
    )


def test_all_lines_of_an_order_are_read_where_only_the_first_bears_its_number(tmp_path: Path) -> None:
    profile = profiles.load_profile("woocommerce-advanced").model_copy(update={"timezone": "UTC"})
    header = "Order Number,Email (Billing),Order Total Amount,Order Date,Order Status"
    lines = ["1,a@x.nl,10,2026-03-01,completed", ",,,,", "2,b@x.nl,20,2026-03-01,completed", ",,,,"]
    path = UPath(written(tmp_path, "\n".join([header, *lines])))
    [found] = files.read_batches(path, profile, DAY, only=pd.Series(["2"], dtype=columns.TEXT))
    assert found.orders.rows["order_number"].tolist() == ["2"]
    assert found.orders.rows["revenue"].tolist() == [2000]
