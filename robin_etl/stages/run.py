"""A run: what it covers, and the folder its stages hand each other files through.

The files hold customers' addresses, so local folders and files are made readable by their owner
alone. Stages pass the folder's location and counts, never frames.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from io import BytesIO, StringIO
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath
from upath.implementations.local import PosixUPath

from robin_etl.exceptions import ConfigurationError, StoppedError, UnavailableError

_BATCH_ROWS = 50_000


class Folder:
    """A folder of files that the stages of a run leave for each other."""

    def __init__(self, path: UPath) -> None:
        self.path = path

    def make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _owner_only(self.path, 0o700)
        except OSError as error:
            raise ConfigurationError(
                f"The run's folder {self.path} can't be made ({error}). Set ROBIN_ETL_RUNS to a "
                "place that can be written."
            ) from error

    def write_frame(self, name: str, frame: pd.DataFrame, *, at_once: int = _BATCH_ROWS) -> None:
        """Write a frame; who reads it with `reading_frames` gets so many rows `at_once`."""
        with self.writing_frames(name, at_once=at_once) as write:
            write(frame)

    def read_frame(self, name: str, columns: list[str] | None = None) -> pd.DataFrame:
        with (self.path / f"{name}.parquet").open("rb") as file:
            return pd.read_parquet(BytesIO(file.read()), columns=columns)

    @contextmanager
    def writing_frames(
        self, name: str, *, at_once: int = _BATCH_ROWS
    ) -> Iterator[Callable[[pd.DataFrame], None]]:
        """Write frames of the same columns and types behind each other."""
        with self._open(f"{name}.parquet") as file:
            writer: pq.ParquetWriter | None = None
            try:

                def write(frame: pd.DataFrame) -> None:
                    nonlocal writer
                    table = pa.Table.from_pandas(frame, preserve_index=False)
                    writer = writer or pq.ParquetWriter(file, table.schema, use_dictionary=False)
                    writer.write_table(table, row_group_size=at_once)

                yield write
            finally:
                if writer:
                    writer.close()

    def reading_frames(self, name: str, columns: list[str] | None = None) -> Iterator[pd.DataFrame]:
        """The same rows, as many at a time as they were written for."""
        with (self.path / f"{name}.parquet").open("rb") as file:
            groups = pq.ParquetFile(file)
            for group in range(groups.num_row_groups):  # iter_batches holds on to what it has given
                yield groups.read_row_group(group, columns=columns).to_pandas()

    def write_csv(self, name: str, frame: pd.DataFrame) -> None:
        buffer = StringIO()
        frame.to_csv(buffer, index=False)
        self._write(f"{name}.csv", buffer.getvalue().encode())

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, indent=2, ensure_ascii=False, default=str)
        self._write(f"{name}.json", text.encode() + b"\n")

    def drop_rows(self, name: str, dropped: Callable[[pd.DataFrame], pd.Series]) -> int:
        """Write a frame again without the rows that `dropped` marks; how many they were."""
        if not any(dropped(frame).any() for frame in self.reading_frames(name)):
            return 0
        count = 0
        new = f"{name}.new"
        with self.writing_frames(new) as write:
            for frame in self.reading_frames(name):
                marked = dropped(frame)
                count += int(marked.sum())
                write(frame[~marked])
        (self.path / f"{new}.parquet").rename(self.path / f"{name}.parquet")
        return count

    def drop_records(self, name: str, dropped: Callable[[pd.DataFrame], pd.Series]) -> int:
        """The same for a csv, of which `dropped` sees the cells as text."""
        content = BytesIO((self.path / f"{name}.csv").read_bytes())
        frame = pd.read_csv(content, dtype=str, keep_default_na=False)
        marked = dropped(frame)
        if marked.any():
            self.write_csv(name, frame[~marked])
        return int(marked.sum())

    def read_lines(self, name: str) -> list[bytes]:
        lines: list[bytes] = (self.path / name).read_bytes().splitlines()
        return lines

    def write_text(self, name: str, text: str) -> None:
        self._write(name, text.encode())

    def has(self, name: str) -> bool:
        return bool((self.path / name).exists())

    def read_csv(self, name: str, columns: list[str]) -> pd.DataFrame:
        """These columns as text, of which there may be others by the same name further right."""
        with (self.path / f"{name}.csv").open("rb") as file:
            places = range(len(columns))
            frame = pd.read_csv(BytesIO(file.read()), dtype=str, usecols=places, keep_default_na=False)
        return frame.set_axis(columns, axis=1)

    def write_lines(self, name: str, lines: Iterable[bytes]) -> int:
        """Write lines as they come; how many there were."""
        count = 0
        with self._open(name) as file:
            for line in lines:
                file.write(line + b"\n")
                count += 1
        return count

    def read_json(self, name: str) -> dict[str, Any]:
        """What a stage kept under that name; empty where it has not."""
        path = self.path / f"{name}.json"
        if not path.exists():
            return {}
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content

    def _write(self, name: str, data: bytes) -> None:
        with self._open(name) as file:
            file.write(data)

    @contextmanager
    def _open(self, name: str) -> Iterator[BinaryIO]:
        path = self.path / name
        try:
            if isinstance(path, PosixUPath):
                path.touch()
                _owner_only(path, 0o600)
            with path.open("wb") as file:
                yield file
        except OSError as error:
            raise UnavailableError(
                f"The run's file {path} can't be written ({error}). What ROBIN acknowledged is in "
                "the ledger; make room for the run's files, then run again."
            ) from error


@dataclass(frozen=True)
class Run:
    """One run over the days `first` to `last`; `exports` instead of days for named exports.

    `id` is unique to the run and the same when its stages are tried again. `location` is where its
    folder is, as other processes are told; `files` is that folder, opened.
    """

    id: str
    command: str
    first: date
    last: date
    location: str
    files: Folder
    final: bool = False
    dry_run: bool = False
    allow_corrections: bool = False
    exports: tuple[tuple[str, str], ...] = ()  # (day, path)

    @classmethod
    def start(
        cls,
        runs: str,
        *,
        command: str,
        first: date,
        last: date,
        id: str | None = None,
        path_of: Callable[[str], UPath] = UPath,
        **options: Any,
    ) -> Run:
        """Make the folder of a new run under `runs`, or of one that is tried again under its id.

        `path_of` opens a location with the credentials that it needs.
        """
        name = id or _new_id(first, last)
        location = f"{runs.rstrip('/')}/{name}"
        run = cls(name, command, first, last, location, Folder(path_of(location)), **options)
        run.files.make()
        kept = {name: value for name, value in vars(run).items() if name not in ("location", "files")}
        run.files.write_json("run", kept)
        return run

    @classmethod
    def open(cls, location: str, *, path_of: Callable[[str], UPath] = UPath) -> Run:
        """A run from its folder's location, as another process left it."""
        files = Folder(path_of(location))
        kept = files.read_json("run")
        if not kept:
            raise StoppedError(
                f"There is no run in {location}. Run files must lie where every task of the run can "
                "reach them; set ROBIN_ETL_RUNS."
            )
        kept |= {
            "first": date.fromisoformat(kept["first"]),
            "last": date.fromisoformat(kept["last"]),
            "exports": tuple((day, path) for day, path in kept["exports"]),
        }
        return cls(**kept, location=location, files=files)

    @property
    def title(self) -> str:
        """The days in words."""
        if self.first == self.last:
            return f"{self.first}"
        return f"{self.first} to {self.last}"

    def part(self, number: int) -> Folder:
        """The folder of one of the run's parts, counted from 1."""
        return Folder(self.files.path / f"part-{number:03}")


def part_folders(path: UPath) -> Iterator[Folder]:
    """The folders of the parts of the run whose folder is at `path`."""
    for one in sorted(path.iterdir()):
        if one.name.startswith("part-"):
            yield Folder(one)


def _new_id(first: date, last: date) -> str:
    days = f"{first}" if first == last else f"{first}_{last}"
    return f"{days}.{datetime.now(UTC):%Y%m%dT%H%M%S}.{secrets.token_hex(3)}"


def _owner_only(path: UPath, mode: int) -> None:
    if isinstance(path, PosixUPath):
        path.chmod(mode)
