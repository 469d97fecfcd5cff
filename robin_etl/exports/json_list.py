"""Exports as JSON in one list of objects, as APIs answer, or in an object that has such a list."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterator
from typing import Any

from robin_etl.exceptions import ExportError
from robin_etl.exports.bounds import Measure
from robin_etl.exports.json_objects import (
    DECODER,
    Flattener,
    Part,
    make_object_error,
    make_syntax_error,
)
from robin_etl.exports.streams import Cells, Read

# Names of the list of orders in an object around it, as APIs have them.
_LISTS = ("orders", "data", "result", "results", "items", "records", "value", "elements", "sales")
_SPACE = re.compile(r"[ \t\r\n]*")


def read_json(
    read: Read, path: str, size: int, measure: Measure, wanted: Collection[str] | None = None
) -> Iterator[Cells]:
    """The cells of a file with one list of objects, or with an object that has it as `orders`, `data` or
    the like; at least once, of about `size` bytes each. `line` is the one that an object begins on.

    Raises `ExportError` for anything else, and for a file that ends within its list.
    """
    flatten = Flattener(wanted, measure)
    text = _Text(read, path, size, measure)
    part, left = Part(measure), size
    for line, value, length in text.read_objects():
        try:
            record = flatten(value, line)
        except RecursionError as error:
            raise make_syntax_error(path, line, error) from error
        left -= length
        if part.is_full_with(record):
            yield part.build()
            part = Part(measure)
        part.add(record, line)
        if left <= 0:
            yield part.build()
            part, left = Part(measure), size
    yield part.build()


class _Text:
    """The text of a JSON file, of which no more is held than what is being decoded."""

    def __init__(self, read: Read, path: str, size: int, measure: Measure) -> None:
        self._read = read
        self._path = path
        self._size = size
        self._measure = measure
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._line = 1
        self._is_at_end = False

    def read_objects(self) -> Iterator[tuple[int, dict[str, Any], int]]:
        """Each object of the list, the line it begins on, and its length."""
        first = self._peek()
        if first == "{":
            self._enter_list()
        elif first != "[":
            raise self._make_shape_error()
        self._skip(1)
        while (sign := self._peek()) != "]":
            line, before = self._line, self._at
            value = self._decode()
            if not isinstance(value, dict):
                raise make_object_error(self._path, line)
            yield line, value, self._at - before
            if self._peek() == ",":
                self._skip(1)
            elif self._peek() != "]":
                raise self._make_shape_error()
        assert sign == "]"

    def _enter_list(self) -> None:
        """Go to the list of orders in an object."""
        keys: list[str] = []
        self._skip(1)
        while self._peek() != "}":
            key = self._decode()
            if self._peek() != ":":
                raise self._make_shape_error()
            self._skip(1)
            if str(key).lower() in _LISTS and self._peek() == "[":
                return
            keys.append(str(key))
            self._decode()
            if self._peek() == ",":
                self._skip(1)
        raise ExportError(
            f"{self._path} is an object without a list of orders: none of its keys is one of "
            f"{', '.join(_LISTS)} and has a list. Write a list of orders, or an object a line "
            "as .jsonl.",
            path=self._path,
        )

    def _decode(self) -> Any:
        """The value that begins here."""
        self._peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if self._is_at_end or isinstance(error, RecursionError):
                    raise make_syntax_error(self._path, self._line, error) from error
                self._measure.check_object(len(self._text) - self._at, self._line)
                self._fill()
                continue
            # A number may go on behind what is there.
            if end < len(self._text) or self._is_at_end:
                self._line += self._text.count("\n", self._at, end)
                self._at = end
                return value
            self._fill()

    def _peek(self) -> str:
        """The next sign that is no space; raises `ExportError` where the file ends before it."""
        while True:
            matched = _SPACE.match(self._text, self._at)
            end = matched.end() if matched else self._at
            self._line += self._text.count("\n", self._at, end)
            self._at = end
            if end < len(self._text):
                return self._text[end]
            if self._is_at_end:
                raise ExportError(
                    f"{self._path} ends within its list of orders (line {self._line}): it is not "
                    "whole. Write it again, then run again.",
                    path=self._path,
                )
            self._fill()

    def _skip(self, count: int) -> None:
        self._at += count

    def _fill(self) -> None:
        data = self._read(max(self._size, len(self._text) - self._at))
        try:
            more = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise ExportError(
                f"{self._path} is not UTF-8, as JSON is (at line {self._line} or behind). Write it "
                "in UTF-8, then run again.",
                path=self._path,
            ) from error
        self._is_at_end = not data
        self._text = self._text[self._at :] + more
        self._at = 0

    def _make_shape_error(self) -> ExportError:
        return ExportError(
            f"{self._path} is no list of objects (line {self._line}). Write a list with one object for "
            "each order, or one object a line as .jsonl.",
            path=self._path,
        )
