"""A run: what it covers, and the folder its stages hand each other files through.

The files hold customers' addresses, so local folders and files are made readable by their owner
alone. Stages pass the folder's path and counts, never frames.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from io import BytesIO, StringIO
from typing import Any

import pandas as pd
from upath import UPath
from upath.implementations.local import PosixUPath

from robin_etl.exceptions import ConfigurationError, StoppedError, UnavailableError


@dataclass(frozen=True)
class Run:
    """One run over the days `first` to `last`; `files` instead of days for named exports.

    `id` is unique to the run and the same when its stages are tried again.
    """

    id: str
    command: str
    first: date
    last: date
    folder: UPath
    final: bool = False
    dry_run: bool = False
    allow_corrections: bool = False
    files: tuple[tuple[str, str], ...] = ()  # (day, path)

    @classmethod
    def start(
        cls,
        runs: str,
        *,
        command: str,
        first: date,
        last: date,
        id: str | None = None,
        **options: Any,
    ) -> Run:
        """Make the folder of a new run under `runs`, or of one that is tried again under its id."""
        name = id or _new_id(first, last)
        run = cls(name, command, first, last, UPath(runs) / name, **options)
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            _owner_only(run.folder, 0o700)
        except OSError as error:
            raise ConfigurationError(
                f"The run's folder {run.folder} can't be made ({error}). Set ROBIN_ETL_RUNS to a "
                "place that can be written."
            ) from error
        run.write_json("run", {**asdict(run), "folder": str(run.folder)})
        return run

    @classmethod
    def open(cls, folder: str) -> Run:
        """A run from its folder, as another process left it."""
        path = UPath(folder)
        try:
            kept = json.loads((path / "run.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StoppedError(
                f"There is no run in {folder}. Run files must lie where every task of the run can "
                "reach them; set ROBIN_ETL_RUNS."
            ) from None
        kept |= {
            "first": date.fromisoformat(kept["first"]),
            "last": date.fromisoformat(kept["last"]),
            "files": tuple((day, file) for day, file in kept["files"]),
            "folder": path,
        }
        return cls(**kept)

    @property
    def title(self) -> str:
        """The days in words."""
        if self.first == self.last:
            return f"{self.first}"
        return f"{self.first} to {self.last}"

    def write_frame(self, name: str, frame: pd.DataFrame) -> None:
        buffer = BytesIO()
        frame.to_parquet(buffer, index=False)
        self._write(f"{name}.parquet", buffer.getvalue())

    def read_frame(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(BytesIO((self.folder / f"{name}.parquet").read_bytes()))

    def write_csv(self, name: str, frame: pd.DataFrame) -> None:
        buffer = StringIO()
        frame.to_csv(buffer, index=False)
        self._write(f"{name}.csv", buffer.getvalue().encode())

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, indent=2, ensure_ascii=False, default=str)
        self._write(f"{name}.json", text.encode() + b"\n")

    def write_lines(self, name: str, lines: list[bytes]) -> None:
        self._write(name, b"".join(line + b"\n" for line in lines))

    def read_json(self, name: str) -> dict[str, Any]:
        """What a stage kept under that name; empty where it has not."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            return {}
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content

    def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        try:
            path.touch()
            _owner_only(path, 0o600)
            path.write_bytes(data)
        except OSError as error:
            raise UnavailableError(
                f"The run's file {path} can't be written ({error}). What ROBIN acknowledged is in "
                "the ledger; make room for the run's files, then run again."
            ) from error


def _new_id(first: date, last: date) -> str:
    days = f"{first}" if first == last else f"{first}_{last}"
    return f"{days}.{datetime.now(UTC):%Y%m%dT%H%M%S}.{secrets.token_hex(3)}"


def _owner_only(path: UPath, mode: int) -> None:
    if isinstance(path, PosixUPath):
        path.chmod(mode)
