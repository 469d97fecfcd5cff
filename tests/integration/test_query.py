"""A query as the source: asked once for a day, its answer becomes that day's export, exact and whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from upath import UPath

from robin_etl.exceptions import (
    ConfigurationError,
    DatabaseUnavailableError,
    ExportError,
    GuardError,
    QueryError,
)
from robin_etl.exports.profiles import load_profile
from robin_etl.exports.query import Answer, ask, land_answer, open_database, read_query
from robin_etl.ledger import Ledger
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.calendar import draw_calendar
from tests.conftest import run_days
from tests.integration.test_catch_up import catch_up, held_by
from tests.integration.test_cli import Command, last_line, robin_etl

__all__ = ["robin_etl"]  # a fixture

DAY, NEXT = "2026-03-01", "2026-03-02"
PASSWORD = "pass-of-the-shop"
TABLE = """create table orders (
    order_number text, email_address text, revenue numeric(12, 2), placed_at timestamp, changed_on date
)"""
SQL = """-- The orders of :day, whoever changed them: 10:30
select order_number, email_address, revenue, placed_at as order_date
from orders where changed_on = :day and order_number like '%' order by order_number;
"""


class Shop:
    """A shop's database with a table of orders."""

    def __init__(self, url: str) -> None:
        self.url = url
        drivername = url.replace("postgresql://", "postgresql+psycopg://")
        self._engine = sa.create_engine(drivername, poolclass=sa.pool.NullPool)
        self.do(TABLE)

    def do(self, *statements: str) -> None:
        with self._engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def add(self, day: str, *orders: tuple[str, str]) -> None:
        """Orders as number and revenue, changed and placed that day."""
        for number, revenue in orders:
            self.do(
                f"insert into orders values ('{number}', 'c{number}@x.nl', {revenue}, "
                f"'{day} 10:00:00', '{day}')"
            )


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    if request.param == "sqlite":
        return Shop(f"sqlite:///{tmp_path / 'shop.db'}")
    return Shop(request.getfixturevalue("postgresql"))


@pytest.fixture
def sqlite_shop(tmp_path: Path) -> Shop:
    return Shop(f"sqlite:///{tmp_path / 'shop.db'}")


@pytest.fixture
def query(tmp_path: Path) -> Path:
    return write(tmp_path, SQL)


def write(folder: Path, sql: str) -> Path:
    path = folder / "orders.sql"
    path.write_text(sql, encoding="utf-8")
    return path


def asking(settings: Settings, shop: Shop, query: Path, **others: Any) -> Settings:
    values = {
        **settings.model_dump(exclude_defaults=True),
        "query": str(query),
        "query_url": shop.url,
        **others,
    }
    return Settings.read(**values)


