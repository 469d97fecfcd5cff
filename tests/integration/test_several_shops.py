"""Several shops: in one Airflow and one database, and on the command line from one file."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from tests import processes
from tests.conftest import HEADER, KEY, SECRET
from tests.integration.test_dag import Play, airflow, airflow_home, module_sandbox, shop

__all__ = ["airflow", "airflow_home", "module_sandbox", "shop"]  # fixtures


class HeldRobin(Robin):
    """A ROBIN that holds its first answer until all that share the barrier have been asked."""

    def __init__(self, barrier: threading.Barrier) -> None:
        super().__init__(KEY, SECRET, limits=())
        self._barriers = [barrier]

    def answer(self, authorization: str | None, body: bytes) -> tuple[int, Mapping[str, Any]]:
        for barrier in self._barriers:
            barrier.wait(processes.DEADLINE / 2)
        self._barriers = []
        return super().answer(authorization, body)


# Three shops that differ in all that shops may differ in, each where its settings usually are.
SHOPS = """
from robin_etl.airflow.dag import robin_orders_dag

robin_orders_dag("orders_nl", conn_id="robin_nl", timezone="Europe/Amsterdam")
robin_orders_dag("orders_uk", conn_id="robin_uk", timezone="Europe/London")
robin_orders_dag(
    "orders_us",
    conn_id="robin_us",
    timezone="America/New_York",
    settings={
        "profile": "PROFILE",
        "timezone": "America/New_York",
        "webstore_url": "https://us.example.com",
        "ledger_schema": "us",
    },
)
"""

US_PROFILE = """
title = "The American shop"
delimiter = ";"
decimal_mark = ","
date_formats = ["%m/%d/%Y %H:%M"]

