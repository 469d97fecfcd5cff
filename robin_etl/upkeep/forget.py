"""Erasing one customer from what robin-etl keeps: the ledger, its delivery log, the files of runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from upath import UPath

from robin_etl.core import columns, customers
from robin_etl.exceptions import ConfigurationError
from robin_etl.ledger import Ledger
from robin_etl.ledger.binding import fingerprint_customer_key
from robin_etl.ledger.journal import Journals, list_ledgers
from robin_etl.settings import Settings
from robin_etl.stages.files import Folder
from robin_etl.stages.run import locate_journals
from robin_etl.upkeep.customer import Customer
from robin_etl.upkeep.run_files import draw_pages_anew, erase_from_files, find_numbers


@dataclass(frozen=True)
class Erasure:
    """What was erased: `deliveries` blanked in the log, `rows` taken out of `files` of runs, and
    `orders` of the customer, which are `removed` from the ledger or kept under their digest.

    `removed_files`: files of runs that can't be read, which are removed whole. `left`: what may have the
    customer still, each with why.
    """

    orders: int
    removed: bool
    deliveries: int
    rows: int
    files: int
    removed_files: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def forget_customer(settings: Settings, contact: str, *, everything: bool = False) -> Erasure:
    """Erase what is kept of the customer with this e-mail address or phone number.

    The state of their orders stays, under a digest, so that their next order is no first one; with
    `everything` that goes too. Raises `BindingError` where the ledger's customers are digests under
    another key, `LedgerBusyError` while a run is posting.
    """
    customer = _identify(contact, settings)
    root = Folder(settings.path(settings.runs))
    journals = locate_journals(root.path)
    with (
        Ledger.open(settings.ledger) as ledger,
        # An erasure waits for no restore.
        ledger.posting("forget", journals, may_be_behind=True),
    ):
        ledger.bindings.check_customer_key(fingerprint_customer_key(settings))
        known = ledger.states.orders_of(customer.digest)
        named = pd.concat([known, find_numbers(root, customer)], ignore_index=True).drop_duplicates()
        # An order that is another's by now is no longer this customer's.
        others = ledger.states.customers_of(named)["order_number"]
        numbers = pd.concat([known, named[~named.isin(others)]], ignore_index=True)
        customer = replace(customer, numbers=frozenset(numbers))
        delivered = frozenset(ledger.deliveries.runs_with(numbers))

        files = erase_from_files(root, customer, delivered)
        blanked = [count for count in _erase_from_journals(journals, customer, everything) if count]
        own = ledger.states.rows_of(known)
        digests = pd.concat(
            [pd.Series([customer.digest], dtype=columns.TEXT), own["email"], own["phone"]]
        )
        ledger.runs.blank(
            is_named_in=customer.is_in_text,
            blank_counts=lambda run, counts: customer.blank(counts, without_remarks=run in delivered),
        )
        deliveries = ledger.forget(numbers, digests, remove_orders=everything)
        files = draw_pages_anew(root, customer, ledger, files)
        left = (*files.left, *_find_copies(ledger.engine.file, customer))
    return Erasure(
        orders=len(known),
        removed=everything,
        deliveries=deliveries,
        rows=files.rows + sum(blanked),
        files=files.files + len(blanked),
        removed_files=tuple(dict.fromkeys(files.removed)),
        left=left,
    )


def _identify(contact: str, settings: Settings) -> Customer:
    text = pd.Series([contact], dtype=columns.TEXT)
    formed = customers.normalize_addresses(text)
    is_address = formed.str.contains("@", regex=False).fillna(value=False).all()
    normal = formed if is_address else columns.trim(text)
    if normal.isna().all():
        raise ConfigurationError("Name the e-mail address or the phone number of the customer.")
    kind = "email" if is_address else "phone"
    digest = customers.digest_contacts(normal, of=kind, key=settings.digest_key())
    return Customer(normal.iloc[0], contact.strip(), digest.iloc[0])


def _erase_from_journals(journals: UPath, customer: Customer, everything: bool) -> Iterator[int]:
    """How many orders each ledger's journals had of the customer. As in the ledger itself, what was sent
    is blanked, and the states stay unless they are to be removed.
    """
    digest = customer.digest if everything else None
    for name in list_ledgers(journals):
        yield Journals(journals, name).blank(customer.numbers, digest, is_removed=everything)


def _find_copies(file: Path | None, customer: Customer) -> Iterator[str]:
    """Copies of the ledger beside it that know the customer, in words."""
    if file is None:
        return
    own = {file.name, *(f"{file.name}{ending}" for ending in ("-wal", "-shm", ".lock"))}
    for path in sorted(file.parent.glob(f"{file.name}*")):
        if path.name in own or not path.is_file():
            continue
        content = path.read_bytes()
        if customer.digest.encode() in content or customer.is_in_bytes(content):
            yield f"{path}: a copy of the ledger from before; remove it when it is not needed"
