"""The log of runs: when each started, how it ended, and its counts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa

from robin_etl.ledger.engine import Engine
from robin_etl.ledger.records import RunRecord
from robin_etl.ledger.schema import RUNS

# What came of a run.
RUNNING, DONE, STOPPED, INTERRUPTED = "running", "done", "stopped", "interrupted"


class RunLog:
    """The runs that a ledger knows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def start(self, run: str, *, command: str, first: date, last: date) -> None:
        """Log that a run is under way; starting it again clears how it ended before."""
        row = {
            "run": run,
            "command": command,
            "from_day": first.isoformat(),
            "to_day": last.isoformat(),
            "started_at": self._engine.stamp(),
            "finished_at": None,
            "outcome": RUNNING,
            "words": None,
        }
        insert = self._engine.insert(RUNS).values(row)
        with self._engine.write() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=[RUNS.c.run], set_=row))

    def finish(
        self,
        run: str,
        outcome: str,
        *,
        words: str | None = None,
        counts: Mapping[str, Any],
        files: int | None = None,
        exported: int | None = None,
    ) -> None:
        """Log how a run ended: its counts, and of how many files and rows, if that is known."""
        row = {
            "outcome": outcome,
            "words": words,
            "finished_at": self._engine.stamp(),
            "counts": json.dumps(dict(counts)),
            "files": files,
            "exported": exported,
        }
        with self._engine.write() as connection:
            connection.execute(RUNS.update().where(RUNS.c.run == run).values(row))

    def close_interrupted(self, runs: Sequence[str]) -> None:
        """Log that what these dead runs left in doubt has been reported."""
        with self._engine.write() as connection:
            connection.execute(RUNS.update().where(RUNS.c.run.in_(runs)).values(outcome=INTERRUPTED))

    def latest(self, limit: int) -> list[RunRecord]:
        """The latest runs, newest first."""
        query = sa.select(RUNS).order_by(RUNS.c.started_at.desc()).limit(limit)
        rows = self._engine.fetch(query)
        return [RunRecord(**{**row, "counts": json.loads(row["counts"] or "{}")}) for row in rows]

    def rows_per_day(self, days: int) -> list[float]:
        """The rows of a day's export in the last finished runs, newest first."""
        query = (
            sa.select(RUNS.c.exported, RUNS.c.files)
            .where(RUNS.c.outcome == DONE, RUNS.c.files > 0)
            .order_by(RUNS.c.started_at.desc())
            .limit(days)
        )
        with self._engine.read() as connection:
            return [row.exported / row.files for row in connection.execute(query)]

    def has(self, command: str) -> bool:
        """Whether any run was of this command."""
        query = sa.select(sa.exists().where(RUNS.c.command == command))
        with self._engine.read() as connection:
            return bool(connection.execute(query).scalar_one())
