"""The gate over an export and its changes, beside rules by hand and Great Expectations as usual.

    python -m benchmarks.gate [--size small|full]

All have the shipped suites' rules, on five orders and on many in memory, a hundredth of the export
broken. By hand is pandas without a suite: each rule an expression, written for these frames. As usual
is one validation definition for each suite. Each runs five times in a process of its own, the best
counts, in seconds of processor time, and all have to find the same number of broken rows for each rule.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from upath import UPath

from benchmarks import measuring

ROWS = {"small": 2_000, "full": 1_000_000}
FEW = 5
TIMES = {"small": 1, "full": 5}
PARAMETERS = {"fewest_rows": 0, "most_revenue": 1e12}
SUITES = ("export.json", "changes.json")

Broken = dict[str, int]
Check = Callable[[pd.DataFrame, pd.DataFrame], Broken]


def generate(rows: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """An export as it is read, and changes of all kinds."""
    from robin_etl.core import columns

    numbers = np.arange(rows)
    orders = measuring.shop_orders(numbers, customers=max(rows * 6 // 10, 1))
    orders["revenue"] = (orders["revenue"] * 100).round().astype("int64")
    read = dict.fromkeys(("profit_text", "other_currency", "unsendable", "surplus_cells"))
    texts = dict.fromkeys([*read, "customer_from", "revenue_text"], columns.TEXT)
    export = columns.conform(
        orders.assign(**read, customer_from="row", revenue_text="1.00", days_ahead=0),
        {**columns.EXPORTED_DTYPES, **texts, "days_ahead": columns.NUMBER},
    )
    export.loc[numbers % 100 == 1, "email_address"] = "nobody"
    place = numbers % 5
    kind = np.array(["first", "repeat", "return", "upsell", "correction"])[place]
    old = orders["revenue"] + np.select([place == 2, place == 3], [5, -5])
    changes = columns.conform(
        orders.assign(kind=kind, wave=0, is_first_order=place != 1, old_revenue=old.where(place > 1)),
        columns.CHANGE_DTYPES,
    )
    return export, changes


def robin_etl() -> Check:
    from robin_etl.gate import check_frame, load_suite

    def check(*frames: pd.DataFrame) -> Broken:
        found: Broken = {}
        for name, frame in zip(SUITES, frames, strict=True):
            suite = load_suite(UPath("expectations") / name)
            known = tuple(rule for rule in suite.rules if rule["meta"]["rule"] in RULES)
            verdict, _ = check_frame(frame, replace(suite, rules=known), PARAMETERS)
            found |= {f"{name} {rule.rule}": rule.broken for rule in verdict.rules if rule.is_row_rule}
        return found

    return check


def as_usual() -> Check:
    from robin_etl.core import columns
    from robin_etl.gate import load_suite
    from robin_etl.gate.importing import import_great_expectations

    gx = import_great_expectations()

    def check(*frames: pd.DataFrame) -> Broken:
        found: Broken = {}
        for name, frame in zip(SUITES, frames, strict=True):
            rules = load_suite(UPath("expectations") / name).rules
            known = [rule for rule in rules if rule["meta"]["rule"] in RULES]
            cents = frame.columns[frame.dtypes == columns.CENTS]
            context = gx.get_context(mode="ephemeral")
            context.variables.progress_bars = {"globally": False}
            asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
            definition = gx.ValidationDefinition(
                name="usual",
                data=asset.add_batch_definition_whole_dataframe("whole"),
                suite=context.suites.add(gx.ExpectationSuite(name=name, expectations=known)),
            )
            ran = definition.run(
                batch_parameters={
                    "dataframe": frame.astype(dict.fromkeys(cents, "float64")).assign(broken=False)
                },
                expectation_parameters=PARAMETERS,
                result_format={
                    "result_format": "COMPLETE",
                    "return_unexpected_index_query": False,
                    "exclude_unexpected_values": True,
                },
            )
            for result in ran.results:
                rule = result.expectation_config.meta["rule"]
                if rule not in WHOLE_RULES:
                    found[f"{name} {rule}"] = len(result.result.get("unexpected_index_list") or ())
        return found

    return check


def differs(texts: pd.Series, rule: str) -> pd.Series:
    return ~texts.str.contains(read_regexes()[rule], na=True)


@cache
def read_regexes() -> dict[str, str]:
    from robin_etl.gate import load_suite

    return {
        rule["meta"]["rule"]: rule["kwargs"]["regex"]
        for name in SUITES
        for rule in load_suite(UPath("expectations") / name).rules
        if "regex" in rule["kwargs"]
    }


NEW = ("first", "repeat")
UPDATES = ("return", "upsell", "correction")

# Of an export `e` and of changes `c`, whether a row breaks the rule.
BY_HAND: dict[str, dict[str, Callable[[pd.DataFrame], pd.Series]]] = {
    "export.json": {
        "order_number_present": lambda e: e["order_number"].isna(),
        "contact_present": lambda e: e["customer_from"].isna(),
        "email_address_valid": lambda e: differs(e["email_address"], "email_address_valid"),
        "revenue_present": lambda e: e["revenue_text"].isna(),
        "revenue_is_a_number": lambda e: e["revenue_text"].notna() & e["revenue"].isna(),
        "revenue_not_negative": lambda e: e["revenue"] < 0,
        "profit_is_a_number": lambda e: e["profit_text"].notna() & e["profit"].isna(),
        "order_date_readable": lambda e: e["order_date"].isna(),
        "order_date_not_ahead": lambda e: e["days_ahead"] > 1,
        "order_date_not_zero": lambda e: e["order_date"].str.contains(
            read_regexes()["order_date_not_zero"], na=False
        ),
        "currency_is_the_shops": lambda e: e["other_currency"].notna(),
        "cells_sendable": lambda e: e["unsendable"].notna(),
        "cells_fit_header": lambda e: e["surplus_cells"].notna(),
    },
    "changes.json": {
        "kind_known": lambda c: c["kind"].notna() & ~c["kind"].isin(NEW + UPDATES),
        "kind_present": lambda c: c["kind"].isna(),
        "order_number_present": lambda c: c["order_number"].isna(),
        "order_number_text": lambda c: differs(c["order_number"], "order_number_text"),
        "contact_present": lambda c: c["email_address"].isna() & c["phone_number"].isna(),
        "revenue_present": lambda c: c["revenue"].isna(),
        "revenue_not_negative": lambda c: c["revenue"] < 0,
        "is_first_order_present": lambda c: c["is_first_order"].isna(),
        "order_date_present": lambda c: c["order_date"].isna(),
        "order_date_format": lambda c: differs(c["order_date"], "order_date_format"),
        "old_revenue_absent_on_first_posts": lambda c: c["kind"].isin(NEW) & c["old_revenue"].notna(),
        "old_profit_absent_on_first_posts": lambda c: c["kind"].isin(NEW) & c["old_profit"].notna(),
        "old_revenue_present_on_updates": lambda c: c["kind"].isin(UPDATES) & c["old_revenue"].isna(),
        "old_profit_goes_with_profit": lambda c: c["old_profit"].notna() & c["profit"].isna(),
        "return_is_lower": lambda c: (c["kind"] == "return") & (c["old_revenue"] <= c["revenue"]),
        "upsell_is_higher": lambda c: (c["kind"] == "upsell") & (c["revenue"] <= c["old_revenue"]),
        "correction_keeps_revenue": lambda c: (
            (c["kind"] == "correction") & (c["revenue"] != c["old_revenue"])
        ),
        "first_is_flagged": lambda c: (c["kind"] == "first") & ~c["is_first_order"],
        "repeat_is_not_flagged": lambda c: (c["kind"] == "repeat") & c["is_first_order"],
        "wave_counts_from_zero": lambda c: c["wave"] < 0,
    },
}
# A rule that is not written by hand is left out of all.
WHOLE_RULES = {"volume", "revenue_usual", "one_row_for_each_order_and_wave"}
RULES = {*WHOLE_RULES, *BY_HAND["export.json"], *BY_HAND["changes.json"]}


def by_hand() -> Check:
    def check(export: pd.DataFrame, changes: pd.DataFrame) -> Broken:
        found: Broken = {}
        for name, frame in zip(SUITES, (export, changes), strict=True):
            for rule, find in BY_HAND[name].items():
                found[f"{name} {rule}"] = len(frame.index[find(frame).fillna(value=False)])
        len(export), export["revenue"].max(), changes.duplicated(["order_number", "wave"]).any()
        return found

    return check


VARIANTS = {"robin-etl": robin_etl, "by hand": by_hand, "as usual": as_usual}


def measure(variant: str, size: str) -> dict[str, Any]:
    """The best of the processor times on few rows and on many, and what was found."""
    check = VARIANTS[variant]()
    seconds = {}
    for name, frames in (("few", generate(FEW)), ("many", generate(ROWS[size]))):
        best = float("inf")
        for _ in range(TIMES[size]):
            began = time.process_time()
            found = check(*frames)
            best = min(best, time.process_time() - began)
        seconds[name] = best
    return {**seconds, "found": found}


def main() -> None:
    """Measure every variant and print the table."""
    given = measuring.arguments(__doc__).parse_args()
    if given.task:
        measuring.tell(**measure(json.loads(given.task)["variant"], given.size))
        return
    found = {
        name: measuring.in_a_process("benchmarks.gate", given.size, variant=name) for name in VARIANTS
    }
    rows, hand = ROWS[given.size], found["by hand"]["many"]
    print(f"{'variant':<11}{'5 orders, ms':>13}{f'{rows:,}, s':>14}{'of by hand':>11}{'peak MB':>9}")
    for name, one in found.items():
        ratio = one["many"] / hand
        few = one["few"] * 1000
        print(f"{name:<11}{few:>13.1f}{one['many']:>14.2f}{ratio:>11.2f}{one['peak_mb']:>9.0f}")
    assert all(one["found"] == found["by hand"]["found"] for one in found.values()), found


if __name__ == "__main__":
    main()
