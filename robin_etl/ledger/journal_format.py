"""How a journal is written down: its name, its head, and the lines of its transactions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json
from upath import UPath

from robin_etl.core import columns
from robin_etl.ledger.binding import Binding
from robin_etl.ledger.engine import format_moment, now
from robin_etl.ledger.moves import SENDING, SNAPSHOT_END, Move, conform_move, parse_line

SUFFIX = ".jsonl"
SNAPSHOT_SUFFIX = f".snapshot{SUFFIX}"
_TAIL = 65_536


@dataclass(frozen=True)
class Transaction:
    """What was written together, by which run and when: moves, each with its name first; and the
    revision of the ledger `before` and `after`. Of a snapshot, which is replayed a part at a time, only
    the last part `is_whole`: by it the ledger gets there.
    """

    run: str
    at: str
    before: int
    after: int
    moves: tuple[Move, ...]
    is_whole: bool = True


def make_name(run: str) -> str:
    """A run's id as it stands in a file's name."""
    return run.replace("/", "_").replace(" ", "-")


def mark_moment() -> str:
    """The moment that it is, as it stands in a file's name."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"


def make_head(ledger: str, run: str, binding: Binding | None) -> bytes:
    """The first line: whose journal it is, and which columns a state has."""
    said = binding.as_json() if binding else {}
    head = {"ledger": ledger, "run": run, "states": columns.STATE_COLUMNS}
    return to_json({**head, **said}) + b"\n"


def make_closing(before: int, after: int) -> dict[str, Any]:
    """What closes a transaction: the revision before it and after it, and when it was written."""
    return {"before": before, "after": after, "at": format_moment(now())}


def list_lines(head: bytes, parts: Iterable[Sequence[Any]], revision: int) -> Iterator[bytes]:
    """The lines of a snapshot."""
    yield head
    for part in parts:
        yield to_json(part) + b"\n"
        closing = make_closing(revision, revision)
        is_whole = part[0] == SNAPSHOT_END
        yield to_json(closing if is_whole else {**closing, "is_whole": False}) + b"\n"


def is_snapshot(path: UPath) -> bool:
    """Whether a journal's name says that it begins with all that the ledger holds."""
    return str(path.name).endswith(SNAPSHOT_SUFFIX)


def name_run(path: UPath) -> str:
    """The run that a journal is named after."""
    return str(path.name).partition(".")[2].removesuffix(SUFFIX).removesuffix(".snapshot")


def read_begin(path: UPath) -> int:
    """The revision that a journal begins at, by its name."""
    return int(str(path.name).partition("-")[0])


def _is_closing(value: Any) -> bool:
    return isinstance(value, dict) and "after" in value


def _is_withdrawn(line: bytes, after: int) -> bool:
    """Whether a line says of the transaction before it, which ended at this revision, that it was not
    committed.
    """
    return line.startswith(b'{"withdrawn"') and parse_line(line) == {"withdrawn": after}


def read_last_closing(path: UPath) -> dict[str, Any] | None:
    """The last line that closes a transaction; None where none does."""
    size = path.stat().st_size
    reach = _TAIL
    while True:
        with path.open("rb") as stream:
            stream.seek(max(0, size - reach))
            lines = stream.read().splitlines()
        for line in reversed(lines if reach >= size else lines[1:]):
            if line.startswith(b'{"before"') and _is_closing(value := parse_line(line)):
                found: dict[str, Any] = value
                return found if found.get("is_whole", True) else None
        if reach >= size:
            return None
        reach *= 16


def read_transactions(path: UPath) -> Iterator[Transaction]:
    """The transactions of a journal that were written whole."""
    if is_snapshot(path) and read_last_closing(path) is None:
        return
    run, moves = name_run(path), list[Move]()
    last: Transaction | None = None  # which the next line may withdraw
    named: tuple[str, ...] = columns.STATE_COLUMNS
    with path.open("rb") as stream:
        for line in stream:
            if last is not None:
                is_withdrawn = _is_withdrawn(line, last.after)
                yield _drop_sendings(last) if is_withdrawn else last
                last = None
                if is_withdrawn:
                    continue
            value = parse_line(line)
            if isinstance(value, list):
                moves.append(value if named == columns.STATE_COLUMNS else conform_move(value, named))
            elif _is_closing(value):
                is_whole = value.get("is_whole", True)
                revisions = value["before"], value["after"]
                last = Transaction(run, value["at"], *revisions, tuple(moves), is_whole)
                moves = []
            else:  # a head, or what a crash has cut off
                moves = []
                if isinstance(value, dict) and "states" in value:
                    named = tuple(value["states"])
    if last is not None:
        yield last


def _drop_sendings(transaction: Transaction) -> Transaction:
    """A transaction without what was to leave by it; what it acknowledges ROBIN has said."""
    kept = tuple(move for move in transaction.moves if move[0] != SENDING)
    return replace(transaction, moves=kept)
