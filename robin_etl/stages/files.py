"""The files in a run's folder, each with a type: rows of known columns, a record, a table, lines.

They hold customers' addresses, so local folders and files are made readable by their owner alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import Any, BinaryIO, Generic, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter
from upath import UPath

from robin_etl import private
from robin_etl.core import columns
from robin_etl.exceptions import ConfigurationError, StoppedError, UnavailableError

R = TypeVar("R")

_BATCH_ROWS = 50_000
_ADAPTERS: dict[type, TypeAdapter[Any]] = {}

# What begins a formula: a sign at the beginning, or behind what another country's spreadsheet takes for
# the end of a cell; and control characters, which hide one.
_FORMULAS = (
    r"((?:\A|[;,|\t\r\n\"])[ \t\"]*)([=+\-@\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}])",
    r"(\A)([\t\r\n])",
)
# What steers a terminal that prints the file, or turns the direction of its text.
_STEERING = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\x{202a}-\x{202e}\x{2066}-\x{2069}]"

# Which rows of a frame are meant.
Marking = Callable[[pd.DataFrame], pd.Series]


class Folder:
    """A folder on local disk or object storage; writing to it fails with a sentence."""

    def __init__(self, path: UPath) -> None:
        self.path = private.resolve_local(path)

    def make(self) -> None:
        """Make it, with the folders above it. Raises `ConfigurationError` where that can't be done."""
        try:
            if private.is_local(self.path):
                private.make_folder(self.path)
                self.path.chmod(0o700)
            else:
                self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"The run's folder {self.path} can't be made ({error}). Set ROBIN_ETL_RUNS to a "
                "place that can be written."
            ) from error

    def has(self, name: str) -> bool:
        return bool((self.path / name).exists())

    def read(self, name: str) -> bytes:
        with self.reading(name) as stream:
            return stream.read()

    def write(self, name: str, content: bytes) -> None:
        with self.writing(name) as stream:
            stream.write(content)

    @contextmanager
    def reading(self, name: str) -> Iterator[BinaryIO]:
        """A stream of the file of that name; raises `StoppedError` where there is none."""
        try:
            stream = (self.path / name).open("rb")
        except FileNotFoundError:
            raise self.make_missing_error(name) from None
        with stream:
            yield stream

    def make_missing_error(self, name: str) -> StoppedError:
        """The error for a file that a stage needs, and that is not there."""
        return StoppedError(
            f"There is no {name} in {self.path}: an earlier stage of the run has not ended, or its "
            "files are gone, cleared away or with a customer who was erased. Run the day again."
        )

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A stream into the file of that name; raises `UnavailableError` where it can't be written."""
        path = self.path / name
        try:
            with private.open_file(path) if private.is_local(path) else path.open("wb") as stream:
                yield stream
        except OSError as error:
            raise UnavailableError(
                f"The run's file {path} can't be written ({error}). What ROBIN acknowledged is in "
                "the ledger; make room for the run's files, then run again."
            ) from error

    def replace(self, name: str, new: str) -> None:
        """Put the file `new` in the place of the file `name`."""
        (self.path / new).rename(self.path / name)


@dataclass(frozen=True)
class FrameFile:
    """Rows of these columns and types, as Parquet."""

    folder: Folder
    name: str
    dtypes: Mapping[str, str]

    def exists(self) -> bool:
        return self.folder.has(self.name)

    def write(self, frame: pd.DataFrame, *, at_once: int = _BATCH_ROWS) -> None:
        """Write a frame; `read_batches` gives it back with so many rows `at_once`."""
        with self.writing(at_once=at_once) as write:
            write(frame)

    @contextmanager
    def writing(self, *, at_once: int = _BATCH_ROWS) -> Iterator[Callable[[pd.DataFrame], None]]:
        """Write frames of the same columns and types behind each other."""
        with self.folder.writing(self.name) as stream:
            writer: pq.ParquetWriter | None = None
            try:

                def write(frame: pd.DataFrame) -> None:
                    nonlocal writer
                    table = pa.Table.from_pandas(frame, preserve_index=False)
                    writer = writer or pq.ParquetWriter(stream, table.schema, use_dictionary=False)
                    writer.write_table(table, row_group_size=at_once)

                yield write
            finally:
                if writer:
                    writer.close()

    def read(self, names: Iterable[str] | None = None) -> pd.DataFrame:
        """All rows, with these columns or with all, in their types.

        Raises `StoppedError` where there is no such file, or it lacks one of these columns.
        """
        dtypes = self._chosen(names)
        file = pq.ParquetFile(BytesIO(self.folder.read(self.name)))
        frame = file.read(columns=list(dtypes)).to_pandas()
        return self._conform(frame, dtypes)

    def read_batches(self, names: Iterable[str] | None = None) -> Iterator[pd.DataFrame]:
        """The same rows, as many at a time as they were written for."""
        dtypes = self._chosen(names)
        for frame in self.read_batches_as_they_are(list(dtypes)):
            yield self._conform(frame, dtypes)

    def drop_rows(self, marking: Marking) -> int:
        """Write the file again without the rows that are marked; how many they were."""
        if not any(marking(frame).any() for frame in self.read_batches_as_they_are()):
            return 0
        count = 0
        new = FrameFile(self.folder, f"{self.name}.new", self.dtypes)
        with new.writing() as write:
            for frame in self.read_batches_as_they_are():
                marked = marking(frame)
                count += int(marked.sum())
                write(frame[~marked])
        self.folder.replace(self.name, new.name)
        return count

    def read_batches_as_they_are(self, names: list[str] | None = None) -> Iterator[pd.DataFrame]:
        """The same without a look at types and missing columns, whoever wrote them."""
        with self.folder.reading(self.name) as stream:
            file = pq.ParquetFile(stream)
            for group in range(file.num_row_groups):  # iter_batches holds on to what it has given
                yield file.read_row_group(group, columns=names).to_pandas()

    def _conform(self, frame: pd.DataFrame, dtypes: Mapping[str, str]) -> pd.DataFrame:
        if missing := [name for name in dtypes if name not in frame.columns]:
            raise StoppedError(
                f"{self.name} in {self.folder.path} has no {', '.join(missing)}: another version of "
                "robin-etl wrote it. Run the day again with this one."
            )
        return columns.conform(frame, dtypes)

    def _chosen(self, names: Iterable[str] | None) -> Mapping[str, str]:
        return self.dtypes if names is None else {name: self.dtypes[name] for name in names}


