"""The words and types that every other module speaks: columns, money, dates, addresses, customers.

All functions are pure and take and give whole columns. Text columns are pandas' `str` with nulls;
money is `Int64` cents; a moment is the text ROBIN is sent, `2017-04-05T12:34:56Z` (UTC), which sorts
as it reads; a day is `2017-04-05`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.api.extensions import ExtensionArray

# The format of dates that needs no other name.
ISO: Final = "iso"

FIRST, REPEAT, RETURN, UPSELL, CORRECTION = KINDS = (
    "first",
    "repeat",
    "return",
    "upsell",
    "correction",
)
NEW_KINDS = (FIRST, REPEAT)

TEXT: Final = "str"
CENTS: Final = "Int64"
FLAG: Final = "boolean"
COUNT: Final = "int64"

# One row for each order and export day, as extract leaves it: the contact in clear.
EXPORTED_DTYPES: dict[str, str] = {
    "order_number": TEXT,
    "day": TEXT,
    "email_address": TEXT,
    "phone_number": TEXT,
    "revenue": CENTS,
    "profit": CENTS,
    "order_date": TEXT,
    "webstore_url": TEXT,
}

# The digests that identify adds: who a row speaks of, without saying it.
CONTACT_DTYPES: dict[str, str] = {"email": TEXT, "phone": TEXT}

# What ROBIN holds of an order. `day` is the newest export that said so; each `..._day` the newest
# export that said that value, since a blank cell says nothing. `customer` is the e-mail address's
# digest or, without one, the phone number's.
LEDGER_DTYPES: dict[str, str] = {
    "order_number": TEXT,
    "day": TEXT,
    "customer": TEXT,
    "email": TEXT,
    "email_day": TEXT,
    "phone": TEXT,
    "phone_day": TEXT,
    "revenue": CENTS,
    "profit": CENTS,
    "profit_day": TEXT,
    "order_date": TEXT,
    "placed_at": TEXT,
    "webstore_url": TEXT,
    "webstore_url_day": TEXT,
    "is_first_order": FLAG,
}

# What of it the ledger's table has: the digest in `email` is `customer`, or there is none.
STATE_COLUMNS = tuple(name for name in LEDGER_DTYPES if name != "email")

# What is to be sent: the state ROBIN will hold, what it held before, and the contact to name.
CHANGE_DTYPES: dict[str, str] = {
    **LEDGER_DTYPES,
    "kind": TEXT,
    "wave": COUNT,
    "old_revenue": CENTS,
    "old_profit": CENTS,
    "email_address": TEXT,
    "phone_number": TEXT,
}

# Thirteen digits before the point keep cents exact as int64 and as the double of a JSON number.
_NUMBER = r"\A[+-]?(\d{1,13}(\.\d*)?|\.\d+)\z"
_SCIENTIFIC = r"\A[+-]?(\d{1,13}(\.\d{0,30})?|\.\d{1,30})[eE][+-]?\d{1,2}\z"
_BEYOND_MILS = r"(\.\d{3})\d+\z"
_DIGEST_BYTES = 16
_CENT = Decimal("0.01")
_LARGEST = Decimal(10) ** 13

_MOMENT = (
    r"\A\d{4}-\d{2}-\d{2}"
    r"([T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?( ?(Z|[+-]\d{2}(:?\d{2})?))?)?\z"
)
_AS_SENT = r"\A\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z\z"
_OFFSET = r"(Z|[+-]\d{2}(:?\d{2})?)\z"
_TIME_OF_DAY = r"[T ]\d{2}:"


def empty(dtypes: Mapping[str, str]) -> pd.DataFrame:
    """A frame of these columns without rows."""
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in dtypes.items()})


def typed(frame: pd.DataFrame, dtypes: Mapping[str, str]) -> pd.DataFrame:
    """The columns of `dtypes`, in that order and of those types; one that is missing is all null."""
    missing = {name: None for name in dtypes if name not in frame.columns}
    return frame.assign(**missing)[list(dtypes)].astype(dict(dtypes))


def one_piece(column: pd.Series | pd.Index, kind: Any = None) -> pa.Array:
    """A column as one Arrow array, of that type if given: one in pieces is slower to take from."""
    array = pa.array(column.array, kind, from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def listed(column: pd.Series) -> list[Any]:
    """A column as Python's own values, null as None."""
    values: list[Any] = pa.array(column, from_pandas=True).to_pylist()
    return values


