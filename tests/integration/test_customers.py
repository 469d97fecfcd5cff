"""Whose an order is, through the command line: erased and redacted customers, nobodies, till sales."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests.conftest import Export, run_days
from tests.integration.test_cli import Command, last_line, robin_etl

__all__ = ["robin_etl"]  # a fixture

HEADER = "order_number,email_address,phone_number,revenue,order_date"
SHOPIFY = "Name,Email,Financial Status,Currency,Total,Created at,Cancelled at,Refunded Amount,Phone"
USED: dict[str, Any] = {"PROFILE": "shopify", "CURRENCY": "EUR"}
ERASED = "deleted@site.invalid,0000000000"


def run(robin_etl: Command, day: str, *, code: int = 0, **changed: Any) -> dict[str, Any]:
    """The counts of a day's run that ends with this exit code."""
    done = robin_etl("run", "--date", day, "--json", **changed)
    assert done.returncode == code, done.stderr
    return last_line(done)


def held(sandbox: Sandbox) -> dict[str, Any]:
    state = sandbox.robin.read_state()
    assert state["complaints"] == []
    orders: dict[str, Any] = state["orders"]
    return orders


def shopify(number: int, email: str, total: str = "10", refunded: str = "0", phone: str = "") -> str:
    placed = f"2026-03-01 10:{number % 60:02}:00 +0000"
    return f"#{number},{email},paid,EUR,{total},{placed},,{refunded},{phone}"


def widen(text: str) -> str:
    """The same in full-width letters."""
    return text.translate({code: code + 0xFEE0 for code in range(ord("!"), ord("~") + 1)})


def test_customers_whom_the_shop_erases_keep_their_orders_and_are_known_when_they_return(
    robin_etl: Command, export: Export, sandbox: Sandbox
) -> None:
    names = ("ann", "bob", "cat")
    orders = [f"{at},{name}@x.nl,+3161000000{at},10,2026-03-01" for at, name in enumerate(names)]
    export("2026-03-01", *orders, header=HEADER)
    export("2026-03-02", *(f"{at},{ERASED},10,2026-03-01" for at in range(3)), header=HEADER)
    export("2026-03-03", "9,ann@x.nl,,5,2026-03-03", f"0,{ERASED},4,2026-03-01", header=HEADER)
    assert run(robin_etl, "2026-03-01")["first"] == 3
    erased = run(robin_etl, "2026-03-02")
    assert (erased["unchanged"], erased["posted"], erased["quarantined"]) == (3, 0, 0)
    back = run(robin_etl, "2026-03-03")
    assert (back["repeat"], back["return"], back["first"]) == (1, 1, 0)
    assert [order["email_address"] for order in held(sandbox).values()] == [
        *(f"{name}@x.nl" for name in names),
        "ann@x.nl",
    ]


def test_two_till_sales_in_a_day_of_ten_are_left_out_and_counted(
    robin_etl: Command, export: Export, sandbox: Sandbox
) -> None:
    orders = [shopify(1000 + n, f"c{n}@x.nl") for n in range(8)]
    path = export("2026-03-01", *orders, *(shopify(2000 + n, "") for n in range(2)), header=SHOPIFY)
    checked = robin_etl("check", str(path), **USED)
    assert checked.returncode == 0, checked.stderr
    assert "8 rows, 0 of them to quarantine, 0 duplicates; left out 2 orders without a customer." in (
        checked.stdout
    )
    done = robin_etl("run", "--date", "2026-03-01", **USED)
    assert done.returncode == 0, done.stderr
    assert "Left out 2 orders without a customer." in done.stdout
    assert len(held(sandbox)) == 8
    counts = run(robin_etl, "2026-03-01", **USED)
    assert (counts["exported"], counts["without_customer"], counts["left_out"]) == (8, 2, 0)
    status = json.loads(robin_etl("status", "--json").stdout)
    assert status["runs"][0]["counts"]["without_customer"] == 2


