"""Exports as JSON, one object a line."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator

from robin_etl.exports.bounds import Measure
from robin_etl.exports.json_objects import (
    DECODER,
    Flattener,
    Part,
    Record,
    make_object_error,
    make_syntax_error,
)
from robin_etl.exports.mapping import CUT_OFF
from robin_etl.exports.streams import Block, Cells


def read_jsonl(
    blocks: Iterator[Block], path: str, measure: Measure, wanted: Collection[str] | None = None
) -> Iterator[Cells]:
    """The cells, at least once. Of lists only the sums that are `wanted`, or all.

    Half an object at the very end is a row of its own without cells, `CUT_OFF`.
    """
    flatten = Flattener(wanted, measure)
    for first, block in blocks:
        last = first + block.count(b"\n")
        part = Part(measure)
        for number, line in _find_filled(block, first, measure):
            measure.check_line(len(line), number, is_object=True)
            record = _decode_line(flatten, line, number, path, is_unended=number == last)
            if part.is_full_with(record):
                yield part.build()
                part = Part(measure)
            part.add(record, number)
        yield part.build()


def _find_filled(block: bytes, first: int, measure: Measure) -> Iterator[tuple[int, bytes]]:
    """The lines with anything in them, each with its number."""
    for number, line in enumerate(io.BytesIO(block), start=first):
        if line.strip():
            yield number, line
        else:
            measure.add_blank_line()


def _decode_line(flatten: Flattener, line: bytes, number: int, path: str, *, is_unended: bool) -> Record:
    try:
        record = DECODER.decode(line.decode())
        flat = flatten(record, number) if isinstance(record, dict) else {}
    except (ValueError, RecursionError) as error:
        if is_unended and number > 1 and not line.rstrip().endswith(b"}"):
            return {CUT_OFF: "the file ends within it"}
        raise make_syntax_error(path, number, error) from error
    if not isinstance(record, dict):
        raise make_object_error(path, number)
    return flat