[columns]
order_number = "No"
email_address = "Mail"
revenue = "Total"
order_date = "Ordered"
"""


def test_three_shops_of_one_file_run_at_once_in_one_database_each_with_its_own_robin(
    airflow: Play, tmp_path: Path, postgresql: str
) -> None:
    database = sa.create_engine(sa.make_url(postgresql).set(drivername="postgresql+psycopg"))
    locks: list[str] = []

    def look_at_locks() -> None:
        query = sa.text(
            "select objid from pg_locks where locktype = 'advisory' and granted and database = "
            "(select oid from pg_database where datname = current_database())"
        )
        with database.connect() as connection:
            locks.extend(map(str, connection.execute(query).scalars()))

    barrier = threading.Barrier(3, action=look_at_locks)
    names = ("nl", "uk", "us")
    for name in names:
        (tmp_path / name).mkdir()
    profile = tmp_path / "us.toml"
    profile.write_text(US_PROFILE)
    # The same number in each, of the same customer, and not the same order.
    (tmp_path / "nl" / "orders_2026-03-01.csv").write_text(f"{HEADER}\n1,ann@x.nl,10.50,2026-03-01\n")
    (tmp_path / "uk" / "orders_2026-03-01.csv").write_text(f"{HEADER}\n1,ann@x.nl,20,2026-02-01\n")
    (tmp_path / "us" / "orders_2026-03-01.csv").write_text(
        "No;Mail;Total;Ordered\n1;ann@x.nl;30,25;02/28/2026 23:30\n"
    )
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "shops.py").write_text(SHOPS.replace("PROFILE", str(profile)))
    with ExitStack() as stack:
        robins = {name: HeldRobin(barrier) for name in names}
        urls = {name: stack.enter_context(Sandbox(robin)).url for name, robin in robins.items()}
        env = {"ROBIN_ETL_LEDGER": postgresql, "ROBIN_ETL_TIMEOUT": f"{processes.DEADLINE}"}
        for name, url in urls.items():
            connection = {"conn_type": "robin", "host": url, "login": KEY, "password": SECRET}
            connection["extra"] = json.dumps({"customer_key_secret": f"of {name}"})
            variable = {"exports": str(tmp_path / name), "runs": str(tmp_path / f"{name}-runs")}
            if name != "us":
                variable |= {"ledger_schema": name, "webstore_url": f"https://{name}.example.com"}
            env[f"AIRFLOW_CONN_ROBIN_{name.upper()}"] = json.dumps(connection)
            env[f"AIRFLOW_VAR_ROBIN_{name.upper()}"] = json.dumps(variable)
        asked = [
            {"dag": f"orders_{name}", "dags": str(dags), "day": "2026-03-01T12:00:00+00:00", "env": env}
            for name in names
        ]
        played = airflow(together=asked)
    assert [one["state"] for one in played["results"]] == ["success"] * 3, played["log"]
    assert len(set(locks)) == 3  # all at once
    assert [one["assets"] for one in played["results"]] == [[f"orders_{name}"] for name in names]
    held = {name: robin.orders["1"] for name, robin in robins.items()}
    assert all(len(robin.orders) == 1 for robin in robins.values())
    assert {name: order["revenue"] for name, order in held.items()} == {
        "nl": 10.5,
        "uk": 20,
        "us": 30.25,
    }
    assert {order["webstore_url"] for order in held.values()} == {
        f"https://{name}.example.com" for name in names
    }
    assert held["us"]["order_date"] == "2026-03-01T04:30:00Z"
    with database.connect() as opened:
        keys, orders = (
            [opened.execute(sa.text(f"select {what} from {name}.{table}")).scalar() for name in names]
            for what, table in (("customer_key", "meta"), ("revenue", "orders"))
        )
    database.dispose()
    assert len(set(keys)) == 3
    assert orders == [1050, 2000, 3025]
    for name in names:
        assert len([*(tmp_path / f"{name}-runs").glob("2026-03-01.*/report.html")]) == 1


def test_each_shop_of_a_file_is_run_by_its_name_against_its_own_robin(
    tmp_path: Path, quick_command: Path
) -> None:
    with ExitStack() as stack:
        robins = {name: Robin(KEY, SECRET, limits=()) for name in ("nl", "de")}
        lines = [f'api_key = "{KEY}"']
        for name, robin in robins.items():
            (tmp_path / name).mkdir()
            rows = f"{HEADER}\n1,ann@{name}.example.com,10,2026-03-01\n"
            (tmp_path / name / "orders_2026-03-01.csv").write_text(rows)
            lines += [f"[shops.{name}]", f'base_url = "{stack.enter_context(Sandbox(robin)).url}"']
            lines += [f'exports = "{name}"', f'ledger = "{name}.db"', f'runs = "{name}-runs"']
        (tmp_path / "shops.toml").write_text("\n".join(lines))
        there = {name: value for name, value in os.environ.items() if not name.startswith("ROBIN_ETL_")}
        there |= {"ROBIN_ETL_CONFIG": "shops.toml"}
        there |= {f"ROBIN_ETL_{name.upper()}_API_SECRET": SECRET for name in robins}

        def robin_etl(*arguments: str) -> processes.Completed:
            return processes.run([quick_command, *arguments], env=there, cwd=tmp_path)

        assert robin_etl("shops").stdout.split() == ["nl", "de"]
        unnamed = robin_etl("run", "--date", "2026-03-01")
        assert unnamed.returncode == 2
        assert "shops.toml has several shops: nl, de. Say which one with --shop" in unnamed.stderr
        assert robin_etl("--shop", "nl", "run", "--date", "2026-03-01").returncode == 0
        assert robins["de"].orders == {}
        assert robin_etl("run", "--shop", "de", "--date", "2026-03-01").returncode == 0
        for name, robin in robins.items():
            assert robin.orders["1"]["email_address"] == f"ann@{name}.example.com"
            assert robin.statuses == {201: 1}
            status = json.loads(robin_etl("--shop", name, "status", "--json").stdout)
            assert status["orders"] == 1
            assert len(status["runs"]) == 1
