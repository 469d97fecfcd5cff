"""Cells that a spreadsheet has damaged: rounded numbers, and what it shows for a value. Pure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from robin_etl.core import columns

# 1,00E+11 for 100000000123; 10-Feb for 10-2; ##### in a narrow column; #NAME? for what began with =.
_ROUNDED = r"[+-]?\d(?:[.,]\d+)?[eE]\+\d{1,3}"
_MONTHS = "jan|feb|mar|mrt|mär|mrz|apr|may|mei|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez"
_DATED = rf"\d{{1,2}}[-/ ](?i:{_MONTHS})[a-zä]{{0,2}}\.?"
_SHOWN = r"#{2,}|#[A-Z0-9/ÄÖÜ]{2,}[!?]|#N/A|#NV|#N/B|#N/D"
_NUMBER = rf"\A(?:{_ROUNDED}|{_DATED}|{_SHOWN})\z"
# A number without any of these is whole, which is quick to see in all bytes at once.
_MARKS = (b"+", b"#", b"-", b"/", b" ")
# A date shown as its serial number, or without all but its minutes.
_DATE = rf"\A(?:\d{{5}}(?:[.,]\d+)?|\d{{2}}:\d{{2}}[.,]\d|{_ROUNDED}|{_SHOWN})\z"


def find_damaged_numbers(text: pd.Series) -> pd.Series:
    """Which order or phone numbers are not what they were."""
    strings = columns.to_strings(text)
    content = strings.buffers()[-1]
    if content is None or not any(mark in content.to_pybytes() for mark in _MARKS):
        return pd.Series(data=False, index=text.index)
    return _match(strings, _NUMBER, text.index)


def find_damaged_dates(text: pd.Series) -> pd.Series:
    """Which dates, of those that can't be read otherwise, are not what they were."""
    if text.isna().all():
        return pd.Series(data=False, index=text.index)
    return _match(columns.to_strings(text), _DATE, text.index)


def _match(strings: pa.Array, expression: str, index: pd.Index) -> pd.Series:
    found = pc.fill_null(pc.match_substring_regex(strings, expression), fill_value=False)
    return pd.Series(found.to_numpy(zero_copy_only=False).astype(np.bool_), index=index)
