"""Whether a file is what its profile says: one sentence on the difference where it is not."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
import pyarrow.compute as pc

from robin_etl.core import columns
from robin_etl.exceptions import ExportError
from robin_etl.exports.amounts import AmountStyle, parse_amounts
from robin_etl.exports.mapping import CUT_OFF, SURPLUS
from robin_etl.exports.naming import name_columns
from robin_etl.exports.profiles import Profile, find_fitting
from robin_etl.exports.vocabulary import load_currencies

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SEPARATORS = {".": (",", " ", "'"), ",": (".", " ", "'")}


def require_columns(there: Collection[str], profile: Profile, path: str) -> None:
    """Raise `ExportError` where columns are missing that the profile needs. `there`: in their order."""
    missing = profile.find_missing(there)
    if not missing:
        return
    own = [name for name in there if name not in (SURPLUS, CUT_OFF)]
    if len(own) == 1 and (other := _find_delimiter(own[0])) not in ("", profile.delimiter):
        raise ExportError(
            f"The cells of {path} are separated by {_name_delimiter(other)}, and the profile "
            f"{profile.name} says {_name_delimiter(profile.delimiter)}. "
            + (
                _advise(own[0].replace('"', "").split(other))
                or "Set its delimiter, or choose the one that fits."
            ),
            path=path,
            column=missing[0],
        )
    advice = _advise(there)
    nouns = f"column {missing[0]}" if len(missing) == 1 else f"columns {', '.join(missing)}"
    raise ExportError(
        f"{path} has no {nouns}, which the profile {profile.name} needs; "
        f"{name_columns(own, profile.sources)}. "
        + (advice or "Add what is missing to the export, or choose the profile that fits it."),
        path=path,
        column=missing[0],
    )


def _advise(there: Collection[str]) -> str:
    """Which shipped profile fits these columns, as a sentence; blank where none does."""
    fitting = find_fitting(there)
    if fitting is None:
        return ""
    return fitting.unusable or f"It fits the profile {fitting.name}: set ROBIN_ETL_PROFILE to that."


def check_style(cells: pd.DataFrame, rows: pd.DataFrame, profile: Profile, path: str) -> None:
    """Raise `ExportError` where no amount, or no date, is written as the profile says, and all are in
    another way: that is another form of file, and not so many bad rows.
    """
    _check_dates(rows, profile, path)
    names = [column.name for money in profile.money.values() for column in money.columns]
    for name in dict.fromkeys(names):
        if name not in cells.columns or not rows["revenue"].isna().all():
            continue
        text = columns.trim(cells[name]).dropna()
        if len(text) < 2 or pc.any(pc.is_valid(parse_amounts(text, profile.amount_style))).as_py():
            continue
        if other := _find_style(text, profile):
            raise ExportError(
                f"The amounts in column {name} of {path} are written with {_describe(other)}, and the "
                f"profile {profile.name} says {_describe(profile.amount_style)}. Set decimal_mark, "
                "thousands_separator and currency_signs to what is meant, or draft the profile anew.",
                path=path,
                column=name,
            )


def _check_dates(rows: pd.DataFrame, profile: Profile, path: str) -> None:
    texts = rows["order_date_text"].dropna()
    if len(texts) < 2 or rows["order_date"].notna().any():
        return
    # What drafts profiles reads files itself, by what is here.
    from robin_etl.exports.drafting.date_formats import list_formats  # noqa: PLC0415

    if formats := list_formats(texts):
        column = " and ".join(profile.date_columns[0])
        raise ExportError(
            f"The dates in column {column} of {path} are written as {' or '.join(formats)}, and the "
            f"profile {profile.name} says {', '.join(profile.date_formats)}. Set date_formats to what "
            "is meant, or draft the profile anew.",
            path=path,
            column=profile.date_columns[0][0],
        )


def _find_style(text: pd.Series, profile: Profile) -> AmountStyle | None:
    """The style that all of these are written in, if there is one."""
    signs = {*profile.currency_signs}
    for part in pc.extract_regex(columns.to_strings(text), _SIGNS).flatten():
        signs |= {sign for sign in pc.unique(part).to_pylist() if sign}
    if len(signs) > len(profile.currency_signs) + 2:
        return None
    for mark, separators in _SEPARATORS.items():
        for separator in ("", *separators):
            style = AmountStyle(mark, separator, tuple(sorted(signs)))
            if pc.all(pc.is_valid(parse_amounts(text, style))).as_py():
                return style
    return None


_SIGNS = (
    r"\A[\s\pZ(+-]*(?P<before>[^\s\pZ\d.,'()+-]{0,4})[\s\pZ+-]*[\d.,'\s\pZ\x{2019}-]*"
    r"(?P<behind>[^\s\pZ\d.,'()+-]{0,4})[\s\pZ)+-]*\z"
)


def _describe(style: AmountStyle) -> str:
    words = ["a decimal comma" if style.mark == "," else "a decimal point"]
    if style.separator:
        between = {" ": "spaces", "'": "apostrophes", ",": "commas", ".": "points"}[style.separator]
        words.append(f"{between} between thousands")
    known = {sign for signs in load_currencies().values() for sign in signs}
    shown = [sign for sign in style.signs if sign.lower() in known]
    if shown:
        words.append(f"the signs {' '.join(shown)}")
    if len(shown) < len(style.signs):  # what stands there may be anything, half of a name too
        words.append("signs of no currency")
    return ", ".join(words)


def _find_delimiter(header: str) -> str:
    """What seems to separate the cells of a header that was read as one; blank for nothing."""
    counts = {delimiter: header.count(delimiter) for delimiter in _DELIMITERS}
    likeliest = max(counts, key=lambda one: counts[one])
    return likeliest if counts[likeliest] else ""


def _name_delimiter(delimiter: str) -> str:
    return _DELIMITERS.get(delimiter, f"{delimiter!r}")
