"""Exports as JSON, one object a line; a value in an object within it is a column `customer.email`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pandas as pd

from robin_etl.core import columns
from robin_etl.exceptions import ExportError
from robin_etl.exports.mapping import CUT_OFF
from robin_etl.exports.streams import Block, Cells, check_width


def read_jsonl(blocks: Iterator[Block], path: str) -> Iterator[Cells]:
    """The cells, at least once. Numbers stay the text they are, so that no digit or zero is lost.

    Half an object at the very end is a row of its own without cells, `CUT_OFF`.
    """
    decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
    for first, block in blocks:
        lines: list[int] = []
        records: list[dict[str, str | None]] = []
        for number, line in enumerate(block.split(b"\n"), start=first):
            if line.strip():
                lines.append(number)
                is_unended = number == first + block.count(b"\n")
                records.append(_decode_record(decoder, line, number, path, is_unended=is_unended))
        yield pd.DataFrame(records, dtype=columns.TEXT), pd.Series(lines, dtype=columns.COUNT)


def _decode_record(
    decoder: json.JSONDecoder, line: bytes, number: int, path: str, *, is_unended: bool
) -> dict[str, str | None]:
    try:
        record = decoder.decode(line.decode())
        flat = dict(_flatten(record)) if isinstance(record, dict) else {}
    except (ValueError, RecursionError) as error:
        if is_unended and number > 1 and not line.rstrip().endswith(b"}"):
            return {CUT_OFF: "the file ends within it"}
        raise ExportError(
            f"{path} is not JSON on line {number} ({error}). Mend that line, then run again.",
            path=path,
        ) from error
    if not isinstance(record, dict):
        raise ExportError(
            f"{path} has something else than an object on line {number}. Write one object "
            "for each order.",
            path=path,
        )
    check_width(len(flat), number, path)
    return flat


def _flatten(record: dict[str, object], *above: str) -> Iterator[tuple[str, str | None]]:
    """The values with their names; one in an object within it is named `customer.email`."""
    for key, value in record.items():
        names = (*above, f"{_to_text(key)}")
        if isinstance(value, dict) and value:
            yield from _flatten(value, *names)
        else:
            yield ".".join(names), _to_text(value)


def _to_text(value: object) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    # JSON can escape half a character, which is no text anywhere else.
    return text if text.isascii() else text.encode(errors="replace").decode()
