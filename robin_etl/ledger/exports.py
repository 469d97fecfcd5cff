"""The days that a ledger knows: which exports were read, as they were, in which run, with what end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import pandas as pd
import sqlalchemy as sa

from robin_etl.core.outcomes import FINISHED, STOPPED
from robin_etl.ledger.deliveries import ACCEPTED
from robin_etl.ledger.engine import Engine
from robin_etl.ledger.records import ExportRecord, UnchangedExport
from robin_etl.ledger.runs import BASELINE
from robin_etl.ledger.schema import ACKNOWLEDGED, DELIVERIES, EXPORTS, REQUESTS, RUNS

# What is known of a day that has no export. Such a record has no place.
MISSING = "missing"

_KEY = ("day", "place")
# So many records in a statement, of what a database takes in parameters.
_AT_ONCE = 500


class ExportLog:
    """The exports that a ledger knows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, exports: Iterable[ExportRecord]) -> None:
        """Keep these, each in the place of what was known of it. A day with an export misses none."""
        rows = [_make_row(one) for one in exports]
        days = sorted({row["day"] for row in rows if row["place"]})
        with self._engine.transaction(), self._engine.write() as connection:
            for start in range(0, len(rows), _AT_ONCE):
                insert = self._engine.dialect.insert(EXPORTS).values(rows[start : start + _AT_ONCE])
                new = {one.name: insert.excluded[one.name] for one in EXPORTS.c if one.name not in _KEY}
                connection.execute(insert.on_conflict_do_update(index_elements=list(_KEY), set_=new))
            for start in range(0, len(days), _AT_ONCE):
                of_days = EXPORTS.c.day.in_(days[start : start + _AT_ONCE])
                connection.execute(EXPORTS.delete().where(of_days, EXPORTS.c.outcome == MISSING))

    def renew(self, exports: Iterable[UnchangedExport]) -> None:
        """Keep where and how these are now instead of what they were."""
        for one in exports:
            of_before = (EXPORTS.c.day == f"{one.before.day}") & (EXPORTS.c.place == one.before.place)
            with self._engine.transaction(), self._engine.write() as connection:
                connection.execute(EXPORTS.delete().where(of_before))
                self.record([one.now])

    def remove(self, first: date, last: date) -> None:
        """Forget that these days were read, so that they are outstanding again."""
        with self._engine.write() as connection:
            connection.execute(EXPORTS.delete().where(_are_between(first, last)))

    def between(self, first: date, last: date) -> list[ExportRecord]:
        """What is known of these days, in their order and that of the files' places."""
        query = (
            sa.select(EXPORTS).where(_are_between(first, last)).order_by(*(EXPORTS.c[n] for n in _KEY))
        )
        return [_make_record(row) for row in self._engine.fetch(query)]

    def set_aside(self) -> list[ExportRecord]:
        """The exports of which rows are quarantined, or changes held back or waiting."""
        query = sa.select(EXPORTS).where((EXPORTS.c.quarantined > 0) | (EXPORTS.c.waiting > 0))
        finished = query.where(EXPORTS.c.outcome.in_(FINISHED))
        return [_make_record(row) for row in self._engine.fetch(finished)]

    def with_digests(self, digests: Sequence[str]) -> list[ExportRecord]:
        """The exports with rows that finished runs have read, of these digests."""
        found: list[ExportRecord] = []
        for start in range(0, len(digests), _AT_ONCE):
            those = EXPORTS.c.digest.in_(digests[start : start + _AT_ONCE])
            query = sa.select(EXPORTS).where(those, EXPORTS.c.rows > 0, EXPORTS.c.outcome.in_(FINISHED))
            found += (_make_record(row) for row in self._engine.fetch(query))
        return found

    def count_acknowledged(self, runs: Iterable[str]) -> None:
        """Count by day and kind what ROBIN acknowledged in these runs; what was counted is replaced."""
        counted = (
            sa.select(DELIVERIES.c.day, REQUESTS.c.run, DELIVERIES.c.kind, sa.func.count())
            .join(REQUESTS, REQUESTS.c.id == DELIVERIES.c.request)
            .where(REQUESTS.c.outcome == ACCEPTED, DELIVERIES.c.day.is_not(None))
            .group_by(DELIVERIES.c.day, REQUESTS.c.run, DELIVERIES.c.kind)
        )
        with self._engine.transaction(), self._engine.write() as connection:
            for run in runs:
                connection.execute(ACKNOWLEDGED.delete().where(ACKNOWLEDGED.c.run == run))
                own = counted.where(REQUESTS.c.run == run)
                names = list(ACKNOWLEDGED.c.keys())
                connection.execute(ACKNOWLEDGED.insert().from_select(names, own))

    def acknowledged(self, days: int) -> pd.DataFrame:
        """How many changes ROBIN acknowledged of the last so many days of which it did any: columns day,
        kind and changes, oldest first.
        """
        last = sa.select(ACKNOWLEDGED.c.day).distinct().order_by(ACKNOWLEDGED.c.day.desc()).limit(days)
        query = (
            sa.select(ACKNOWLEDGED.c.day, ACKNOWLEDGED.c.kind, sa.func.sum(ACKNOWLEDGED.c.changes))
            .where(ACKNOWLEDGED.c.day.in_(last))
            .group_by(ACKNOWLEDGED.c.day, ACKNOWLEDGED.c.kind)
            .order_by(ACKNOWLEDGED.c.day)
        )
        with self._engine.read() as connection:
            rows = [(day, kind, int(changes)) for day, kind, changes in connection.execute(query)]
        return pd.DataFrame(rows, columns=["day", "kind", "changes"])

    def first_day(self) -> date | None:
        """The first day that is known; None where none is.

        A stopped run's counts too, since it is outstanding; a stopped baseline's does not: what was not
        to be posted is not made up for.
        """
        is_to_be_posted = (EXPORTS.c.outcome == STOPPED) & (RUNS.c.command != BASELINE)
        return self._find_day(sa.func.min, EXPORTS.c.outcome.in_(FINISHED) | is_to_be_posted)

    def last_day(self) -> date | None:
        """The last day of which an export was read."""
        return self._find_day(sa.func.max, EXPORTS.c.outcome.in_(FINISHED))

    def row_counts(self, days: int) -> list[int]:
        """The rows of the last so many days' exports that finished runs have read, newest first.

        A baseline's files may hold years.
        """
        rows = sa.func.sum(EXPORTS.c.rows)
        return self._list_days(rows, days, RUNS.c.command.is_distinct_from(BASELINE))

    def new_orders(self, before: date, days: int) -> list[int]:
        """How many new orders each of the last so many days before this one brought, newest first."""
        new = sa.func.sum(EXPORTS.c.new_orders)
        return self._list_days(
            new, days, EXPORTS.c.day < before.isoformat(), EXPORTS.c.new_orders.is_not(None)
        )

    def line_ends(self, exports: int) -> list[bool]:
        """Of the last so many exports as text whether each ended within a line, newest first."""
        ends = EXPORTS.c.ends_within_line
        query = (
            sa.select(ends)
            .where(EXPORTS.c.outcome.in_(FINISHED), ends.is_not(None))
            .order_by(EXPORTS.c.day.desc(), EXPORTS.c.place.desc())
            .limit(exports)
        )
        with self._engine.read() as connection:
            return [bool(one) for one in connection.execute(query).scalars()]

    def _find_day(self, choose: Any, where: sa.ColumnElement[bool]) -> date | None:
        read = EXPORTS.outerjoin(RUNS, RUNS.c.run == EXPORTS.c.run)
        query = sa.select(choose(EXPORTS.c.day)).select_from(read).where(where)
        with self._engine.read() as connection:
            day = connection.execute(query).scalar()
        return None if day is None else date.fromisoformat(day)

    def _list_days(self, what: Any, days: int, *where: sa.ColumnElement[bool]) -> list[int]:
        query = (
            sa.select(what)
            .select_from(EXPORTS.outerjoin(RUNS, RUNS.c.run == EXPORTS.c.run))
            .where(EXPORTS.c.outcome.in_(FINISHED), EXPORTS.c.digest.is_not(None), *where)
            .group_by(EXPORTS.c.day)
            .order_by(EXPORTS.c.day.desc())
            .limit(days)
        )
        with self._engine.read() as connection:
            return [int(number) for number in connection.execute(query).scalars()]


def _are_between(first: date, last: date) -> sa.ColumnElement[bool]:
    return (EXPORTS.c.day >= first.isoformat()) & (EXPORTS.c.day <= last.isoformat())


def _make_row(export: ExportRecord) -> dict[str, Any]:
    row = {one.name: getattr(export, one.name) for one in EXPORTS.c}
    return {**row, "day": export.day.isoformat(), "notes": json.dumps(list(export.notes))}


def _make_record(row: Mapping[str, Any]) -> ExportRecord:
    day, notes = date.fromisoformat(row["day"]), tuple(json.loads(row["notes"] or "[]"))
    return ExportRecord(**{**row, "day": day, "notes": notes})
