"""Moves: what the lines of a journal say, each a list with its name first."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic_core import from_json, to_json

from robin_etl.core import columns
from robin_etl.ledger.schema import FORGOTTEN_ORDER

# What a move is called.
MOVES = (
    *("sending", "answered", "accepted", "confirmed", "baseline", "retracted", "forgotten", "reported"),
    *("snapshot", "snapshot end"),
)
SENDING, ANSWERED, ACCEPTED, CONFIRMED, BASELINE, RETRACTED, FORGOTTEN, REPORTED, *_ = MOVES
SNAPSHOT, SNAPSHOT_END = MOVES[-2:]

# What is kept of a payload of which nothing is known, or its customer was forgotten.
NO_PAYLOAD = "{}"

_UNREADABLE = b"null\n"

Move = list[Any]


def parse_line(line: bytes) -> Any:
    """A line's value; None for one that a crash has cut off."""
    try:
        return from_json(line)
    except ValueError:
        return None


def conform_move(move: Move, named: tuple[str, ...]) -> Move:
    """A move whose states have the values of these columns, of another version, with those of this one;
    what that version did not know is null.
    """

    def conform(state: list[Any]) -> list[Any]:
        said = dict(zip(named, state, strict=True))
        return [said.get(name) for name in columns.STATE_COLUMNS]

    match move:
        case [str(name), *head, list(changes)] if name == ACCEPTED:
            return [name, *head, [[*one[:3], *(conform(one[3:]) if one[3:] else [])] for one in changes]]
        case [str(name), *head, list(states)] if name in (CONFIRMED, BASELINE, RETRACTED):
            return [name, *head, [conform(state) for state in states]]
        case [str(name), at, list(told), list(others)] if name == SNAPSHOT:
            return [name, at, *([conform(state) for state in states] for states in (told, others))]
    return move


class Eraser:
    """Takes a customer out of lines. A place in a request stays, since its number counts."""

    def __init__(self, numbers: Collection[str], digest: str | None, *, is_removed: bool) -> None:
        self._numbers = numbers
        self._digest = digest
        self._is_removed = is_removed
        names = [*numbers, *([digest] if digest else [])]
        self._marks = [to_json(name) for name in names]
        self.erased = 0

    def edit(self, line: bytes) -> bytes:
        """A line without the customer; the same where it speaks of nobody of theirs."""
        if not any(mark in line for mark in self._marks):
            return line
        move = parse_line(line)
        if move is None:
            return _UNREADABLE  # what a crash has cut off, which a reader passes over as such
        if not isinstance(move, list):
            return line
        new = self._edit_move(move)
        return line if new == move else to_json(new) + b"\n"

    def _edit_move(self, move: Move) -> Move:
        edited = move[1:]
        match move:
            case [str(name), request, wave, list(orders)] if name == SENDING:
                edited = [request, wave, [self._blank_order(order) for order in orders]]
            case [str(name), *head, list(changes)] if name == ACCEPTED:
                edited = [*head, [self._blank_change(change) for change in changes]]
            case [str(name), list(states)] if name in (CONFIRMED, BASELINE):
                edited = [self._drop(states)]
            case [str(name), numbers, list(states)] if name == RETRACTED:
                edited = [self._keep_numbers(numbers), self._drop(states)]
            case [str(name), at, list(told), list(others)] if name == SNAPSHOT:
                edited = [at, self._drop(told), self._drop(others)]
            case [str(name), highest, list(doubts)] if name == SNAPSHOT_END:
                edited = [highest, [self._blank_doubt(doubt) for doubt in doubts]]
        return [move[0], *edited]

    def _blank_order(self, order: list[str]) -> list[str]:
        if order[0] not in self._numbers:
            return order
        self.erased += 1
        return [FORGOTTEN_ORDER, *order[1:]]

    def _blank_doubt(self, doubt: list[Any]) -> list[Any]:
        *head, orders = doubt
        return [*head, [self._blank_order(order) for order in orders]]

    def _blank_change(self, change: list[Any]) -> list[Any]:
        day, kind, _, *state = change
        if not state or not self._is_theirs(state):
            return change
        new = [day, kind, NO_PAYLOAD, *([] if self._is_removed else state)]
        self.erased += new != change
        return new

    def _drop(self, states: list[list[Any]]) -> list[list[Any]]:
        if not self._is_removed:
            return states
        kept = [state for state in states if not self._is_theirs(state)]
        self.erased += len(states) - len(kept)
        return kept

    def _keep_numbers(self, numbers: list[str]) -> list[str]:
        if not self._is_removed:
            return numbers
        return [number for number in numbers if number not in self._numbers]

    def _is_theirs(self, state: list[Any]) -> bool:
        return state[0] in self._numbers or (self._digest is not None and self._digest in state)
