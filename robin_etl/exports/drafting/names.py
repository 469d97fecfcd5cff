"""What the name of a column says by its words, in the languages of the vocabulary."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from robin_etl.exports import vocabulary

_TAXES = r"(?:tax|taxes|vat|btw|mwst|ust|iva|tva|moms|mva|alv|podatek|dph|afa|kdv|gst)"
_GROSS = re.compile(
    rf"\b(?:(?:incl?|including|inkl|inclusief|ttc|sis|vc|vcetne)\b(?: {_TAXES}\b)?"
    rf"|(?:con|com|cu|avec|z|s|med|with) {_TAXES}\b|{_TAXES} (?:inclu|incl|inkl|compres|dahil)\w*"
    r"|(?<=\w )(?:brutto|bruto|gross)\b)|税込み?"
)
_NET = re.compile(
    rf"\b(?:(?:excl?|ex|excluding|exkl|exclusief|ht|netto|net|zzgl)\b(?: {_TAXES}\b)?"
    rf"|(?:sin|sem|bez|sans|fara|uden|uten|utan|ilman|before|without) {_TAXES}\b"
    rf"|{_TAXES} (?:exclu|excl|exkl|esclus|haric|nelkul)\w*)|税抜き?"
)
_CODE = re.compile(r"\b(?:eur|usd|gbp|chf|sek|dkk|nok|pln|czk|huf|ron|base|shop currency)\b")
# Names that are another thing behind any of these words, which come from the middle of longer names.
_LONG = 8
_SHORT_BUT_CLEAR = {
    *("email", "mail", "phone", "telefon", "tel", "currency"),
    *("status", "estado", "statut", "etat", "stato", "stav", "stan", "tila", "durum"),
}
_CENTS = re.compile(r"\b(?:cents?|centen|centimes|minor units?|pence|grosze)\b")
_OWN = ("base", "shop currency")
_SHARE = re.compile(r"%|\b(?:percent\w*|pct|prozent\w*|procent\w*|pourcent\w*|porcent\w*|rate)\b")
_OF_SHOP = re.compile(
    r"\b(?:handled|staff|agent|employee|admin|sales ?person|shop|store|merchant|seller|vendor|supplier"
    r"|medewerker|winkel|verkoper|mitarbeiter|verkaufer|handler|vendeur|boutique)\b"
)
_OF_ITEM = re.compile(r"\b(?:item|line|lineitem|product|sku|unit|row|article|artikel)\b")


@dataclass(frozen=True)
class Name:
    """A column's name as it is compared: without brackets, taxes and codes of currencies."""

    column: str
    words: str
    is_gross: bool
    is_net: bool


@cache
def simplify_name(column: str) -> Name:
    whole = vocabulary.simplify(column)
    bare = vocabulary.simplify(re.sub(r"\([^()]*\)|\[[^\[\]]*\]", " ", column)) or whole
    words = _CENTS.sub(" ", _CODE.sub(" ", _NET.sub(" ", _GROSS.sub(" ", bare))))
    return Name(
        column, " ".join(words.split()) or bare, bool(_GROSS.search(whole)), bool(_NET.search(whole))
    )


def rate_name(name: Name, meaning: str) -> int:
    """How well a name tells a meaning; 0 for not at all."""
    best = 0
    joined = name.words.replace(" ", "")
    for words in vocabulary.load_columns(meaning).values():
        for at, word in enumerate(words):
            if word == name.words or word.replace(" ", "") == joined:
                best = max(best, 1000 - at)
            elif " " not in word and len(word) < _LONG and word not in _SHORT_BUT_CLEAR:
                continue
            elif name.words.endswith(f" {word}"):
                best = max(best, 600 - at - 5 * name.words.count(" "))
            elif name.words.startswith(f"{word} ") and (" " in word or word in _SHORT_BUT_CLEAR):
                best = max(best, 400 - at - 5 * name.words.count(" "))
            elif f" {word} " in f" {name.words} " and " " in word:
                best = max(best, 200 - at - 5 * name.words.count(" "))
    return best


def is_net(column: str) -> bool:
    """Whether an amount's name says that it is before tax."""
    name = simplify_name(column)
    return name.is_net and not name.is_gross


def is_gross(column: str) -> bool:
    """Whether an amount's name says that its tax is in it."""
    return simplify_name(column).is_gross


def is_share(column: str) -> bool:
    """Whether a number's name says that it is so many of a hundred."""
    return bool(_SHARE.search(column.lower()))


def is_of_shop(column: str) -> bool:
    """Whether a contact's name says that it is the shop's, or of somebody who works there."""
    return bool(_OF_SHOP.search(vocabulary.simplify(column)))


def find_code(column: str) -> str:
    """The currency that an amount's name says, blank where it says none."""
    found = _CODE.search(vocabulary.simplify(column))
    return found[0] if found and found[0] not in _OWN else ""


def is_in_cents(column: str) -> bool:
    """Whether an amount's name says that it is in hundredths."""
    return bool(_CENTS.search(vocabulary.simplify(column)))


def is_in_utc(column: str) -> bool:
    """Whether a date's name says that it is in UTC."""
    return bool(re.search(r"\b(?:utc|gmt)\b", vocabulary.simplify(column)))


def is_after_refunds(column: str) -> bool:
    """Whether an amount's name says that refunds are taken off it already."""
    return bool(re.match(r"(?:current|remaining)\b|total sales\Z", vocabulary.simplify(column)))


def is_of_item(column: str) -> bool:
    """Whether a column's name says that it is a line item's."""
    return bool(_OF_ITEM.search(vocabulary.simplify(column)))