def landed(settings: Settings, day: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(
        Path(settings.exports) / f"orders_{day}.parquet"
    ).to_pylist()
    return rows


def test_a_day_is_asked_for_once_and_again_only_to_refresh_it(
    settings: Settings, shop: Shop, query: Path, sandbox: Sandbox
) -> None:
    shop.add(DAY, ("0012", "113.34"), ("0013", "0.10"))
    shop.add(NEXT, ("0014", "5"))
    there = asking(settings, shop, query)
    assert run_days(there, DAY)["first"] == 2
    assert held_by(sandbox) == {"0012": 113.34, "0013": 0.1}
    assert sandbox.robin.orders["0012"]["order_date"] == "2026-03-01T10:00:00Z"
    shop.do("update orders set revenue = 100 where order_number = '0012'")
    assert run_days(there, DAY)["return"] == 0
    assert run_days(there, DAY, refresh=True)["return"] == 1
    (Path(there.exports) / f"orders_{DAY}.parquet").unlink()
    shop.do("update orders set revenue = 90 where order_number = '0012'")
    assert run_days(there, DAY)["return"] == 1
    assert held_by(sandbox) == {"0012": 90, "0013": 0.1}
    assert [one.name for one in Path(there.exports).iterdir()] == [f"orders_{DAY}.parquet"]


def test_a_range_asks_for_each_of_its_days(
    settings: Settings, sqlite_shop: Shop, query: Path, sandbox: Sandbox
) -> None:
    sqlite_shop.add(DAY, ("1", "1"))
    sqlite_shop.add("2026-03-03", ("3", "3"))
    counts = run_days(asking(settings, sqlite_shop, query), DAY, "2026-03-03")
    assert (counts["files"], counts["first"]) == (3, 2)
    assert landed(settings, NEXT) == []


def test_a_catch_up_asks_for_the_days_that_are_over_and_have_no_export(
    settings: Settings, sqlite_shop: Shop, query: Path, sandbox: Sandbox
) -> None:
    there = asking(settings, sqlite_shop, query, catch_up_days=3)
    for day in range(1, 5):
        sqlite_shop.add(f"2026-03-0{day}", (f"{day}", "1"))
    run_days(there, DAY)
    assert catch_up(there, "2026-03-04")["first"] == 3
    assert set(held_by(sandbox)) == {"1", "2", "3", "4"}

    def clock() -> datetime:
        return datetime(2026, 3, 6, 22, 59, 59, tzinfo=UTC)

    at = there.model_copy(update={"timezone": "Europe/Amsterdam"})
    with Ledger.open(there.ledger, read_only=True, clock=clock) as ledger:
        drawn = draw_calendar(at, ledger, date(2026, 3, 6), days=31, is_expected=True)
    days = {f"{one.day}": one.state for one in drawn.days}
    assert days == dict.fromkeys((f"2026-03-0{day}" for day in range(1, 5)), "done") | {
        "2026-03-05": "outstanding"
    }
    assert drawn.days[-1].why == "the query was not asked for it yet"


def test_a_day_that_is_not_over_is_not_asked_for(
    settings: Settings, sqlite_shop: Shop, query: Path
) -> None:
    today = f"{datetime.now(UTC).date()}"
    with pytest.raises(ConfigurationError, match=rf"{today} is not over in UTC.*EXPORT_LAG_DAYS=1"):
        run_days(asking(settings, sqlite_shop, query), today)
    assert list(Path(settings.exports).iterdir()) == []


def test_a_run_takes_the_day_before_with_a_query_unless_a_setting_says_which(
    settings: Settings, sqlite_shop: Shop, query: Path
) -> None:
    assert asking(settings, sqlite_shop, query).export_lag_days == 1
    assert asking(settings, sqlite_shop, query, export_lag_days=2).export_lag_days == 2
    assert settings.export_lag_days == 0


def test_the_moments_of_a_day_are_those_of_the_shop_in_the_night_the_clocks_change(
    settings: Settings, shop: Shop, tmp_path: Path
) -> None:
    shop.do(
        *(
            f"insert into orders values ('{number}', 'c@x.nl', 1, '{moment}', '2026-03-01')"
            for number, moment in {
                "before": "2026-03-28 22:59:59",
                "begins": "2026-03-28 23:00:00",
                "ends": "2026-03-29 21:59:59",
                "behind": "2026-03-29 22:00:00",
            }.items()
        )
    )
    sql = """select order_number, email_address, revenue, placed_at as order_date from orders
        where placed_at >= :day_start and placed_at < :day_end"""
    there = asking(settings, shop, write(tmp_path, sql), timezone="Europe/Amsterdam")
    run_days(there, "2026-03-29")
    assert {row["order_number"] for row in landed(there, "2026-03-29")} == {"begins", "ends"}


def test_a_pattern_says_where_an_answer_lands(
    settings: Settings, sqlite_shop: Shop, query: Path, exports: Path
) -> None:
    sqlite_shop.add(DAY, ("1", "1"))
    run_days(asking(settings, sqlite_shop, query, exports=f"{exports}/{{date:%Y/%m/%d}}.parquet"), DAY)
    assert (exports / "2026/03/01.parquet").is_file()
    for pattern in (f"{exports}/{{date}}/*.parquet", f"{exports}/{{date}}.csv", "https://x.nl/orders"):
        with pytest.raises(ConfigurationError, match="where no answer to ROBIN_ETL_QUERY can be kept"):
            run_days(asking(settings, sqlite_shop, query, exports=pattern), NEXT)


def test_values_of_every_type_are_kept_as_exactly_as_they_came(
    settings: Settings, postgresql: str, tmp_path: Path
) -> None:
    sql = """select 7 as order_number, 'a@x.nl' as email_address, 0.00000000::numeric(26, 8) as revenue,
        timestamptz '2026-03-01 10:00:00.25+02' as order_date, timestamp '2026-03-01 10:00' as local,
        date '2026-03-01' as date, true as flag, null as nothing, 1e-9::float8 as small,
        12345678901234567890.12::numeric as large, '{"a": [1, "é"]}'::jsonb as json,
        '5b0a1c9e-2f0d-4b5e-8f37-0d1f3a7c9e10'::uuid as uuid, '\\x00ff'::bytea as bytes,
        '\\303\\251'::bytea as text_bytes, '10:30'::time as time, '{1,2}'::int[] as list
        where :day is not null"""
    there = asking(settings, Shop(postgresql), write(tmp_path, sql))
    run_days(there, DAY)
    assert landed(there, DAY) == [
        {
            "order_number": "7",
            "email_address": "a@x.nl",
            "revenue": "0E-8",
            "order_date": "2026-03-01 08:00:00.250000Z",
            "local": "2026-03-01 10:00:00.000000",
            "date": "2026-03-01",
            "flag": "true",
            "nothing": None,
            "small": "0.000000001",
            "large": "12345678901234567890.12",
            "json": '{"a": [1, "é"]}',
            "uuid": "5b0a1c9e-2f0d-4b5e-8f37-0d1f3a7c9e10",
            "bytes": "00ff",
            "text_bytes": "é",
            "time": "10:30:00",
            "list": "[1, 2]",
        }
    ]


def test_an_answer_without_rows_is_a_day_without_orders_that_the_guard_doubts(
    settings: Settings, sqlite_shop: Shop, query: Path
) -> None:
    there = asking(settings, sqlite_shop, query)
    sqlite_shop.add(DAY, *((f"{number}", "1") for number in range(20)))
    run_days(there, DAY)
    with pytest.raises(GuardError, match="The guard empty stopped"):
        run_days(there, NEXT, is_history=False)
    assert landed(there, NEXT) == []


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select order_number, revenue from orders where changed_on = :day", "has no columns email"),
        ("select 1 as a, 2 as a, :day as day", "has the column a more than once"),
        ("select emial from orders where changed_on = :day", "refuses the query .*emial"),
        ("select from from orders where changed_on = :day", "refuses the query .*syntax"),
        ("select 1 from orders where changed_on = :today", "has :today, which nothing sets"),
        ("select * from orders -- of :day", "names no day"),
        ("delete from orders where changed_on = :day", "begins with DELETE"),
        ("-- nothing", "has no statement in it"),
    ],
)
def test_a_query_that_can_not_be_used_is_a_sentence_that_names_it(
    sql: str, words: str, settings: Settings, sqlite_shop: Shop, tmp_path: Path
) -> None:
    with pytest.raises((QueryError, ConfigurationError), match=words) as caught:
        run_days(asking(settings, sqlite_shop, write(tmp_path, sql)), DAY)
    assert "orders.sql" in str(caught.value)
    assert list(Path(settings.exports).iterdir()) == []