def test_the_report_says_how_many_orders_have_no_customer(
    robin_etl: Command, export: Export, settings: Settings
) -> None:
    export("2026-03-01", shopify(1, "a@x.nl"), shopify(2, "", phone="000"), header=SHOPIFY)
    run(robin_etl, "2026-03-01", **USED)
    (page,) = Path(settings.runs).glob("*/report.html")
    assert "Left out without a customer: 1 order." in page.read_text()


def test_a_till_sale_is_quarantined_unless_the_profile_leaves_it_out(
    robin_etl: Command, export: Export, tmp_path: Path, sandbox: Sandbox
) -> None:
    (tmp_path / "till.toml").write_text(
        'extends = "robin"\nwithout_contact = "leave_out"\nnobodies = ["pos@shop.example"]\n'
    )
    rows = [f"{n},c{n}@x.nl,1,2026-03-01" for n in range(20)]
    export("2026-03-01", *rows, "till,pos@shop.example,1,2026-03-01", ",,1,2026-03-01")
    as_usual = robin_etl("run", "--date", "2026-03-01", "--dry-run", "--json")
    assert last_line(as_usual)["quarantined"] == 1
    counts = run(robin_etl, "2026-03-01", code=3, PROFILE="till.toml")
    # The row without an order number is damage, and no sale.
    assert (counts["quarantined"], counts["without_customer"]) == (1, 1)
    assert "till" not in held(sandbox)


