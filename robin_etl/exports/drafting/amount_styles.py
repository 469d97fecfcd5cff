"""How the amounts of a file are written, decided from all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from robin_etl.core import columns
from robin_etl.exports import vocabulary
from robin_etl.exports.amounts import AmountStyle, parse_amounts
from robin_etl.exports.drafting.questions import Ask, Question
from robin_etl.exports.sampling import Sample

_MARKS = {".": ("", ",", " ", "'"), ",": ("", ".", " ", "'")}
_SIGNS = (
    r"\A[\s\pZ(+\x{2212}-]*(?P<before>[^\s\pZ\d,'()+\x{2212}-]*?)[\s\pZ+\x{2212}-]*"
    r"[\d.,][\d.,'\s\pZ\x{2019}-]*?(?P<behind>[^\s\pZ\d,'()+\x{2212}\x{2019}-]*?)[\s\pZ)+\x{2212}-]*\z"
)
_MOST_SIGNS = 6
_WITHOUT_CENTS = ("JPY", "KRW", "VND", "HUF")
_LEAST_SHARE = 0.95
_COMMA, _POINT = "a decimal comma", "a decimal point"


@dataclass(frozen=True)
class FoundStyle:
    """A style, why it is that, and whether a person still has to say."""

    style: AmountStyle
    why: str
    is_decided: bool = True


def are_amounts(text: pd.Series) -> bool:
    """Whether most cells of a column are amounts in some style."""
    filled = text.dropna().head(2000)
    if filled.empty:
        return False
    signs = find_signs(filled)
    return any(
        _count_read(filled, AmountStyle(mark, separator, signs)) >= 0.9 * len(filled)
        for mark, separators in _MARKS.items()
        for separator in separators
    )


def find_signs(text: pd.Series) -> tuple[str, ...]:
    """What stands before or behind the amounts and is a sign or code of a currency, the most frequent
    first.
    """
    known = {sign for signs in vocabulary.load_currencies().values() for sign in signs}
    seen: dict[str, int] = {}
    for part in pc.extract_regex(columns.to_strings(text), _SIGNS).flatten():
        for one in pc.value_counts(part).to_pylist():
            sign = (one["values"] or "").strip()
            short = sign.rstrip(".") if sign.lower() not in known else sign
            if short and (short.lower() in known or (len(short) <= 3 and not short.isascii())):
                seen[short] = seen.get(short, 0) + one["counts"]
    return tuple(sorted(seen, key=lambda sign: -seen[sign]))[:_MOST_SIGNS]


def find_style(
    amounts: Sequence[pd.Series], shipped: AmountStyle | None, sample: Sample, ask: Ask
) -> FoundStyle:
    """The style of all amounts together, that of a shipped profile where it reads as much."""
    text = pd.concat([one.dropna() for one in amounts], ignore_index=True) if amounts else None
    if text is None or text.empty:
        return FoundStyle(shipped or AmountStyle(), "no amount in this file says how they are written")
    text = text.drop_duplicates().astype(columns.TEXT)
    if shipped and _count_read(text, shipped) == len(text):
        return FoundStyle(shipped, "")
    signs = find_signs(text)
    best = {mark: _find_best(text, mark, signs) for mark in _MARKS}
    counts = {mark: _count_read(text, style) for mark, style in best.items()}
    most = max(counts.values())
    marks = [mark for mark, count in counts.items() if count == most]
    if most < _LEAST_SHARE * len(text):
        return _ask_mark(text, best, marks, ask, "they are written in several ways")
    if len(marks) > 1 and not _read_alike(text, best):
        return _choose_mark(text, best, marks, ask)
    if len(marks) > 1:
        # No amount has cents. A semicolon between cells leaves the comma to the amounts.
        mark = "," if sample.is_text and sample.layout.delimiter == ";" else "."
        return FoundStyle(
            _widen(best[mark]), "no amount in this file has cents; a guess by its delimiter"
        )
    style = _widen(best[marks[0]])
    unread = f"; {len(text) - most} of them are not" if most < len(text) else ""
    read = text[_are_read(text, style)]
    example = max(read.head(200), key=lambda one: sum(not letter.isdigit() for letter in one))
    return FoundStyle(style, f"all {len(text):,} different amounts are so, such as {example}{unread}")


def choose_currency(found: FoundStyle, ask: Ask) -> FoundStyle:
    """The style with the signs of one currency; a file that has those of several, and no column that
    says which an order is in, is asked about.
    """
    signs = found.style.signs
    if _share_currency(signs):
        return found
    answer = ask(
        Question(
            "currency_signs",
            "which of these does the shop report in? The amounts are in several currencies, and no "
            "column says which. Orders in another can't be read, and are quarantined.",
            signs,
        )
    )
    kept = tuple(sign for sign in signs if answer and _share_currency((sign, answer)))
    why = found.why if answer else f"the signs {' '.join(signs)} stand for several currencies"
    style = AmountStyle(found.style.mark, found.style.separator, kept)
    return FoundStyle(style, why, is_decided=found.is_decided and answer is not None)


def _share_currency(signs: Sequence[str]) -> bool:
    """Whether there is a currency that all of these signs may stand for."""
    known = vocabulary.load_currencies().values()
    meant = [one.lower() for one in signs if any(one.lower() in those for those in known)]
    return not meant or any(set(meant) <= set(those) for those in known)


def _has_no_cents(signs: Sequence[str]) -> bool:
    """Whether all signs are of currencies without cents."""
    known = vocabulary.load_currencies()
    return bool(signs) and all(
        any(sign.lower() in known[code] for code in _WITHOUT_CENTS) for sign in signs
    )


def _widen(style: AmountStyle) -> AmountStyle:
    """With points between thousands where the mark is a comma: a day with larger amounts has them."""
    return AmountStyle(",", style.separator or ".", style.signs) if style.mark == "," else style


def _find_best(text: pd.Series, mark: str, signs: tuple[str, ...]) -> AmountStyle:
    styles = [AmountStyle(mark, separator, signs) for separator in _MARKS[mark]]
    return max(styles, key=lambda style: _count_read(text, style))


def _read_alike(text: pd.Series, best: dict[str, AmountStyle]) -> bool:
    point, comma = (parse_amounts(text, style) for style in best.values())
    same = pc.equal(pc.cast(point, pa.decimal128(38, 10)), pc.cast(comma, pa.decimal128(38, 10)))
    return bool(pc.all(same).as_py())


def _choose_mark(
    text: pd.Series, best: dict[str, AmountStyle], marks: list[str], ask: Ask
) -> FoundStyle:
    """What three digits behind an only mark are: thousands, where a currency has no cents."""
    if _has_no_cents(best[marks[0]].signs):
        grouped = next(mark for mark in marks if best[mark].separator)
        return FoundStyle(best[grouped], "the currency has no cents")
    return _ask_mark(text, best, marks, ask, "each has three digits behind its only mark")


def _ask_mark(
    text: pd.Series, best: dict[str, AmountStyle], marks: list[str], ask: Ask, why: str
) -> FoundStyle:
    shown = text[text.str.contains(r"\d[.,]\d", regex=True)]
    answer = ask(
        Question(
            "decimal_mark",
            f"what stands before the cents? The amounts of this file don't say: {why}.",
            (_POINT, _COMMA),
            " and ".join(shown.head(2)),
        )
    )
    mark = {_POINT: ".", _COMMA: ","}.get(answer or "", marks[0])
    return FoundStyle(_widen(best[mark]), why, is_decided=answer is not None)


def _are_read(text: pd.Series, style: AmountStyle) -> pd.Series:
    read = pc.is_valid(parse_amounts(text, style))
    return pd.Series(read.to_numpy(zero_copy_only=False), index=text.index)


def _count_read(text: pd.Series, style: AmountStyle) -> int:
    return int(_are_read(text, style).sum())
