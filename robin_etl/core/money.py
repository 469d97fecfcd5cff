"""Money: decimal text to exact whole cents. Pure."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from robin_etl.core.columns import to_strings, trim

# Thirteen digits before the point keep cents exact as int64 and as the double of a JSON number.
_NUMBER = r"\A[+-]?(\d{1,13}(\.\d*)?|\.\d+)\z"
_SCIENTIFIC = r"\A[+-]?(\d{1,13}(\.\d{0,30})?|\.\d{1,30})[eE][+-]?\d{1,2}\z"
_BEYOND_MILS = r"(\.\d{3})\d+\z"
_CENT = Decimal("0.01")
_LARGEST = Decimal(10) ** 13


def parse_cents(text: pd.Series) -> pd.Series:
    """Decimal text to whole cents (`Int64`), rounded half up, away from zero; unreadable is null.

    Exact: no float is involved. A decimal comma or thousands separator must be gone by now.
    Numbers of 10^13 and more are unreadable, since JSON could not carry their cents.
    """
    return to_cents(parse_numbers(text), text.index)


def to_cents(numbers: pa.Array, index: pd.Index) -> pd.Series:
    """Plain decimal numbers as `parse_numbers` gives them to whole cents, rounded in the same way."""
    # Half up looks at the third decimal alone; dropping the others first keeps the decimal narrow.
    mils = pc.replace_substring_regex(numbers, _BEYOND_MILS, r"\1")
    return round_to_cents(pc.cast(mils, pa.decimal128(18, 3)), index)


def parse_numbers(text: pd.Series) -> pa.Array:
    """Text as plain decimal numbers (`-1234.5`), null where it is none or too large to carry."""
    strings = _expand_scientific(to_strings(trim(text)))
    return pc.if_else(pc.match_substring_regex(strings, _NUMBER), strings, None)


def round_to_cents(exact: pa.Array, index: pd.Index) -> pd.Series:
    """Decimals as whole cents (`Int64`), rounded half up, away from zero."""
    rounded = pc.round(exact, ndigits=2, round_mode="half_towards_infinity")
    whole = pc.cast(pc.multiply(rounded, pa.scalar(Decimal(100))), pa.int64())
    unreadable = pc.is_null(whole).to_numpy(zero_copy_only=False)
    return pd.Series(pd.arrays.IntegerArray(pc.fill_null(whole, 0).to_numpy(), unreadable), index=index)


def _expand_scientific(strings: pa.Array) -> pa.Array:
    scientific = pc.fill_null(pc.match_substring_regex(strings, _SCIENTIFIC), fill_value=False)
    if not pc.any(scientific).as_py():
        return strings
    plain = [_expand_number(value.as_py()) for value in strings.filter(scientific)]
    return pc.replace_with_mask(strings, scientific, pa.array(plain, pa.string()))


def _expand_number(scientific: str) -> str:
    """`1.5E2` as `150.00`; a number too large to carry stays as it is, and so unreadable."""
    value = Decimal(scientific)
    return f"{value.quantize(_CENT, ROUND_HALF_UP):f}" if abs(value) < _LARGEST else scientific
