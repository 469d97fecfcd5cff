"""A sentence names columns, and never a cell: a file may have no header."""

from __future__ import annotations

import io
import zipfile
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from robin_etl.exceptions import ExportError
from robin_etl.exports import files
from robin_etl.exports.margins import matches_footer
from robin_etl.exports.naming import describe_fault, name_columns, name_sheets
from robin_etl.exports.profiles import load_profile

DAY = date(2026, 3, 1)
ROW = ["A1", "ann.one@shop.example", "+31699887766", "10.50", "2026-02-28", "Ann Jansen", "Utrecht"]


def make_sentence(path: Path) -> str:
    with pytest.raises(ExportError) as caught:
        files.read_export(UPath(path), load_profile("robin"), DAY)
    return str(caught.value)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_a_row_in_the_place_of_the_header_is_in_no_sentence(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"orders_2026-03-01{ending}"
    frame = pd.DataFrame([ROW], columns=ROW)
    if ending == ".csv":
        frame.to_csv(path, index=False)
    elif ending == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=True)
    sentence = make_sentence(path)
    assert [cell for cell in ROW if cell in sentence] == []
    # Of Parquet only the columns that the profile names are looked at.
    assert ("none of its columns is known" if ending == ".parquet" else "it has 7 that") in sentence


def test_what_stands_beside_an_amount_is_named_where_it_is_a_currency_s_sign(tmp_path: Path) -> None:
    path = tmp_path / "orders_2026-03-01.csv"
    rows = [f'{n},a@x.nl,"{sign} 1{n},50",2026-02-28' for n, sign in enumerate(["Ann", "Ann", "€"])]
    path.write_text("\n".join(["order_number,email_address,revenue,order_date", *rows]))
    sentence = make_sentence(path)
    assert "signs of no currency, and the profile robin says" in sentence
    assert "Ann" not in sentence


def test_names_within_a_zip_and_of_types_and_sheets_are_in_no_sentence(tmp_path: Path) -> None:
    damaged = io.BytesIO()
    with zipfile.ZipFile(damaged, "w") as archive:
        archive.writestr("ann.one@shop.example.csv", "order_number\n1\n")
    (tmp_path / "a.zip").write_bytes(damaged.getvalue().replace(b"order_number", b"order_nimber"))
    kind = pa.list_(pa.struct({"ann.one@shop.example": pa.string()}))
    columns = {name: pa.array(["1"]) for name in ("email_address", "revenue", "order_date")}
    pq.write_table(pa.table({**columns, "order_number": pa.array([None], kind)}), tmp_path / "a.parquet")
    for name, words in (("a.zip", "not a readable zip"), ("a.parquet", "lists or objects in column")):
        sentence = make_sentence(tmp_path / name)
        assert words in sentence
        assert "shop.example" not in sentence
    assert name_sheets(["Orders", "Ann, 06 998877"]) == "it has 2 that are visible"
    assert name_sheets(["Orders", "Returns"]) == "its sheets are: Orders, Returns"


def test_columns_of_a_file_with_a_header_are_named(tmp_path: Path) -> None:
    path = tmp_path / "orders_2026-03-01.csv"
    path.write_text("order_number,Straße,Grand Total (Base),meta:_vat,2nd address line\n1,2,3,4,5\n")
    assert "its columns are: 2nd address line, Grand Total (Base), Straße, meta:_vat, order_number." in (
        make_sentence(path)
    )


def test_beside_what_is_no_name_only_known_columns_are_named() -> None:
    names = ["order_number", "Ann Jansen", "ann@shop.example", "mine"]
    assert name_columns(names, ["mine"]) == (
        "its columns are: mine, order_number, and 2 that have no name (by their number: 2, 3), "
        "as a file without a header has"
    )


def test_ten_thousand_columns_are_no_sentence_of_ten_thousand_names() -> None:
    names = [f"column of the number {'abcdefghij'[n % 10]}" + "x" * (n // 10 % 30) for n in range(9_000)]
    assert len(name_columns(names, [])) < 4_000


def test_a_footer_of_many_stars_ends_on_any_line() -> None:
    stars = "*a" * 30 + "!"
    assert not matches_footer("a" * 5_000, (stars,))
    assert matches_footer('"Total: 10 ORDERS"', ("total:*orders", stars))
    assert matches_footer("a" * 40 + "!", (stars,))


def test_a_moment_in_nanoseconds_is_read_to_the_second_and_is_in_no_sentence(tmp_path: Path) -> None:
    path = tmp_path / "orders_2026-03-01.parquet"
    moments = pa.array([1_772_323_200_000_000_001], pa.timestamp("ns", "UTC"))
    cells = {"order_number": ["1"], "email_address": ["a@x.nl"], "revenue": ["1"], "order_date": moments}
    pq.write_table(pa.table(cells), path)
    read = files.read_export(UPath(path), load_profile("robin"), DAY)
    assert read.orders.rows["order_date"].tolist() == ["2026-03-01T00:00:00Z"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Casting would lose data: 1772323200000000001", "Casting would lose data: …"),
        ("no value 'Ann Jansen' in ann@x.nl, +31612345678", "no value … in … …"),
        ("Parquet file size is 0 bytes", "Parquet file size is 0 bytes"),
    ],
)
def test_what_a_library_says_of_a_file_has_no_value_of_it(said: str, kept: str) -> None:
    assert describe_fault(ValueError(said)) == kept
