"""What one export holds, and whether a run would take it: a look that writes and posts nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import pandas as pd

from robin_etl import exports, gate, orders, profiles
from robin_etl.exceptions import GateError
from robin_etl.settings import Settings


@dataclass(frozen=True)
class Check:
    """What one export holds: counts, broken rows by rule, the first good rows as text (order_number,
    revenue, profit, order_date, kind of contact), and why a run would stop at it, if it would.
    """

    file: str
    rows: int
    quarantined: int
    duplicates: int
    rules: dict[str, int]
    first_rows: list[list[str]]
    stop: str | None

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def check(settings: Settings, file: str, day: date) -> Check:
    """Read, map and validate one export; nothing is written. Raises `ExportError`."""
    export = exports.read(settings.path(file), profiles.named(settings.profile), day)
    suite = settings.path(settings.expectations) / gate.EXPORT_SUITE
    verdict = gate.judge(export.rows, suite, {"fewest_rows": 0})
    broken = pd.array(export.rows.index.isin(verdict.broken.index), dtype=orders.FLAG)
    kept, duplicates = orders.kept(export.rows.assign(broken=broken))
    try:
        verdict.stop_unless_passed(file)
        stop = None
    except GateError as error:
        stop = str(error)
    head = kept.head(5)
    money = [
        (head[name] / 100).map("{:.2f}".format, na_action="ignore") for name in ("revenue", "profit")
    ]
    # A terminal is no place for an address; which kind of contact there is says enough.
    contact = head["email_address"].notna().map({True: "e-mail", False: "phone"})
    shown = pd.concat([head["order_number"], *money, head["order_date"], contact], axis=1)
    return Check(
        file=file,
        rows=verdict.rows,
        quarantined=len(verdict.broken),
        duplicates=duplicates,
        rules={rule.rule: rule.broken for rule in verdict.rules if rule.is_row_rule},
        first_rows=shown.astype(object).fillna("").astype(str).to_numpy().tolist(),
        stop=stop,
    )