def test_a_query_that_changes_data_changes_none(
    settings: Settings, postgresql: str, tmp_path: Path, sqlite_shop: Shop
) -> None:
    shop = Shop(postgresql)
    shop.do(
        "create function tidy() returns int language sql as 'delete from orders returning 1'",
    )
    tidying = "select tidy() as order_number, 'a' as email_address, 1 as revenue, :day as order_date"
    with pytest.raises(QueryError, match="read-only transaction"):
        run_days(asking(settings, shop, write(tmp_path, tidying)), DAY)
    with (
        pytest.raises(QueryError, match="readonly database"),
        ask(open_database(sqlite_shop.url, 30), sa.text("delete from orders"), "it", seconds=30),
    ):
        raise AssertionError


def test_what_a_database_says_of_a_row_is_not_shown(
    settings: Settings, shop: Shop, tmp_path: Path
) -> None:
    bad = "x'ff6a6f6840782e6e6c'" if "sqlite" in shop.url else "'secret-john@x.nl'"
    shop.do(f"insert into orders values ('1', cast({bad} as text), 1, '{DAY} 10:00:00', '{DAY}')")
    cast = "email_address" if "sqlite" in shop.url else "email_address::int as email_address"
    sql = SQL.replace("email_address,", f"{cast},")
    with pytest.raises(QueryError, match="a value in it can't be read") as caught:
        run_days(asking(settings, shop, write(tmp_path, sql)), DAY)
    assert "x.nl" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nowhere", "is no address of a database"),
        (f"postgresql://u:{PASSWORD}@more@localhost/shop", "%40"),
        ("sqlite:///not-there.db", "not-there.db that is not there"),
        (f"nonsense://u:{PASSWORD}@localhost/shop", "whose driver is not installed"),
        (f"postgresql+pg8000://u:{PASSWORD}@localhost/shop", "whose driver is not installed"),
        (f"postgresql://u:{PASSWORD}@localhost:1/shop", "can't be reached"),
    ],
)
def test_a_database_that_can_not_be_asked_is_a_sentence_without_the_password(
    url: str, words: str, robin_etl: Command, query: Path, tmp_path: Path
) -> None:
    done = robin_etl("run", "--date", DAY, QUERY=str(query), QUERY_URL=url)
    assert words in done.stderr
    assert done.returncode == (1 if "reached" in words else 2)
    assert PASSWORD not in done.stderr
    for path in (one for one in tmp_path.rglob("*") if one.is_file()):
        assert PASSWORD.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"QUERY_URL": ""}, "so must be either ROBIN_ETL_QUERY_URL"),
        ({"QUERY_CONN_ID": "shop"}, "so must be either ROBIN_ETL_QUERY_URL"),
        ({"QUERY_URL": "", "QUERY_CONN_ID": "shop"}, "the connection shop, which only Airflow"),
        ({"DONE_MARKER": ".done"}, "DONE_MARKER and ROBIN_ETL_QUERY are both set"),
        ({"QUERY": "not-there.sql"}, "not-there.sql can't be read"),
        ({"QUERY": ""}, "There is no query to ask again"),
    ],
)
def test_settings_of_a_query_that_do_not_fit_are_named(
    others: dict[str, str], words: str, robin_etl: Command, query: Path, sqlite_shop: Shop
) -> None:
    there = {"QUERY": str(query), "QUERY_URL": sqlite_shop.url, **others}
    done = robin_etl("run", "--date", DAY, "--refresh", **there)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def test_an_answer_takes_no_longer_than_it_may(settings: Settings, shop: Shop, tmp_path: Path) -> None:
    endless = """with recursive n(i) as (select 1 union all select i + 1 from n)
        select i as order_number, 'a@x.nl' as email_address, 1 as revenue, :day as order_date
        from n where i < 0"""
    there = asking(settings, shop, write(tmp_path, endless), query_timeout=0.2)
    with pytest.raises(DatabaseUnavailableError, match=r"within 0\.2 seconds.*ROBIN_ETL_QUERY_TIMEOUT"):
        run_days(there, DAY)
    assert list(Path(settings.exports).iterdir()) == []