def states(rows: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Rows as the ledger's table takes them: the values of `STATE_COLUMNS`."""
    return zip(*(listed(rows[name]) for name in STATE_COLUMNS), strict=True)


def trimmed(text: pd.Series) -> pd.Series:
    """Text without white space around it; what is blank then is null."""
    stripped = pc.utf8_trim_whitespace(_strings(text))
    return _series(pc.if_else(pc.equal(stripped, ""), None, stripped), text.index)


def addresses(text: pd.Series) -> pd.Series:
    """E-mail addresses, trimmed and lower-cased; blank is null."""
    return _series(pc.utf8_lower(_strings(trimmed(text))), text.index)


def cents(text: pd.Series) -> pd.Series:
    """Decimal text to whole cents (`Int64`), rounded half up, away from zero; unreadable is null.

    Exact: no float is involved. A decimal comma or thousands separator must be gone by now.
    Numbers of 10^13 and more are unreadable, since JSON could not carry their cents.
    """
    # Half up looks at the third decimal alone; dropping the others first keeps the decimal narrow.
    mils = pc.replace_substring_regex(readable_numbers(text), _BEYOND_MILS, r"\1")
    return whole_cents(pc.cast(mils, pa.decimal128(18, 3)), text.index)


def readable_numbers(text: pd.Series) -> pa.Array:
    """Text as plain decimal numbers (`-1234.5`), null where it is none or too large to carry."""
    strings = _plain_numbers(_strings(trimmed(text)))
    return pc.if_else(pc.match_substring_regex(strings, _NUMBER), strings, None)


def whole_cents(exact: pa.Array, index: pd.Index) -> pd.Series:
    """Decimals as whole cents (`Int64`), rounded half up, away from zero."""
    rounded = pc.round(exact, ndigits=2, round_mode="half_towards_infinity")
    whole = pc.cast(pc.multiply(rounded, pa.scalar(Decimal(100))), pa.int64())
    unreadable = pc.is_null(whole).to_numpy(zero_copy_only=False)
    return pd.Series(pd.arrays.IntegerArray(pc.fill_null(whole, 0).to_numpy(), unreadable), index=index)


def moments(text: pd.Series, timezone: str = "UTC", formats: Sequence[str] = (ISO,)) -> pd.Series:
    """Dates and times to `2017-04-05T12:34:56Z`; unreadable is null.

    `formats` are tried in turn: `ISO` 8601, or as Python's strptime takes them. What has no offset is
    in `timezone`; a date alone is its midnight. In the hour that a clock repeats in autumn the earlier
    moment is taken; a time that it skips in spring moves forward.
    """
    trim = trimmed(text)
    told = pd.Series(index=text.index, dtype=TEXT)
    for form in formats:
        read = _iso_moments(trim, timezone) if form == ISO else _moments(trim, timezone, form)
        told = told.fillna(read)
        if told.notna().all():
            break
    return told


def _moments(text: pd.Series, timezone: str, form: str) -> pd.Series:
    has_offset = "%z" in form
    read = pd.to_datetime(text, format=form, utc=has_offset, errors="coerce")
    return _moment_text(read if has_offset else _localized(read, timezone), text.index)


def _iso_moments(text: pd.Series, timezone: str) -> pd.Series:
    strings = _strings(text)
    if _are_as_sent(strings):
        return _series(strings, text.index)
    strings = pc.if_else(pc.match_substring_regex(strings, _MOMENT), strings, None)
    has_offset = pc.and_(
        pc.match_substring_regex(strings, _OFFSET), pc.match_substring_regex(strings, _TIME_OF_DAY)
    )
    told = _parsed(pc.if_else(has_offset, strings, None))
    naive = _parsed(pc.if_else(has_offset, None, strings)).dt.tz_convert(None)
    return _moment_text(told.fillna(_localized(naive, timezone)), text.index)


def _localized(naive: pd.Series, timezone: str) -> pd.Series:
    first_of_two = np.ones(len(naive), dtype=bool)
    local = naive.dt.tz_localize(timezone, ambiguous=first_of_two, nonexistent="shift_forward")
    moment: pd.Series = local.dt.tz_convert("UTC")
    return moment


def moments_as_seconds(moments: ExtensionArray) -> npt.NDArray[np.int64]:
    """Moments as seconds since 1970; null is 0."""
    strings = pa.array(moments, pa.string(), from_pandas=True)
    seconds = pc.cast(strings, pa.timestamp("s", "UTC")).cast(pa.int64())
    whole: npt.NDArray[np.int64] = pc.fill_null(seconds, 0).to_numpy()
    return whole


def digests(contacts: pd.Series, *, of: str, key: bytes) -> pd.Series:
    """Keyed BLAKE2b digests (32 hexadecimal digits) that stand for contacts in the ledger.

    `of` is the kind of contact: an address and a phone number never share a digest.
    """
    codes, distinct = pd.factorize(contacts)
    begun = blake2b(f"{of}:".encode(), key=key, digest_size=_DIGEST_BYTES)
    hashed = []
    for value in pc.cast(_strings(distinct), pa.binary()).to_pylist():
        one = begun.copy()
        one.update(value)
        hashed.append(one.digest())
    digits = pa.py_buffer(b"".join(hashed).hex().encode())
    ends = pa.py_buffer(np.arange(len(hashed) + 1, dtype=np.int64) * 2 * _DIGEST_BYTES)
    texts = pa.LargeStringArray.from_buffers(len(hashed), ends, digits)
    return _series(texts.take(pa.array(codes, mask=codes < 0)), contacts.index)


def identified(exported: pd.DataFrame, *, key: bytes) -> pd.DataFrame:
    """Exported rows with the digests of their contact, `email` and `phone`, beside it."""
    return exported.assign(
        email=digests(exported["email_address"], of="email", key=key),
        phone=digests(exported["phone_number"], of="phone", key=key),
    )


def customers(identified: pd.DataFrame) -> pd.Series:
    """Whose each row is by itself: its address's digest or, without one, its phone number's."""
    return identified["email"].fillna(identified["phone"])


def kept(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The rows to go on with, and how many good ones a later row of their order replaced.

    `rows`: in the order they were exported in, `broken` where a rule sets them aside. The last row of
    an order and day wins even where it is broken: an older one is not the order's state.
    """
    last = ~rows.duplicated(["day", "order_number"], keep="last") | rows["order_number"].isna()
    good = ~rows["broken"]
    return rows[last & good], int((~last & good).sum())


def _plain_numbers(strings: pa.Array) -> pa.Array:
    scientific = pc.fill_null(pc.match_substring_regex(strings, _SCIENTIFIC), fill_value=False)
    if not pc.any(scientific).as_py():
        return strings
    plain = [_plain(value.as_py()) for value in strings.filter(scientific)]
    return pc.replace_with_mask(strings, scientific, pa.array(plain, pa.string()))


def _plain(scientific: str) -> str:
    """`1.5E2` as `150.00`; a number too large to carry stays as it is, and so unreadable."""
    value = Decimal(scientific)
    return f"{value.quantize(_CENT, ROUND_HALF_UP):f}" if abs(value) < _LARGEST else scientific


def _are_as_sent(strings: pa.Array) -> bool:
    """Whether all of these are written as ROBIN is sent them already, which is quick to see."""
    if not pc.all(pc.match_substring_regex(strings, _AS_SENT)).as_py():
        return False
    try:
        pc.cast(strings, pa.timestamp("s", "UTC"))
    except pa.ArrowInvalid:  # a month 13, say
        return False
    return True


def _parsed(strings: pa.Array) -> pd.Series:
    joined = pc.replace_substring_regex(strings, r"(\d) ([Z+-])", r"\1\2")
    pointed = pc.replace_substring(joined, ",", ".")
    return pd.to_datetime(_series(pointed, None), format="ISO8601", utc=True, errors="coerce")


def _moment_text(moment: pd.Series, index: pd.Index) -> pd.Series:
    seconds = pa.array(moment.dt.tz_convert(None).dt.floor("s").astype("datetime64[s]"))
    spaced = pc.cast(seconds, pa.string())
    joined = pc.utf8_replace_slice(spaced, start=10, stop=11, replacement="T")
    return _series(pc.binary_join_element_wise(joined, "Z", ""), index)


def _strings(text: pd.Series | pd.Index) -> pa.Array:
    return one_piece(text, pa.string())


def _series(strings: pa.Array, index: pd.Index | None) -> pd.Series:
    series: pd.Series = strings.to_pandas().astype(TEXT)
    return series if index is None else series.set_axis(index)
