"""Files that are broken, or meant to do damage: a sentence or quarantine, within bounds."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import resource
import zipfile
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
from robin_etl.exports import files, locations, profiles, sampling
from robin_etl.exports.bounds import Bounds
from robin_etl.exports.locations import SUFFIXES
from tests import fuzz
from tests.spreadsheets import make_spreadsheet

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


def parquet_of_one_value(length: int, rows: int) -> bytes:
    """Rows that all name one value of a dictionary."""
    buffer = io.BytesIO()
    value = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * length]))
    pq.write_table(pa.table(dict.fromkeys(HEADER.split(","), value)), buffer, store_schema=False)
    return buffer.getvalue()


def deep_parquet() -> bytes:
    buffer = io.BytesIO()
    kind = pa.string()
    for _ in range(30):
        kind = pa.struct({"a" * 50: kind})
    columns = {name: pa.array(["1"]) for name in HEADER.split(",")}
    pq.write_table(pa.table({**columns, "deep": pa.array([None], kind)}), buffer)
    return buffer.getvalue()


def sheet(*rows: list[str]) -> bytes:
    return make_spreadsheet([[*HEADER.split(",")], *rows])


def long_names() -> bytes:
    name = "k" * 400
    return f'{{"{name}":{{"{name}":{{"{name}":1}}}}}}'.encode()


def keys(*numbers: int) -> bytes:
    return b"{%s}\n" % b",".join(b'"k%d":1' % number for number in numbers)


def packed_at_first() -> bytes:
    orders = csv(*["1,a@x.nl,1,2026-03-01"] * 90_000)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("o.csv", orders + random.Random(1).randbytes(100_000).hex().encode())
    return stream.getvalue()


BLANKS = Bounds(blank_lines=40)
FEW = Bounds(rows_without_orders=50)
SPARSE = Bounds(missing_cells=1_000)
BEYOND: dict[str, tuple[str, Bounds, Callable[[], bytes], str]] = {
    "line": ("csv", Bounds(line_bytes=1_000), lambda: csv("x" * 5_000), "1,000 bytes .line 2"),
    "object": ("jsonl", Bounds(object_bytes=900), lambda: b'{"a":"%s"}' % (b"x" * 999), "900 bytes"),
    "in a list": ("json", Bounds(object_bytes=900), lambda: b'[{"a":"' + b"x" * 9_999, "900 bytes"),
    "blank lines": ("csv", BLANKS, lambda: csv(*[""] * 50), "more than 40 blank lines"),
    "blank in JSON": ("jsonl", BLANKS, lambda: b"{}\n" + b"\n" * 50, "more than 40 blank lines"),
    "short lines": (
        *("csv", SPARSE, lambda: csv(*["1"] * 99).replace(b"\n", b"," * 20 + b"\n", 1)),
        "24 columns, and lines that lack nearly all",
    ),
    "own keys": (
        *("jsonl", Bounds(columns=50), lambda: b"".join(map(keys, range(99)))),
        "51 columns on line 51",
    ),
    "rare keys": (
        *("jsonl", SPARSE, lambda: keys(*range(99)) + keys(1) * 99),
        "99 columns, and lines that lack nearly all",
    ),
    "name": ("jsonl", Bounds(), long_names, "more than 1,000 signs"),
    "name in Parquet": ("parquet", Bounds(), deep_parquet, "more than 1,000 signs"),
    "columns": ("parquet", Bounds(columns=4), deep_parquet, "5 columns"),
    "garbage": ("csv", FEW, lambda: csv(*["a"] * 99), "of its first 9. rows 0 have"),
    "delimiters": ("csv", FEW, lambda: csv(*[",,,"] * 99), "of its first 9. rows 0 have"),
    "nulls": ("parquet", FEW, lambda: parquet_of_one_value(0, 99), "of its first 99 rows 0 have"),
    "dictionary": (
        *("parquet", Bounds(memory=40 << 20), lambda: parquet_of_one_value(100_000, 3_000)),
        "more than 40 MiB of memory for one part",
    ),
    "packed": (
        *("csv.gz", Bounds(packed_times=20, packed_from=1_000)),
        *(lambda: gzip.compress(csv("1,a@x.nl,1,2026-03-01\n" * 20_000)), "more than 20 times its size"),
    ),
    # Of a zip more is read ahead than is unpacked; as a whole this one is packed 18 times.
    "packed at first": (
        *("csv.zip", Bounds(packed_times=20, packed_from=1_000)),
        *(packed_at_first, "more than 20 times its size"),
    ),
    "sheet": ("xlsx", Bounds(sheet_cells=100), lambda: sheet(*[["1"]] * 50), "51 rows and 4 columns"),
    "sheet's memory": (
        *("xlsx", Bounds(sheet_memory=12 << 20), lambda: sheet(["x" * 9_000_000])),
        "more than 12 MiB of memory",
    ),
}


@pytest.mark.parametrize("case", BEYOND)
def test_what_no_export_has_is_a_sentence_that_says_how_much_there_may_be(
    tmp_path: Path, case: str
) -> None:
    form, bounds, make, words = BEYOND[case]
    with pytest.raises(ExportError, match=words) as raised:
        batches(tmp_path, f"o.{form}", make(), within=bounds)
    assert f"{tmp_path}/o.{form} " in str(raised.value)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (Bounds(drafted_rows=50), "50 rows"),
        (Bounds(drafted_cells=200), "200 cells"),
        (Bounds(drafted_bytes=1_000), "1,000 bytes of text"),
    ],
    ids=["rows", "cells", "bytes"],
)
def test_a_draft_is_of_a_file_that_can_be_looked_at(tmp_path: Path, bounds: Bounds, words: str) -> None:
    path = tmp_path / "o.csv"
    path.write_bytes(csv(*(f"{n},a@x.nl,1,2026-03-01" for n in range(99))))
    with pytest.raises(ExportError, match=f"more than {words}|or {words}"):
        sampling.read_everything(UPath(path), within=bounds)


def test_line_items_of_which_none_is_an_order_are_no_export(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    shopify = profiles.load_profile("shopify").model_copy(update={"timezone": "UTC"})
    header, *_ = (Path(__file__).parents[1] / "profiles/shopify.csv").read_text().splitlines()
    path.write_text("\n".join([header, *["a"] * 99]))
    with pytest.raises(ExportError, match=r"of its first 9. rows 0 have"):
        list(files.read_batches(UPath(path), shopify, fuzz.DAY, within=Bounds(rows_without_orders=50)))
    with pytest.raises(ExportError, match="more than 90 rows, which have to be read as a whole"):
        list(files.read_batches(UPath(path), shopify, fuzz.DAY, within=Bounds(whole_rows=90)))


def test_the_limit_on_memory_is_gone_once_a_file_is_read(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(ExportError, match="MiB of memory"):
        batches(
            tmp_path, "o.parquet", parquet_of_one_value(100_000, 3_000), within=Bounds(memory=1 << 20)
        )
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert whole(tmp_path, "o.csv", csv("1,a@x.nl,1,2026-03-01")).orders.rows["revenue"].tolist() == [
        100
    ]


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
