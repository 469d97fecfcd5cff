"""What the ledger knows of runs, requests and orders, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any


@dataclass(frozen=True)
class Totals:
    """What the ledger holds: numbers of orders that ROBIN was told of and of customers' first orders,
    their revenue in cents, and the newest day that any was exported on, if there is one.
    """

    orders: int
    first_orders: int
    revenue: int
    newest_day: str | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class RunRecord:
    """A run as it is logged: its days and moments as text, the words it stopped with, its counts, the
    highest revenue of any row in cents, and what the rows were read by.
    """

    run: str
    command: str
    from_day: str
    to_day: str
    started_at: str
    finished_at: str | None
    outcome: str
    words: str | None
    files: int | None
    exported: int | None
    counts: Mapping[str, Any]
    highest: int | None
    read_by: Mapping[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ExportRecord:
    """A file of a day's export as a run found it: its `place`, `size` in bytes and `version`, which
    differs once the file does; and as it was read: the `digest` of its bytes, how many `rows`, how many
    of them `quarantined`, and whether its text ended within a line. In the record of a day's first file
    are the `new_orders` of the day, and how many changes of it a run left `waiting`: rejected, held back
    or without a contact. `notes` are what somebody has to look at, in words. A day without any file has
    a record without a place.
    """

    day: date
    place: str = ""
    size: int | None = None
    version: str | None = None
    digest: str | None = None
    rows: int = 0
    quarantined: int = 0
    new_orders: int | None = None
    waiting: int = 0
    ends_within_line: bool | None = None
    notes: tuple[str, ...] = ()
    run: str | None = None
    outcome: str = ""
    read_at: str = ""

    @property
    def name(self) -> str:
        """The file's own name, without its folder."""
        return self.place.rpartition("/")[2]


@dataclass(frozen=True)
class UnchangedExport:
    """A file with the bytes that were read `before`, as it is `now`: written anew, or moved."""

    before: ExportRecord
    now: ExportRecord


@dataclass(frozen=True)
class DeliveryRecord:
    """A change in a request: the day of the export that said so, what was sent of it without contacts,
    and what came of the request.
    """

    request: int
    order_number: str
    day: str | None
    kind: str
    payload: Mapping[str, Any]
    run: str
    wave: int
    outcome: str
    status: int | None
    words: str | None
    sent_at: str
    answered_at: str | None
    speaks_of_errors: bool | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class RejectedOrder:
    """An order that ROBIN rejected, the day of the export that said so, ROBIN's status and words."""

    order_number: str
    day: str | None
    kind: str
    status: int | None
    words: str | None


@dataclass(frozen=True)
class AnswerCount:
    """How many requests, and how many changes in them, ended with an outcome and a status."""

    outcome: str
    status: int | None
    requests: int
    changes: int


@dataclass(frozen=True)
class OpenDoubt:
    """The orders in doubt, and since when, if any are; those `under_way` in a run that is posting, or
    were so in one that died; and how many deliveries in doubt can't be settled, since their customer was
    erased.
    """

    orders: tuple[str, ...]
    since: str | None
    under_way: tuple[str, ...]
    under_way_since: str | None
    erased: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class RunOutcome:
    """Numbers of changes accepted and of requests; orders that ended rejected or were in doubt; the
    number of changes that ROBIN accepted but spoke of errors (`remarked`), and the first of its words.
    """

    posted: int
    requests: int
    rejected: tuple[str, ...]
    in_doubt: tuple[str, ...]
    remarked: int = 0
    remarks: tuple[str, ...] = ()