@dataclass(frozen=True)
class RecordFile(Generic[R]):
    """One frozen dataclass, as JSON."""

    folder: Folder
    name: str
    kind: type[R]

    def write(self, record: R) -> None:
        text = _adapt(self.kind).dump_json(record, indent=2)
        self.folder.write(self.name, text + b"\n")

    def read(self) -> R:
        """The record; raises `StoppedError` where no stage has left it."""
        if (record := self.find()) is None:
            raise self.folder.make_missing_error(self.name)
        return record

    def find(self) -> R | None:
        """The record; None where no stage has left it."""
        if not self.folder.has(self.name):
            return None
        return _adapt(self.kind).validate_json(self.folder.read(self.name))


@dataclass(frozen=True)
class JsonFile:
    """An object as JSON for others to read: one that knows how it is written (`as_json`)."""

    folder: Folder
    name: str

    def write(self, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, indent=2, ensure_ascii=False, default=str)
        self.folder.write(self.name, text.encode() + b"\n")

    def find(self) -> dict[str, Any] | None:
        """What was written; None where nothing was."""
        if not self.folder.has(self.name):
            return None
        content: dict[str, Any] = json.loads(self.folder.read(self.name))
        return content


@dataclass(frozen=True)
class TableFile:
    """Rows of text as csv, for people, who open it in a spreadsheet: these columns, and further right
    whatever a row had. A cell that a spreadsheet would run as a formula begins with an apostrophe.
    """

    folder: Folder
    name: str
    columns: tuple[str, ...]

    def exists(self) -> bool:
        return self.folder.has(self.name)

    def write(self, frame: pd.DataFrame) -> None:
        buffer = StringIO()
        harmless = frame.apply(_disarm) if len(frame) else frame
        harmless.set_axis(_disarm(frame.columns.to_series()), axis=1).to_csv(buffer, index=False)
        self.folder.write(self.name, buffer.getvalue().encode())

    def read(self) -> pd.DataFrame:
        """The columns that every row has, as text; others may bear the same names."""
        frame = self._read(usecols=range(len(self.columns)))
        return frame.set_axis(list(self.columns), axis=1)

    def drop_rows(self, marking: Marking) -> int:
        """Write the file again without the rows that are marked; how many they were."""
        frame = self._read()
        marked = marking(frame)
        if marked.any():
            self.write(frame[~marked])
        return int(marked.sum())

    def _read(self, **options: Any) -> pd.DataFrame:
        content = BytesIO(self.folder.read(self.name))
        frame: pd.DataFrame = pd.read_csv(content, dtype=str, keep_default_na=False, **options)
        return frame


@dataclass(frozen=True)
class LinesFile:
    """A text a line."""

    folder: Folder
    name: str

    def exists(self) -> bool:
        return self.folder.has(self.name)

    def write(self, lines: Iterable[bytes]) -> int:
        """Write lines as they come; how many there were."""
        count = 0
        with self.folder.writing(self.name) as stream:
            for line in lines:
                stream.write(line + b"\n")
                count += 1
        return count

    def read(self) -> list[bytes]:
        return self.folder.read(self.name).splitlines()


@dataclass(frozen=True)
class PageFile:
    """A page for people."""

    folder: Folder
    name: str

    def write(self, text: str) -> None:
        self.folder.write(self.name, text.encode())


def _disarm(cells: pd.Series) -> pd.Series:
    """Texts that no spreadsheet runs, wherever it splits a line into cells, and that steer no terminal;
    others are as they were.
    """
    if not pd.api.types.is_string_dtype(cells):
        return cells
    text = columns.to_strings(cells)
    for formula in _FORMULAS:
        text = pc.replace_substring_regex(text, formula, r"\1'\2")
    text = pc.replace_substring_regex(text, _STEERING, "\ufffd")
    return columns.to_series(text, cells.index)


def _adapt(kind: type[R]) -> TypeAdapter[R]:
    """What reads and writes a record's JSON; making it costs more than using it."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
