"""A ledger that was lost: put back from a backup, or made anew, and brought up to its journals."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from upath import UPath

from robin_etl.core.words import count
from robin_etl.exceptions import BindingError, ConfigurationError, LedgerError
from robin_etl.ledger.binding import Binding
from robin_etl.ledger.journal import Gap, Journals, list_ledgers
from robin_etl.ledger.ledger import Ledger
from robin_etl.ledger.location import find_file, make_folder, parse_location
from robin_etl.ledger.lock import hold_file
from robin_etl.ledger.replay import roll_forward

_FILES = ("", "-wal", "-shm")  # of a database in SQLite


@dataclass(frozen=True)
class Restored:
    """A ledger, by its name, as it is now: its `orders` and `revision`, at which revision it was `from`
    which the journals brought it up, by so many `transactions`; what the journals lack, in words; and
    where the file is that was there before.
    """

    ledger: str
    orders: int
    from_revision: int
    revision: int
    transactions: int
    missing: tuple[str, ...] = ()
    replaced: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self) -> Iterator[str]:
        """The same in sentences."""
        yield (
            f"The ledger {self.ledger} has {count(self.orders, 'order')}. It was at revision "
            f"{self.from_revision}, and its journals brought it to {self.revision}: "
            f"{count(self.transactions, 'transaction')}."
        )
        yield from self.missing
        if self.missing:
            yield (
                "What is missing was acknowledged by ROBIN and is not known here: orders of those days "
                "may be told again, or from an older amount. Put the missing journals under "
                "ROBIN_ETL_RUNS and do this again; where they are gone, acknowledge the exports of "
                "those days with robin-etl baseline, then run robin-etl ledger snapshot."
            )
        if self.replaced:
            yield f"The file that was there before is kept as {self.replaced}."


def bring_up(location: str, journals: UPath, wanted: Binding) -> Restored:
    """Bring a ledger that is there, such as one that PostgreSQL's own tools have restored, up to its
    journals. Raises `BindingError` and `LedgerBusyError`.
    """
    with Ledger.open(location) as ledger, ledger.lock.hold("ledger restore"):
        return _roll(ledger, journals, wanted)


def restore(location: str, backup: str, journals: UPath, wanted: Binding) -> Restored:
    """Put a backup in the place of a ledger in SQLite, and bring it up to its journals.

    Nothing is put in place before that has worked. Raises `ConfigurationError` for a ledger in
    PostgreSQL or a backup that is not there, `LedgerError` for one that is damaged or another ledger's,
    `BindingError` and `LedgerBusyError`.
    """
    path = find_file(parse_location(location))
    if path is None:
        raise ConfigurationError(
            "A ledger in PostgreSQL is restored with PostgreSQL's own tool. Do that, then run "
            "robin-etl ledger restore without a file: it brings the ledger up to its journals."
        )
    if not Path(backup).exists():
        raise ConfigurationError(f"There is no backup at {backup}.")
    with _replacing(path) as new:
        try:
            with closing(sqlite3.connect(backup)) as source, closing(sqlite3.connect(new)) as there:
                source.backup(there)
        except sqlite3.Error as error:
            raise LedgerError(
                f"{backup} is no backup of a ledger ({error}). Name another one, or run robin-etl "
                "ledger rebuild, which needs none."
            ) from error
        with Ledger.open(str(new)) as ledger:
            ledger.engine.check_integrity()
            _check_same(path, backup, ledger.id)
            restored = _roll(ledger, journals, wanted)
            ledger.engine.write_back()
        replaced = _put_in_place(new, path)
    return Restored(**{**asdict(restored), "replaced": replaced})


def rebuild(location: str, journals: UPath, wanted: Binding, *, name: str | None = None) -> Restored:
    """Make a ledger from all of its journals alone: the one of this `name`, or else the one whose
    journals are of the ROBIN and the keys that are `wanted`.

    One in SQLite takes the place of the file that is there; one in PostgreSQL has to be empty. Raises
    `LedgerError` where it is not, or no journals fit; `BindingError` and `LedgerBusyError`.
    """
    path = find_file(parse_location(location))
    kept = Journals(journals, name or _choose_ledger(location, journals, wanted))
    if kept.find_newest() is None:
        raise LedgerError(f"There is no journal of a ledger {kept.ledger} in {journals}.")
    if path is None:
        with Ledger.open(location) as ledger, ledger.lock.hold("ledger rebuild"):
            if ledger.states.has_any() or ledger.deliveries.has_any():
                raise LedgerError(
                    "A ledger in PostgreSQL is made anew in an empty schema or database, and this one "
                    "is not. Name another one with ROBIN_ETL_LEDGER_SCHEMA or ROBIN_ETL_LEDGER; or run "
                    "robin-etl ledger restore, which brings this one up to its journals."
                )
            return _make_anew(ledger, kept, wanted)
    make_folder(path.parent)
    with _replacing(path) as new:
        with Ledger.open(str(new)) as ledger:
            restored = _make_anew(ledger, kept, wanted)
            ledger.engine.write_back()
        replaced = _put_in_place(new, path)
    return Restored(**{**asdict(restored), "replaced": replaced})


def _roll(ledger: Ledger, journals: UPath, wanted: Binding) -> Restored:
    kept = Journals(journals, ledger.id)
    # A backup may be older than the ledger's first post.
    if (bound := ledger.bindings.read() or kept.read_binding()) is not None:
        ledger.bindings.compare(bound, wanted)
        ledger.bindings.bind(bound)
    revision = ledger.states.revision()
    gaps = kept.find_gaps(since=revision)
    runs = {one.run for one in kept.read(since=revision)}
    replayed = roll_forward(ledger.engine, kept)
    ledger.exports.count_acknowledged(sorted(runs))
    return Restored(
        ledger=kept.ledger,
        orders=ledger.states.totals().orders,
        from_revision=revision,
        revision=replayed.revision,
        transactions=replayed.transactions,
        missing=tuple(map(Gap.describe, gaps)),
    )


def _make_anew(ledger: Ledger, kept: Journals, wanted: Binding) -> Restored:
    ledger.rename(kept.ledger)
    return _roll(ledger, kept.folder.parent, wanted)


def _choose_ledger(location: str, journals: UPath, wanted: Binding) -> str:
    """The ledger whose journals are meant: the one that is there, or the only one that fits."""
    names = list_ledgers(journals)
    with suppress(LedgerError), Ledger.open(location, read_only=True) as ledger:
        if (own := ledger.id) in names:
            return own
    bindings = {name: Journals(journals, name).read_binding() for name in names}
    fitting = [name for name, bound in bindings.items() if bound == wanted]
    if len(fitting) == 1:
        return fitting[0]
    if not names:
        raise LedgerError(
            f"There are no journals in {journals}. Look at ROBIN_ETL_RUNS; where they are gone, "
            "robin-etl baseline over all exports makes a ledger."
        )
    listed = "; ".join(
        f"{name} of {bound.describe() if bound else 'no ROBIN yet'}" for name, bound in bindings.items()
    )
    raise LedgerError(
        f"Which ledger's journals are meant is not clear: of those in {journals}, {len(fitting)} are of "
        f"the ROBIN and the keys that the settings name. Name one with --ledger: {listed}."
    )


def _check_same(path: Path, backup: str, name: str) -> None:
    """Raise `LedgerError` where the ledger in this place can be read and is another one."""
    if not path.exists():
        return
    with suppress(LedgerError), Ledger.open(str(path), read_only=True) as there:
        if there.id != name and there.states.has_any():
            message = (
                f"{backup} is a backup of another ledger ({name}) than the one at {path} ({there.id}). "
                "Nothing was changed. Look at ROBIN_ETL_LEDGER, or move that file away first."
            )
            raise BindingError(message)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """The file beside a ledger that is to take its place, with nothing in it yet."""
    new = path.with_name(f"{path.name}.new")
    with hold_file(path):
        _remove(new)
        try:
            new.touch(mode=0o600)
            yield new
        except OSError as error:
            raise LedgerError(
                f"The ledger can't be put back beside {path} ({error}). Make room, then run this again; "
                "what was there is as it was."
            ) from error
        finally:
            _remove(new)


def _put_in_place(new: Path, path: Path) -> str | None:
    """Put a file in the place of a ledger; where what was there is kept."""
    replaced = None
    if path.exists():
        moment = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        replaced = f"{path}.before-{moment}"
        for ending in reversed(_FILES):
            with suppress(FileNotFoundError):
                Path(f"{path}{ending}").rename(f"{replaced}{ending}")
    new.rename(path)
    return replaced


def _remove(path: Path) -> None:
    for ending in _FILES:
        Path(f"{path}{ending}").unlink(missing_ok=True)
