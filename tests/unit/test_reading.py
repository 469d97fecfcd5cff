"""Files in the ways that shop systems, spreadsheets and people write them, read as a profile says."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from robin_etl.core import dates, money
from robin_etl.core.words import name_left_out
from robin_etl.exceptions import ConfigurationError, ExportError
from robin_etl.exports import files, profiles
from robin_etl.exports.amounts import AmountStyle, parse_amounts
from robin_etl.exports.vocabulary import load_months, translate_months
from tests.spreadsheets import make_spreadsheet

DAY = date(2026, 11, 1)
HEADER = ["number", "email", "total", "placed"]
ROWS = [
    ["007", "ann@x.nl", "1234.50", "2026-10-31 09:50:26"],
    ["008", "bob@x.nl", "5", "2026-10-31 22:30:00"],
]
EXPECTED = [
    ("007", "ann@x.nl", 123450, "2026-10-31T08:50:26Z"),
    ("008", "bob@x.nl", 500, "2026-10-31T21:30:00Z"),
]
# Wall clocks, as spreadsheets have them.
MORNING = datetime.fromisoformat("2026-10-31 09:50:26")
LATE = datetime.fromisoformat("2026-10-31 22:30")
COLUMNS = (
    'timezone = "Europe/Amsterdam"',
    "[columns]",
    'order_number = "number"',
    'email_address = "email"',
    'revenue = "total"',
    'order_date = "placed"',
)


def write(delimiter: str = ",", rows: list[list[str]] = ROWS, end: str = "\n") -> str:
    return "".join(delimiter.join(row) + end for row in [HEADER, *rows])


def load(folder: Path, *lines: str, below: tuple[str, ...] = ()) -> profiles.Profile:
    (folder / "shop.toml").write_text("\n".join([*lines, *COLUMNS, *below]), encoding="utf-8")
    return profiles.load_profile(str(folder / "shop.toml"))


def read(
    folder: Path,
    content: bytes | str,
    *lines: str,
    name: str = "orders.csv",
    below: tuple[str, ...] = (),
) -> files.Export:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return files.read_export(UPath(folder / name), load(folder, *lines, below=below), DAY)


def tell(export: files.Export) -> list[tuple[Any, ...]]:
    rows = export.orders.rows[["order_number", "email_address", "revenue", "order_date"]].astype(object)
    return [tuple(row) for row in rows.where(rows.notna(), None).to_numpy()]


def pack(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"__MACOSX/._{name}", b"x")
        archive.writestr(name, content)
    return stream.getvalue()


JSONL = "".join(
    json.dumps({"number": n, "email": e, "total": t, "placed": p, "customer": {"vip": {"since": 1}}})
    + "\n"
    for n, e, t, p in ROWS
)
FORMS: dict[str, tuple[bytes, str, tuple[str, ...]]] = {
    **{
        f"delimiter {delimiter!r}": (
            write(delimiter).encode(),
            "orders.csv",
            (f"delimiter = {json.dumps(delimiter)}",),
        )
        for delimiter in ",;\t|"
    },
    **{
        encoding: (write().encode(encoding), "orders.csv", (f'encoding = "{encoding}"',))
        for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "windows-1250", "windows-1252", "latin-1")
    },
    "tsv": (write("\t").encode(), "orders.tsv", (r'delimiter = "\t"',)),
    "txt": (write().encode(), "orders.txt", ()),
    "gzip": (gzip.compress(write().encode()), "orders.txt.gz", ()),
    "zip": (pack("export.csv", write().encode()), "orders.csv.zip", ()),
    "zip of another name": (pack("a/export.txt", write().encode()), "orders.zip", ()),
    "zipped jsonl": (pack("export.jsonl", JSONL.encode()), "orders.jsonl.zip", ()),
    "jsonl": (JSONL.encode(), "orders.jsonl", ()),
    "sep line": (f"sep=;\r\n{write(';')}".encode(), "o.csv", ("lines_above = 1", 'delimiter = ";"')),
    "blank line above": (f"\r\n{write(end=chr(10))}".encode(), "o.csv", ("lines_above = 1",)),
    "lines above": (f'Report,"a ""b"""\nShop\n\n{write()}'.encode(), "o.csv", ("lines_above = 3",)),
    "blank lines": (write().replace("\n", "\n\r\n").encode(), "o.csv", ()),
    "lines of delimiters": (f"{write()},,,\n,,,\n".encode(), "o.csv", ()),
    "delimiters behind": ("".join(f"{line},,\n" for line in write().splitlines()).encode(), "o.csv", ()),
    "surplus delimiters": (
        write().replace("26\n", "26,,\n").replace("00\n", "00,,\n").encode(),
        "o.csv",
        (),
    ),
    "footer": (f'{write()}\nTotal,2,"1239,50",\n'.encode(), "o.csv", ('footer = ["total,*"]',)),
    "footer of lines": (
        f"{write()}\n2,record(s) downloaded\nSeller: x".encode(),
        "o.csv",
        ('footer = ["*record(s) downloaded", "Seller*"]',),
    ),
    "xlsx": (make_spreadsheet([HEADER, *ROWS]), "o.xlsx", ()),
    "xlsx with types": (
        make_spreadsheet(
            [
                ["Report"],
                [],
                HEADER,
                ["007", "ann@x.nl", 1234.5, MORNING],
                ["008", "bob@x.nl", 5, LATE],
                [],
                ["Total", None, 1239.5],
            ]
        ),
        "o.xlsx",
        ("lines_above = 2", 'footer = ["Total*"]', 'decimal_mark = ","'),
    ),
    "second sheet": (
        make_spreadsheet([["nothing"]], orders=[HEADER, *ROWS]),
        "o.xlsx",
        ('sheet = "orders"',),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_read_in_every_form_that_a_profile_can_state(tmp_path: Path, form: str) -> None:
    content, name, lines = FORMS[form]
    export = read(tmp_path, content, *lines, name=name)
    assert tell(export) == EXPECTED
    assert export.orders.rows[["surplus_cells", "cut_off", "damaged"]].isna().all(axis=None)
    parts = list(files.read_batches(UPath(tmp_path / name), load(tmp_path, *lines), DAY, batch_bytes=16))
    assert [row for part in parts for row in tell(part)] == EXPECTED


def test_a_column_in_an_object_or_struct_has_the_names_of_both(tmp_path: Path) -> None:
    profile = profiles.Profile(
        columns=profiles.Columns(
            order_number="id",
            email_address=("customer.email",),
            revenue="[total.net.amount] + [total.tax]?",
            order_date=("at",),
        ),
        date_formats=("milliseconds",),
    )
    record = {
        "id": "1",
        "customer": {"email": "a@x.nl", "tags": []},
        "total": {"net": {"amount": 1.25}, "tax": None},
        "at": 1793440226000,
    }
    (tmp_path / "o.jsonl").write_text(json.dumps(record))
    pq.write_table(pa.Table.from_pylist([record]), tmp_path / "o.parquet")
    for name in ("o.jsonl", "o.parquet"):
        export = files.read_export(UPath(tmp_path / name), profile, DAY)
        assert tell(export) == [("1", "a@x.nl", 125, "2026-10-31T09:50:26Z")], name


def test_a_file_without_its_footer_is_not_whole(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"does not end with the footer .*\(Total\*\)"):
        read(tmp_path, write(), 'footer = ["Total*"]')
    assert tell(read(tmp_path, write(rows=[]), 'footer = ["Total*"]')) == []
    with pytest.raises(ExportError, match="does not end with the footer"):
        read(tmp_path, make_spreadsheet([HEADER, *ROWS]), 'footer = ["Total*"]', name="o.xlsx")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("o.zip", pack("a.csv", b"x")[:-30], "not a readable zip"),
        ("o.zip", pack("a.pdf", b"x"), "holds 0 exports"),
        ("o.xlsx", pack("a.csv", b"x"), "not a readable spreadsheet"),
        ("o.xlsx", make_spreadsheet([[None]]), "blank line where the header"),
        ("o.csv", b"a\nb\n", "has no columns number, email, total, placed"),
        ("o.csv", write().encode("utf-16"), "is not utf-8: .*it begins as utf-16 does"),
        ("o.csv", write(";").encode(), "separated by semicolons, and the profile shop says commas"),
        ("o.csv", write("\t").encode(), "separated by tabs, and the profile shop says commas"),
        (
            "o.csv",
            write(rows=[[*row[:2], f'"€ 1.234,{n}0"', row[3]] for n, row in enumerate(ROWS)]).encode(),
            "with a decimal comma, points between thousands, the signs €, and .* a decimal point",
        ),
        (
            "o.csv",
            write(rows=[[*row[:3], f"3{n}/10/2026 10:00"] for n, row in enumerate(ROWS)]).encode(),
            "dates in column placed of .* are written as %d/%m/%Y %H:%M, and the profile shop says iso",
        ),
    ],
)
def test_a_file_that_is_not_what_its_profile_says_is_one_sentence_with_the_difference(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    with pytest.raises(ExportError, match=words) as caught:
        read(tmp_path, content, name=name)
    assert "\n" not in str(caught.value)
    assert "surplus_cells" not in str(caught.value)


def test_settings_that_are_missing_are_named_all_at_once() -> None:
    from robin_etl.settings import Settings

    profile = profiles.load_profile("shopify").model_copy(update={"timezone": ""})
    with pytest.raises(ConfigurationError, match=r"ROBIN_ETL_TIMEZONE.*ROBIN_ETL_CURRENCY"):
        profile.complete(Settings.read(timezone="", currency=""))


@pytest.mark.parametrize(
    ("style", "text", "cents"),
    [
        (AmountStyle(), "(5.00)", -500),
        (AmountStyle(), "5.00-", -500),
        (AmountStyle(), "\u22125.00", -500),
        (AmountStyle(), "1,234.50", None),
        (AmountStyle(",", ".", ("€",)), "€\u00a01.234,50", 123450),
        (AmountStyle(",", ".", ("€",)), "-€ 3,5", -350),
        (AmountStyle(",", ".", ("€",)), "€ -3,5", -350),
        (AmountStyle(",", ".", ("€",)), "(€ 3,50)", -350),
        (AmountStyle(",", ".", ("€",)), "12,-", 1200),
        (AmountStyle(",", ".", ("€",)), "1.23", None),
        (AmountStyle(",", ".", ("€",)), "12.345.678,9", 1234567890),
        (AmountStyle(",", ".", ("€",)), "£ 5", None),
        (AmountStyle(",", ".", ("€",)), "€", None),
        (AmountStyle(",", ".", ("R$",)), "R$1.234,50", 123450),
        (AmountStyle(",", " ", ("zł",)), "1\u202f234,50 ZŁ", 123450),
        (AmountStyle(".", "'", ("CHF",)), "CHF 1\u2019234.50", 123450),
        (AmountStyle(".", "'", ("Fr.",)), "Fr. 12.\u2013", 1200),
        (AmountStyle(".", ",", ("₹",)), "₹1,23,456.00", 12345600),
        (AmountStyle(".", ","), "12,34", None),
    ],
)
def test_an_amount_is_read_as_its_style_says_or_not_at_all(
    style: AmountStyle, text: str, cents: int | None
) -> None:
    read = money.to_cents(parse_amounts(pd.Series([text], dtype="str"), style), pd.RangeIndex(1))
    assert [None if pd.isna(value) else value for value in read] == [cents]


SPACES = " \u00a0\u202f\u2009\u2007"
APOSTROPHES = "'\u2019"
GROUPS = {"": [""], ".": ["."], ",": [","], " ": list(SPACES), "'": list(APOSTROPHES)}


@given(
    cents=st.integers(-(10**12), 10**12),
    mark=st.sampled_from(".,"),
    group=st.sampled_from(list(GROUPS)),
    sign=st.sampled_from(["", "€", "CHF", "R$", "kr.", "zł", "Ft"]),
    space=st.sampled_from(["", *SPACES]),
    negative=st.sampled_from(["-{}", "\u2212{}", "({})", "{}-"]),
    is_behind=st.booleans(),
    data=st.data(),
)
def test_an_amount_written_in_any_style_reads_back_to_the_cent(
    cents: int,
    mark: str,
    group: str,
    sign: str,
    space: str,
    negative: str,
    is_behind: bool,
    data: st.DataObject,
) -> None:
    if group == mark:
        group = ""
    whole, part = divmod(abs(cents), 100)
    digits = f"{whole:,}".replace(",", data.draw(st.sampled_from(GROUPS[group])))
    text = f"{digits}{mark}{part:02}"
    if sign:
        text = f"{text}{space}{sign}" if is_behind else f"{sign}{space}{text}"
    if cents < 0:
        text = negative.format(text)
    style = AmountStyle(mark, group, (sign,) if sign else ())
    read = money.to_cents(parse_amounts(pd.Series([text, "x"], dtype="str"), style), pd.RangeIndex(2))
    assert read.iloc[0] == cents, text
    assert pd.isna(read.iloc[1])


DATE_FORMATS = [
    *("%d-%m-%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%d.%m.%y %H:%M:%S", "%Y/%m/%d %H:%M:%S"),
    *("%d %b %Y %H:%M:%S", "%b %d, %Y, %I:%M:%S %p", "%Y%m%d%H%M%S", "%Y-%m-%dT%H:%M:%S"),
]
EPOCH = datetime.fromisoformat("1970-01-01")
moments = st.datetimes(EPOCH + timedelta(days=365), EPOCH + timedelta(days=36000)).map(
    lambda moment: moment.replace(microsecond=0)
)


@given(moments, st.sampled_from(DATE_FORMATS), st.sampled_from(["UTC", "Europe/Amsterdam"]))
def test_a_date_written_in_any_format_reads_back_to_the_second(
    moment: datetime, form: str, zone: str
) -> None:
    aware = moment.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    back = aware.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    if back != moment:  # skipped by a clock in spring
        return
    read = dates.parse_moments(pd.Series([moment.strftime(form)], dtype="str"), zone, (form,))
    assert read.tolist() == [aware.strftime("%Y-%m-%dT%H:%M:%SZ")]


@given(moments)
def test_a_moment_counted_since_1970_or_in_a_spreadsheets_days_reads_back(moment: datetime) -> None:
    expected = [moment.strftime("%Y-%m-%dT%H:%M:%SZ")]
    since = (moment - EPOCH) // timedelta(seconds=1)
    days = (moment - EPOCH + timedelta(days=25569)) / timedelta(days=1)
    for form, text in (
        (dates.SECONDS, f"{since}"),
        (dates.MILLISECONDS, f"{since}123"),
        (dates.SERIAL, f"{days:.10f}"),
        (dates.SERIAL, f"{days:.10f}".replace(".", ",")),
    ):
        read = dates.parse_moments(pd.Series([text], dtype="str"), "UTC", (form,))
        assert read.tolist() == expected, form


@pytest.mark.parametrize("language", load_months())
def test_months_are_read_by_their_names_and_by_what_they_begin_with(language: str) -> None:
    from robin_etl.exports.vocabulary import _load

    for number, names in enumerate(_load()["months"][language], start=1):
        for name in names.split("|"):
            texts = [f"3 {name} 2026", f"3. {name.upper()} 2026", f"{name} 3, 2026"]
            read = translate_months(pd.Series(texts, dtype="str"), language)
            month = date(2026, number, 1).strftime("%b")
            assert read.tolist() == [f"3 {month} 2026", f"3. {month} 2026", f"{month} 3, 2026"]


def test_a_weekday_before_a_date_and_points_in_am_are_passed_over(tmp_path: Path) -> None:
    texts = ["za 31 okt. 2026 9:50 a.m.", "zondag 1 november 2026 9:50 p. m.", "mei 3 2026 1:00 am"]
    assert translate_months(pd.Series(texts, dtype="str"), "nl").tolist() == [
        "31 Oct 2026 9:50 AM",
        "1 Nov 2026 9:50 PM",
        "May 3 2026 1:00 AM",
    ]


def test_a_date_and_a_time_in_two_columns_are_one(tmp_path: Path) -> None:
    text = "number,email,total,day,time\n1,a@x.nl,5,31-10-2026,09:50\n2,b@x.nl,5,31-10-2026,\n"
    lines = [line for line in COLUMNS if not line.startswith("order_date")]
    formats = 'date_formats = ["%d-%m-%Y %H:%M", "%d-%m-%Y"]'
    (tmp_path / "shop.toml").write_text("\n".join([formats, *lines, 'order_date = "[day] [time]"']))
    (tmp_path / "o.csv").write_text(text)
    profile = profiles.load_profile(str(tmp_path / "shop.toml"))
    export = files.read_export(UPath(tmp_path / "o.csv"), profile, DAY)
    assert export.orders.rows["order_date"].tolist() == ["2026-10-31T08:50:00Z", "2026-10-30T23:00:00Z"]
    (tmp_path / "o.csv").write_text(text.replace(",time", ",hour"))
    with pytest.raises(ExportError, match="has no column time"):
        files.read_export(UPath(tmp_path / "o.csv"), profile, DAY)


def read_words(folder: Path, *below: str, grain: str = "order") -> files.Export:
    rows = [
        "1,a@x.nl,10,2026-10-31,EUR,web,paid,sale",
        "1,,-4,,,,,refund",
        "2,b@x.nl,20,2026-10-31,GBP,web,paid,sale",
        "3,c@x.nl,30,2026-10-31,EUR,POS till,paid,sale",
        "4,d@x.nl,40,2026-10-31,EUR,web,TEST order,sale",
        "4,,2,,,,,sale",
        "5,e@x.nl,50,2026-10-31,EUR,,paid,sale",
    ]
    text = "\n".join(["number,email,total,placed,currency,channel,tag,type", *rows, ""])
    (folder / "o.csv").write_text(text)
    profile = load(folder, f'grain = "{grain}"', below=below)
    return files.read_export(UPath(folder / "o.csv"), profile, DAY)


def test_rows_are_left_out_by_the_words_of_any_column_and_counted_by_it(tmp_path: Path) -> None:
    below = (
        "[leave_out]",
        'tag = ["*test*"]',
        "[only]",
        'channel = ["web"]',
        "[currency]",
        'column = "currency"',
        'code = "EUR"',
        'others = "leave_out"',
    )
    export = read_words(tmp_path, *below, grain="line")
    assert export.orders.rows["order_number"].tolist() == ["1"]
    assert export.orders.left_out == {"channel": 2, "tag": 1, "other currency": 1}
    with pytest.raises(ExportError, match="has no column kind"):
        read_words(tmp_path, "[leave_out]", 'kind = ["x"]')


@pytest.mark.parametrize("told_by", ['column = "type"\nvalues = ["Refund"]', 'column = "total"'])
def test_refunds_as_rows_are_taken_off_their_order(tmp_path: Path, told_by: str) -> None:
    (tmp_path / "o.csv").write_text(
        "number,email,total,placed,type\n"
        "1,a@x.nl,-4,2026-11-01,refund\n"
        "1,a@x.nl,10,2026-10-31,sale\n"
        "2,b@x.nl,20,2026-10-31,sale\n"
    )
    lines = [line.replace('"total"', '"sum(total)"') for line in COLUMNS]
    (tmp_path / "shop.toml").write_text("\n".join(['grain = "line"', *lines, "[refunds]", told_by]))
    export = files.read_export(
        UPath(tmp_path / "o.csv"), profiles.load_profile(str(tmp_path / "shop.toml")), DAY
    )
    rows = export.orders.rows.set_index("order_number")
    assert rows["revenue"].to_dict() == {"1": 600, "2": 2000}
    assert rows["order_date"].to_dict() == dict.fromkeys("12", "2026-10-30T23:00:00Z")


def test_an_order_without_the_date_of_its_payment_is_pending_where_the_profile_says_so(
    tmp_path: Path,
) -> None:
    text = "number,email,total,placed,paid\n1,a@x.nl,5,2026-10-31,2026-10-31\n2,b@x.nl,5,2026-10-31,\n"
    export = read(tmp_path, text, below=("[status]", 'pending_if_blank = "paid"'))
    assert export.orders.rows["order_number"].tolist() == ["1"]
    assert export.orders.left_out == {"pending": 1}


def test_one_of_several_statuses_is_enough_to_cancel_an_order(tmp_path: Path) -> None:
    text = (
        "number,email,total,placed,state,payment\n"
        "1,a@x.nl,5,2026-10-31,done,paid\n2,b@x.nl,5,2026-10-31,done,voided\n"
        "3,c@x.nl,5,2026-10-31,cancelled,open\n4,c@x.nl,5,2026-10-31,done,open\n"
    )
    below = (
        "[status]",
        'column = ["state", "payment"]',
        'cancelled = ["cancelled", "voided"]',
        'pending = ["open"]',
    )
    export = read(tmp_path, text, below=below)
    rows = export.orders.rows.set_index("order_number")
    assert rows["is_cancelled"].to_dict() == {"1": False, "2": True, "3": True}


@pytest.mark.parametrize("grain", ["order", "line"])
@pytest.mark.parametrize("number", ["1,00E+11", "1E+11", "10-Feb", "3-okt", "#####", "#NAME?", "#N/A"])
def test_order_numbers_that_a_spreadsheet_damaged_are_set_aside_and_never_merged(
    tmp_path: Path, number: str, grain: str
) -> None:
    rows = [[f'"{number}"', *ROWS[0][1:]], [f'"{number}"', *ROWS[1][1:]], ROWS[1]]
    export = read(tmp_path, write(rows=rows), f'grain = "{grain}"')
    assert export.orders.rows["damaged"].fillna("").tolist() == ["order_number", "order_number", ""]


@pytest.mark.parametrize("placed", ["46326.4", "46326", "50:26.0", "########", "4.6E+04"])
def test_dates_that_a_spreadsheet_damaged_are_set_aside_as_such(tmp_path: Path, placed: str) -> None:
    export = read(tmp_path, write(rows=[[*ROWS[0][:3], placed], ROWS[1]]))
    assert export.orders.rows["damaged"].fillna("").tolist() == ["order_date", ""]
    assert export.orders.rows["order_date"].isna().tolist() == [True, False]


def test_a_phone_number_that_a_spreadsheet_rounded_is_nobodys(tmp_path: Path) -> None:
    text = 'number,email,total,placed,phone\n1,,5,2026-10-31,"3,16123E+10"\n'
    export = read(tmp_path, text)
    assert export.orders.rows["phone_number"].isna().all()


def test_what_is_left_out_is_counted_by_reason_in_words() -> None:
    assert name_left_out({"pending": 2, "other currency": 1, "Channel": 1, "Tags": 1_200}) == [
        "2 pending orders",
        "1 order in another currency",
        "1 order by its Channel",
        "1,200 orders by their Tags",
    ]