def test_a_connection_that_is_lost_leaves_no_half_of_an_answer(
    settings: Settings, postgresql: str, query: Path, tmp_path: Path
) -> None:
    shop = Shop(postgresql)
    engine = open_database(postgresql, 30)
    sql = """select i as order_number, 'a@x.nl' as email_address, 1 as revenue, :day as order_date
        from generate_series(1, 1000) i"""
    statement = read_query(UPath(write(tmp_path, sql))).bind(date(2026, 3, 1), "UTC")
    path = UPath(settings.exports) / "orders_2026-03-01.parquet"

    def cut_off(batches: Iterator[Any]) -> Iterator[Any]:
        yield next(batches)
        shop.do(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
        yield from batches

    def land() -> None:
        with ask(engine, statement, "orders.sql", seconds=30, batch_rows=10) as answer:
            cut = Answer(answer.columns, cut_off(answer.batches))
            land_answer(cut, path, "orders.sql", load_profile("robin"), most_bytes=1 << 30)

    with pytest.raises(DatabaseUnavailableError, match="was lost while it answered"):
        land()
    assert list(Path(settings.exports).iterdir()) == []
    engine.dispose()


def test_an_answer_that_is_larger_than_an_export_may_be_is_not_kept(
    settings: Settings, sqlite_shop: Shop, query: Path
) -> None:
    sqlite_shop.add(DAY, ("1", "1"))
    with pytest.raises(ExportError, match="MAX_EXPORT_SIZE"):
        run_days(asking(settings, sqlite_shop, query, max_export_size=10), DAY)
    assert list(Path(settings.exports).iterdir()) == []


def test_a_file_that_the_query_has_not_written_is_read_and_not_replaced(
    settings: Settings, sqlite_shop: Shop, query: Path, export: Callable[..., Path]
) -> None:
    export(DAY, "1,a@x.nl,5,2026-03-01")
    there = asking(settings, sqlite_shop, query)
    assert run_days(there, DAY)["first"] == 1
    with pytest.raises(ExportError, match=r"orders_2026-03-01\.csv is there for 2026-03-01"):
        run_days(there, DAY, refresh=True)


def test_the_commands_ask_again_and_a_profile_maps_other_names(
    robin_etl: Command, shop: Shop, tmp_path: Path, settings: Settings
) -> None:
    shop.add(DAY, ("1", "10"))
    sql = SQL.replace("select order_number", "select order_number as nr").replace(" as order_date", "")
    profile = tmp_path / "shop.toml"
    profile.write_text(
        '[columns]\norder_number = "nr"\nemail_address = "email_address"\nrevenue = "revenue"\n'
        'order_date = "placed_at"\n',
        encoding="utf-8",
    )
    url = shop.url.replace("postgres:@", f"postgres:{PASSWORD}@")
    assert PASSWORD in url or url.startswith("sqlite")
    there = {"QUERY": str(write(tmp_path, sql)), "QUERY_URL": url, "PROFILE": str(profile)}
    done = robin_etl("--debug", "run", "--date", DAY, "--json", **there)
    assert PASSWORD not in done.stdout + done.stderr
    assert (done.returncode, last_line(done)["first"]) == (0, 1), done.stderr
    shop.do("update orders set revenue = 8")
    again = robin_etl("backfill", "--from", DAY, "--to", DAY, "--refresh", "--json", **there)
    assert last_line(again)["return"] == 1
    file = Path(settings.exports) / f"orders_{DAY}.parquet"
    shutil.copy(file, tmp_path / "landed_2026-03-01.parquet")
    drafted = robin_etl("profile", "new", str(tmp_path / "landed_2026-03-01.parquet"))
    assert 'order_number = "nr"' in drafted.stdout, drafted.stderr
    assert file.stat().st_mode & 0o077 == 0
    for path in (one for one in tmp_path.rglob("*") if one.is_file()):
        assert PASSWORD.encode() not in path.read_bytes(), path
