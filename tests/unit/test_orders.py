"""Money, dates, addresses and customers, column by column."""

from __future__ import annotations

from datetime import MAXYEAR, MINYEAR, UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from robin_etl.core import columns, customers, dates, money, nobodies


def text(*values: str | None) -> pd.Series:
    return pd.Series(values, dtype=columns.TEXT)


def widen(ascii_text: str) -> str:
    """The same in full-width characters."""
    return ascii_text.translate({code: code + 0xFEE0 for code in range(ord("!"), ord("~") + 1)})


def plain(series: pd.Series) -> list[object]:
    return [None if pd.isna(value) else value for value in series]


@pytest.mark.parametrize(
    ("written", "cents"),
    [
        ("113.34", 11334),
        ("10", 1000),
        ("5.", 500),
        (".5", 50),
        ("+7", 700),
        (" 7 ", 700),
        ("0.005", 1),
        ("-0.005", -1),
        ("1.00499999999999999999999", 100),
        ("1e3", 100000),
        ("1.5E-2", 2),
        ("9999999999999.99", 999999999999999),
        ("10000000000000", None),
        ("1e13", None),
        ("1,50", None),
        ("1 000", None),
        ("nan", None),
        ("inf", None),
        ("0x10", None),
        ("NA", None),
        ("", None),
        (None, None),
        ("1\n", 100),
        ("٣", None),
    ],
)
def test_money_is_exact_cents_or_null(written: str | None, cents: int | None) -> None:
    assert plain(money.parse_cents(text(written))) == [cents]


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=6))
def test_money_rounds_half_up_as_decimal_does(value: Decimal) -> None:
    expected = int(value.quantize(Decimal("0.01"), ROUND_HALF_UP) * 100)
    assert plain(money.parse_cents(text(f"{value:f}"))) == [expected]


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2017-04-05T12:34:56Z", "2017-04-05T12:34:56Z"),
        ("2017-04-05T12:34:56+02:00", "2017-04-05T10:34:56Z"),
        ("2017-04-05 12:34:56 +0200", "2017-04-05T10:34:56Z"),
        ("2017-04-05 12:34:56 -0200", "2017-04-05T14:34:56Z"),
        ("2017-04-05T12:34:56.999Z", "2017-04-05T12:34:56Z"),
        ("2017-04-05T12:34:56,5Z", "2017-04-05T12:34:56Z"),
        ("2017-04-05 12:34", "2017-04-05T10:34:00Z"),
        ("2017-01-05 12:34", "2017-01-05T11:34:00Z"),
        ("2017-04-05", "2017-04-04T22:00:00Z"),
        # 02:30 comes twice on the last Sunday of October, and never on that of March.
        ("2025-10-26 02:30", "2025-10-26T00:30:00Z"),
        ("2025-03-30 02:30", "2025-03-30T01:00:00Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ("2017-02-30", None),
        ("2017-13-01", None),
        ("05/04/2017", None),
        ("2017", None),
        ("20170405", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_a_date_becomes_a_moment_in_utc_or_null(written: str | None, moment: str | None) -> None:
    assert plain(dates.parse_moments(text(written), "Europe/Amsterdam")) == [moment]


@pytest.mark.parametrize(
    ("written", "timezone", "moment"),
    [
        ("9999-12-31T23:59:59", "Pacific/Kiritimati", "9999-12-31T09:59:59Z"),
        ("9999-12-31T23:59:59", "America/Los_Angeles", None),  # in the year 10000
        ("9999-12-31", "America/Los_Angeles", "9999-12-31T08:00:00Z"),
        ("2099-06-01", "America/Los_Angeles", "2099-06-01T07:00:00Z"),
        ("0001-01-01", "America/Los_Angeles", "0001-01-01T07:52:58Z"),
        ("0001-01-01", "Etc/GMT-14", "0000-12-31T10:00:00Z"),
    ],
)
def test_a_date_at_an_end_of_the_calendar_is_read_or_null_in_any_zone(
    written: str, timezone: str, moment: str | None
) -> None:
    for formats in ((dates.ISO,), ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S")):
        assert plain(dates.parse_moments(text(written), timezone, formats)) == [moment]


ZONES = ("UTC", "Europe/Amsterdam", "America/Los_Angeles", "Pacific/Kiritimati", "Africa/Cairo")


@given(
    moments=st.lists(st.datetimes(), max_size=5),
    day=st.dates(),
    timezone=st.sampled_from(ZONES),
)
def test_a_moment_is_ahead_of_a_day_by_the_calendar_of_its_zone(
    moments: list[datetime], day: date, timezone: str
) -> None:
    written = text(*(f"{one:%Y}".zfill(4) + f"-{one:%m-%dT%H:%M:%SZ}" for one in moments), None)
    assume(all(MINYEAR < one.year < MAXYEAR for one in moments))
    local = [one.replace(tzinfo=UTC).astimezone(ZoneInfo(timezone)).date() for one in moments]
    ahead = dates.count_days_ahead(written, day, timezone)
    assert plain(ahead) == [*((one - day).days for one in local), None]


@pytest.mark.parametrize(
    ("moment", "timezone", "ahead"),
    [
        ("2026-03-03T07:59:59Z", "America/Los_Angeles", 1),
        ("2026-03-03T08:00:00Z", "America/Los_Angeles", 2),
        ("2026-02-28T10:00:00Z", "Pacific/Kiritimati", 0),
        ("2026-02-28T09:59:59Z", "Pacific/Kiritimati", -1),
        ("9999-12-31T23:59:59Z", "Pacific/Kiritimati", 2_912_384),
        ("0000-12-31T10:00:00Z", "Etc/GMT-14", -739_675),
        ("0000-01-01T00:00:00Z", "UTC", -740_041),
    ],
)
def test_a_day_of_a_zone_begins_at_its_own_midnight(moment: str, timezone: str, ahead: int) -> None:
    assert plain(dates.count_days_ahead(text(moment), date(2026, 3, 1), timezone)) == [ahead]


@given(st.datetimes())
def test_any_date_and_time_survives_to_the_second(moment: object) -> None:
    written = f"{moment:%Y}".zfill(4) + f"-{moment:%m-%dT%H:%M:%S.%f}Z"
    assert plain(dates.parse_moments(text(written))) == [f"{written[:19]}Z"]


def test_addresses_are_trimmed_and_lower_cased_and_blank_is_null() -> None:
    assert plain(customers.normalize_addresses(text(" Ann@Shop.NL ", "\u00a0b@x.nl\t", "  ", None))) == [
        "ann@shop.nl",
        "b@x.nl",
        None,
        None,
    ]


@pytest.mark.parametrize(
    "written",
    [
        "jan@x.nl",
        "j\u200ban@x.\u00adnl\ufeff",
        "'jan@x.nl",
        widen("jan@x.nl"),
        "Jan <Jan@X.nl>",
        '"Jan, B. <the one>" <jan@x.nl>',
        "jan@x.nl <jan@x.nl>",
        "mailto:jan@x.nl",
        "MailTo:jan@x.nl?subject=About%20my@order",
        "<mailto:'jan@x.nl'>",
        '"jan@x.nl"',
        "jan@x.nl.",
        "jan@x。nl。",
        "\x85jan@x.nl\u2028",
    ],
)
def test_an_address_has_one_form_whatever_stands_around_it(written: str) -> None:
    assert plain(customers.normalize_addresses(text(written, None, "o'brien@x.nl"))) == [
        "jan@x.nl",
        None,
        "o'brien@x.nl",
    ]


@pytest.mark.parametrize("domain", ["BÜCHER.example", "bu\u0308cher.example", "xn--bcher-kva.EXAMPLE"])
def test_a_domain_is_written_as_idna_does(domain: str) -> None:
    assert plain(customers.normalize_addresses(text(f"jan@{domain}"))) == ["jan@xn--bcher-kva.example"]


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("A@x.nl, B <b@x.nl>", "a@x.nl, b <b@x.nl>"),
        ("a@x.nl <b@x.nl>", "a@x.nl <b@x.nl>"),
        ("jan@☃☃.nl", "jan@☃☃.nl"),
        ('"jan b"@x.nl', '"jan b"@x.nl'),
        ("Jan", "jan"),
        ("<" * 99 + "jan@x.nl" + ">" * 99, "<" * 99 + "jan@x.nl" + ">" * 99),
        ("\u200b", None),
        ("mailto:", None),
    ],
)
def test_what_has_no_such_form_is_left_for_the_gate(written: str, left: str | None) -> None:
    assert plain(customers.normalize_addresses(text(written))) == [left]


@given(st.lists(st.text(max_size=12) | st.none(), max_size=6))
def test_the_one_form_of_any_text_is_its_own_whatever_is_beside_it(written: list[str | None]) -> None:
    formed = customers.normalize_addresses(text(*written))
    assert plain(customers.normalize_addresses(formed)) == plain(formed)
    alone = [plain(customers.normalize_addresses(text(one)))[0] for one in written]
    assert alone == plain(formed)


around = st.text(" \t\u00a0\u200b\ufeff'", max_size=3)
layers = st.sampled_from(["{}", "<{}>", "mailto:{}", "Jan <{}>", '"Jan, B." <{}>', "MAILTO:{}?a=b@c"])
localparts = st.text("abcXYZ019.+-_é", min_size=1, max_size=6).filter(lambda name: name[0] != ".")
domains = st.sampled_from(["x.nl", "Shop.Example", "bücher.example", widen("x.nl")])


@given(localparts, domains, around, layers, around, st.booleans())
def test_what_is_added_around_an_address_changes_nothing(
    name: str, domain: str, before: str, layer: str, after: str, has_dot: bool
) -> None:
    address = f"{name}@{domain}"
    dressed = f"{before}{layer.format(after + address + '.' * has_dot)}{after}"
    bare, formed = plain(customers.normalize_addresses(text(address, dressed)))
    assert formed == bare


@pytest.mark.parametrize(
    ("address", "is_nobody"),
    [
        ("deleted@site.invalid", True),
        ("a@invalid", True),
        ("noreply@market.example", True),
        ("do-not-reply+7@market.example", True),
        ("nora@x.nl", False),
        ("invalid@x.nl", False),
        ("a@invalid.example", False),
        ("ann@marketplace.amazon.example", False),
    ],
)
def test_an_address_that_nobody_reads_is_nobodys(address: str, is_nobody: bool) -> None:
    assert plain(nobodies.blank_addresses(text(address, None))) == [None if is_nobody else address, None]


@pytest.mark.parametrize(
    ("number", "is_nobody"),
    [
        ("0000000000", True),
        ("0-000-000-0000", True),
        ("+99 (999) 99", True),
        ("none", True),
        ("-", True),
        ("112", False),
        ("٠٦١٢", False),
        ("+31612345678", False),
    ],
)
def test_a_number_of_one_digit_or_of_none_is_nobodys(number: str, is_nobody: bool) -> None:
    assert plain(nobodies.blank_numbers(text(number, None))) == [None if is_nobody else number, None]


@given(st.lists(st.text("ab@.x", max_size=6)), st.lists(st.text("ab@.x*?", max_size=5), max_size=3))
def test_globs_match_as_they_do_in_a_shell(addresses: list[str], globs: list[str]) -> None:
    globs = [glob for glob in globs if "@" in glob]
    found = plain(nobodies.blank_addresses(text(*addresses), globs))
    expected = [
        None if any(fnmatchcase(one, glob) for glob in (*globs, *nobodies.SHIPPED)) else one
        for one in addresses
    ]
    assert found == expected


def test_leading_zeros_and_the_text_na_stay_as_they_are() -> None:
    assert plain(columns.trim(text("01235", "NA", "null", " 7"))) == ["01235", "NA", "null", "7"]


def test_a_digest_depends_on_the_key_and_never_shows_the_contact() -> None:
    contacts = text("ann@shop.nl", "ann@shop.nl", "bob@shop.nl", None)
    one, two = (customers.digest_contacts(contacts, of="email", key=key) for key in (b"one", b"two"))
    assert one[0] == one[1] != one[2]
    assert pd.isna(one[3])
    assert set(one.dropna()).isdisjoint(two.dropna())
    assert one.dropna().str.fullmatch("[0-9a-f]{32}").all()


def test_an_address_and_a_phone_number_of_the_same_text_are_two_customers() -> None:
    rows = pd.DataFrame({"email_address": text("0612", None), "phone_number": text(None, "0612")})
    known = customers.add_digests(rows, key=b"")
    assert known["email"][0] != known["phone"][1]


@pytest.mark.parametrize("index", [[7, 3], [10, 11]])
def test_every_column_function_keeps_the_index(index: list[int]) -> None:
    column = pd.Series(["2017-04-05", "2017-04-06"], index=index, dtype=columns.TEXT)
    for result in (
        columns.trim(column),
        customers.normalize_addresses(column),
        money.parse_cents(column),
        dates.parse_moments(column),
        customers.digest_contacts(column, of="email", key=b""),
    ):
        assert result.index.tolist() == index
    assert customers.normalize_addresses(column).tolist() == column.tolist()


@pytest.mark.parametrize(
    ("function", "dtype"),
    [(money.parse_cents, "Int64"), (dates.parse_moments, "str"), (customers.normalize_addresses, "str")],
)
def test_an_empty_column_keeps_its_type(function: object, dtype: str) -> None:
    assert str(function(text()).dtype) == dtype  # type: ignore[operator]
