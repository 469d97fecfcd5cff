"""The daily job in dlt: a day's file merged into a table, what changed posted by a custom destination.

dlt has no notion of what ROBIN acknowledged, so the table holds what was *exported*. `old_revenue` and
who is first are read from it before the day is merged; rows that say nothing new are dropped. The
destination takes chunks and raises where ROBIN answers with anything but 201, upon which dlt tries the
job again; what it gave up on is loaded first by the next run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
import duckdb
import pandas as pd
import requests

KEY = SECRET = "benchmark"

_TABLE = "select 1 from information_schema.tables where table_schema = 'shop' and table_name = 'orders'"
_COLUMNS = "order_number, revenue, email_address, order_date"
_CHANGED = """
    with held as ({held}), everything as (
        select email_address, order_date, order_number from day
        union all
        select email_address, order_date, order_number from held
        where order_number not in (select order_number from day)
    ), firsts as (
        select email_address, arg_min(order_number, (order_date, order_number)) as first_number
        from everything group by email_address
    )
    select d.*, h.revenue as old_revenue, d.order_number = f.first_number as is_first_order
    from day as d join firsts as f using (email_address) left join held as h using (order_number)
    where h.revenue is distinct from d.revenue order by d.order_date
"""


def run_day(day: Path, folder: Path, url: str) -> None:
    """Merge the day and post what changed in it; raises what dlt raises."""
    post = dlt.pipeline("robin", destination=_robin(url), pipelines_dir=str(folder / "pipelines"))
    if post.has_pending_data:
        post.run()
    warehouse = folder / "warehouse.duckdb"
    told = _changed(day, warehouse)
    if told.empty:
        return
    merge = dlt.pipeline(
        "shop",
        destination=dlt.destinations.duckdb(str(warehouse)),
        dataset_name="shop",
        pipelines_dir=str(folder / "pipelines"),
    )
    merge.run(
        [told[["order_number", "email_address", "revenue", "order_date"]]],
        table_name="orders",
        columns={"order_date": {"data_type": "text"}},
        primary_key="order_number",
        write_disposition="merge",
    )
    rows = told.astype(object).where(told.notna(), None).to_dict("records")
    post.run(rows, table_name="orders", columns={"order_date": {"data_type": "text"}})


def _changed(day: Path, warehouse: Path) -> pd.DataFrame:
    """A day's rows that differ from the table, with what it held and who is first."""
    rows = pd.read_csv(day, dtype={"order_number": str})
    rows["email_address"] = rows["email_address"].str.strip().str.lower()
    rows = rows.drop_duplicates("order_number", keep="last")
    held = f"select {_COLUMNS} from day where false"
    with duckdb.connect(str(warehouse)) as connection:
        if connection.execute(_TABLE).fetchall():
            held = f"select {_COLUMNS} from shop.orders"
        connection.register("day", rows)
        changed: pd.DataFrame = connection.execute(_CHANGED.format(held=held)).df()
        return changed


def _robin(url: str) -> Any:
    @dlt.destination(  # type: ignore[untyped-decorator]  # dlt is not followed
        batch_size=100, loader_file_format="typed-jsonl", name="robin"
    )
    def robin(items: Any, table: Any) -> None:  # noqa: ARG001 (dlt hands it over)
        orders = [{name: value for name, value in item.items() if value is not None} for item in items]
        answer = requests.post(
            f"{url}/dynamic/orders", json={"orders": orders}, auth=(KEY, SECRET), timeout=30
        )
        answer.raise_for_status()

    return robin
