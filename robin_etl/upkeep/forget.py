"""Erasing one customer from what robin-etl keeps, and clearing away old run files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from shutil import rmtree
from typing import Any

import pandas as pd
from upath import UPath

from robin_etl.core import columns, customers
from robin_etl.exceptions import ConfigurationError
from robin_etl.ledger import Ledger
from robin_etl.settings import Settings
from robin_etl.stages.run import Folder, part_folders

_RUN = "run.json"
_CONTACTS = ("email_address", "phone_number")
_DIGESTS = ("email", "phone", "customer")


@dataclass(frozen=True)
class Forgotten:
    """What was erased: `deliveries` blanked in the log, `rows` taken out of `files` of runs, and
    `orders` of the customer, which are `removed` from the ledger or kept under their digest.
    """

    orders: int
    removed: bool
    deliveries: int
    rows: int
    files: int


@dataclass(frozen=True)
class _Customer:
    """Whom to erase: the contact as exports are read, and its digest; then the orders it has."""

    contact: str
    digest: str
    numbers: frozenset[str] = frozenset()

    def is_in(self, frame: pd.DataFrame) -> pd.Series:
        """Which rows of a frame speak of the customer."""
        found = frame["order_number"].isin(self.numbers)
        for names, value in (([*_CONTACTS], self.contact), ([*_DIGESTS], self.digest)):
            for name in frame.columns.intersection(names):
                found |= frame[name].isin([value])
        return found

    def is_named_in(self, cells: pd.DataFrame) -> pd.Series:
        """Which rows have the contact in any of their cells, as text."""
        found = pd.Series(data=False, index=cells.index)
        for name in cells:
            found |= cells[name].str.lower().str.contains(self.contact.lower(), regex=False)
        return found


def forget(settings: Settings, contact: str, *, everything: bool = False) -> Forgotten:
    """Erase what is kept of the customer with this e-mail address or phone number.

    The state of their orders stays, under a digest, so that their next order is no first one; with
    `everything` that goes too. Raises `LedgerBusyError` while a run is posting.
    """
    customer = _identified(contact, settings)
    root = UPath(settings.path(settings.runs))
    with Ledger.open(settings.ledger) as ledger, ledger.lock.hold("forget"):
        known = ledger.states.orders_of(customer.digest)
        named = [_numbers(folder, customer) for folder in _folders(root)]
        told = pd.concat([known, *named], ignore_index=True).drop_duplicates()
        # An order that is another's by now is no longer this customer's.
        others = ledger.states.customers_of(told)["order_number"]
        numbers = pd.concat([known, told[~told.isin(others)]], ignore_index=True)
        customer = replace(customer, numbers=frozenset(numbers))

        counts = [count for folder in _folders(root) for count in _taken_out(folder, customer)]
        deliveries = ledger.forget(numbers, remove_orders=everything)
    touched = [count for count in counts if count]
    return Forgotten(len(known), everything, deliveries, sum(touched), len(touched))


def prune(settings: Settings, older_than: timedelta) -> int:
    """Remove the folders of runs that were last written longer ago than that; how many."""
    root = UPath(settings.path(settings.runs))
    before = datetime.now(UTC) - older_than
    old = [
        folder
        for folder in _runs(root)
        if datetime.fromtimestamp((folder / _RUN).stat().st_mtime, UTC) < before
    ]
    for folder in old:
        _remove(folder)
    return len(old)


def _identified(contact: str, settings: Settings) -> _Customer:
    is_address = "@" in contact
    text = pd.Series([contact], dtype=columns.TEXT)
    normal = customers.normalize_addresses(text) if is_address else columns.trim(text)
    if normal.isna().all():
        raise ConfigurationError("Name the e-mail address or the phone number of the customer.")
    digest = customers.digest_contacts(
        normal, of="email" if is_address else "phone", key=settings.digest_key()
    )
    return _Customer(normal.iloc[0], digest.iloc[0])


def _runs(root: UPath) -> Iterator[UPath]:
    """The folders of runs under `root`, and nothing else that may lie there."""
    if root.exists():
        yield from (path for path in sorted(root.iterdir()) if (path / _RUN).exists())


def _folders(root: UPath) -> Iterator[Folder]:
    for path in _runs(root):
        yield Folder(path)
        yield from part_folders(path)


def _frames(folder: Folder) -> Iterator[str]:
    for path in sorted(folder.path.iterdir()):
        if path.name.endswith(".parquet"):
            yield path.name.removesuffix(".parquet")


def _numbers(folder: Folder, customer: _Customer) -> pd.Series:
    found = [pd.Series(dtype=columns.TEXT)]
    for name in _frames(folder):
        frames = folder.reading_frames(name)
        found.extend(frame["order_number"][customer.is_in(frame)] for frame in frames)
    return pd.concat(found, ignore_index=True).dropna()


def _taken_out(folder: Folder, customer: _Customer) -> Iterator[int]:
    """How many rows or orders each file of a folder had of the customer, which it has no more."""
    for name in _frames(folder):
        yield folder.drop_rows(name, customer.is_in)
    if folder.has("quarantine.csv"):
        yield folder.drop_records("quarantine", customer.is_named_in)
    if folder.has("requests.jsonl"):
        yield _without_orders(folder, customer)


def _without_orders(folder: Folder, customer: _Customer) -> int:
    """Take the customer's orders out of the bodies that a dry run would send."""
    bodies, dropped = [], 0
    for line in folder.read_lines("requests.jsonl"):
        body = json.loads(line)
        kept = [order for order in body["orders"] if not _is_of(order, customer)]
        dropped += len(body["orders"]) - len(kept)
        bodies.append(json.dumps({"orders": kept}, ensure_ascii=False, separators=(",", ":")).encode())
    if dropped:
        folder.write_lines("requests.jsonl", bodies)
    return dropped


def _is_of(order: dict[str, Any], customer: _Customer) -> bool:
    contacts = (order.get(name, "") for name in _CONTACTS)
    return customer.contact in contacts or order["order_number"] in customer.numbers


def _remove(folder: UPath) -> None:
    if folder.protocol in ("", "file", "local"):
        rmtree(folder.path)
    else:
        folder.rmdir(recursive=True)
