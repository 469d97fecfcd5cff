"""Erasing one customer from what robin-etl keeps: the ledger, its delivery log, the files of runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from upath import UPath

from robin_etl.core import columns, customers
from robin_etl.exceptions import ConfigurationError
from robin_etl.ledger import Ledger
from robin_etl.ledger.binding import fingerprint_customer_key
from robin_etl.ledger.journal import Journals, list_ledgers
from robin_etl.settings import Settings
from robin_etl.stages.files import Folder, FrameFile, LinesFile, TableFile
from robin_etl.stages.run import Partition, Run, find_partitions, find_runs, locate_journals

_CONTACTS = ("email_address", "phone_number")
_DIGESTS = ("email", "phone", "customer")


@dataclass(frozen=True)
class Erasure:
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
    """Whom to erase: the contact in its one form and as typed, and its digest; then its orders."""

    contact: str
    typed: str
    digest: str
    numbers: frozenset[str] = frozenset()

    def is_in(self, frame: pd.DataFrame) -> pd.Series:
        """Which rows of a frame are about the customer."""
        found = frame["order_number"].isin(self.numbers)
        for name in frame.columns.intersection([*_CONTACTS]):
            found |= self._is(frame[name])
        for name in frame.columns.intersection([*_DIGESTS]):
            found |= frame[name].isin([self.digest])
        return found

    def is_named_in(self, cells: pd.DataFrame) -> pd.Series:
        """Which rows have the contact in any of their cells, as text."""
        found = pd.Series(data=False, index=cells.index)
        for name in cells:
            lower = cells[name].str.lower()
            for contact in {self.contact, self.typed}:
                found |= lower.str.contains(contact.lower(), regex=False)
            found |= self._is(cells[name])
        return found

    def has(self, order: dict[str, Any]) -> bool:
        """Whether an order, as ROBIN would be sent it, is the customer's."""
        contacts = (order.get(name, "") for name in _CONTACTS)
        return self.contact in contacts or order["order_number"] in self.numbers

    def _is(self, cells: pd.Series) -> pd.Series:
        """Which cells are the contact, however it is written in them."""
        text = cells.astype(columns.TEXT)
        formed = customers.normalize_addresses(text) if "@" in self.contact else text
        return formed.isin([self.contact]) | text.isin([self.contact])


def forget_customer(settings: Settings, contact: str, *, everything: bool = False) -> Erasure:
    """Erase what is kept of the customer with this e-mail address or phone number.

    The state of their orders stays, under a digest, so that their next order is no first one; with
    `everything` that goes too. Raises `BindingError` where the ledger's customers are digests under
    another key, `LedgerBusyError` while a run is posting.
    """
    customer = _identify(contact, settings)
    root = Folder(settings.path(settings.runs))
    folders, journals = list(_list_folders(root)), locate_journals(root.path)
    with Ledger.open(settings.ledger) as ledger, ledger.posting("forget", journals):
        ledger.bindings.check_customer_key(fingerprint_customer_key(settings))
        known = ledger.states.orders_of(customer.digest)
        in_files = [_find_numbers(frame, customer) for frame in _list_frames(folders)]
        named = pd.concat([known, *in_files], ignore_index=True).drop_duplicates()
        # An order that is another's by now is no longer this customer's.
        others = ledger.states.customers_of(named)["order_number"]
        numbers = pd.concat([known, named[~named.isin(others)]], ignore_index=True)
        customer = replace(customer, numbers=frozenset(numbers))

        counts = [count for count in _erase_from_files(folders, customer) if count]
        counts += [count for count in _erase_from_journals(journals, customer, everything) if count]
        own = ledger.states.rows_of(known)
        digests = pd.concat(
            [pd.Series([customer.digest], dtype=columns.TEXT), own["email"], own["phone"]]
        )
        deliveries = ledger.forget(numbers, digests, remove_orders=everything)
    return Erasure(len(known), everything, deliveries, sum(counts), len(counts))


def _identify(contact: str, settings: Settings) -> _Customer:
    text = pd.Series([contact], dtype=columns.TEXT)
    formed = customers.normalize_addresses(text)
    is_address = formed.str.contains("@", regex=False).fillna(value=False).all()
    normal = formed if is_address else columns.trim(text)
    if normal.isna().all():
        raise ConfigurationError("Name the e-mail address or the phone number of the customer.")
    kind = "email" if is_address else "phone"
    digest = customers.digest_contacts(normal, of=kind, key=settings.digest_key())
    return _Customer(normal.iloc[0], contact.strip(), digest.iloc[0])


def _list_folders(root: Folder) -> Iterator[Folder]:
    for folder in find_runs(root):
        yield folder
        yield from find_partitions(folder)


def _list_frames(folders: list[Folder]) -> Iterator[FrameFile]:
    """The files of rows that are there."""
    for folder in folders:
        for declared in (Run.exported, Partition.changes, Partition.confirmed):
            frame = declared.make(folder, declared.name)
            if frame.exists():
                yield frame


def _find_numbers(frame: FrameFile, customer: _Customer) -> pd.Series:
    found = [rows["order_number"][customer.is_in(rows)] for rows in frame.read_batches_as_they_are()]
    return pd.concat([pd.Series(dtype=columns.TEXT), *found], ignore_index=True).dropna()


def _erase_from_files(folders: list[Folder], customer: _Customer) -> Iterator[int]:
    """How many rows or orders each file had of the customer, which it has no more."""
    for frame in _list_frames(folders):
        yield frame.drop_rows(customer.is_in)
    for folder in folders:
        quarantine: TableFile = Run.quarantine.make(folder, Run.quarantine.name)
        if quarantine.exists():
            yield quarantine.drop_rows(customer.is_named_in)
        requests: LinesFile = Run.requests.make(folder, Run.requests.name)
        if requests.exists():
            yield _drop_orders(requests, customer)


def _erase_from_journals(journals: UPath, customer: _Customer, everything: bool) -> Iterator[int]:
    """How many orders each ledger's journals had of the customer. As in the ledger itself, what was sent
    is blanked, and the states stay unless they are to be removed.
    """
    digest = customer.digest if everything else None
    for name in list_ledgers(journals):
        yield Journals(journals, name).blank(customer.numbers, digest, is_removed=everything)


def _drop_orders(requests: LinesFile, customer: _Customer) -> int:
    """Take the customer's orders out of the bodies that a dry run would send; how many they were."""
    bodies, dropped = [], 0
    for line in requests.read():
        body = json.loads(line)
        kept = [order for order in body["orders"] if not customer.has(order)]
        dropped += len(body["orders"]) - len(kept)
        bodies.append(json.dumps({"orders": kept}, ensure_ascii=False, separators=(",", ":")).encode())
    if dropped:
        requests.write(bodies)
    return dropped
