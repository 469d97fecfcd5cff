"""Exports as other shops' systems write them, and the rows that their profiles make of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from robin_etl.core import columns
from robin_etl.exceptions import ConfigurationError, ExportError
from robin_etl.exports import files, profiles, sampling
from robin_etl.exports.choosing import PENDING
from robin_etl.exports.drafting import draft_profile
from robin_etl.exports.mapping import map_cells
from robin_etl.gate import EXPORT_SUITE, check_frame, load_suite
from robin_etl.settings import Settings
from tests.cases import make_cases

FILES = Path(__file__).parents[1] / "profiles"
DAY = date(2026, 4, 1)
COLUMNS = ("order_number", "email_address", "phone_number", "revenue", "order_date")


def settings(**given: Any) -> Settings:
    return Settings.read(**{"timezone": "Europe/Amsterdam", "currency": "EUR"} | given)


def read(path: Path, profile: str, **given: Any) -> files.Export:
    return files.read_export(
        UPath(path), profiles.load_configured(settings(profile=profile, **given)), DAY
    )


def find_broken(export: files.Export) -> pd.Series:
    suite = load_suite(UPath(settings().expectations) / EXPORT_SUITE)
    return check_frame(export.orders.rows, suite, {"fewest_rows": 0, "most_revenue": 1e15})[1]


def pass_gate(export: files.Export) -> list[tuple[object, ...]]:
    """What the gate lets through."""
    good = export.orders.rows.drop(find_broken(export).index)[list(COLUMNS)].astype(object)
    return [tuple(row) for row in good.where(good.notna(), None).to_numpy()]


def quarantined(export: files.Export) -> dict[str, str]:
    broken = find_broken(export)
    return dict(zip(export.orders.rows["order_number"].loc[broken.index], broken, strict=True))


def shop(folder: Path, *lines: str) -> str:
    """A profile of one's own."""
    (folder / "shop.toml").write_text("\n".join(lines), encoding="utf-8")
    return str(folder / "shop.toml")


def test_shopify_sums_nothing_twice_takes_refunds_off_and_leaves_out_what_is_unpaid() -> None:
    export = read(FILES / "shopify.csv", "shopify")
    assert pass_gate(export) == [
        ("1001", "ann@example.com", "+31612345678", 10500, "2025-10-07T07:50:26Z"),
        ("1003", "cat@example.com", None, 5995, "2025-10-26T00:30:00Z"),
        ("1004", "dan@example.com", None, 0, "2025-10-26T01:30:00Z"),
        ("1006", None, "+4915112345", 2000, "2025-10-27T10:00:00Z"),
    ]
    assert export.orders.left_out == {PENDING: 1}
    assert quarantined(export) == {"1005": "currency_is_the_shops"}
    assert export.orders.lines.tolist() == [2, 6, 7, 8, 9]


def test_magento_tells_times_of_the_shop_across_a_change_to_summer_time() -> None:
    export = read(FILES / "magento2.csv", "magento2")
    assert pass_gate(export) == [
        ("000000101", "ann@example.com", None, 11335, "2026-03-29T00:59:59Z"),
        ("000000102", "bob@example.com", None, 1500, "2026-03-29T01:00:00Z"),
        ("000000103", "cat@example.com", None, 0, "2026-03-30T10:05:00Z"),
        ("000000105", "eva@example.com", None, 0, "2026-03-30T12:05:00Z"),
    ]
    assert export.orders.left_out == {PENDING: 1}


@pytest.mark.parametrize("items", [1, 2])
def test_woocommerces_export_suite_with_a_row_for_each_order_or_item(items: int, tmp_path: Path) -> None:
    header, *rows = (FILES / "woocommerce-export-suite.csv").read_text().splitlines()
    path = tmp_path / "orders.csv"
    path.write_text("\n".join([header, *(row for row in rows for _ in range(items))]) + "\n")
    export = read(path, "woocommerce-export-suite")
    assert pass_gate(export) == [
        ("WC-701", "ann@example.com", "+31612345678", 5495, "2026-03-29T00:30:00Z"),
        ("WC-702", "bob@example.com", None, 2000, "2026-03-29T01:30:00Z"),
        ("WC-704", "cat@example.com", None, 0, "2026-03-29T03:00:00Z"),
    ]
    assert export.orders.left_out == {PENDING: 1}


