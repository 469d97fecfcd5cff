"""How a text of which nothing is known is laid out: encoding, delimiter, and where its rows are."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from robin_etl.exports import vocabulary

DELIMITERS = ",;\t|"
# What systems and spreadsheets write that don't write UTF-8, the likeliest first.
_SINGLE_BYTES = (
    *("windows-1252", "windows-1250", "windows-1251", "windows-1253", "windows-1254", "windows-1257"),
    "cp850",
)
_SEP_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)
_USUAL_SIGNS = "€£\u00a0«»\u2013\u2014\u2018\u2019\u201c\u201d°"
_BEGINNING = 1 << 18  # bytes
_LOOKED_AT = 200  # records from the first on
_LONGEST_FOOTER = 20
_DIGITS = re.compile(r"[+-]?\d[\d.,:/ '-]*")


@dataclass(frozen=True)
class Layout:
    """How a file is laid out, by the names that a profile has for it."""

    delimiter: str = ","
    encoding: str = "utf-8"
    lines_above: int = 0
    footer: tuple[str, ...] = ()
    sheet: str = ""


@dataclass(frozen=True)
class Record:
    """A record of a text or a row of a sheet: the line it starts on, its cells, and its text."""

    line: int
    cells: Sequence[str]
    text: str = field(compare=False)

    @property
    def filled(self) -> int:
        """How many of its cells are not blank."""
        return sum(1 for cell in self.cells if cell.strip())


def decode(chunks: Sequence[bytes]) -> tuple[str, str]:
    """The beginning of a text that is in pieces, and the name of its encoding; bytes that are of none
    become a mark each.
    """
    beginning = (chunks[0] if chunks else b"")[:_BEGINNING]
    encoding = _find_encoding(chunks, beginning)
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    return decoder.decode(beginning).removeprefix("\ufeff"), encoding


def decode_end(chunks: Sequence[bytes], encoding: str, most: int) -> tuple[str, bool]:
    """The last `most` bytes of a text that is in pieces, and whether that is all of it."""
    size = sum(map(len, chunks))
    start = max(0, size - most) & ~1  # a character of UTF-16 has an even number of bytes
    end = b""
    for chunk in reversed(chunks):
        end = chunk + end
        if len(end) >= most:
            break
    if encoding == "utf-16":
        encoding = "utf-16-be" if chunks[0].startswith(codecs.BOM_UTF16_BE) else "utf-16-le"
    text = end[start - (size - len(end)) :].decode(encoding, errors="replace")
    return text.removeprefix("\ufeff"), not start


def _find_encoding(chunks: Sequence[bytes], beginning: bytes) -> str:
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if beginning[1:400:2].count(0) > len(beginning[1:400:2]) // 2:
        return "utf-16-le"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in chunks:
            decoder.decode(chunk)  # a file that is taken in part may end within a character
    except UnicodeDecodeError:
        return max(_SINGLE_BYTES, key=lambda name: _rate_encoding(chunks, name))
    return "utf-8"


def _rate_encoding(chunks: Sequence[bytes], name: str) -> float:
    """How much a text in that encoding looks like one: letters in words, and words that are known."""
    text = chunks[0][:_BEGINNING].decode(name, errors="replace")
    foreign = [at for at, letter in enumerate(text) if letter > "\x7f"]
    score = 0.0
    for at in foreign[:2000]:
        letter = text[at]
        beside = text[at - 1 : at] + text[at + 1 : at + 2]
        if letter == "\ufffd" or not letter.isprintable() or "\u2500" <= letter <= "\u25ff":
            score -= 5
        elif letter.isalpha():
            # A capital behind a small letter is no word.
            score += -2 if letter.isupper() and text[at - 1 : at].islower() else 1
            score += 1 if any(other.isascii() and other.isalpha() for other in beside) else 0
        elif letter in _USUAL_SIGNS:
            score += 1
        else:
            score -= 1
    header = text[:2000]
    known = sum(
        1 for word in re.split(r"[,;\t|\r\n\"]", header) if is_known_column(word) and not word.isascii()
    )
    cells = {cell for cell in re.split(r"[,;\t|\r\n\"]", text) if not cell.isascii() and len(cell) <= 40}
    statuses = sum(1 for cell in sorted(cells)[:200] if vocabulary.is_known_status(cell))
    return score / (len(foreign) or 1) + 5 * known + statuses


def find_delimiter(text: str) -> str:
    """What separates the cells: what gives most records of one width most cells."""
    if found := _SEP_LINE.match(text):
        return found[1]

    def rate(delimiter: str) -> int:
        widths = Counter(len(one.cells) for one in split_records(text, delimiter, most=_LOOKED_AT))
        width, records = widths.most_common(1)[0] if widths else (1, 0)
        return (width - 1) * records

    return max(DELIMITERS, key=rate)


def split_records(text: str, delimiter: str, *, most: int) -> list[Record]:
    """The first records that are not blank lines."""
    lines = text.splitlines(keepends=True) if most > 10**6 else text.split("\n", most * 4)[: most * 4]
    joined = iter(line if line.endswith("\n") else f"{line}\n" for line in lines)
    reader = csv.reader(joined, delimiter=delimiter)
    records: list[Record] = []
    line = 1
    try:
        for cells in reader:
            if cells and any(cells):
                own = "".join(lines[line - 1 : reader.line_num]).strip("\r\n")
                records.append(Record(line, cells, own))
            line = reader.line_num + 1
            if len(records) >= most:
                break
    except csv.Error:
        pass
    return records


def find_header(records: Sequence[Record]) -> int:
    """Which of the records is the header: the first that has names in most of its cells."""
    widest = max((one.filled for one in records), default=0)
    known = [sum(map(is_known_column, one.cells)) for one in records]
    for at, one in enumerate(records):
        if one.filled * 2 >= widest and known[at] >= 2 and known[at] * 2 >= max(known):
            return at
    for at, one in enumerate(records):
        if one.filled * 5 >= widest * 3 and not any(re.match(r"\s*[\d€$£]", cell) for cell in one.cells):
            return at
    return 0


def find_footer(records: Sequence[Record], width: int) -> tuple[str, ...]:
    """The records below the last row, as globs; `width` is the header's."""
    filled = sorted(one.filled for one in records)
    usual = filled[len(filled) // 2] if filled else 0
    globs: list[str] = []
    for at in range(len(records) - 1, max(-1, len(records) - 1 - _LONGEST_FOOTER), -1):
        one = records[at]
        words = vocabulary.simplify(_DIGITS.sub(" ", next(filter(str.strip, one.cells), "")))
        is_named = words.startswith(tuple(f"{word} " for word in _footers())) or words in _footers()
        follows_blank = at > 0 and one.line > records[at - 1].line + 1 + records[at - 1].text.count("\n")
        is_other = len(one.cells) * 2 <= width and width >= 4 and one.filled * 2 <= usual
        starts_apart = follows_blank and one.filled * 2 <= usual
        if not ((is_named and one.filled < max(usual, 2)) or is_other or starts_apart):
            break
        globs.insert(0, _make_glob(one.text))
    return tuple(dict.fromkeys(glob for glob in globs if glob.strip("*? ,;\t|")))


def is_known_column(name: str) -> bool:
    """Whether it is a word of the vocabulary for a column."""
    return vocabulary.simplify(name) in vocabulary.list_column_words()


def _footers() -> tuple[str, ...]:
    return vocabulary.load_footers()


def _make_glob(text: str) -> str:
    """A line as a glob that fits it on other days: numbers may differ."""
    glob = _DIGITS.sub("*", text.strip().strip('"').strip())
    return re.sub(r"\*[*,;\t|. €$£-]*\*|\*[,;\t|. ]+\Z", "*", glob)
