"""Naming a file's columns and faults in a sentence, without a cell in it: the header may be missing, and
the first customer's row stand in its place; and what reads a file quotes from it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from robin_etl.core.words import name_some
from robin_etl.exports.profiles import list_shipped

_LONGEST = 60
_MOST = 40
# What joins words in a name: `Line: Price`, `meta:_vat`, `Grand Total (Base)`.
_JOINS = frozenset(" _-:.#/()[]%&'")

# What may be a value: in quotes, a long number, an address.
_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|\S*@\S*|[+-]?\d[\d.:-]{3,}")


def name_columns(names: Sequence[str], known: Iterable[str]) -> str:
    """A file's columns in words: by name those that are `known`, or a shipped profile's, and where all
    others look like names, these too; else the others by their number.
    """
    if not names:
        return "none of its columns is known"
    sources = {source for profile in list_shipped() for source in profile.sources}
    is_known = {*known, *sources}
    if all(name in is_known or _looks_like_name(name) for name in names):
        return f"its columns are: {name_some(sorted(names), most=_MOST)}"
    named = sorted(name for name in names if name in is_known)
    unnamed = [at for at, name in enumerate(names, start=1) if name not in is_known]
    found = f"its columns are: {name_some(named, most=_MOST)}, and" if named else "it has"
    numbers = name_some(unnamed, most=_MOST)
    return (
        f"{found} {len(unnamed):,} that have no name (by their number: {numbers}), as a file without a "
        "header has"
    )


def name_sheets(names: Sequence[str]) -> str:
    """A file's sheets in words: by name where that looks like one, else how many they are."""
    if all(map(_looks_like_name, names)):
        return f"its sheets are: {name_some(names, most=_MOST)}"
    return f"it has {len(names):,} that are visible"


def describe_fault(error: BaseException) -> str:
    """What a library says of a file that it can't read, without what may be a cell: it quotes values."""
    return _VALUES.sub("…", str(error))


def _looks_like_name(text: str) -> bool:
    """Whether it is text as names of columns are, and no address, number, date or sentence."""
    letters = sum(sign.isalpha() for sign in text)
    digits = sum(sign.isdigit() for sign in text)
    others = set(text) - _JOINS
    return letters > digits and len(text) <= _LONGEST and all(sign.isalnum() for sign in others)