def test_woocommerces_advanced_export_goes_on_with_an_order_on_rows_without_its_number() -> None:
    export = read(FILES / "woocommerce-advanced.csv", "woocommerce-advanced")
    assert pass_gate(export) == [
        # 2:30 comes twice on that night; the earlier is meant.
        ("801", "ann@example.com", "+31612345678", 12100, "2025-10-26T00:30:00Z"),
        ("803", "cat@example.com", None, 4840, "2025-10-26T03:30:00Z"),
    ]
    assert export.orders.left_out == {PENDING: 1}


def test_shopware_is_read_with_semicolons_in_utc_whatever_its_encoding(tmp_path: Path) -> None:
    expected = [
        ("10001", "ann@example.com", None, 10550, "2026-03-29T00:30:00Z"),
        ("10002", "bob@example.com", None, 2000, "2026-03-29T01:30:00Z"),
    ]
    whole = (FILES / "shopware6.csv").read_text(encoding="utf-8")
    assert (
        pass_gate(
            files.read_export(UPath(FILES / "shopware6.csv"), profiles.load_profile("shopware6"), DAY)
        )
        == expected
    )
    (tmp_path / "orders.csv").write_text(whole, encoding="cp1252")
    western = shop(tmp_path, 'extends = "shopware6"', 'encoding = "windows-1252"')
    export = files.read_export(UPath(tmp_path / "orders.csv"), profiles.load_profile(western), DAY)
    assert pass_gate(export) == expected
    assert export.orders.cells["billing_city"].tolist() == ["Köln", "Bonn"]


@pytest.mark.parametrize(
    ("lines", "setting", "zone"),
    [
        (['extends = "shopware6"'], "Europe/Amsterdam", "UTC"),
        (['extends = "robin"', 'timezone = "Asia/Tokyo"'], "Europe/Amsterdam", "Asia/Tokyo"),
        (['extends = "robin"'], "Europe/Amsterdam", "Europe/Amsterdam"),
        (['extends = "robin"'], "", "UTC"),
        (['extends = "shopware6"', 'timezone = ""'], "Europe/Amsterdam", "Europe/Amsterdam"),
    ],
)
def test_a_time_zone_that_a_profile_states_holds_and_the_setting_fills_what_it_leaves_open(
    lines: list[str], setting: str, zone: str, tmp_path: Path
) -> None:
    profile = profiles.load_profile(shop(tmp_path, *lines))
    assert profile.complete(Settings.read(timezone=setting)).timezone == zone


def test_line_items_add_up_exactly_wherever_in_the_file_they_are() -> None:
    export = read(FILES / "line-items.csv", "line-items")
    assert pass_gate(export) == [
        ("0901", "ann@example.com", None, 10002, "2026-03-29T08:00:00Z"),
        ("0902", "bob@example.com", None, 6000, "2026-03-29T09:00:00Z"),
    ]
    assert quarantined(export) == {"0903": "revenue_is_a_number"}


def test_robins_own_columns_need_no_setting() -> None:
    export = files.read_export(
        UPath(FILES / "robin.csv"), profiles.load_configured(Settings.read()), DAY
    )
    assert pass_gate(export) == [("01235", "ann@example.com", None, 11334, "2026-03-29T08:00:00Z")]
    assert export.orders.rows["profit"].tolist() == [2000]


@pytest.mark.parametrize("path", sorted(FILES.iterdir()), ids=lambda path: path.stem)
def test_every_file_is_recognised_as_its_own_profile(path: Path) -> None:
    fitting = profiles.find_fitting(sampling.take_sample(UPath(path)).columns)
    assert fitting is not None
    assert fitting.name == path.stem
    assert {profile.name for profile in profiles.list_shipped()} == {
        file.stem for file in FILES.iterdir()
    }


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(FILES.iterdir()) if path.stem != "line-items"],
    ids=lambda path: path.stem,
)
def test_a_draft_of_each_file_extends_its_profile_and_reads_the_same(path: Path) -> None:
    profile = profiles.load_profile(path.stem)
    if profile.unusable:
        with pytest.raises(ExportError, match="can't be used"):
            draft_profile(sampling.read_everything(UPath(path)))
        return
    drafted = draft_profile(sampling.read_everything(UPath(path)))
    assert drafted.questions == []
    complete = profiles.parse_profile(drafted.text, "draft").complete(settings())
    export = files.read_export(UPath(path), complete, date(2026, 11, 1))
    expected = files.read_export(UPath(path), profile.complete(settings()), date(2026, 11, 1))
    assert f'extends = "{path.stem}"' in drafted.text
    assert pass_gate(export) == pass_gate(expected)
    assert export.orders.left_out == expected.orders.left_out