def test_a_known_order_whose_address_was_redacted_is_told_as_the_return_that_it_is(
    robin_etl: Command, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", *(shopify(n, f"c{n}@x.nl") for n in (1, 2, 3)), header=SHOPIFY)
    path = export("2026-03-02", shopify(2, "", refunded="4"), header=SHOPIFY)
    run(robin_etl, "2026-03-01", **USED)
    checked = robin_etl("check", str(path), **USED)
    assert (checked.returncode, "1 row, 0 of them to quarantine" in checked.stdout) == (0, True)
    assert "as before" in checked.stdout
    counts = run(robin_etl, "2026-03-02", **USED)
    assert (counts["return"], counts["posted"], counts["quarantined"]) == (1, 1, 0)
    order = held(sandbox)["2"]
    assert (order["email_address"], order["revenue"]) == ("c2@x.nl", 6)
    assert order["is_first_order"]


SPELLINGS = [
    "j\u200ban{n}@shop.example",
    "'jan{n}@shop.example",
    widen("Jan{n}@shop.example").replace(widen("{n}"), "{n}"),
    "Jan <jan{n}@shop.example>",
    '"""Jan, B."" <jan{n}@shop.example>"',
    "mailto:jan{n}@shop.example?subject=Order",
    "jan{n}@Shop.Example.",
]


def test_an_address_is_one_customers_however_it_is_written_and_forgotten_however_it_is_typed(
    robin_etl: Command, export: Export, sandbox: Sandbox
) -> None:
    written = [spelling.format(n=n) for n, spelling in enumerate(SPELLINGS)]
    export("2026-03-01", *(f"a{n},jan{n}@shop.example,10,2026-03-01" for n in range(len(written))))
    again = [f"a{n},{address},10,2026-03-01" for n, address in enumerate(written)]
    later = [f"b{n},{address},10,2026-03-02" for n, address in enumerate(written)]
    export("2026-03-02", *later, *again)
    run(robin_etl, "2026-03-01")
    counts = run(robin_etl, "2026-03-02")
    each = len(written)
    assert (counts["repeat"], counts["unchanged"], counts["quarantined"]) == (each, each, 0)
    for n, address in enumerate(written):
        assert held(sandbox)[f"b{n}"]["email_address"] == f"jan{n}@shop.example"
        (typed,) = next(csv.reader([address]))
        erased = json.loads(robin_etl("forget", typed, "--json").stdout)
        assert (erased["orders"], erased["deliveries"]) == (2, 2), address


def test_a_quarantined_row_is_forgotten_however_its_address_is_written(
    robin_etl: Command, export: Export, settings: Settings
) -> None:
    rows = [f"{n},c{n}@x.nl,1,2026-03-01" for n in range(30)]
    export("2026-03-01", *rows, "9x,Jan <jan@b\u00fccher.example>,nothing,2026-03-01")
    run(robin_etl, "2026-03-01", code=3)
    (file,) = Path(settings.runs).glob("*/quarantine.csv")
    assert "9x" in file.read_text()
    robin_etl("forget", "JAN@xn--bcher-kva.example")
    assert "9x" not in file.read_text()


def test_a_row_without_a_contact_keeps_the_one_of_an_earlier_row_of_its_run(
    robin_etl: Command, export: Export, sandbox: Sandbox
) -> None:
    export("2026-03-01", "1,a@x.nl,10,2026-03-01", "2,b@x.nl,10,2026-03-01", "2,,8,2026-03-01")
    export("2026-03-02", "1,,4,2026-03-01")
    done = robin_etl("backfill", "--from", "2026-03-01", "--to", "2026-03-02", "--json")
    assert done.returncode == 0, done.stderr
    counts = last_line(done)
    assert (counts["first"], counts["return"], counts["duplicates"]) == (2, 1, 1)
    orders = held(sandbox)
    assert {n: (o["email_address"], o["revenue"]) for n, o in orders.items()} == {
        "1": ("a@x.nl", 4),
        "2": ("b@x.nl", 8),
    }


@pytest.mark.parametrize("command", ["backfill", "baseline"])
def test_an_order_of_which_only_a_broken_row_names_the_customer_waits(
    robin_etl: Command, export: Export, sandbox: Sandbox, command: str
) -> None:
    others = [f"{n},c{n}@x.nl,1,2026-03-01" for n in range(30)]
    export("2026-03-01", *others, "x,a@x.nl,nothing,2026-03-01")
    export("2026-03-02", "x,,4,2026-03-01")
    export("2026-03-03", *others, "x,a@x.nl,3,2026-03-01")
    done = robin_etl(command, "--from", "2026-03-01", "--to", "2026-03-02", "--json")
    assert done.returncode == 3, done.stderr
    counts = last_line(done)
    assert (counts["quarantined"], counts["without_contact"], counts["first"]) == (1, 1, 30)
    assert "x" not in held(sandbox)
    assert run(robin_etl, "2026-03-03")["first"] == 1
    assert held(sandbox)["x"]["revenue"] == 3


def test_a_version_without_a_customer_is_no_first_post_of_the_one_that_has_one(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    others = [f"{n},c{n}@x.nl,1,2026-03-01" for n in range(30)]
    export("2026-03-01", *others, "x,a@x.nl,nothing,2026-03-01")
    export("2026-03-02", "x,,4,2026-03-01")
    export("2026-03-03", "x,a@x.nl,3,2026-03-01")
    counts = run_days(settings, "2026-03-01", "2026-03-03")
    assert (counts["first"], counts["return"], counts["without_contact"]) == (31, 0, 1)
    assert held(sandbox)["x"]["revenue"] == 3


@pytest.mark.parametrize("number", [1, 2, 7])
def test_an_order_without_a_contact_is_compared_beside_its_customers_others_in_any_partition(
    settings: Settings, export: Export, sandbox: Sandbox, number: int
) -> None:
    names = [f"c{n}@x.nl" for n in range(12)]
    export("2026-03-01", *(f"a{n},{name},10,2026-03-01" for n, name in enumerate(names)))
    export(
        "2026-03-02",
        *(f"a{n},,10,2026-03-0{n % 3 + 1}" for n in range(12)),
        *(f"b{n},{name},5,2026-03-02" for n, name in enumerate(names)),
    )
    run_days(settings, "2026-03-01")
    counts = run_days(settings.model_copy(update={"shards": number}), "2026-03-02")
    assert (counts["repeat"], counts["first"], counts["quarantined"]) == (12, 0, 0)
    firsts = {name for name, order in held(sandbox).items() if order["is_first_order"]}
    assert firsts == {f"a{n}" for n in range(12)}
