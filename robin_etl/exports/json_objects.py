"""An order as JSON: its object as a row of cells, and what is said where there is none.

A value in an object within it is a column `customer.email`. Of a list of objects, such as refunds, the
column `refunds.*.total` is the sum of what its objects say, where that is numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pandas as pd

from robin_etl.core import columns
from robin_etl.exceptions import ExportError
from robin_etl.exports.bounds import Measure
from robin_etl.exports.streams import Cells

# What stands for each object of a list in a column's name.
EACH = "*"

# Numbers stay the text they are, so that no digit or zero is lost.
DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
_NUMBER = re.compile(r"-?\d{1,20}(?:\.\d{1,20})?\Z")

_MOST_CELLS = 4_000_000  # of records that become cells together

Record = dict[str, str | None]
_Sums = dict[str, Decimal | None]


class Part:
    """Records that become cells together: no more than fit, where each line has other keys."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._lines: list[int] = []
        self._records: list[Record] = []
        self._names: set[str] = set()
        self._present = 0

    def is_full_with(self, record: Record) -> bool:
        """Whether one more would be too much."""
        if self._names.issuperset(record):
            return False
        return len(self._records) * len(self._names.union(record)) > _MOST_CELLS

    def add(self, record: Record, line: int) -> None:
        """Add a record, and the line that it begins on."""
        if not self._names.issuperset(record):
            self._measure.add_names(record, line)
            self._names.update(record)
        self._lines.append(line)
        self._records.append(record)
        self._present += len(record)

    def build(self) -> Cells:
        """The records as cells."""
        width = len(self._names)
        self._measure.add_cells(self._present, len(self._records) * width - self._present, width)
        cells = pd.DataFrame(self._records, dtype=columns.TEXT)
        return cells, pd.Series(self._lines, dtype=columns.COUNT)


def make_syntax_error(path: str, line: int, error: Exception) -> ExportError:
    """The error for text that is not JSON."""
    return ExportError(
        f"{path} is not JSON on line {line} ({error}). Mend that line, then run again.", path=path
    )


def make_object_error(path: str, line: int) -> ExportError:
    """The error for another value in the place of an order."""
    return ExportError(
        f"{path} has something else than an object on line {line}. Write one object for each order.",
        path=path,
    )


@dataclass(frozen=True)
class Flattener:
    """Makes an order's row of its object, with the sums that are `wanted`, or all."""

    wanted: Collection[str] | None
    measure: Measure

    def __call__(self, record: dict[str, Any], line: int) -> Record:
        """The row of an object that begins on that line."""
        flat: Record = {}
        sums: _Sums = {}
        self._add(record, "", flat, sums)
        flat.update((name, format(total, "f")) for name, total in sums.items() if total is not None)
        self.measure.check_width(len(flat), line)
        return flat

    def _add(self, record: dict[str, Any], above: str, flat: Record, sums: _Sums) -> None:
        for key, value in record.items():
            name = self._name(above, key)
            if isinstance(value, dict) and value:
                self._add(value, f"{name}.", flat, sums)
                continue
            flat[name] = _to_text(value)
            if isinstance(value, list) and self._wants(name):
                self._add_up(value, f"{name}.{EACH}.", sums)

    def _name(self, above: str, key: str) -> str:
        name = f"{above}{_to_text(key)}"
        self.measure.check_name(len(name))
        return name

    def _wants(self, name: str) -> bool:
        beginning = f"{name}.{EACH}."
        return self.wanted is None or any(one.startswith(beginning) for one in self.wanted)

    def _add_up(self, values: list[Any], above: str, sums: _Sums) -> None:
        """Add the numbers in objects of a list; where one is something else, there is no sum."""
        for value in values:
            if not isinstance(value, dict):
                continue
            for key, inner in value.items():
                name = self._name(above, key)
                if isinstance(inner, dict):
                    self._add_up([inner], f"{name}.", sums)
                elif isinstance(inner, list):
                    self._add_up(inner, f"{name}.{EACH}.", sums)
                elif inner is not None:
                    before = sums.get(name, Decimal(0))
                    number = _to_number(inner)
                    sums[name] = None if before is None or number is None else before + number


def _to_number(value: object) -> Decimal | None:
    if not isinstance(value, str) or not _NUMBER.match(value):
        return None
    return Decimal(value)


def _to_text(value: object) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    # JSON can escape half a character, which is no text anywhere else.
    return text if text.isascii() else text.encode(errors="replace").decode()