@pytest.mark.parametrize("name", ["amazon.txt", "bigcommerce.csv", "ebay.csv"])
def test_the_files_of_other_systems_come_out_to_the_cent(name: str) -> None:
    [case] = [case for case in make_cases() if case.name == name]
    profile = profiles.load_profile(name.partition(".")[0]).complete(
        Settings.read(timezone="Europe/Amsterdam", currency=case.currency)
    )
    rows = files.read_export(UPath(FILES / name), profile, DAY).orders.rows
    rows = rows[~rows["is_cancelled"]]
    names = ["order_number", "email_address", "revenue", "order_date"]
    assert [tuple(row) for row in rows[names].astype(object).to_numpy()] == list(case.told)


def test_an_order_of_odoo_is_one_once_it_is_more_than_a_quotation() -> None:
    export = read(FILES / "odoo.csv", "odoo", timezone="UTC")
    rows = export.orders.rows.set_index("order_number")
    assert rows["revenue"].to_dict() == {"S00042": 10500, "S00044": 0}
    assert rows["order_date"]["S00042"] == "2026-10-31T08:50:26Z"
    assert export.orders.left_out == {PENDING: 1}


@pytest.mark.parametrize(
    ("name", "words"),
    [("magento1", "sales_flat_order"), ("prestashop", "SQL Manager")],
)
def test_lists_that_name_no_customer_are_refused_with_what_to_export_instead(
    name: str, words: str
) -> None:
    with pytest.raises(ExportError, match=words):
        read(FILES / f"{name}.csv", "robin")
    with pytest.raises(ConfigurationError, match=words):
        profiles.load_configured(settings(profile=name))


def test_woocommerces_analytics_export_is_refused_with_what_to_export_instead() -> None:
    with pytest.raises(ExportError, match=r"no e-mail address.*Advanced Order"):
        read(FILES / "woocommerce-analytics.csv", "robin")
    with pytest.raises(ConfigurationError, match="no e-mail address"):
        profiles.load_configured(settings(profile="woocommerce-analytics"))


def test_a_file_of_another_profile_is_told_which_one_fits() -> None:
    with pytest.raises(ExportError, match=r"fits the profile shopify: set ROBIN_ETL_PROFILE"):
        read(FILES / "shopify.csv", "robin")


@pytest.mark.parametrize(
    ("profile", "missing", "setting"),
    [("magento2", "timezone", "ROBIN_ETL_TIMEZONE"), ("shopify", "currency", "ROBIN_ETL_CURRENCY")],
)
def test_what_a_profile_can_not_know_has_to_be_set(profile: str, missing: str, setting: str) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        profiles.load_configured(settings(profile=profile).model_copy(update={missing: ""}))


DUTCH = (
    'delimiter = ";"',
    'encoding = "windows-1252"',
    'decimal_mark = ","',
    'thousands_separator = "."',
    'date_formats = ["%d-%m-%Y %H:%M", "%d-%m-%Y"]',
    'timezone = "Europe/Amsterdam"',
    "[columns]",
    'order_number = "Bestelnummer"',
    'email_address = "E-mail"',
    'revenue = "Totaal"',
    'profit = "Totaal - Inkoop?"',
    'order_date = "Datum"',
)


def dutch(folder: Path, *rows: str) -> files.Export:
    text = "\r\n".join(["Bestelnummer;E-mail;Totaal;Inkoop;Datum;Café", *rows, ""])
    (folder / "orders.csv").write_bytes(text.encode("cp1252"))
    return files.read_export(
        UPath(folder / "orders.csv"), profiles.load_profile(shop(folder, *DUTCH)), DAY
    )


