"""A run: what it is about, the folder that its stages share, its partitions, and every file by name.

Stages pass the folder's location and counts, never frames. `describe_files` is the page of the
documentation that says which file is whose.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, overload

from upath import UPath

from robin_etl import private
from robin_etl.core.columns import (
    CHANGE_DTYPES,
    CONTACT_DTYPES,
    EXPORTED_DTYPES,
    FLAG,
    LEDGER_DTYPES,
    NUMBER,
    TEXT,
)
from robin_etl.exceptions import StoppedError
from robin_etl.redaction import hide_credentials
from robin_etl.stages.files import (
    Folder,
    FrameFile,
    JsonFile,
    LinesFile,
    PageFile,
    RecordFile,
    TableFile,
)
from robin_etl.stages.records import (
    Basis,
    Classified,
    Extracted,
    FoundExports,
    Loaded,
    Partitioning,
    Plan,
    Scope,
)

# A row that goes on, with the digests of its contact; `broken` where a row rule has set it aside.
ROW_DTYPES: dict[str, str] = {**EXPORTED_DTYPES, **CONTACT_DTYPES, "broken": FLAG}
# The same with what the gate asks of it.
READ_DTYPES: dict[str, str] = {
    **EXPORTED_DTYPES,
    **dict.fromkeys(
        (
            "customer_from",
            "revenue_text",
            "profit_text",
            "order_date_text",
            "other_currency",
            "surplus_cells",
            "cut_off",
            "unsendable",
        ),
        TEXT,
    ),
    "days_ahead": NUMBER,
    **ROW_DTYPES,
}

F = TypeVar("F")


@dataclass(frozen=True)
class Declared(Generic[F]):
    """A file of a run or of one of its partitions: its name, who leaves it and what is in it.

    Read from a run or a partition it is that file.
    """

    name: str
    make: Callable[[Folder, str], F]
    by: str
    about: str

    @overload
    def __get__(self, holder: None, _: type) -> Declared[F]: ...
    @overload
    def __get__(self, holder: Run | Partition, _: type) -> F: ...
    def __get__(self, holder: Run | Partition | None, _: type) -> Declared[F] | F:
        return self if holder is None else self.make(holder.folder, self.name)


def _frame(dtypes: Mapping[str, str]) -> Callable[[Folder, str], FrameFile]:
    return lambda folder, name: FrameFile(folder, name, dtypes)


def _record(kind: type[F]) -> Callable[[Folder, str], RecordFile[F]]:
    return lambda folder, name: RecordFile(folder, name, kind)


def _quarantine(folder: Folder, name: str) -> TableFile:
    return TableFile(folder, name, ("file", "line", "rules"))


@dataclass(frozen=True)
class Partition:
    """One part of a run's rows that is compared with the ledger by itself; counted from 1."""

    number: int
    folder: Folder

    rows = Declared(
        "exported.parquet", _frame(ROW_DTYPES), "extract", "The rows of the partition's customers."
    )
    changes = Declared("changes.parquet", _frame(CHANGE_DTYPES), "classify", "What is to be sent.")
    confirmed = Declared(
        "confirmed.parquet",
        _frame(LEDGER_DTYPES),
        "classify",
        "States of which nothing is to be sent, but which hold for a newer day.",
    )
    classified = Declared(
        "classify.json", _record(Classified), "classify", "What came of the comparison at first."
    )
    basis = Declared(
        "basis.json",
        _record(Basis),
        "classify, load",
        "Which revision of the ledger the changes come from, what came of that comparison, and the "
        "figures of the changes.",
    )
    verdict = Declared(
        "verdict_changes.json", JsonFile, "validate", "What the gate says of what is about to be sent."
    )


