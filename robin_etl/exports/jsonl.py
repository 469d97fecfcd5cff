"""Exports as JSON, one object a line."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from robin_etl.exports.json_objects import (
    DECODER,
    Flattener,
    Record,
    make_cells,
    make_object_error,
    make_syntax_error,
)
from robin_etl.exports.mapping import CUT_OFF
from robin_etl.exports.streams import Block, Cells, check_width


def read_jsonl(
    blocks: Iterator[Block], path: str, wanted: Collection[str] | None = None
) -> Iterator[Cells]:
    """The cells, at least once. Of lists only the sums that are `wanted`, or all.

    Half an object at the very end is a row of its own without cells, `CUT_OFF`.
    """
    flatten = Flattener(wanted)
    for first, block in blocks:
        lines: list[int] = []
        records: list[Record] = []
        for number, line in enumerate(block.split(b"\n"), start=first):
            if line.strip():
                lines.append(number)
                is_unended = number == first + block.count(b"\n")
                records.append(_decode_line(flatten, line, number, path, is_unended=is_unended))
        yield make_cells(records, lines)


def _decode_line(flatten: Flattener, line: bytes, number: int, path: str, *, is_unended: bool) -> Record:
    try:
        record = DECODER.decode(line.decode())
        flat = flatten(record) if isinstance(record, dict) else {}
    except (ValueError, RecursionError) as error:
        if is_unended and number > 1 and not line.rstrip().endswith(b"}"):
            return {CUT_OFF: "the file ends within it"}
        raise make_syntax_error(path, number, error) from error
    if not isinstance(record, dict):
        raise make_object_error(path, number)
    check_width(len(flat), number, path)
    return flat