def test_decimal_commas_and_thousands_points_are_read_as_the_profile_says(
    tmp_path: Path,
) -> None:
    export = dutch(
        tmp_path,
        "007;a@x.nl;1.234,565;1.000;29-03-2026 03:30;é",
        "008;b@x.nl;12,5;;30-03-2026;",
        "009;c@x.nl;12.50;1;30-03-2026;",
        "010;d@x.nl;1,234.50;1;30-03-2026;",
    )
    assert pass_gate(export) == [
        ("007", "a@x.nl", None, 123457, "2026-03-29T01:30:00Z"),
        ("008", "b@x.nl", None, 1250, "2026-03-29T22:00:00Z"),
    ]
    assert export.orders.rows["profit"].tolist()[:2] == [23457, 1250]
    # A point where the profile has none would make 12.50 into 1250.
    both = "revenue_is_a_number; profit_is_a_number"
    assert quarantined(export) == {"009": both, "010": both}


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (["colums = 1"], "colums: Extra inputs"),
        (['delimiter = ";;"'], "delimiter: String should have at most 1 character"),
        (['timezone = "Amsterdam"'], "timezone: there is no time zone 'Amsterdam'"),
        (['encoding = "utf-88"'], "encoding: there is no encoding 'utf-88'"),
        (['decimal_mark = ","', 'thousands_separator = ","'], "can't be the same"),
        (["[columns]", 'revenue = "a / b"'], r"columns.revenue: 'a / b' has more in it"),
        (["[columns]", 'revenue = "[a"'], r"columns.revenue: '\[a' can't be read"),
        (["[columns]", 'revenue = "a * b * c * d"'], "multiplies more columns"),
        (["[columns]", 'revenue = "sum(quantity)"'], r"sum\(…\) needs grain"),
        (["[columns]", "email_address = []", "phone_number = []"], "must say who the customer is"),
        (["[strip]", 'number = "#"'], "strip names number"),
        (
            ["[status]", 'column = "a"', 'refunded = ["Closed"]', 'cancelled = ["closed"]'],
            "status: 'closed' is in two of pending, cancelled and refunded",
        ),
        (["[status]", 'column = "a"', 'cancelled_revenue = "kept"'], "cancelled_revenue: Extra inputs"),
        (['nobodies = ["till"]'], "nobodies: 'till' is a glob neither of addresses"),
        (['without_contact = "drop"'], "without_contact: Input should be"),
        (['extends = "shopyfy"'], "no profile 'shopyfy'.*shopify"),
        (["extends = 3"], "extends must be"),
        (["delimiter = "], "is no TOML"),
    ],
)
def test_a_profile_that_makes_no_sense_is_refused_with_a_sentence(
    tmp_path: Path, lines: list[str], match: str
) -> None:
    base = [] if any(line.startswith("extends") for line in lines) else ['extends = "robin"']
    with pytest.raises(ConfigurationError, match=match):
        profiles.load_profile(shop(tmp_path, *base, *lines))


def test_a_profile_can_not_extend_itself(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="extends itself"):
        profiles.load_profile(shop(tmp_path, f'extends = "{tmp_path}/shop.toml"'))


ORDERS = "number,email,total,margin,placed,state,cancelled_at"


def read_statuses(folder: Path, *rows: str, **lines: str) -> files.Export:
    """Rows of a shop whose statuses are of every kind."""
    profile = shop(
        folder,
        "[columns]",
        'order_number = "number"',
        'email_address = "email"',
        'revenue = "total"',
        'profit = "margin"',
        'order_date = "placed"',
        "[status]",
        'column = "state"',
        'pending = ["on hold"]',
        'cancelled = ["Cancelled"]',
        'refunded = ["refunded"]',
        'cancelled_if_filled = "cancelled_at"',
    )
    (folder / "orders.csv").write_text("\n".join([ORDERS, *rows, ""]), encoding="utf-8")
    return files.read_export(UPath(folder / "orders.csv"), profiles.load_profile(profile), DAY)


def test_a_status_says_whether_an_order_is_none_yet_none_after_all_or_paid_back(tmp_path: Path) -> None:
    export = read_statuses(
        tmp_path,
        "1,a@x.nl,10,3,2026-03-01,paid,",
        "2,a@x.nl,10,3,2026-03-01,refunded,",
        "3,a@x.nl,10,,2026-03-01,REFUNDED,",
        "4,a@x.nl,10,3,2026-03-01,cancelled,",
        "5,a@x.nl,,,2026-03-01,refunded,2026-03-02",
        "6,a@x.nl,10,3,2026-03-01,on hold,",
        "7,a@x.nl,10,3,2026-03-01,on hold,2026-03-02",
    )
    rows = export.orders.rows.set_index("order_number")
    assert rows["revenue"].to_dict() == {"1": 1000, "2": 0, "3": 0, "4": 0, "5": 0, "7": 0}
    assert rows["profit"].dropna().to_dict() == {"1": 300, "2": 0, "4": 0, "7": 0}
    assert rows["is_cancelled"].to_dict() == dict.fromkeys("123", False) | dict.fromkeys("457", True)
    assert str(rows["is_cancelled"].dtype) == columns.FLAG
    assert export.orders.left_out == {PENDING: 1}
    assert quarantined(export) == {}


