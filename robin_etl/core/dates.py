"""Dates and times as text to the moments that ROBIN is sent. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.api.extensions import ExtensionArray

from robin_etl.core.columns import NUMBER, TEXT, to_series, to_strings, trim

# The formats of dates that strptime has no words for: ISO 8601, seconds and milliseconds since 1970, and
# a spreadsheet's days since 1900.
ISO: Final = "iso"
SECONDS: Final = "seconds"
MILLISECONDS: Final = "milliseconds"
SERIAL: Final = "serial"
NAMED: Final = (ISO, SECONDS, MILLISECONDS, SERIAL)

_MOMENT = (
    r"\A\d{4}-\d{2}-\d{2}"
    r"([T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?( ?(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?))?)?\z"
)
_AS_SENT = r"\A\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z\z"
_LENGTH = len("2017-04-05 12:34:56")
_OFFSET = r"(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)\z"
_TIME_OF_DAY = r"[T ]\d{2}:"
_DAY = 86_400
_WHOLE = r"\A\d{1,11}(\.\d*)?\z"
_WHOLE_MILLISECONDS = r"\A(?P<seconds>\d{1,11})\d{3}(?P<rest>\.0*)?\z"
# Of the years 1900 to 9999, which are all that a spreadsheet counts.
_SERIAL = r"\A\d{1,7}([.,]\d{1,15})?\z"
_SERIAL_ZERO = pd.Timestamp("1899-12-30")
_MOST_SERIAL = 2_958_465
# A time zone is asked for its offset between these only: Python's dates have the years 1 to 9999, which
# an offset may lead out of.
_FIRST, _LAST = pd.Timestamp("0001-01-02"), pd.Timestamp("9999-12-30")


def parse_moments(text: pd.Series, timezone: str = "UTC", formats: Sequence[str] = (ISO,)) -> pd.Series:
    """Dates and times to `2017-04-05T12:34:56Z`; unreadable is null.

    `formats` are tried in turn: those `NAMED`, or as Python's strptime takes them. What has no offset is
    in `timezone`; a date alone is its midnight. In the hour that a clock repeats in autumn the earlier
    moment is taken; a time that it skips in spring moves forward.
    """
    trimmed = trim(text)
    parsed: pd.Series | None = None
    for form in formats:
        read = _parse_as(form, trimmed, timezone)
        parsed = read if parsed is None else parsed.fillna(read)
        if parsed.notna().all():
            break
    return pd.Series(index=text.index, dtype=TEXT) if parsed is None else parsed


def _parse_as(form: str, text: pd.Series, timezone: str) -> pd.Series:
    if form == ISO:
        return _parse_iso(text, timezone)
    if form == SERIAL:
        return _parse_serials(text, timezone)
    if form in (SECONDS, MILLISECONDS):
        return _parse_seconds(text, is_thousandth=form == MILLISECONDS)
    return _parse_format(text, timezone, form)


def _parse_seconds(text: pd.Series, *, is_thousandth: bool) -> pd.Series:
    """Seconds since 1970, or thousandths of them."""
    strings = to_strings(text)
    if is_thousandth:
        [strings, _] = pc.extract_regex(strings, _WHOLE_MILLISECONDS).flatten()
    else:
        strings = pc.if_else(pc.match_substring_regex(strings, _WHOLE), strings, None)
        strings = pc.replace_substring_regex(strings, r"\..*", "")
    counted = pc.cast(pc.cast(strings, pa.int64()), pa.timestamp("s"))
    return _to_text(counted.to_pandas().dt.tz_localize("UTC").set_axis(text.index), text.index)


def _parse_serials(text: pd.Series, timezone: str) -> pd.Series:
    """Days since the 30th of December 1899, of which the fraction is the time of day, to the second."""
    strings = to_strings(text)
    strings = pc.if_else(pc.match_substring_regex(strings, _SERIAL), strings, None)
    days = pc.cast(pc.replace_substring(strings, ",", "."), pa.float64())
    days = pc.if_else(pc.and_(pc.greater_equal(days, 1), pc.less(days, _MOST_SERIAL)), days, None)
    seconds = pc.cast(pc.round(pc.multiply(days, float(_DAY))), pa.int64())
    naive = _SERIAL_ZERO.as_unit("s") + seconds.cast(pa.duration("s")).to_pandas()
    return _to_text(_localize(naive, timezone), text.index)


def _parse_format(text: pd.Series, timezone: str, form: str) -> pd.Series:
    has_offset = "%z" in form
    read = pd.to_datetime(text, format=form, utc=has_offset, errors="coerce")
    return _to_text(read if has_offset else _localize(read, timezone), text.index)


def _parse_iso(text: pd.Series, timezone: str) -> pd.Series:
    strings = to_strings(text)
    if _are_as_sent(strings):
        return to_series(strings, text.index)
    strings = pc.if_else(pc.match_substring_regex(strings, _MOMENT), strings, None)
    has_offset = pc.and_(
        pc.match_substring_regex(strings, _OFFSET), pc.match_substring_regex(strings, _TIME_OF_DAY)
    )
    aware = _parse_strings(pc.if_else(has_offset, strings, None))
    naive = _parse_strings(pc.if_else(has_offset, None, strings)).dt.tz_convert(None)
    return _to_text(aware.fillna(_localize(naive, timezone)), text.index)


def _localize(naive: pd.Series, timezone: str) -> pd.Series:
    first_of_two = np.ones(len(naive), dtype=bool)
    near = naive.mask(naive < _FIRST, _FIRST).mask(naive > _LAST, _LAST)
    local = near.dt.tz_localize(timezone, ambiguous=first_of_two, nonexistent="shift_forward")
    moment: pd.Series = local.dt.tz_convert("UTC") + (naive - near)
    return moment


def count_days_ahead(moments: pd.Series, day: date, timezone: str = "UTC") -> pd.Series:
    """How many days of a time zone's calendar each moment (`2017-04-05T12:34:56Z`) is ahead of a day;
    null where there is no moment.
    """
    seconds = count_seconds(moments.array)
    of_row, utc_days = pd.factorize(seconds // _DAY)
    # What is a day in UTC is the end of one and the beginning of another elsewhere.
    begins, ends = (_find_midnights(days, timezone)[of_row] for days in (utc_days, utc_days + 1))
    days = utc_days[of_row] - 1 + (seconds >= begins) + (seconds >= ends)
    epoch = (day - date(1970, 1, 1)).days
    return pd.Series(days - epoch, index=moments.index, dtype=NUMBER).mask(moments.isna())


def _find_midnights(days: npt.NDArray[np.int64], timezone: str) -> npt.NDArray[np.int64]:
    """When these days since 1970 begin in a time zone, in seconds since 1970."""
    naive = pd.Series(days.astype("datetime64[D]").astype("datetime64[s]"))
    moments = _localize(naive, timezone).dt.tz_convert(None)
    seconds: npt.NDArray[np.int64] = moments.to_numpy("datetime64[s]").astype(np.int64)
    return seconds


def count_seconds(moments: ExtensionArray) -> npt.NDArray[np.int64]:
    """Moments as seconds since 1970; null is 0."""
    strings = pa.array(moments, pa.string(), from_pandas=True)
    seconds = pc.cast(strings, pa.timestamp("s", "UTC")).cast(pa.int64())
    whole: npt.NDArray[np.int64] = pc.fill_null(seconds, 0).to_numpy()
    return whole


def _are_as_sent(strings: pa.Array) -> bool:
    """Whether all of these are written as ROBIN is sent them already, which is quick to see."""
    if not pc.all(pc.match_substring_regex(strings, _AS_SENT)).as_py():
        return False
    try:
        pc.cast(strings, pa.timestamp("s", "UTC"))
    except pa.ArrowInvalid:  # a month 13, say
        return False
    return True


def _parse_strings(strings: pa.Array) -> pd.Series:
    joined = strings
    # An expression over all cells costs more than to see that there is nothing to replace.
    if any(pc.any(pc.ends_with(joined, zone)).as_py() for zone in ("UTC", "GMT")):
        joined = pc.replace_substring_regex(joined, r"(\d) ?(UTC|GMT)\z", r"\1Z")
    if pc.any(pc.match_substring(joined, " ")).as_py():
        joined = pc.replace_substring_regex(joined, r"(\d) ([Z+-])", r"\1\2")
    pointed = pc.replace_substring(joined, ",", ".")
    return pd.to_datetime(to_series(pointed, None), format="ISO8601", utc=True, errors="coerce")


def _to_text(moment: pd.Series, index: pd.Index) -> pd.Series:
    seconds = pa.array(moment.dt.tz_convert(None).dt.floor("s").astype("datetime64[s]"))
    spaced = pc.cast(seconds, pa.string())
    # An offset may lead into the year 10000, which nobody can read.
    spaced = pc.if_else(pc.equal(pc.utf8_length(spaced), _LENGTH), spaced, None)
    joined = pc.utf8_replace_slice(spaced, start=10, stop=11, replacement="T")
    return to_series(pc.binary_join_element_wise(joined, "Z", ""), index)
