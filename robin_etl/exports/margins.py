"""What stands around the rows of a text: lines above its header, and a footer below its last row."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from robin_etl.exceptions import ExportError
from robin_etl.exports.profiles import Profile
from robin_etl.exports.streams import Block

# A footer is looked for in so much of the end of a file.
_LONGEST_FOOTER = 1 << 14


def cut_margins(blocks: Iterator[Block], profile: Profile, path: str) -> Iterator[Block]:
    """The blocks without what a profile says is above the header and below the last row.

    Raises `ExportError` for a file that ends without its footer.
    """
    if profile.lines_above:
        blocks = _skip_lines(blocks, profile.lines_above)
    return _cut_footer(blocks, profile, path) if profile.footer else blocks


def matches_footer(line: str, globs: tuple[str, ...]) -> bool:
    """Whether a line is one of a footer's."""
    either = "|".join(re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".") for glob in globs)
    # Not Python's own: there a glob of many stars may never end.
    text = pa.scalar(line.strip().strip('"'))
    return bool(pc.match_substring_regex(text, rf"(?is)\A(?:{either})\z").as_py())


def _skip_lines(blocks: Iterator[Block], left: int) -> Iterator[Block]:
    number = 1
    has_text = False
    for line, block in blocks:
        number = line + block.count(b"\n")
        if left:
            lines = block.split(b"\n", left)
            rest = lines[-1] if len(lines) > left else b""
            skipped = min(left, len(lines) - 1)
            left -= skipped
            line, block = line + skipped, rest  # noqa: PLW2901 (what is left of it)
        if block and not left:
            has_text = True
            yield line, block
    if not has_text:
        # The text is over within them, and has no header.
        yield number, b""


def _cut_footer(blocks: Iterator[Block], profile: Profile, path: str) -> Iterator[Block]:
    held: deque[Block] = deque()
    is_first = True
    for one in blocks:
        held.append(one)
        while sum(len(block) for _, block in held) - len(held[0][1]) >= _LONGEST_FOOTER:
            is_first = False
            yield held.popleft()
    if not held:
        return
    first = held[0][0]
    lines = b"".join(block for _, block in held).split(b"\n")
    kept = len(lines)
    has_footer = False
    for at in range(len(lines) - 1, -1, -1):
        text = lines[at].decode(errors="replace").strip()
        if text and not matches_footer(text, profile.footer):
            break
        has_footer |= bool(text)
        kept = at
    if not has_footer and (kept > 1 or not is_first):
        raise ExportError(
            f"{path} does not end with the footer that the profile {profile.name} says it has "
            f"({', '.join(profile.footer)}): it is not whole, or was written in another way. Write it "
            "again, or draft its profile anew.",
            path=path,
        )
    yield first, b"".join(line + b"\n" for line in lines[:kept])