def test_without_statuses_nothing_is_cancelled() -> None:
    rows = read(FILES / "line-items.csv", "line-items").orders.rows
    assert rows["is_cancelled"].eq(other=False).all()


ORDER, CANCELLED, REFUNDED = "order", "cancelled", "refunded"


@pytest.mark.parametrize(
    ("profile", "status", "meaning"),
    [
        *(("shopify", status, PENDING) for status in ("pending", "expired")),
        *(("shopify", status, ORDER) for status in ("paid", "authorized", "partially_refunded")),
        ("shopify", "voided", CANCELLED),
        ("shopify", "refunded", REFUNDED),
        *(("magento2", status, PENDING) for status in ("Pending", "On Hold", "Payment Review", "fraud")),
        *(("magento2", status, ORDER) for status in ("Processing", "Complete")),
        ("magento2", "Canceled", CANCELLED),
        ("magento2", "Closed", REFUNDED),
        *(
            (profile, status, meaning)
            for profile in ("woocommerce-advanced", "woocommerce-export-suite")
            for status, meaning in (
                ("On hold", PENDING),
                ("failed", PENDING),
                ("Pending payment", PENDING),
                ("Processing", ORDER),
                ("completed", ORDER),
                ("Cancelled", CANCELLED),
                ("Refunded", REFUNDED),
            )
        ),
    ],
)
def test_the_shipped_profiles_sort_what_their_systems_document(
    profile: str, status: str, meaning: str
) -> None:
    found = profiles.load_profile(profile).status
    assert found is not None
    lists = {PENDING: found.pending, CANCELLED: found.cancelled, REFUNDED: found.refunded}
    assert next((name for name, those in lists.items() if status.lower() in those), ORDER) == meaning


@pytest.mark.parametrize("profile", ["shopify", "woocommerce-advanced", "woocommerce-export-suite"])
def test_systems_that_write_sales_without_a_customer_by_design_leave_them_out(profile: str) -> None:
    assert profiles.load_profile(profile).without_contact == "leave_out"
    assert profiles.load_profile("robin").without_contact == "quarantine"


def test_a_nobody_is_a_blank_cell_of_which_the_next_column_may_say_more(tmp_path: Path) -> None:
    name = shop(
        tmp_path,
        'nobodies = ["POS@shop.example", "*@till.example", "+31 000*"]',
        "[columns]",
        'order_number = "number"',
        'email_address = ["email", "billing"]',
        'phone_number = ["phone", "mobile"]',
        'revenue = "total"',
        'order_date = "placed"',
    )
    rows = [
        "1,deleted@site.invalid,ann@x.nl,0000000000,0612345678",
        "2,No-Reply@market.example,,0-000-000-0000,",
        "3,pos@shop.example,a@till.example,+31000123,n/a",
        "4,\u200b,Jan <Ann@X.nl>,(000) 000,+316",
        "5,nora@x.nl,,112,",
    ]
    text = "\n".join(
        ["number,email,billing,phone,mobile,total,placed", *(f"{row},1,2026-03-01" for row in rows)]
    )
    (tmp_path / "orders.csv").write_text(f"{text}\n", encoding="utf-8")
    export = files.read_export(UPath(tmp_path / "orders.csv"), profiles.load_profile(name), DAY)
    found = export.orders.rows[["email_address", "phone_number"]].astype(object)
    assert found.where(found.notna(), None).to_numpy().tolist() == [
        ["ann@x.nl", "0612345678"],
        [None, None],
        [None, None],
        ["ann@x.nl", "+316"],
        ["nora@x.nl", "112"],
    ]
    assert quarantined(export) == {"2": "contact_present", "3": "contact_present"}


cents = st.integers(0, 10**9)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 99), cents), min_size=1, max_size=12))
def test_line_items_add_up_to_the_cent_in_any_order(items: list[tuple[str, int, int]]) -> None:
    cells = pd.DataFrame(
        [(number, "a@x.nl", f"{n}", f"{price / 100:.2f}", "2026-03-01") for number, n, price in items],
        columns=["order_number", "email_address", "quantity", "unit_price", "order_date"],
        dtype="str",
    )
    rows = map_cells(cells, pd.Series(range(len(cells))), profiles.load_profile("line-items"), DAY).rows
    expected: dict[str, int] = {}
    for number, n, price in items:
        expected[number] = expected.get(number, 0) + n * price
    assert dict(zip(rows["order_number"], rows["revenue"], strict=True)) == expected
