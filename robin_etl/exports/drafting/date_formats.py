"""How the dates of a file are written, decided from all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

from robin_etl.core import columns, dates
from robin_etl.exports import damage, vocabulary
from robin_etl.exports.drafting.questions import Ask, Question
from robin_etl.exports.profiles import Profile

_LEAST_SHARE = 0.95
_DAY_FIRST, _MONTH_FIRST, _YEAR_FIRST = "dmy", "mdy", "ymd"
_ANSWERS = {"the day": _DAY_FIRST, "the month": _MONTH_FIRST}
_MONTH = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_DOTTED_HALF = r"(?i)(?<=\d)\s?[ap]\.\s?m\.?\Z"
_NO_MONTH = re.compile(
    rf"(?:{_MONTH}|AM|PM|T|Z|UTC|GMT|[hu年月日時分]|uur|uhr|at|om|um|kl|klo|à|às|a|o|alle|las)\Z",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"(?P<between>T|,? +(?:(?:at|om|um|kl\.?|klo\.?|à|às|alle|a las|o|-) +)?)"
    r"(?P<hour>\d{1,2})(?P<first>[:.hH])(?P<minute>\d{2})"
    r"(?:(?P<second_mark>[:.])(?P<second>\d{2})(?P<fraction>[.,]\d{1,9})?)?"
    r"(?P<word> ?(?i:uur|uhr|h|u)\.?)?(?P<half> ?[AaPp][Mm])?"
    r"(?P<offset> ?(?:GMT|UTC)?[+-]\d{2}:?\d{2}| ?(?:Z|UTC|GMT))?\Z"
)
# Whole numbers, by the lengths that they have as dates.
_COUNTED = (
    (r"1\d{9}(?:\.\d+)?", dates.SECONDS),
    (r"1\d{12}(?:\.0+)?", dates.MILLISECONDS),
    (r"[2-7]\d{4}(?:[.,]\d+)?", dates.SERIAL),
    (r"(?:19|20)\d{6}", "%Y%m%d"),
    (r"\d{4}(?:19|20)\d{2}", "%d%m%Y"),
    (r"(?:19|20)\d{10}", "%Y%m%d%H%M"),
    (r"(?:19|20)\d{12}", "%Y%m%d%H%M%S"),
)


@dataclass(frozen=True)
class FoundFormats:
    """Formats of dates, the language of their months, whether one lacks an offset, why so, and whether
    the column's name says that they are in UTC.
    """

    formats: tuple[str, ...]
    language: str = ""
    is_local: bool = True
    why: str = ""
    is_utc: bool = False


def are_dates(text: pd.Series) -> bool:
    """Whether most cells of a column are dates in some format."""
    filled = text.dropna().drop_duplicates().head(500)
    if filled.str.match(r"(?=.*\d)[^@]{5,45}\Z").mean() < _LEAST_SHARE:
        return False
    return not filled.empty and bool(_list_findings(filled))


def are_times(text: pd.Series) -> bool:
    """Whether the cells of a column are times of day, without a date."""
    filled = text.dropna().head(500)
    # With a point it may be an amount as well, unless another one follows.
    expression = r"\A\d{1,2}(?:[:h]\d{2}(?:[:.]\d{2})?|\.\d{2}\.\d{2})(?: ?[AaPp]\.?[Mm]\.?)?\Z"
    return not filled.empty and bool(filled.str.match(expression).mean() > 0.9)


def list_formats(text: pd.Series) -> list[str]:
    """The formats, one after the other, of each way to read nearly all of these dates."""
    filled = text.dropna().drop_duplicates().head(500)
    if filled.empty or damage.find_damaged_dates(filled).any():
        return []
    return [", ".join(found.formats) for found in _list_findings(filled).values()]


def find_formats(
    text: pd.Series, ask: Ask, *, known: Profile | None = None, is_day_first: bool = False
) -> FoundFormats:
    """The formats of these dates, those of a `known` profile where they read them.

    `is_day_first`: whether the file is one of a country that writes the day first.
    """
    filled = text.dropna().drop_duplicates()
    findings = _list_findings(filled)
    # A shop may have another form than its system's usual one, which reads the same cells otherwise.
    is_ambiguous = {_DAY_FIRST, _MONTH_FIRST} <= findings.keys()
    reads_all = known and _share_read(filled, known.date_formats, known.date_language) == 1
    if known and reads_all and not is_ambiguous:
        is_local = _are_local(filled, known.date_formats)
        return FoundFormats(known.date_formats, known.date_language, is_local)
    if len(findings) == 1:
        return next(iter(findings.values()))
    if findings:
        return _choose(filled, text.dropna(), findings, ask, is_day_first=is_day_first)
    answer = ask(
        Question(
            "date_formats",
            "how are the dates written? None of the usual ways reads them; write it as Python's "
            "strptime does, such as %d-%m-%Y %H:%M.",
            (),
            str(next(iter(filled), "")),
        )
    )
    return FoundFormats((answer,) if answer else (), why="can't be read in any usual way")


def _choose(
    filled: pd.Series,
    in_order: pd.Series,
    findings: dict[str, FoundFormats],
    ask: Ask,
    *,
    is_day_first: bool,
) -> FoundFormats:
    """Of several ways to read all dates the one that something speaks for."""
    day = findings.get(_DAY_FIRST)
    month = findings.get(_MONTH_FIRST)
    if day is None or month is None:
        return day or month or next(iter(findings.values()))
    if found := _find_evidence(filled, in_order, day, month):
        return found
    if is_day_first:
        return _explain(day, "day or month first can't be seen; semicolons speak for the day")
    answer = ask(
        Question(
            "date_formats",
            "is the day or the month first? Every date of this file can be read both ways.",
            tuple(_ANSWERS),
            str(filled.iloc[0]),
        )
    )
    if answer is None:
        return FoundFormats((), why="the day or the month may be first")
    return findings[_ANSWERS.get(answer, _DAY_FIRST)]


def _find_evidence(
    filled: pd.Series, in_order: pd.Series, day: FoundFormats, month: FoundFormats
) -> FoundFormats | None:
    """The one of two ways that something in the file speaks for, None where nothing does."""
    by_day, by_month = _parse(in_order, day), _parse(in_order, month)
    if by_day.equals(by_month):
        return day
    if filled.str.contains(r"\A\d{1,2}\.\d{1,2}\.", regex=True).all():
        return _explain(day, "with points the day is first")
    rising = [
        found
        for found, read in ((day, by_day), (month, by_month))
        if read.is_monotonic_increasing or read.is_monotonic_decreasing
    ]
    if len(rising) == 1 and len(filled) >= 5:
        return _explain(rising[0], "so the rows are in the order of their dates")
    return None


def _explain(found: FoundFormats, why: str) -> FoundFormats:
    return FoundFormats(found.formats, found.language, found.is_local, why)


def _list_findings(filled: pd.Series) -> dict[str, FoundFormats]:
    """The ways to read nearly all of these dates, by what is first in them."""
    if _share_read(filled, (dates.ISO,)) >= _LEAST_SHARE:
        return {
            "": FoundFormats((dates.ISO,), is_local=_are_local(filled, (dates.ISO,)), why="ISO 8601")
        }
    for expression, form in _COUNTED:
        if filled.str.fullmatch(expression).mean() >= _LEAST_SHARE and _share_read(filled, (form,)) >= (
            _LEAST_SHARE
        ):
            is_local = form not in (dates.SECONDS, dates.MILLISECONDS)
            return {"": FoundFormats((form,), is_local=is_local, why=f"such as {filled.iloc[0]}")}
    undamaged = filled[~damage.find_damaged_dates(filled)]
    language = _find_language(undamaged)
    if undamaged.empty or language is None:
        return {}
    english = vocabulary.translate_months(undamaged, language) if language else undamaged
    shapes = english.str.replace(r"\d", "0", regex=True).str.replace(_MONTH, "b", regex=True)
    examples = english[~shapes.duplicated()].head(40)
    findings: dict[str, FoundFormats] = {}
    for order in (_DAY_FIRST, _MONTH_FIRST, _YEAR_FIRST):
        made = [_make_format(one, order) for one in examples]
        formats = tuple(dict.fromkeys(form for form in made if form))
        # The longer ones first: a date without its time is not to be taken for one with it.
        if formats and _share_read(undamaged, formats, language) >= _LEAST_SHARE:
            is_local = any("%z" not in form for form in formats)
            why = f"such as {undamaged.iloc[0]}"
            findings[order] = FoundFormats(formats, language, is_local, why)
    if _YEAR_FIRST in findings and len(findings) > 1:
        del findings[_YEAR_FIRST]
    if len({one.formats for one in findings.values()}) == 1:
        return dict(list(findings.items())[:1])
    return findings


def _find_language(texts: pd.Series) -> str | None:
    """The language of the months' names, blank where they are numbers, None for one that is unknown."""
    bare = texts.head(500).str.replace(_DOTTED_HALF, "", regex=True)
    words = {word for text in bare for word in re.findall(r"[^\W\d_]+", text)}
    if not words and not bare.equals(texts.head(500)):
        return "en"  # as which its a.m. and p.m. are read
    if all(_NO_MONTH.match(word) and not re.fullmatch(_MONTH, word, re.IGNORECASE) for word in words):
        return ""
    fits = {}
    for language in vocabulary.load_months():
        english = vocabulary.translate_months(texts, language)
        fits[language] = int(english.str.contains(rf"\b(?:{_MONTH})\b", regex=True).sum())
    best = max(fits, key=lambda language: fits[language])
    return best if fits[best] >= _LEAST_SHARE * len(texts) else None


