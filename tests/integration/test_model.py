"""Everything that ROBIN holds, contacts included, against a plain model of what the exports say.

Shops at random: changing addresses, rows with a number only or with nobody, blank cells, ties, leading
zeros, late rows, cancelled and pending orders; their days run in any order, as ranges and in partitions,
through the command line.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from robin_etl.sandbox.server import Sandbox
from tests.integration.test_cli import Command, robin_etl

__all__ = ["robin_etl"]  # a fixture

DAYS = [f"2026-03-0{day}" for day in range(1, 7)]
NOBODIES = ("", "deleted@site.invalid", "no-reply@market.example")
PROFILE = 'extends = "robin"\n[status]\ncolumn = "status"\npending = ["hold"]\ncancelled = ["void"]\n'

Row = dict[str, str]


@dataclass
class Shop:
    """A shop that writes what changed, day by day."""

    rng: random.Random
    orders: dict[str, Row] = field(default_factory=dict)
    days: dict[str, list[Row]] = field(default_factory=dict)

    def live(self) -> None:
        for at, day in enumerate(DAYS):
            for number in self.new_numbers(at):
                self.orders[number] = self.place(day)
            changed = self.rng.sample(sorted(self.orders), k=min(len(self.orders), 9))
            for number in changed:
                self.change(self.orders[number])
            today = [*changed, *self.new_numbers(at)]
            rows = [self.write(number) for number in dict.fromkeys(today)]
            self.rng.shuffle(rows)
            self.days[day] = rows

    def new_numbers(self, at: int) -> list[str]:
        return [f"{at}{n}" if n % 3 else f"0{at}{n}" for n in range(6)]

    def place(self, day: str) -> Row:
        early = self.rng.choice(["2026-02-27", "2026-02-28", day])
        return {
            **self.contact(),
            "revenue": self.rng.choice(["5", "10", "10.50", "0"]),
            "profit": self.rng.choice(["", "1", "-2.5"]),
            "order_date": f"{early}T10:00:0{self.rng.randrange(3)}Z",
            "status": self.rng.choice(["paid", "paid", "paid", "hold", "void"]),
        }

    def contact(self) -> Row:
        who = self.rng.randrange(7)
        return {
            "email_address": self.rng.choice([f"c{who}@x.nl", f"c{who}@x.nl", f"C{who}@X.nl", ""]),
            "phone_number": self.rng.choice([f"+3161{who}", f"+3161{who}", ""]),
        }

    def change(self, order: Row) -> None:
        order["revenue"] = self.rng.choice(["0", "5", "10", "20"])
        order["status"] = self.rng.choice(["paid", "paid", "void"])
        if self.rng.random() < 0.3:
            order |= self.contact()

    def write(self, number: str) -> Row:
        """The row of an order; the export may leave cells blank, or have erased the customer."""
        row = {"order_number": number, **self.orders[number]}
        if self.rng.random() < 0.2:
            row["email_address"] = self.rng.choice(NOBODIES)
        if self.rng.random() < 0.3:
            row["phone_number"] = self.rng.choice(["", "0000000000"])
        if self.rng.random() < 0.3:
            row["profit"] = ""
        return row

    def export(self, folder: Path) -> None:
        for day, rows in self.days.items():
            with (folder / f"orders_{day}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)


@dataclass
class Known:
    """What a model holds of an order."""

    said: dict[str, object] = field(default_factory=dict)
    placed_at: str = "9999"
    is_cancelled: bool = False


def read(row: Row) -> dict[str, object]:
    """What a row says."""
    email = row["email_address"].lower()
    phone = row["phone_number"]
    said: dict[str, object] = {
        "email_address": None if email in NOBODIES else email,
        "phone_number": None if phone in ("", "0000000000") else phone,
        "revenue": float(row["revenue"]),
        "profit": float(row["profit"]) if row["profit"] else None,
        "order_date": row["order_date"],
    }
    if row["status"] == "void":
        said |= {"revenue": 0.0, "profit": 0.0 if row["profit"] else None}
    return {name: value for name, value in said.items() if value is not None}


def expect(days: dict[str, list[Row]]) -> tuple[dict[str, dict[str, object]], set[str]]:
    """What ROBIN has to hold, and the numbers of the orders that ended cancelled."""
    orders: dict[str, Known] = {}
    for day in sorted(days):
        for row in days[day]:
            if row["status"] == "hold":
                continue
            order = orders.setdefault(row["order_number"], Known())
            order.said |= read(row)
            order.placed_at = min(order.placed_at, row["order_date"])
            order.is_cancelled = row["status"] == "void"
    known = {n: one for n, one in orders.items() if {"email_address", "phone_number"} & one.said.keys()}
    real = sorted((one.placed_at, number) for number, one in known.items() if not one.is_cancelled)
    first: dict[object, str] = {}
    held = {}
    for _, number in real:
        said = known[number].said
        customer = said.get("email_address") or said["phone_number"]
        is_first = first.setdefault(customer, number) == number
        held[number] = {"order_number": number, **said, "is_first_order": is_first}
    return held, {number for number, one in known.items() if one.is_cancelled}


def runs(rng: random.Random) -> Iterator[tuple[str, ...]]:
    """The days in any order, some as ranges, some again; all of them in the end."""
    pieces: list[tuple[str, ...]] = [
        ("backfill", "--from", DAYS[0], "--to", DAYS[1]),
        ("backfill", "--from", DAYS[3], "--to", DAYS[5], *rng.choice([(), ("--final",)])),
        *(("run", "--date", day) for day in (DAYS[2], rng.choice(DAYS))),
    ]
    rng.shuffle(pieces)
    yield from pieces
    # Rows that were set aside while nobody knew whose their order is.
    yield ("backfill", "--from", DAYS[0], "--to", DAYS[-1])


@pytest.mark.parametrize("seed", range(3))
def test_robin_holds_what_a_plain_model_says(
    seed: int, robin_etl: Command, exports: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    shop = Shop(rng)
    shop.live()
    shop.export(exports)
    profile = tmp_path / "shop.toml"
    profile.write_text(PROFILE)
    for arguments in runs(rng):
        done = robin_etl(
            *arguments,
            PROFILE=str(profile),
            SHARDS=f"{rng.randrange(1, 4)}",
            CHUNK_SIZE=f"{rng.choice([1, 7, 100])}",
        )
        assert done.returncode in (0, 3), done.stderr
    wanted, cancelled = expect(shop.days)
    held = sandbox.robin.orders
    assert {number: order for number, order in held.items() if number not in cancelled} == wanted
    assert all(held[number]["revenue"] == 0 for number in cancelled & held.keys())
    assert sandbox.robin.read_state()["complaints"] == []
