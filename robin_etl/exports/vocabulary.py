"""The words of `vocabulary.toml`: columns, statuses, months and currencies in the languages of shops."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from robin_etl.core import columns

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SHORTEST = 3
_NO_NAMES = {"ł": "l", "ø": "o", "đ": "d", "ß": "ss", "æ": "ae", "œ": "oe", "\u0131": "i", "№": "number"}
_HALVES_OF_DAY = (
    (r"(?i)(\d)\s?a\.?\s?m\.?\z", r"\1 AM"),
    (r"(?i)(\d)\s?p\.?\s?m\.?\z", r"\1 PM"),
)


@cache
def _load() -> Mapping[str, Any]:
    file = resources.files(__package__) / "vocabulary.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


@cache
def load_columns(meaning: str) -> Mapping[str, tuple[str, ...]]:
    """The names of columns of that meaning by language, the likeliest first."""
    return {
        language: tuple(map(simplify, words)) for language, words in _load()["columns"][meaning].items()
    }


@cache
def list_column_words() -> frozenset[str]:
    """Every name of a column that is known."""
    return frozenset(
        word
        for meaning in _load()["columns"]
        for words in load_columns(meaning).values()
        for word in words
    )


@cache
def load_statuses() -> Mapping[str, tuple[str, ...]]:
    """What words of a status begin with, by meaning, in the order in which they are looked for."""
    return {
        meaning: tuple(simplify(word) for words in by_language.values() for word in words)
        for meaning, by_language in _load()["statuses"].items()
    }


def is_known_status(text: str) -> bool:
    """Whether a word of a text begins as one of a status does, accents and all."""
    simple = f" {simplify(text)}"
    return any(f" {word}" in simple for words in load_statuses().values() for word in words)


@cache
def load_footers() -> tuple[str, ...]:
    """What lines below the last row begin with."""
    return tuple(word for words in _load()["footers"].values() for word in words)


def load_currencies() -> Mapping[str, tuple[str, ...]]:
    """The signs of amounts, in lower case, by the code of their currency."""
    return {code: tuple(signs) for code, signs in _load()["currencies"].items()}


@cache
def load_months() -> Mapping[str, tuple[str, ...]]:
    """Regular expressions of the twelve months by language."""
    return {language: _compile_months(months) for language, months in _load()["months"].items()}


def simplify(text: str) -> str:
    """Text as words are compared: lower case, no accents, spaces for what is no letter or digit."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub("[º°]", " ", text.replace("#", " number ")))
    plain = "".join(_NO_NAMES.get(letter, letter) for letter in spaced.lower())
    letters = (one for one in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(one))
    return " ".join(re.sub(r"[\W_]+", " ", "".join(letters)).split())


def translate_months(text: pd.Series, language: str) -> pd.Series:
    """Dates with the months as strptime's `%b`, AM and PM in capitals, and no day of the week before
    them.
    """
    strings = columns.to_strings(text)
    # By their number first: what one month is in English may be the beginning of another here.
    lowered = pc.utf8_lower(strings)
    for number, (expression, beginnings) in enumerate(
        zip(load_months()[language], _load_beginnings(language), strict=True)
    ):
        # Making ready such an expression takes longer than to see that there is nothing to replace.
        if any(pc.any(pc.match_substring(lowered, one)).as_py() for one in beginnings):
            strings = pc.replace_substring_regex(strings, expression, rf"\1~{number:02}~\2")
    for number, month in enumerate(_MONTHS):
        strings = pc.replace_substring(strings, f"~{number:02}~", month)
    for expression, half in _HALVES_OF_DAY:
        strings = pc.replace_substring_regex(strings, expression, half)
    names = "|".join(_MONTHS)
    weekday = r"\A\pL{2,}\.?,? +(\d.*|(?:" + names + r")[^\pL].*)\z"
    is_month_first = pc.match_substring_regex(strings, rf"\A(?:{names})[^\pL]")
    bare = pc.replace_substring_regex(strings, weekday, r"\1")
    return columns.to_series(pc.if_else(is_month_first, strings, bare), text.index)


@cache
def _load_beginnings(language: str) -> tuple[frozenset[str], ...]:
    """What the names of each of the twelve months begin with, at the shortest, in lower case."""
    months = _load()["months"][language]
    return tuple(
        frozenset(form[: min(_SHORTEST, len(form))].lower() for form in month.split("|"))
        for month in months
    )


def _compile_months(months: list[str]) -> tuple[str, ...]:
    beginnings = [_list_beginnings(month) for month in months]
    shared = Counter(one for those in beginnings for one in those)
    whole = {form for month in months for form in month.split("|")}
    compiled = []
    for month, those in zip(months, beginnings, strict=True):
        own = {one for one in those if shared[one] == 1 and one not in whole} | set(month.split("|"))
        either = "|".join(sorted(own, key=len, reverse=True))
        compiled.append(rf"(?i)(\A|[^\pL])(?:{either})\.?([^\pL]|\z)")
    return tuple(compiled)


def _list_beginnings(month: str) -> set[str]:
    forms = month.split("|")
    return {form[:size] for form in forms for size in range(min(_SHORTEST, len(form)), len(form) + 1)}
