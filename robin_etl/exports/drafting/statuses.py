"""What the statuses of a file mean, by the words of the vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pandas as pd

from robin_etl.exports import vocabulary
from robin_etl.exports.drafting.column_names import Found
from robin_etl.exports.drafting.flags import Flag, find_flags
from robin_etl.exports.drafting.questions import Ask, Question
from robin_etl.exports.drafting.writing import Line
from robin_etl.exports.profiles import Profile, Status

PENDING, CANCELLED, REFUNDED, ORDER = MEANINGS = ("pending", "cancelled", "refunded", "order")
_OPEN = "open"  # pending, or an order that is not sent yet
_MOST_VALUES = 60

# Words that turn the meaning of others: no, only asked for, sent back.
_NEGATIONS = frozenset(
    (
        *("not", "no", "never", "niet", "geen", "nicht", "kein", "keine", "non", "pas", "sin"),
        *("sem", "nao", "bez", "nie", "ikke", "inte", "ej", "ei", "nem", "degil", "without"),
    )
)
_REQUESTS = (
    *("request", "asked", "aangevraagd", "angefragt", "beantragt", "demand", "solicit", "richiest"),
    *("begar", "anmod", "pyydetty", "zadost"),
)
_RETURNS = ("return", "retour", "ruckgabe", "ruckgesendet", "devol", "devuelt", "reso", "resi", "zwrac")


@dataclass(frozen=True)
class FoundStatuses:
    """The columns of the status, how often each of their values occurs, what each means, and those that
    nobody has said the meaning of.
    """

    columns: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    undecided: tuple[str, ...] = ()
    cancelled_if_filled: str = ""
    pending_if_blank: str = ""
    blank: int = 0
    unpaid: tuple[Flag, ...] = ()


def find_statuses(
    rows: pd.DataFrame, found: Found, ask: Ask, fitting: Profile | None = None
) -> FoundStatuses:
    """What every value of the status means; those that a `fitting` profile sorts mean what it says."""
    texts = [rows[column].dropna().str.lower() for column in found.status if column in rows]
    values = pd.concat(texts) if texts else pd.Series(dtype="str")
    counts = {str(value): int(number) for value, number in values.value_counts().items()}
    if len(counts) > _MOST_VALUES:
        return FoundStatuses()
    sorted_already = _list_sorted(fitting.status if fitting else None)
    guesses = {value: sorted_already.get(value) or find_meaning(value) for value in counts}
    meanings, undecided = {}, []
    for value, guess in guesses.items():
        meaning = guess
        if guess == _OPEN:
            meaning = PENDING if _has_paid_word(guesses) else None
        if meaning is None and fitting and fitting.status:
            # What a system does not document as anything else is an order.
            meaning = ORDER
        if meaning is None:
            meaning = ask(
                Question(
                    f"status.{value}",
                    f"what is an order whose status is {value!r}?",
                    MEANINGS,
                    f"{counts[value]:,} rows of {len(rows):,}",
                )
            )
        if meaning is None:
            undecided.append(value)
        else:
            meanings[value] = meaning
    flags = [] if fitting else list(find_flags(rows))
    flagged = _read_flags([one for one in flags if one[0] in (CANCELLED, REFUNDED)], rows, meanings, ask)
    counts |= flagged.counts
    meanings |= flagged.meanings
    paid_at = "" if found.status or not found.paid_at else found.paid_at
    blank = int(rows[paid_at].isna().sum()) if paid_at else 0
    return FoundStatuses(
        columns=(*(column for column in found.status if column in rows), *flagged.columns),
        counts=counts,
        meanings=meanings,
        undecided=(*undecided, *flagged.undecided),
        cancelled_if_filled=found.cancelled_at,
        pending_if_blank=paid_at if 0 < blank < len(rows) else "",
        blank=blank,
        unpaid=tuple(flag for meaning, flag in flags if meaning == "paid"),
    )


def _read_flags(
    flags: list[tuple[str, Flag]], rows: pd.DataFrame, known: Mapping[str, str], ask: Ask
) -> FoundStatuses:
    """What columns of yes and no say of orders, as further columns of the status. What yes means must be
    the same in all of them.
    """
    counts: dict[str, int] = {}
    meanings: dict[str, str] = {}
    undecided = []
    for meaning, flag in flags:
        cells = rows[flag.column].dropna().str.lower()
        for value in (*flag.yes, *flag.no):
            means = meaning if value in flag.yes else ORDER
            counts[value] = counts.get(value, 0) + int((cells == value).sum())
            if {**known, **meanings}.get(value, means) != means:
                words = f"what is an order whose {flag.column} is {value!r}?"
                answer = ask(Question(f"status.{value}", words, MEANINGS))
                means = answer or ORDER
                undecided += [] if answer else [value]
            meanings[value] = means
    return FoundStatuses(
        tuple(flag.column for _, flag in flags), counts, meanings, tuple(dict.fromkeys(undecided))
    )


def find_meaning(value: str) -> str | None:
    """What a status means by its words: one of `MEANINGS`, `open`, or None for words nobody knows, and
    for those that may turn what others say.
    """
    simple = f" {vocabulary.simplify(value)}"
    for meaning, words in vocabulary.load_statuses().items():
        found = next((word for word in words if f" {word}" in simple), None)
        if found is None:
            continue
        if meaning != ORDER and _may_turn(simple.replace(f" {found}", " ", 1), meaning):
            return None
        return ORDER if meaning == "plain" else meaning
    return None


def _may_turn(others: str, meaning: str) -> bool:
    """Whether the other words of a status leave open whether it means that."""
    doubts = _RETURNS if meaning == "plain" else _REQUESTS
    return meaning != PENDING and any(
        word in _NEGATIONS or word.startswith(doubts) for word in others.split()
    )


def write_statuses(found: FoundStatuses, fitting: Profile | None) -> Iterator[Line]:
    """The table of statuses; of a fitting profile only the lists that it lacks a value in."""
    if fitting:
        yield from _write_additions(found, fitting)
        return
    if not (found.columns or found.cancelled_if_filled or found.pending_if_blank):
        yield Line()
        yield Line(remark="No column tells a status: every row is taken for an order that was bought.")
        return
    yield Line()
    yield Line("[status]")
    if found.columns:
        column = found.columns[0] if len(found.columns) == 1 else list(found.columns)
        yield Line("column", column)
        seen = ", ".join(
            f"{value} ({found.counts[value]:,}: {meaning})" for value, meaning in found.meanings.items()
        )
        if seen:
            yield Line(remark=f"In this file: {seen}")
        for meaning in (PENDING, CANCELLED, REFUNDED):
            named = [value for value, means in found.meanings.items() if means == meaning]
            yield Line(meaning, named, _EXPLAINED[meaning])
    if found.undecided:
        yield Line(
            remark="QUESTION: what is each of these? Move it to pending, cancelled or refunded, or "
            "take it out of undecided where it is an order."
        )
        yield Line("undecided", list(found.undecided))
    if found.cancelled_if_filled:
        yield Line("cancelled_if_filled", found.cancelled_if_filled, "filled for cancelled orders only")
    if found.pending_if_blank:
        remark = f"blank in {found.blank:,} rows, which are not paid yet"
        yield Line("pending_if_blank", found.pending_if_blank, remark)


_EXPLAINED = {
    PENDING: "not an order yet: left out until it is",
    CANCELLED: "no order after all: worth 0, and nobody's first",
    REFUNDED: "bought, and worth 0 now",
}


def _write_additions(found: FoundStatuses, fitting: Profile) -> Iterator[Line]:
    status = fitting.status
    if status is None:
        return
    added = False
    for meaning in (PENDING, CANCELLED, REFUNDED):
        own: tuple[str, ...] = getattr(status, meaning)
        new = [value for value, means in found.meanings.items() if means == meaning and value not in own]
        if new:
            if not added:
                yield Line()
                yield Line("[status]")
            added = True
            yield Line(meaning, [*own, *new], f"also {', '.join(new)}, which occurs in this file")


def _list_sorted(status: Status | None) -> dict[str, str]:
    if status is None:
        return {}
    return {
        value: meaning
        for meaning in (PENDING, CANCELLED, REFUNDED)
        for value in getattr(status, meaning)
    }


def _has_paid_word(values: Mapping[str, str | None]) -> bool:
    """Whether another value says that an order is paid, so that an open one is not."""
    words = ("paid", "betaald", "bezahlt", "paye", "pagad", "pagat", "pago", "oplac", "zaplac", "betal")
    return any(vocabulary.simplify(value).startswith(words) for value in values)