def _make_format(text: str, order: str) -> str | None:
    """The strptime format of one date, None where it is none."""
    found = _TIME.search(text)
    day, time = (text[: found.start()], _make_time(found)) if found else (text, "")
    tokens = re.findall(r"\d+|[A-Za-z]+|[^\dA-Za-z]+", day)
    numbers = [token for token in tokens if token.isdigit()]
    months = [token for token in tokens if re.fullmatch(_MONTH, token)]
    if len(numbers) + len(months) != 3 or len(months) > 1:
        return None
    fields = _name_fields(numbers, has_month=bool(months), order=order)
    if fields is None:
        return None
    named = iter(fields)
    parts = []
    for token in tokens:
        if token.isdigit():
            parts.append(next(named))
        elif token in months:
            parts.append("%b")
        else:
            parts.append(token.replace("%", "%%"))
    return "".join(parts) + time


def _name_fields(numbers: list[str], *, has_month: bool, order: str) -> list[str] | None:
    if any(len(number) not in (1, 2, 4) for number in numbers):
        return None
    if has_month:
        if len(numbers[0]) == 4:
            return ["%Y", "%d"]
        return ["%d", "%Y" if len(numbers[1]) == 4 else "%y"]
    if len(numbers[0]) == 4:
        return ["%Y", "%m", "%d"]
    year = "%Y" if len(numbers[2]) == 4 else "%y"
    if order == _YEAR_FIRST:
        return ["%y", "%m", "%d"] if year == "%y" else None
    return ["%d", "%m", year] if order == _DAY_FIRST else ["%m", "%d", year]