@dataclass(frozen=True)
class Run:
    """One run. `location` is where its folder is, as other processes are told."""

    scope: Scope
    location: str
    folder: Folder

    kept_scope = Declared("run.json", _record(Scope), "the door", "What the run is about.")
    found = Declared(
        "exports.json",
        _record(FoundExports),
        "extract",
        "Which files were read, as they were then.",
    )
    exported = Declared(
        "exported.parquet",
        _frame(READ_DTYPES),
        "extract",
        "Every row of the exports as ROBIN's columns, quarantined ones marked.",
    )
    quarantine = Declared(
        "quarantine.csv",
        _quarantine,
        "extract",
        "The rows that were set aside, for people: file, line, rules, and their cells. An apostrophe "
        "stands before what a spreadsheet would run.",
    )
    quarantined_rows = Declared(
        "quarantine.jsonl",
        LinesFile,
        "extract",
        "The same rows exactly as they were, one a line: file, line, rules, and their cells by name.",
    )
    export_verdict = Declared(
        "verdict_export.json", JsonFile, "extract", "What the gate says of the export."
    )
    extracted = Declared("extract.json", _record(Extracted), "extract", "What was read.")
    partitioning = Declared(
        "partitions.json", _record(Partitioning), "extract", "How the rows were split by customer."
    )
    plan = Declared(
        "plan.json",
        _record(Plan),
        "plan, load",
        "What is about to be told: counts and money by kind, requests, and the guards that trip.",
    )
    requests = Declared(
        "requests.jsonl", LinesFile, "load", "Of a dry run: the bodies that would be sent, one a line."
    )
    loaded = Declared("load.json", _record(Loaded), "load", "What the tries at loading have found.")
    summary = Declared("summary.json", JsonFile, "report", "The counts of the whole run.")
    page = Declared("report.html", PageFile, "report", "The run's page.")

    @classmethod
    def start(
        cls,
        runs: str,
        scope: Scope,
        *,
        id: str | None = None,
        path_of: Callable[[str], UPath] = UPath,
    ) -> Run:
        """Make the folder of a new run under `runs`, or of one that is tried again under its id.

        `path_of` opens a location with the credentials that it needs.
        """
        location = f"{runs.rstrip('/')}/{id or _make_id(scope)}"
        run = cls(scope, location, Folder(path_of(location)))
        run.folder.make()
        shown = tuple((day, hide_credentials(path)) for day, path in scope.exports)
        run.kept_scope.write(replace(scope, exports=shown))
        return run

    @classmethod
    def open(cls, location: str, *, path_of: Callable[[str], UPath] = UPath) -> Run:
        """A run from its folder's location, as another process left it; raises `StoppedError`."""
        folder = Folder(path_of(location))
        scope = RecordFile(folder, cls.kept_scope.name, Scope).find()
        if scope is None:
            raise StoppedError(
                f"There is no run in {location}. Run files must lie where every task of the run can "
                "reach them; set ROBIN_ETL_RUNS."
            )
        return cls(scope, location, folder)

    def let_pass(self, guards: Iterable[str]) -> None:
        """Keep with the run that these guards may trip."""
        allowed = tuple(dict.fromkeys((*self.scope.allow, *guards)))
        self.kept_scope.write(replace(self.scope, allow=allowed))

    @property
    def id(self) -> str:
        """Unique to the run, and the same when its stages are tried again."""
        return self.location.rsplit("/", 1)[-1]

    @property
    def title(self) -> str:
        """The days in words."""
        return self.scope.title

    @property
    def all_runs(self) -> Folder:
        """The folder that holds the folders of all runs."""
        return Folder(self.folder.path.parent)

    @property
    def journals(self) -> UPath:
        """Where the journals of ledgers are, beside the folders of all runs."""
        return locate_journals(self.folder.path.parent)

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """The partitions that extract has split the run into; one is in the run's own folder."""
        partitioning = self.partitioning.find()
        return self.split(partitioning.number if partitioning else 1)

    def split(self, number: int) -> tuple[Partition, ...]:
        """So many partitions of the run."""
        if number == 1:
            return (Partition(1, self.folder),)
        return tuple(Partition(at, self._partition_folder(at)) for at in range(1, number + 1))

    def _partition_folder(self, number: int) -> Folder:
        return Folder(self.folder.path / f"{_PARTITION}{number:03}")


_PARTITION = "partition-"
_JOURNALS = "journals"


def locate_journals(runs: UPath) -> UPath:
    """Where the journals of ledgers are under the folder of all runs."""
    return runs / _JOURNALS


def find_runs(root: Folder) -> Iterator[Folder]:
    """The folders of runs under `root`, whatever state they are in, and nothing else that may lie there.
    Links are no folders of runs: they lead elsewhere.
    """
    known = {declared.name for _, declared in describe_files()}
    for path in _list_names(root.path):
        if private.is_link(path) or path.name == _JOURNALS or not path.is_dir():
            continue
        names = {child.name for child in _list_names(path)}
        if names & known or any(name.startswith(_PARTITION) for name in names):
            yield Folder(path)


def _list_names(folder: UPath) -> list[UPath]:
    """What is in a folder; nothing of one that is not there, or no more."""
    try:
        return sorted(folder.iterdir(), key=str)
    except (FileNotFoundError, NotADirectoryError):
        return []


def find_partitions(folder: Folder) -> Iterator[Folder]:
    """The folders of a run's partitions, whatever its files say of them."""
    for path in sorted(folder.path.iterdir()):
        if path.name.startswith(_PARTITION):
            yield Folder(path)


def describe_files() -> Iterator[tuple[type, Declared[Any]]]:
    """Every file of a run and of a partition, in the order in which they come to be."""
    for holder in (Run, Partition):
        for declared in vars(holder).values():
            if isinstance(declared, Declared):
                yield holder, declared


def _make_id(scope: Scope) -> str:
    days = f"{scope.first}" if scope.first == scope.last else f"{scope.first}_{scope.last}"
    return f"{days}.{datetime.now(UTC):%Y%m%dT%H%M%S}.{secrets.token_hex(3)}"
