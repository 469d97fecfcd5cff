"""Nobodies: addresses and phone numbers that stand for no customer; read as blank cells. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from robin_etl.core.columns import to_series, to_strings
from robin_etl.core.customers import normalize_addresses

# Globs over the one form of an address: `*` is any text, `?` any character. A profile adds its own.
SHIPPED: Final = (
    # What a shop's eraser leaves (`deleted@site.invalid`): nobody can have an address there, RFC 2606.
    *("*@invalid", "*@*.invalid"),
    # Senders that read nothing, such as a marketplace's.
    *("noreply*@*", "no-reply*@*", "no_reply*@*", "no.reply*@*"),
    *("donotreply*@*", "do-not-reply*@*", "do_not_reply*@*", "do.not.reply*@*"),
)

# Of a phone number: one digit repeated, however it is written, or no digit at all. The other digits that
# there are beside ours take long to look for.
_REPEATED = "|".join(rf"(?:{digit}[^0-9]*)+" for digit in range(10))
_NO_NUMBER = rf"\A[^0-9]*(?:{_REPEATED})?\z"
_OTHER_DIGIT = r"[^\P{Nd}0-9]"
_NOT_DIALLED = r"[^0-9+]"


def normalize_glob(glob: str) -> str:
    """A glob as it is compared; raises `ValueError` where it is neither an address's nor a number's."""
    if "@" in glob:
        return str(normalize_addresses(pd.Series([glob], dtype="str")).iloc[0])
    dialled = re.sub(r"[^0-9+*?]", "", glob)
    if not dialled or re.search(r"[^\W\d]", glob):
        raise ValueError(
            f"{glob!r} is a glob neither of addresses, which have an @, nor of phone numbers"
        )
    return dialled


def blank_addresses(addresses: pd.Series, more: Iterable[str] = ()) -> pd.Series:
    """Addresses in their one form, null where they are nobody's. `more`: globs as `normalize_glob` gives
    them; those of phone numbers are passed over.
    """
    globs = [*SHIPPED, *(glob for glob in more if "@" in glob)]
    return _blank(addresses, lambda strings: _match(strings, globs))


def blank_numbers(numbers: pd.Series, more: Iterable[str] = ()) -> pd.Series:
    """The same of phone numbers; what is written between their digits counts for nothing."""
    globs = [glob for glob in more if "@" not in glob]

    def find(strings: pa.Array) -> pa.Array:
        found = pc.fill_null(pc.match_substring_regex(strings, _NO_NUMBER), fill_value=False)
        is_number = pc.match_substring_regex(strings.filter(found), _OTHER_DIGIT)
        found = pc.replace_with_mask(found, found, pc.invert(is_number))
        if not globs:
            return found
        dialled = pc.replace_substring_regex(strings, _NOT_DIALLED, "")
        return pc.or_(found, _match(dialled, globs))

    return _blank(numbers, find)


def _blank(contacts: pd.Series, find: Callable[[pa.Array], pa.Array]) -> pd.Series:
    strings = to_strings(contacts)
    found = pc.fill_null(find(strings), fill_value=False)
    if not pc.any(found).as_py():
        return contacts
    return to_series(pc.if_else(found, None, strings), contacts.index)


def _match(strings: pa.Array, globs: Sequence[str]) -> pa.Array:
    """Which of these match a glob. The few that begin or end as one does are looked at closely."""
    looks = []
    for beginning, end in sorted({_find_ends(glob) for glob in globs}):
        looks.append(pc.starts_with(strings, beginning) if beginning else pc.ends_with(strings, end))
    candidates = pc.fill_null(reduce(pc.or_, looks), fill_value=False)
    if not pc.any(candidates).as_py():
        return candidates
    either = "|".join(map(_translate_glob, globs))
    matches = pc.match_substring_regex(strings.filter(candidates), rf"(?s)\A(?:{either})\z")
    return pc.replace_with_mask(candidates, candidates, matches)


def _find_ends(glob: str) -> tuple[str, str]:
    """The first two characters of what matches a glob or, where they may be any, its end."""
    fixed = re.split(r"[*?]", glob)
    return (fixed[0][:2], "") if fixed[0] else ("", fixed[-1])


def _translate_glob(glob: str) -> str:
    return re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".")