def _make_time(found: re.Match[str]) -> str:
    half = found["half"] or ""
    second = f"{found['second_mark']}%S" if found["second"] else ""
    fraction = f"{found['fraction'][0]}%f" if found["fraction"] else ""
    offset = re.sub(r"Z\Z|UTC\Z|GMT\Z|[+-].*", "%z", found["offset"] or "")
    return (
        f"{found['between']}{'%I' if half else '%H'}{found['first']}%M{second}{fraction}"
        f"{found['word'] or ''}{' %p' if half.startswith(' ') else '%p' if half else ''}{offset}"
    )


def _parse(text: pd.Series, found: FoundFormats) -> pd.Series:
    english = vocabulary.translate_months(text, found.language) if found.language else text
    return dates.parse_moments(english, "UTC", found.formats).dropna()


def _share_read(text: pd.Series, formats: tuple[str, ...], language: str = "") -> float:
    if text.empty:
        return 1
    return len(_parse(text, FoundFormats(formats, language))) / len(text)


def _are_local(text: pd.Series, formats: tuple[str, ...]) -> bool:
    """Whether any of these dates has no offset: it is another moment then in another time zone."""
    here, there = (
        dates.parse_moments(columns.trim(text), zone, formats) for zone in ("UTC", "Pacific/Kiritimati")
    )
    return not here.equals(there)
