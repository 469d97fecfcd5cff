"""What the stages of a run leave for each other and for those who watch: counts and names, no rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from typing import Any

from robin_etl.core.columns import KINDS
from robin_etl.core.figures import Figures, KindTotal
from robin_etl.core.guards import TrippedGuard
from robin_etl.core.outcomes import DEGRADED, DONE, STOPPED
from robin_etl.core.words import count, name_days, name_some
from robin_etl.ledger.records import ExportRecord
from robin_etl.ledger.runs import BASELINE

# Numbers, or names of orders or rules, by name: as they are logged, kept as JSON and shown.
Counts = dict[str, Any]


@dataclass(frozen=True)
class Scope:
    """What a run is about: the days `first` to `last`, of them only `days` if any are named, or named
    `exports` (day and path) instead. `missing` are days between that have no export.

    `allow` names the guards that it may pass; `is_history` says that its orders may be old; `refresh`
    that a query is asked again for days that it has answered.
    """

    command: str
    first: date
    last: date
    final: bool = False
    dry_run: bool = False
    allow: tuple[str, ...] = ()
    is_history: bool = False
    refresh: bool = False
    exports: tuple[tuple[date, str], ...] = ()
    days: tuple[date, ...] = ()
    missing: tuple[date, ...] = ()

    @property
    def title(self) -> str:
        """The days in words."""
        return name_days(self.first, self.last)

    @property
    def is_baseline(self) -> bool:
        return self.command == BASELINE


@dataclass(frozen=True)
class ReadBy:
    """What says how an export's rows are read: the profile, `mapping` as a digest of all that it says,
    and the settings that fill it.
    """

    profile: str
    mapping: str
    timezone: str
    currency: str
    webstore_url: str
    order_prefix: str = ""

    def compare(self, earlier: Mapping[str, Any]) -> tuple[str, ...]:
        """What differs from what an earlier run read by, in words."""
        names = {
            "profile": "profile",
            "timezone": "time zone",
            "currency": "currency",
            "webstore_url": "web store",
            "order_prefix": "order prefix",
        }
        differing = tuple(
            f"{words} {getattr(self, name) or 'none'} instead of {earlier.get(name) or 'none'}"
            for name, words in names.items()
            if getattr(self, name) != earlier.get(name, "")
        )
        if differing or self.mapping == earlier.get("mapping"):
            return differing
        return (f"the profile {self.profile} maps otherwise",)


@dataclass(frozen=True)
class FoundExports:
    """The `files` that a run reads, in their order, as they were found and read; the days of its range
    that have none and were not known to be `missing`; the files that named exports were read
    `instead_of`; and those of outstanding days that a catch-up has `left_out`, since they would stop it.
    """

    files: tuple[ExportRecord, ...] = ()
    missing: tuple[date, ...] = ()
    instead_of: tuple[ExportRecord, ...] = ()
    left_out: tuple[ExportRecord, ...] = ()


@dataclass(frozen=True)
class Extracted:
    """What extract read: `files`, the rows `exported` and `quarantined`, the orders `left_out` by their
    status or what the profile says, those `left_out_by` each reason, and those left out since they are
    `without_customer`, the names of the rules that failed and
    only warn, the `highest` revenue of a good row in cents, what it `read_by`, and the fingerprint of
    the customer key that digests were made with.
    """

    files: int = 0
    exported: int = 0
    left_out: int = 0
    quarantined: int = 0
    warnings: tuple[str, ...] = ()
    highest: int | None = None
    read_by: ReadBy | None = None
    customer_key: str = ""
    without_customer: int = 0
    left_out_by: Mapping[str, int] = field(default_factory=dict)

    def counts(self) -> Counts:
        """The numbers and the rules by name."""
        kept = ("highest", "read_by", "customer_key")
        return {name: value for name, value in asdict(self).items() if name not in kept}


@dataclass(frozen=True)
class Partitioning:
    """In how many partitions the rows were written, at which revision of the ledger."""

    number: int
    revision: int


@dataclass(frozen=True)
class Classified:
    """What the comparison of rows with the ledger came to.

    `rows`: those compared, one for each order and day. `kinds`: changes by kind; `waves`: by wave.
    `without_contact`: changes that wait for their customer's address, and rows of new orders whose
    customer nothing says any more. The others are numbers of rows: those that say what ROBIN holds, are
    older, were replaced by a later row or version, or are of cancelled orders that ROBIN is never told
    of. By the day of the export that says so: `new_by_day` new orders, `waiting_by_day` changes that
    wait.
    """

    rows: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)
    waves: Mapping[int, int] = field(default_factory=dict)
    unchanged: int = 0
    stale: int = 0
    duplicates: int = 0
    superseded: int = 0
    without_contact: int = 0
    untold: int = 0
    new_by_day: Mapping[str, int] = field(default_factory=dict)
    waiting_by_day: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def add_up(cls, partitions: Sequence[Classified]) -> Classified:
        """What several partitions came to together."""

        def merge(name: str) -> Mapping[Any, int]:
            merged: Counter[Any] = Counter()
            for one in partitions:
                merged.update(getattr(one, name))
            return merged

        def total(name: str) -> int:
            return sum(getattr(one, name) for one in partitions)

        numbers = ("rows", "unchanged", "stale", "duplicates", "superseded", "without_contact", "untold")
        return cls(
            kinds=merge("kinds"),
            waves=merge("waves"),
            new_by_day=merge("new_by_day"),
            waiting_by_day=merge("waiting_by_day"),
            **{name: total(name) for name in numbers},
        )

    def counts(self) -> Counts:
        """The changes by kind, and what became of the other rows."""
        return {
            **{kind: self.kinds.get(kind, 0) for kind in KINDS},
            "unchanged": self.unchanged,
            "stale": self.stale,
            "duplicates": self.duplicates,
            "superseded": self.superseded,
            "without_contact": self.without_contact,
            "untold": self.untold,
        }


@dataclass(frozen=True)
class Basis:
    """Which revision of the ledger a partition was compared with, what came of that, and what the
    changes come to. `elsewhere`: the revisions of other shops' ledgers, added up.
    """

    revision: int
    classified: Classified
    figures: Figures
    elsewhere: int = 0


@dataclass(frozen=True)
class Validated:
    """How many changes of a partition the gate has passed, and the names of the rules that failed and
    only warn.
    """

    changes: int
    warnings: tuple[str, ...] = ()

    def counts(self) -> Counts:
        """The same by name."""
        return {"validated": self.changes, "warnings": list(self.warnings)}


@dataclass(frozen=True)
class Plan:
    """What a run is about to tell: how many changes, in how many requests, which take `seconds` at
    least; what the changes come to by kind, in cents; and the guards that trip at it.
    """

    changes: int
    requests: int
    seconds: float
    kinds: Mapping[str, KindTotal]
    guards: tuple[TrippedGuard, ...]

    @property
    def stopping(self) -> tuple[TrippedGuard, ...]:
        """The guards that the run may not pass."""
        return tuple(guard for guard in self.guards if not guard.is_allowed)

    def counts(self) -> Counts:
        """The numbers, and the names of the guards that trip."""
        return {
            "changes": self.changes,
            "requests": self.requests,
            "seconds": self.seconds,
            "guards": [guard.name for guard in self.guards],
        }


@dataclass(frozen=True)
class Loaded:
    """What the run's tries at loading have found, all of them together.

    `interrupted_runs`: dead runs whose doubt this one reports; `in_doubt`: orders that earlier runs and
    tries left so, in the requests `doubtful`; `undecided`: those of them that ROBIN may hold as before
    or as sent; `erased`: how many could not be settled, since their customer was erased; `held_back`:
    orders behind a rejected change. Of the rest only one is known, by the kind of run: orders
    `acknowledged` without a post, or what a dry run `would_post`, in how many requests, and which orders
    in doubt it `would_settle` before.
    """

    interrupted_runs: tuple[str, ...] = ()
    in_doubt: tuple[str, ...] = ()
    doubtful: tuple[int, ...] = ()
    undecided: tuple[str, ...] = ()
    held_back: tuple[str, ...] = ()
    would_settle: tuple[str, ...] = ()
    acknowledged: int | None = None
    would_post: int | None = None
    would_request: int | None = None
    erased: int | None = None

    def counts(self) -> Counts:
        """What the run's kind has: acknowledged, or would_post and would_request; and erased."""
        names = ("acknowledged", "would_post", "would_request", "erased")
        counts = {name: number for name in names if (number := getattr(self, name)) is not None}
        return counts | ({"would_settle": list(self.would_settle)} if self.would_settle else {})

    def add(self, found: Loaded) -> Loaded:
        """What is known once a try has found more."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        more = {field.name: getattr(found, field.name) for field in fields(found)}
        return Loaded(**{name: _merge(own[name], more[name]) for name in own})


@dataclass(frozen=True)
class Delivered:
    """What the ledger's log says of a run's changes, over all its tries, with what load has found.

    `undecided`: orders that ROBIN may hold as before or as sent. `remarked`: changes that ROBIN took but
    spoke of errors; `remarks`: the first of its words.
    """

    posted: int = 0
    requests: int = 0
    rejected: tuple[str, ...] = ()
    in_doubt: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    held_back: tuple[str, ...] = ()
    remarked: int = 0
    remarks: tuple[str, ...] = ()

    def counts(self) -> Counts:
        """Numbers, then names of orders and ROBIN's words of errors."""
        return {
            "posted": self.posted,
            "rejected": len(self.rejected),
            "in_doubt": len(self.in_doubt),
            "undecided": len(self.undecided),
            "requests": self.requests,
            "held_back": len(self.held_back),
            "remarked": self.remarked,
            "orders_rejected": list(self.rejected),
            "orders_in_doubt": list(self.in_doubt),
            "orders_undecided": list(self.undecided),
            "orders_held_back": list(self.held_back),
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True)
class Summary:
    """What came of a run over all its stages, partitions and tries.

    `warnings`: the names of the rules of both suites that failed and only warn. `missing`: days that
    were found to have no export. `notes`: what is odd about exports, in words. `outstanding`: days that
    have still to be run afterwards.
    """

    run: str
    first: date
    last: date
    extracted: Extracted
    classified: Classified
    partitions: int
    delivered: Delivered
    loaded: Loaded
    warnings: tuple[str, ...] = ()
    is_stopped: bool = False
    missing: tuple[date, ...] = ()
    notes: tuple[str, ...] = ()
    outstanding: tuple[date, ...] = ()

    @property
    def outcome(self) -> str:
        """Done, degraded or stopped, as the ledger has it."""
        if self.is_stopped:
            return STOPPED
        return DEGRADED if self.is_degraded else DONE

    @property
    def is_degraded(self) -> bool:
        """Whether the run is through, and somebody has to look at something."""
        return bool(self.to_look_at) and not self.is_stopped

    @property
    def to_look_at(self) -> tuple[str, ...]:
        """What somebody has to look at, in words. An order in doubt is none as long as it has been, or
        will be, sent again.
        """
        return list_to_look_at(
            quarantined=self.extracted.quarantined,
            rejected=len(self.delivered.rejected),
            undecided=len(self.delivered.undecided),
            held_back=len(self.delivered.held_back),
            without_contact=self.classified.without_contact,
            remarked=self.delivered.remarked,
            missing=self.missing,
            notes=self.notes,
            warnings=self.warnings,
        )

    @property
    def set_aside(self) -> Mapping[str, int]:
        """How many rows, orders or changes ROBIN was not told of or did not take, by the reason."""
        return {
            "quarantined": self.extracted.quarantined,
            "rejected": len(self.delivered.rejected),
            "held back": len(self.delivered.held_back),
            "waiting": self.classified.without_contact,
        }

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Summary | None:
        """A summary from what `counts` gave, but for what that leaves out; None where it holds none."""
        if "run" not in content:
            return None

        def names(key: str) -> tuple[str, ...]:
            return tuple(content[key])

        return cls(
            run=content["run"],
            first=date.fromisoformat(content["from"]),
            last=date.fromisoformat(content["to"]),
            extracted=Extracted(
                files=content["files"],
                exported=content["exported"],
                left_out=content["left_out"],
                quarantined=content["quarantined"],
                without_customer=content.get("without_customer", 0),
                left_out_by=content.get("left_out_by", {}),
            ),
            classified=Classified(
                kinds={kind: content[kind] for kind in KINDS},
                unchanged=content["unchanged"],
                stale=content["stale"],
                duplicates=content["duplicates"],
                superseded=content["superseded"],
                without_contact=content["without_contact"],
                untold=content["untold"],
            ),
            partitions=content["partitions"],
            delivered=Delivered(
                posted=content["posted"],
                requests=content["requests"],
                rejected=names("orders_rejected"),
                in_doubt=names("orders_in_doubt"),
                undecided=tuple(content.get("orders_undecided", ())),
                held_back=names("orders_held_back"),
                remarked=content.get("remarked", 0),
                remarks=tuple(content.get("remarks", ())),
            ),
            loaded=Loaded(
                acknowledged=content.get("acknowledged"),
                would_post=content.get("would_post"),
                would_request=content.get("would_request"),
                would_settle=tuple(content.get("would_settle", ())),
                erased=content.get("erased"),
            ),
            warnings=names("warnings"),
            missing=tuple(map(date.fromisoformat, content.get("missing", ()))),
            notes=tuple(content.get("notes", ())),
            outstanding=tuple(map(date.fromisoformat, content.get("outstanding", ()))),
            is_stopped=content.get("outcome") == STOPPED,
        )

    def counts(self) -> Counts:
        """The outcome, the counts in the order in which they are shown, what there is to look at, then
        names of orders and rules.
        """
        extracted, classified, delivered = self.extracted, self.classified, self.delivered
        return {
            "run": self.run,
            "from": f"{self.first}",
            "to": f"{self.last}",
            "outcome": self.outcome,
            "exported": extracted.exported,
            **{kind: classified.kinds.get(kind, 0) for kind in KINDS},
            "unchanged": classified.unchanged,
            "stale": classified.stale,
            "quarantined": extracted.quarantined,
            "posted": delivered.posted,
            "rejected": len(delivered.rejected),
            "in_doubt": len(delivered.in_doubt),
            "requests": delivered.requests,
            "undecided": len(delivered.undecided),
            "duplicates": classified.duplicates,
            "superseded": classified.superseded,
            "left_out": extracted.left_out,
            "without_customer": extracted.without_customer,
            **({"left_out_by": dict(extracted.left_out_by)} if extracted.left_out else {}),
            "held_back": len(delivered.held_back),
            "remarked": delivered.remarked,
            "without_contact": classified.without_contact,
            "untold": classified.untold,
            "partitions": self.partitions,
            "files": extracted.files,
            "to_look_at": list(self.to_look_at),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "missing": [f"{day}" for day in self.missing],
            "outstanding": [f"{day}" for day in self.outstanding],
            "orders_rejected": list(delivered.rejected),
            "orders_in_doubt": list(delivered.in_doubt),
            "orders_undecided": list(delivered.undecided),
            "orders_held_back": list(delivered.held_back),
            "remarks": list(delivered.remarks),
            **self.loaded.counts(),
        }


def _merge(kept: Any, found: Any) -> Any:
    """Both lists of names, sorted; of two numbers the newer, where it is known."""
    if isinstance(kept, tuple):
        return tuple(sorted({*kept, *found}))
    return kept if found is None else found


def list_to_look_at(
    *,
    quarantined: int = 0,
    rejected: int = 0,
    undecided: int = 0,
    held_back: int = 0,
    without_contact: int = 0,
    remarked: int = 0,
    missing: Sequence[date] = (),
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> tuple[str, ...]:
    """What makes a run degraded, each in words that need no context: `2 rows quarantined`."""
    numbers = (
        (quarantined, "row", "quarantined"),
        (rejected, "order", "rejected"),
        (undecided, "order", "that ROBIN may hold at either amount"),
        (held_back, "order", "held back"),
        (without_contact, "change", "waiting for an address"),
        (remarked, "change", "taken with words of errors"),
    )
    return (
        *(f"{count(number, noun)} {became}" for number, noun, became in numbers if number),
        *((f"no export of {name_some(missing)}",) if missing else ()),
        *notes,
        *(f"the rule {rule} warned" for rule in warnings),
    )
