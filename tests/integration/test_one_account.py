"""Two shops on one ROBIN account: their numbers apart, the account's limits kept together, and a
customer's first order one for each or one for both.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from robin_etl import pipeline
from robin_etl.core import columns, customers
from robin_etl.exceptions import BindingError, ConfigurationError, GuardError
from robin_etl.ledger import Ledger
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.classify import reconcile_with
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run
from tests import processes
from tests.conftest import HEADER, KEY, SECRET, run_days

Shop = Callable[..., Settings]

in_both_databases = pytest.mark.parametrize("shop", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def shop(request: pytest.FixtureRequest, tmp_path: Path, sandbox: Sandbox) -> Shop:
    """The settings of a shop by its name, all on one account and in one kind of ledger."""
    is_file = getattr(request, "param", "sqlite") == "sqlite"
    database = "" if is_file else request.getfixturevalue("postgresql")

    def read(name: str, **more: Any) -> Settings:
        (tmp_path / name).mkdir(exist_ok=True)
        place = {"ledger": str(tmp_path / f"{name}.db")} if is_file else {"ledger": database}
        if not is_file:
            place["ledger_schema"] = name
        if "first_orders_with" in more and is_file:
            more["first_orders_with"] = str(tmp_path / f"{more['first_orders_with']}.db")
        return Settings.read(
            base_url=sandbox.url,
            api_key=KEY,
            api_secret=SECRET,
            exports=str(tmp_path / name),
            runs=str(tmp_path / f"{name}-runs"),
            rate_limits="100000/s",
            max_attempts=1,
            webstore_url=f"https://{name}.example.com",
            **{"order_prefix": f"{name.upper()}-", **place, **more},
        )

    return read


def write(settings: Settings, day: str, *rows: str) -> None:
    text = "\n".join([HEADER, *rows]) + "\n"
    (Path(settings.exports) / f"orders_{day}.csv").write_text(text)


def test_one_number_in_two_shops_is_two_orders_each_of_its_web_store(
    shop: Shop, sandbox: Sandbox
) -> None:
    nl, de = shop("nl"), shop("de")
    write(nl, "2026-03-01", "1,ann@x.nl,10,2026-03-01")
    write(de, "2026-03-01", "1,ben@x.nl,20,2026-03-01", '"1,00E+11",b@x.nl,2,2026-03-01')
    write(de, "2026-03-02", "1,ben@x.nl,15,2026-03-01")
    for one in (nl, de):
        run_days(one, "2026-03-01")
    run_days(de, "2026-03-02")
    held = {
        number: (order["revenue"], order["webstore_url"])
        for number, order in sandbox.robin.orders.items()
    }
    assert held == {
        "NL-1": (10, "https://nl.example.com"),
        "DE-1": (15, "https://de.example.com"),
    }
    assert sandbox.robin.situations == {"first": 2, "return": 1}
    (page,) = Path(nl.runs).glob("*/report.html")
    assert "https://nl.example.com" in page.read_text()
    with Ledger.open(de.ledger) as ledger:
        assert [one.kind for one in ledger.deliveries.history("DE-1")] == ["first", "return"]


def test_another_prefix_on_a_ledger_in_use_stops_the_run(shop: Shop, sandbox: Sandbox) -> None:
    nl = shop("nl", order_prefix="")
    write(nl, "2026-03-01", "1,ann@x.nl,10,2026-03-01")
    run_days(nl, "2026-03-01")
    with pytest.raises(GuardError, match=r"1 new order, .* order prefix NL- instead of none"):
        run_days(shop("nl"), "2026-03-01")
    assert set(sandbox.robin.orders) == {"1"}
    run_days(shop("nl"), "2026-03-01", allow=("settings",))
    assert set(sandbox.robin.orders) == {"1", "NL-1"}


@in_both_databases
@pytest.mark.parametrize(("with_other", "expected"), [(False, (True, True)), (True, (True, False))])
def test_a_customers_first_order_is_one_for_each_shop_or_one_for_both_as_is_set(
    shop: Shop, sandbox: Sandbox, *, with_other: bool, expected: tuple[bool, bool]
) -> None:
    nl = shop("nl", **({"first_orders_with": "de"} if with_other else {}))
    de = shop("de", **({"first_orders_with": "nl"} if with_other else {}))
    write(nl, "2026-03-01", "1,ann@x.nl,10,2026-03-01")
    write(de, "2026-03-02", "1,ann@x.nl,20,2026-03-02", "2,ben@x.nl,20,2026-03-02")
    run_days(nl, "2026-03-01")
    run_days(de, "2026-03-02")
    held = {number: order["is_first_order"] for number, order in sandbox.robin.orders.items()}
    assert (held["NL-1"], held["DE-1"], held["DE-2"]) == (*expected, True)


def test_an_older_order_of_the_other_shop_that_comes_late_is_first_once_both_have_named_the_customer(
    shop: Shop, sandbox: Sandbox
) -> None:
    nl, de = shop("nl", first_orders_with="de"), shop("de", first_orders_with="nl")
    write(nl, "2026-03-02", "1,ann@x.nl,10,2026-03-02")
    write(de, "2026-03-03", "7,ann@x.nl,20,2026-03-01")
    write(nl, "2026-03-04", "2,ann@x.nl,30,2026-03-04")
    run_days(nl, "2026-03-02")
    run_days(de, "2026-03-03")
    both = {number: order["is_first_order"] for number, order in sandbox.robin.orders.items()}
    assert both == {"NL-1": True, "DE-7": True}  # the other shop's is the other's to correct
    run_days(nl, "2026-03-04")
    held = {number: order["is_first_order"] for number, order in sandbox.robin.orders.items()}
    assert held == {"NL-1": False, "DE-7": True, "NL-2": False}
    assert sandbox.robin.read_state()["complaints"] == []


def test_what_the_other_shop_told_between_classify_and_load_counts(shop: Shop, sandbox: Sandbox) -> None:
    nl, de = shop("nl", first_orders_with="de"), shop("de", first_orders_with="nl")
    write(nl, "2026-03-02", "1,ann@x.nl,10,2026-03-02")
    write(de, "2026-03-02", "1,ann@x.nl,20,2026-03-01")
    day = date(2026, 3, 2)
    run = Run.start(nl.runs, Scope(command="run", first=day, last=day, is_history=True))
    pipeline.extract(nl, run)
    for stage in (pipeline.classify, pipeline.validate):
        stage(nl, run)
    pipeline.plan(nl, run)
    run_days(de, "2026-03-02")
    pipeline.load(nl, run)
    held = {number: order["is_first_order"] for number, order in sandbox.robin.orders.items()}
    assert held == {"DE-1": True, "NL-1": False}


def test_a_cancelled_order_of_the_other_shop_takes_nobodys_first_place(
    shop: Shop, sandbox: Sandbox, tmp_path: Path
) -> None:
    profile = tmp_path / "with-status.toml"
    profile.write_text(
        'title = "With a status"\n[columns]\norder_number = "order_number"\n'
        'email_address = "email_address"\nrevenue = "revenue"\norder_date = "order_date"\n'
        '[status]\ncolumn = ["status"]\ncancelled = ["cancelled"]\n'
    )
    nl, de = shop("nl", profile=str(profile)), shop("de", first_orders_with="nl")
    (Path(nl.exports) / "orders_2026-03-01.csv").write_text(
        f"{HEADER},status\n1,ann@x.nl,10,2026-03-01,cancelled\n"
    )
    write(de, "2026-03-02", "1,ann@x.nl,20,2026-03-02")
    run_days(nl, "2026-03-01")
    run_days(de, "2026-03-02")
    assert sandbox.robin.orders["DE-1"]["is_first_order"] is True


def test_ledgers_of_another_customer_key_or_account_or_none_at_all_are_a_sentence(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    nl = shop("nl", customer_key="one")
    write(nl, "2026-03-01", "1,ann@x.nl,10,2026-03-01")
    de = shop("de", first_orders_with="nl", customer_key="other")
    write(de, "2026-03-01", "1,ann@x.nl,10,2026-03-01")
    run_days(de, "2026-03-01", dry_run=True)
    assert "no order of it counts for who is first" in caplog.text
    run_days(nl, "2026-03-01")
    with pytest.raises(BindingError, match="under another customer key"):
        run_days(de, "2026-03-01")
    elsewhere = shop("de", first_orders_with="nl", customer_key="one").model_copy(
        update={"api_key": Settings.read(api_key="another").api_key}
    )
    with pytest.raises(BindingError, match="belongs to another ROBIN account"):
        run_days(elsewhere, "2026-03-01")


# Whose, where, when placed, and in which export the shop first names it.
ORDERS = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.sampled_from(["nl", "de"]), st.integers(1, 9), st.integers(1, 3)
    ),
    min_size=1,
    max_size=8,
)


@given(
    orders=ORDERS, runs=st.lists(st.tuples(st.sampled_from(["nl", "de"]), st.integers(1, 3)), max_size=4)
)
def test_once_both_shops_know_their_orders_and_name_them_again_the_earliest_of_both_is_the_first(
    orders: list[tuple[str, str, int, int]], runs: list[tuple[str, int]]
) -> None:
    table = pd.DataFrame(orders, columns=["who", "shop", "placed", "named"])
    table["order_number"] = table["shop"] + "-" + table.index.astype(str)

    def make_rows(name: str, export: int, day: int) -> pd.DataFrame:
        own = table[(table["shop"] == name) & (table["named"] <= export)]
        rows = pd.DataFrame(
            {
                "order_number": own["order_number"],
                "day": f"2026-04-{day:02}",
                "email_address": own["who"] + "@x.nl",
                "revenue": 100,
                "order_date": "2026-03-0" + own["placed"].astype(str) + "T00:00:00Z",
            }
        )
        return customers.add_digests(columns.conform(rows, columns.EXPORTED_DTYPES), key=b"")

    with Ledger.open("sqlite://") as nl, Ledger.open("sqlite://") as de:
        ledgers = {"nl": nl, "de": de}
        whole = [("nl", 3), ("de", 3), ("nl", 3), ("de", 3)]
        for day, (name, export) in enumerate([*runs, *whole], 1):
            other = ledgers["de" if name == "nl" else "nl"]
            result = reconcile_with(make_rows(name, export, day), ledgers[name], (other.states,))
            assert result.changes["order_number"].str.startswith(f"{name}-").all()
            ledgers[name].baseline(result.changes)
            ledgers[name].confirm(result.confirmed)
        held = pd.concat([one.states.rows_of(table["order_number"]) for one in ledgers.values()])
    flagged = set(held["order_number"][held["is_first_order"]])
    in_order = table.sort_values(["placed", "order_number"])
    assert flagged == set(in_order.drop_duplicates("who")["order_number"])


@pytest.fixture
def command(tmp_path: Path, quick_command: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts robin-etl in the test's folder, where `shops.toml` is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROBIN_ETL_")}
    under_way: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [quick_command, *arguments],
            env={**kept, "ROBIN_ETL_CONFIG": "shops.toml"},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        processes.note(process)
        under_way.append(process)
        return process

    yield start
    for process in under_way:
        processes.end(process, kindly=False)


def test_two_runs_at_once_take_their_requests_from_the_limits_of_their_one_account(
    tmp_path: Path, command: Callable[..., subprocess.Popen[str]]
) -> None:
    number = 15
    with Sandbox(Robin(KEY, SECRET, limits=((20, 1),))) as sandbox:
        lines = [f'base_url = "{sandbox.url}"', f'api_key = "{KEY}"', f'api_secret = "{SECRET}"']
        lines += ['rate_limits = "20/s"', "chunk_size = 1", 'shared_limits = "limits.db"']
        for name in ("nl", "de"):
            (tmp_path / name).mkdir()
            rows = [f"{n},c{n}@x.nl,10,2026-03-01" for n in range(number)]
            (tmp_path / name / "orders_2026-03-01.csv").write_text("\n".join([HEADER, *rows]) + "\n")
            lines += [f"[shops.{name}]", f'exports = "{name}"', f'ledger = "{name}.db"']
            lines += [f'runs = "{name}-runs"', f'order_prefix = "{name}-"']
        (tmp_path / "shops.toml").write_text("\n".join(lines))
        started = [command("--shop", name, "run", "--date", "2026-03-01") for name in ("nl", "de")]
        for process in started:
            printed, _ = process.communicate(timeout=processes.DEADLINE)
            assert process.returncode == 0, printed
        assert len(sandbox.robin.orders) == 2 * number
        requests = sum(sandbox.robin.statuses.values())
    with closing(sa.create_engine(f"sqlite:///{tmp_path / 'limits.db'}").connect()) as connection:
        slots = connection.execute(sa.text("select moment from slots order by number")).scalars().all()
        accounts = connection.execute(sa.text("select account from accounts")).scalars().all()
        connection.engine.dispose()
    assert len(slots) == requests
    assert len(accounts) == 1
    assert SECRET not in accounts[0]
    assert KEY not in accounts[0]
    assert all(later - earlier >= 900 for earlier, later in zip(slots, slots[20:], strict=False))


@in_both_databases
def test_the_ledgers_own_database_is_one_of_postgresql(shop: Shop) -> None:
    nl = shop("nl", shared_limits="ledger")
    write(nl, "2026-03-01", *(f"{n},c{n}@x.nl,10,2026-03-01" for n in range(3)))
    if not nl.ledger.startswith("postgresql"):
        with pytest.raises(ConfigurationError, match="a ledger in SQLite is one shop's alone"):
            run_days(nl, "2026-03-01")
        return
    run_days(nl, "2026-03-01")
    with Ledger.open(nl.ledger) as ledger, ledger.engine.read() as connection:
        query = sa.text("select count(*) from robin_limits.slots where has_left")
        assert connection.execute(query).scalar_one() == 1
