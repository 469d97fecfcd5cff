"""Amounts as a profile says they are written, to plain decimal numbers. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from robin_etl.core import columns, money

# Every character that stands between digits as a space, as an apostrophe, or before them as a minus.
_SPACES = (
    r"[\s\x{00a0}\x{1680}\x{180e}\x{2000}-\x{200f}\x{202a}-\x{202f}\x{205f}-\x{2064}\x{2066}-\x{2069}"
    r"\x{3000}\x{feff}]+"
)
_APOSTROPHES = r"[\x{2018}\x{2019}\x{02bc}\x{00b4}\x{ff07}`]"
_MINUSES = r"[\x{2010}-\x{2015}\x{2212}\x{fe58}\x{fe63}\x{ff0d}]"


@dataclass(frozen=True)
class AmountStyle:
    """How amounts are written: the decimal mark, what stands between thousands, and the currency signs
    or codes that may stand before or behind.
    """

    mark: str = "."
    separator: str = ""
    signs: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether numbers are written so that nothing but a negative one needs a change."""
        return (self.mark, self.separator, self.signs) == (".", "", ())


def parse_amounts(text: pd.Series, style: AmountStyle) -> pa.Array:
    """Trimmed amounts as plain decimal numbers (`-1234.5`); null where they are blank or not written in
    this style. A negative one has a minus before or behind, or brackets around it.
    """
    strings = columns.to_strings(text)
    if not style.is_plain:
        return money.parse_numbers(columns.to_series(_make_plain(strings, style), text.index))
    read = money.parse_numbers(text)
    odd = pc.and_(pc.is_null(read), pc.is_valid(strings))
    if not pc.any(odd).as_py():
        return read
    plain = columns.to_series(_make_plain(strings.filter(odd), style), None)
    return pc.replace_with_mask(read, odd, money.parse_numbers(plain))


def _make_plain(strings: pa.Array, style: AmountStyle) -> pa.Array:
    """The same amounts with a point and no separators, null where they are of another style."""
    spaced = pc.replace_substring_regex(strings, _SPACES, " ")
    spaced = pc.replace_substring_regex(spaced, _APOSTROPHES, "'")
    spaced = pc.utf8_trim(pc.replace_substring_regex(spaced, _MINUSES, "-"), " ")
    [bracketed] = pc.extract_regex(spaced, r"\A\((?P<inner>.*)\)\z").flatten()
    found = pc.extract_regex(pc.coalesce(bracketed, spaced), _compile(style)).flatten()
    before, inner, whole, cents, behind, last = found
    if style.separator:
        whole = pc.replace_substring(whole, style.separator, "")
    is_negative = pc.is_valid(bracketed)
    for minus in (before, inner, behind, last):
        is_negative = pc.xor(is_negative, pc.fill_null(pc.equal(minus, "-"), fill_value=False))
    number = pc.utf8_rtrim(pc.binary_join_element_wise(whole, cents, "."), ".")
    # What has no digit before the mark is written as 0.5, what has no digit at all is no number.
    return pc.if_else(is_negative, pc.binary_join_element_wise("-", number, ""), number)


def _compile(style: AmountStyle) -> str:
    signs = "|".join(re.escape(sign) for sign in sorted(style.signs, key=len, reverse=True))
    sign = rf"(?:(?i:{signs}))?" if signs else ""
    between = re.escape(style.separator)
    # India writes 12,34,567.00: groups of two before the last one of three.
    groups = (
        rf"\d{{1,3}}(?:(?:{between}\d{{3}})+|(?:{between}\d{{2}})+{between}\d{{3}})|" if between else ""
    )
    mark = re.escape(style.mark)
    # Behind the mark a dash, or two, stands for no cents: 12,- and 12.--
    number = rf"(?P<whole>{groups}\d*)(?:{mark}(?:-{{1,2}}|(?P<cents>\d*)))?"
    return rf"\A(?P<a>[+-]?) ?{sign} ?(?P<b>[+-]?) ?{number} ?(?P<c>[+-]?) ?{sign} ?(?P<d>[+-]?)\z"
