"""Whom to erase: how a customer is found in rows, in records of a run, and in any text."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from robin_etl.core import columns, customers
from robin_etl.ledger.deliveries import FORGOTTEN

_CONTACTS = ("email_address", "phone_number")
_DIGESTS = ("email", "phone", "customer")

# In records of a run: names of orders, and what ROBIN said of errors without saying of whom.
_ORDERS = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "orders_")
    for name in ("rejected", "in_doubt", "undecided", "held_back", "would_settle")
)
_REMARKS = "remarks"

# A shorter contact is in many a text that speaks of nobody.
_SHORTEST = 6


@dataclass(frozen=True)
class Customer:
    """The contact in its one form and as typed, and its digest; then the numbers of their orders."""

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
        return found | self.is_named_in(frame.select_dtypes(columns.TEXT))

    def is_named_in(self, cells: pd.DataFrame) -> pd.Series:
        """Which rows have the contact in any of their cells, as text."""
        found = pd.Series(data=False, index=cells.index)
        for name in cells:
            lower = cells[name].str.lower()
            for contact in {self.contact, self.typed}:
                found |= lower.str.contains(contact.lower(), regex=False, na=False)
            found |= self._is(cells[name])
        return found

    def has(self, order: dict[str, Any]) -> bool:
        """Whether an order, as ROBIN would be sent it, is the customer's."""
        contacts = (order.get(name, "") for name in _CONTACTS)
        return self.contact in contacts or order["order_number"] in self.numbers

    def is_in_text(self, text: str) -> bool:
        """Whether a text has the contact in it."""
        return self.is_in_bytes(text.encode(errors="replace"))

    def is_in_bytes(self, text: bytes) -> bool:
        """Whether the bytes of a text have the contact in them, as text, JSON or HTML writes it."""
        return self._form is not None and bool(self._form.search(text.lower()))

    def blank(self, record: Any, *, without_remarks: bool) -> Any:
        """A record of a run, as JSON has it, without the contact and the orders; and `without_remarks`,
        since it is not known whom these are about.
        """
        match record:
            case str():
                return FORGOTTEN if self.is_in_text(record) else record
            case list():
                return [self.blank(one, without_remarks=without_remarks) for one in record]
            case dict():
                return dict(self._blank_fields(record, without_remarks=without_remarks))
        return record

    def _blank_fields(
        self, record: dict[str, Any], *, without_remarks: bool
    ) -> Iterator[tuple[str, Any]]:
        for name, value in record.items():
            new = self.blank(value, without_remarks=without_remarks)
            if name in _ORDERS and isinstance(new, list):
                new = [FORGOTTEN if one in self.numbers else one for one in new]
            if name == _REMARKS and without_remarks:
                new = []
            yield self.blank(name, without_remarks=without_remarks), new

    @cached_property
    def _form(self) -> re.Pattern[bytes] | None:
        """Every way in which a text may write the contact, in lower case; None for one too short."""
        contacts = {text for text in (self.contact, self.typed) if len(text) >= _SHORTEST}
        forms = {
            form.lower().encode()
            for text in contacts
            for form in (text, html.escape(text), json.dumps(text)[1:-1])
        }
        if not forms:
            return None
        # Not within a longer word or number, which is somebody else's.
        return re.compile(rb"(?<![0-9a-z])(?:" + b"|".join(map(re.escape, forms)) + rb")(?![0-9a-z])")

    def _is(self, cells: pd.Series) -> pd.Series:
        """Which cells are the contact, however it is written in them."""
        text = cells.astype(columns.TEXT)
        formed = customers.normalize_addresses(text) if "@" in self.contact else text
        return formed.isin([self.contact]) | text.isin([self.contact])
