"""The log of runs: when each started, how it ended, and its counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from robin_etl.core.outcomes import FINISHED, INTERRUPTED, RUNNING
from robin_etl.ledger.engine import Engine
from robin_etl.ledger.records import RunRecord
from robin_etl.ledger.schema import RUNS

# The command whose runs post nothing.
BASELINE = "baseline"

_FORGOTTEN_WORDS = "Why it stopped is not kept: that named a customer who was forgotten."


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
        insert = self._engine.dialect.insert(RUNS).values(row)
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
        highest: int | None = None,
        read_by: Mapping[str, Any] | None = None,
    ) -> None:
        """Log how a run ended: its counts; of how many files and rows, if that is known; the `highest`
        revenue in cents; and what the rows were read by.
        """
        row = {
            "outcome": outcome,
            "words": words,
            "finished_at": self._engine.stamp(),
            "counts": json.dumps(dict(counts)),
            "files": files,
            "exported": exported,
            "highest": highest,
            "read_by": None if read_by is None else json.dumps(dict(read_by)),
        }
        with self._engine.write() as connection:
            connection.execute(RUNS.update().where(RUNS.c.run == run).values(row))

    def close_interrupted(self, runs: Sequence[str]) -> None:
        """Log that what these dead runs left in doubt has been reported."""
        with self._engine.write() as connection:
            connection.execute(RUNS.update().where(RUNS.c.run.in_(runs)).values(outcome=INTERRUPTED))

    def blank(
        self, *, is_named_in: Callable[[str], bool], blank_counts: Callable[[str, Any], Any]
    ) -> None:
        """Take a customer out of why runs stopped and out of their counts. A sentence in which they are
        named goes whole: it may say more of them.
        """
        query = sa.select(RUNS.c.run, RUNS.c.words, RUNS.c.counts)
        with self._engine.transaction(), self._engine.write() as connection:
            for run, words, counts in connection.execute(query).all():
                row = {}
                if words and is_named_in(words):
                    row["words"] = _FORGOTTEN_WORDS
                kept = json.loads(counts or "null")
                if (new := blank_counts(run, kept)) != kept:
                    row["counts"] = json.dumps(new)
                if row:
                    connection.execute(RUNS.update().where(RUNS.c.run == run).values(row))

    def find(self, run: str) -> RunRecord | None:
        """The run with this id; None for one that is not logged, as a dry run."""
        rows = self._engine.fetch(sa.select(RUNS).where(RUNS.c.run == run))
        return _make_record(rows[0]) if rows else None

    def latest(self, limit: int) -> list[RunRecord]:
        """The latest runs, newest first."""
        query = sa.select(RUNS).order_by(RUNS.c.started_at.desc()).limit(limit)
        rows = self._engine.fetch(query)
        return [_make_record(row) for row in rows]

    def last_read_by(self) -> dict[str, Any] | None:
        """What the last finished run read by; None where no run has kept it."""
        query = (
            sa.select(RUNS.c.read_by)
            .where(RUNS.c.outcome.in_(FINISHED), RUNS.c.read_by.is_not(None))
            .order_by(RUNS.c.started_at.desc())
            .limit(1)
        )
        with self._engine.read() as connection:
            text = connection.execute(query).scalar()
        return None if text is None else dict(json.loads(text))

    def highest_revenues(self, runs: int) -> list[int]:
        """The highest revenue, in cents, of each of so many finished runs that had any, newest first."""
        query = (
            sa.select(RUNS.c.highest)
            .where(RUNS.c.outcome.in_(FINISHED), RUNS.c.highest.is_not(None))
            .order_by(RUNS.c.started_at.desc())
            .limit(runs)
        )
        with self._engine.read() as connection:
            return [int(highest) for highest in connection.execute(query).scalars()]

    def days_tried(self, first: date, last: date, *, but: str) -> set[date]:
        """The days between that any other run than that one was about and is not finished."""
        query = sa.select(RUNS.c.from_day, RUNS.c.to_day).where(
            RUNS.c.from_day <= last.isoformat(),
            RUNS.c.to_day >= first.isoformat(),
            RUNS.c.outcome.not_in(FINISHED),
            RUNS.c.run != but,
        )
        days = [first + timedelta(days=at) for at in range((last - first).days + 1)]
        with self._engine.read() as connection:
            ranges = [tuple(map(date.fromisoformat, row)) for row in connection.execute(query)]
        return {day for day in days if any(begin <= day <= end for begin, end in ranges)}

    def has(self, command: str) -> bool:
        """Whether any run was of this command."""
        query = sa.select(sa.exists().where(RUNS.c.command == command))
        with self._engine.read() as connection:
            return bool(connection.execute(query).scalar_one())


def _make_record(row: Mapping[str, Any]) -> RunRecord:
    read = {name: json.loads(row[name] or "null") for name in ("counts", "read_by")}
    return RunRecord(**{**row, **read, "counts": read["counts"] or {}})
