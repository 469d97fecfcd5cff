"""Files that are broken, or meant to do damage: a sentence or quarantine, within bounds."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable
from csv import writer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from robin_etl.exceptions import ExportError
from robin_etl.exports import files, locations, profiles
from robin_etl.exports.bounds import Bounds
from robin_etl.exports.locations import SUFFIXES
from tests import fuzz

HEADER = "order_number,email_address,revenue,order_date"
ROBIN = profiles.load_profile("robin")


def batches(folder: Path, name: str, content: bytes, **bounds: Any) -> list[files.Export]:
    (folder / name).write_bytes(content)
    return list(files.read_batches(UPath(folder / name), ROBIN, fuzz.DAY, **bounds))


def whole(folder: Path, name: str, content: bytes) -> files.Export:
    (folder / name).write_bytes(content)
    return files.read_export(UPath(folder / name), ROBIN, fuzz.DAY)


def csv(*rows: str) -> bytes:
    return "\n".join([HEADER, *rows]).encode()


ODD = ('"', '""', "'", "=1+1", "\x00", "\u202e", "\U0001f600", "1e400", "-0", "9" * 40, "NaN", "\r")
cells = st.text(max_size=8) | st.sampled_from(ODD)
lines = st.lists(st.lists(cells, max_size=6).map(",".join), max_size=6).map("\n".join)


@given(
    st.binary(max_size=400) | lines.map(lambda text: f"{HEADER}\n{text}".encode(errors="replace")),
    st.sampled_from(SUFFIXES),
    st.sampled_from(fuzz.PROFILES),
)
def test_any_bytes_are_orders_or_an_error_that_names_the_file(
    data: bytes, suffix: str, profile: profiles.Profile
) -> None:
    fuzz.read(data, suffix, profile)
    fuzz.read(gzip.compress(data), ".csv.gz", profile)


names = st.sampled_from(
    [*HEADER.split(","), "Total", "Qty", "Price", "Status", "Phone", "Time", "Type", "E[x]`", 'a"b', ""]
)
contents = st.sampled_from(
    [
        "1",
        "007",
        "a@x.nl",
        "1.234,50",
        "€ 5",
        "(3)",
        "2026-10-31",
        "05/04/2026",
        "9.50",
        "31 okt 26",
        "paid",
    ]
)


@given(
    st.lists(names, min_size=1, max_size=8), st.lists(st.lists(contents | cells, max_size=8), max_size=5)
)
def test_a_draft_of_any_table_is_a_profile_or_an_error_that_names_the_file(
    header: list[str], rows: list[list[str]]
) -> None:
    text = io.StringIO(newline="")
    writer(text).writerows([header, *rows])
    fuzz.draft(text.getvalue().encode(errors="replace"), ".csv")


@given(st.binary(max_size=300), st.sampled_from(SUFFIXES))
def test_a_draft_of_any_bytes_is_an_error_that_names_the_file_or_a_profile(
    data: bytes, suffix: str
) -> None:
    fuzz.draft(data, suffix)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2))


@given(st.lists(st.dictionaries(st.sampled_from([*HEADER.split(","), "x"]), values), max_size=4))
def test_any_json_is_orders_or_an_error_that_names_the_file(records: list[dict[str, Any]]) -> None:
    data = "\n".join(json.dumps(record) for record in records).encode()
    fuzz.read(data, ".jsonl", ROBIN)


def test_a_parquet_file_with_a_column_whose_name_is_no_text_is_an_error(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({name: ["1", "2"] for name in HEADER.split(",")}), buffer)
    damaged = buffer.getvalue().replace(b"order_number", b"\x80rder_number")
    with pytest.raises(ExportError, match="not a readable Parquet file"):
        whole(tmp_path, "o.parquet", damaged)


@given(st.data())
def test_a_damaged_parquet_file_is_orders_or_an_error_that_names_it(data: st.DataObject) -> None:
    buffer = io.BytesIO()
    names = HEADER.split(",")
    pq.write_table(pa.table({name: ["1", "2"] for name in names}), buffer)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    fuzz.read(bytes(content[: data.draw(st.integers(1, len(content)))]), ".parquet", ROBIN)


@pytest.mark.parametrize(
    "number",
    ["1\x00", "1\x07", "\u202e1", "1\u200b", "x\ufeff", "x" * 1001],
    ids=["0", "7", "bidi", "joiner", "bom", "long"],
)
def test_an_order_number_that_nobody_could_read_is_set_aside(tmp_path: Path, number: str) -> None:
    export = whole(tmp_path, "orders.csv", csv(f"{number},a@x.nl,1,2026-03-01"))
    assert export.orders.rows["unsendable"].tolist() == ["order_number"]


def test_a_formula_stays_the_text_that_it_is(tmp_path: Path) -> None:
    export = whole(tmp_path, "orders.csv", csv("\"=cmd|'/c calc'!A1\",a@x.nl,1,2026-03-01"))
    assert export.orders.rows["order_number"].tolist() == ["=cmd|'/c calc'!A1"]
    assert export.orders.rows["unsendable"].isna().all()


def repetitive_parquet() -> bytes:
    """Two million rows in a few kilobytes."""
    buffer = io.BytesIO()
    names = HEADER.split(",")
    same = pa.array(["same"]).take(pa.array([0] * 500_000))
    with pq.ParquetWriter(buffer, pa.schema(dict.fromkeys(names, pa.string()))) as writer:
        for _ in range(4):
            writer.write_table(pa.table(dict.fromkeys(names, same)))
    assert buffer.tell() < 50_000
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("o.csv.gz", lambda: gzip.compress(csv() + b"\n" * 5_000_000), "more than 1,000,000 bytes"),
        ("o.csv", lambda: csv() + b"\n" * 1_000_001, "more than 1,000,000 bytes"),
        ("o.jsonl", lambda: b'{"a": 1}\n' * 200_000, "more than 1,000,000 bytes"),
        ("o.parquet", repetitive_parquet, "more than 1,000,000 bytes"),
        ("o.csv", lambda: ",".join(map(str, range(2_001))).encode(), "2,001 columns on line 1"),
        ("o.jsonl", lambda: json.dumps({f"{n}": 1 for n in range(2_001)}).encode(), "2,001 columns"),
        ("o.jsonl", lambda: b"[" * 100_000, "is not JSON on line 1"),
        ("o.json", lambda: b"[" * 100_000, "is not JSON on line 1"),
        ("o.json", lambda: b"[" + b'{"a": 1},' * 200_000, "more than 1,000,000 bytes"),
        ("o.csv", lambda: csv('"' + "x" * 200_000), "can't be read as csv"),
    ],
    ids=[
        "gzip bomb",
        "csv",
        "jsonl",
        "parquet",
        "columns",
        "keys",
        "nested",
        "list",
        "long list",
        "cell",
    ],
)
def test_what_is_far_too_much_is_an_error_not_memory(
    tmp_path: Path, name: str, content: Callable[[], bytes], words: str
) -> None:
    with pytest.raises(ExportError, match=words):
        batches(tmp_path, name, content(), most_bytes=1_000_000)


def test_a_line_without_an_end_is_an_error_not_memory(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"a line of more than 1,000 bytes \(line 2\)"):
        batches(tmp_path, "o.csv", csv("x" * 5_000), batch_bytes=500, within=Bounds(line_bytes=1_000))


def test_a_cell_of_ten_megabytes_is_read_or_refused_and_no_more(tmp_path: Path) -> None:
    export = whole(tmp_path, "o.csv", csv(f"{'x' * 10_000_000},a@x.nl,1,2026-03-01"))
    assert export.orders.rows["unsendable"].tolist() == ["order_number"]


@pytest.mark.parametrize("how", ["grows", "is replaced", "is cut off"])
def test_a_file_that_changes_while_it_is_read_is_no_export_yet(tmp_path: Path, how: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(csv(*(f"{n},a@x.nl,1,2026-03-01" for n in range(100))))
    reading = files.read_batches(UPath(path), ROBIN, fuzz.DAY, batch_bytes=200)
    next(reading)
    if how == "grows":
        with path.open("ab") as file:
            file.write(b"\n101,a@x.nl,1,2026-03-01")
    elif how == "is replaced":
        (tmp_path / "new.csv").write_bytes(path.read_bytes())
        (tmp_path / "new.csv").rename(path)
    else:
        os.truncate(path, path.stat().st_size - 5)
    with pytest.raises(ExportError, match="changed while it was read"):
        list(reading)


def test_a_date_in_a_pattern_is_only_ever_a_date(tmp_path: Path) -> None:
    assert (
        locations.find_exports(f"{tmp_path}/{{date.__class__}}/{{0}}/../{{date}}.csv", [fuzz.DAY]) == {}
    )
