"""The columns that every other module speaks of: their names and types, and what whole columns need.

Text columns are pandas' `str` with nulls; money is `Int64` cents; a moment is the text that ROBIN is
sent, `2017-04-05T12:34:56Z` (UTC), which sorts as it reads; a day is `2017-04-05`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

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
NUMBER: Final = "Int64"

# One row for each order and export day, as extract leaves it: the contact in clear. No flag is false.
EXPORTED_DTYPES: dict[str, str] = {
    "order_number": TEXT,
    "day": TEXT,
    "email_address": TEXT,
    "phone_number": TEXT,
    "revenue": CENTS,
    "profit": CENTS,
    "order_date": TEXT,
    "webstore_url": TEXT,
    "is_cancelled": FLAG,
}

# The digests that identify adds: who a row speaks of, without saying it.
CONTACT_DTYPES: dict[str, str] = {"email": TEXT, "phone": TEXT}

# What ROBIN holds of an order. `day` is the newest export that said so; each `..._day` the newest
# export that said that value, since a blank cell says nothing. `customer` is the e-mail address's
# digest or, without one, the phone number's. A cancelled order that ROBIN was never told of is
# remembered, so that an older export does not revive it: `is_told` is false then.
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
    "is_cancelled": FLAG,
    "is_told": FLAG,
}

# What of it the ledger's table has: the digest in `email` is `customer`, or there is none.
STATE_COLUMNS = tuple(name for name in LEDGER_DTYPES if name != "email")

# What is to be sent: the state ROBIN will hold, what it held before, and the contact to name.
# `exported_on` is the day of the export that says so first. Of an order that is new to ROBIN nothing was
# held, and the flags of what it held are false.
CHANGE_DTYPES: dict[str, str] = {
    **LEDGER_DTYPES,
    "kind": TEXT,
    "wave": COUNT,
    "exported_on": TEXT,
    "old_revenue": CENTS,
    "old_profit": CENTS,
    "old_order_date": TEXT,
    "was_first_order": FLAG,
    "is_other_customer": FLAG,
    "email_address": TEXT,
    "phone_number": TEXT,
}


def make_empty(dtypes: Mapping[str, str]) -> pd.DataFrame:
    """A frame of these columns without rows."""
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in dtypes.items()})


def conform(frame: pd.DataFrame, dtypes: Mapping[str, str]) -> pd.DataFrame:
    """The columns of `dtypes`, in that order and of those types; one that is missing is all null."""
    missing = {
        name: pd.Series(pd.NA, index=frame.index, dtype=dtype)
        for name, dtype in dtypes.items()
        if name not in frame.columns
    }
    chosen = (frame.assign(**missing) if missing else frame)[list(dtypes)]
    # pandas takes a frame apart for it, which costs more than all else where the types are right.
    wrong = {
        name: dtype
        for (name, dtype), found in zip(dtypes.items(), chosen.dtypes, strict=True)
        if found != _parse_dtype(dtype)
    }
    return chosen.astype(wrong) if wrong else chosen


@cache
def _parse_dtype(dtype: str) -> Any:
    return pd.api.types.pandas_dtype(dtype)


def to_arrow(column: pd.Series | pd.Index, kind: Any = None) -> pa.Array:
    """A column as one Arrow array, of that type if given: one in pieces is slower to take from."""
    array = pa.array(column.array, kind, from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def to_list(column: pd.Series) -> list[Any]:
    """A column as Python's own values, null as None."""
    values: list[Any] = pa.array(column, from_pandas=True).to_pylist()
    return values


def iterate_states(rows: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Rows as the ledger's table takes them: the values of `STATE_COLUMNS`."""
    return zip(*(to_list(rows[name]) for name in STATE_COLUMNS), strict=True)


def trim(text: pd.Series) -> pd.Series:
    """Text without white space around it; what is blank then is null."""
    stripped = pc.utf8_trim_whitespace(to_strings(text))
    return to_series(pc.if_else(pc.equal(stripped, ""), None, stripped), text.index)


def to_strings(text: pd.Series | pd.Index) -> pa.Array:
    return to_arrow(text, pa.string())


def to_series(strings: pa.Array, index: pd.Index | None) -> pd.Series:
    series: pd.Series = strings.to_pandas().astype(TEXT)
    return series if index is None else series.set_axis(index)
