"""Columns that say yes or no of an order: that it is paid, cancelled, refunded, or a test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from robin_etl.exports import vocabulary

# What says yes, by what says no.
_YES_BY_NO = {
    **dict(zip(("false", "0", "no", "n", "off"), ("true", "1", "yes", "y", "on"), strict=True)),
    **dict(zip(("nee", "nein", "non", "nej", "nei"), ("ja", "ja", "oui", "ja", "ja"), strict=True)),
    **dict(zip(("nie", "ne", "nem", "nao", "ei"), ("tak", "ano", "igen", "sim", "kylla"), strict=True)),
}
# As simplified; in Spanish and Italian both say no alike.
_OTHERS_THAT_SAY_YES = frozenset(("si", "x", "evet", "da"))
_DIGITS = frozenset(("0", "1"))
_BEFORE = re.compile(r"\A(?:is|was|has been|has) ")
_PAID = re.compile(
    r"(?:paid|betaald|bezahlt|payee?|pagad[oa]|pagat[oa]|pag[oa]|betald|betalt|maksettu|oplacon[eay]|zaplacen[oay]"
    r"|fizetve|platit|odendi|payment received)\Z"
)
_TEST = re.compile(r"test(?: ?(?:mode|order|bestelling|bestellung|commande|ordre))?\Z")


@dataclass(frozen=True)
class Flag:
    """A column of yes and no: the values that say yes, and those that say no."""

    column: str
    yes: tuple[str, ...]
    no: tuple[str, ...]


def find_flag(rows: pd.DataFrame, column: str) -> Flag | None:
    """A column as one of yes and no; None where it has other cells, or none that says no.

    Of 0 and 1, which may be amounts, the name has to say it too.
    """
    values = [f"{value}" for value in rows[column].dropna().unique()[:8]]
    simple = {value: vocabulary.simplify(value) for value in values}
    no = tuple(value.lower() for value in values if simple[value] in _YES_BY_NO)
    others = [value for value in values if simple[value] not in _YES_BY_NO]
    known = _OTHERS_THAT_SAY_YES | set(_YES_BY_NO.values())
    if not no or any(simple[value] not in known for value in others):
        return None
    name = vocabulary.simplify(column)
    if set(simple.values()) <= _DIGITS and not (_BEFORE.match(name) or _TEST.match(name)):
        return None
    yes = {value.lower() for value in others} or {_YES_BY_NO[simple[value]] for value in values}
    return Flag(column, tuple(sorted(yes)), no)


def find_flags(rows: pd.DataFrame) -> Iterator[tuple[str, Flag]]:
    """The columns of yes and no whose names say what they tell, with that meaning: `paid`, `test`, or
    one of the vocabulary's for a status.
    """
    for column in rows.columns:
        name = _BEFORE.sub("", vocabulary.simplify(column))
        meaning = _name_meaning(name)
        if meaning and (flag := find_flag(rows, column)):
            yield meaning, flag


def _name_meaning(name: str) -> str:
    if _PAID.match(name):
        return "paid"
    if _TEST.match(name):
        return "test"
    if len(name.split()) > 2:
        return ""
    for meaning in ("refunded", "cancelled"):
        if any(name.startswith(word) for word in vocabulary.load_statuses()[meaning]):
            return meaning
    return ""
