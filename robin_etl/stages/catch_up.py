"""A catch-up: which days it runs and why, and the run that it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from robin_etl.ledger import ExportRecord, Ledger
from robin_etl.ledger.exports import MISSING
from robin_etl.settings import Settings
from robin_etl.stages.calendar import OUTSTANDING, DayState, draw_calendar
from robin_etl.stages.records import Scope


@dataclass(frozen=True)
class CatchUp:
    """The outstanding `days` until a day, oldest first; the days before it that are `missing`, and that
    no run has named yet; and how many `older` days beyond its reach were never run.
    """

    until: date
    days: tuple[DayState, ...]
    missing: tuple[date, ...]
    older: int

    def describe(self) -> str:
        """The days and why each is run, in words."""
        return ", ".join(f"{one.day} ({one.why})" for one in self.days)

    def make_scope(
        self,
        command: str,
        *,
        with_own: bool = False,
        final: bool = False,
        dry_run: bool = False,
        allow: tuple[str, ...] = (),
    ) -> Scope:
        """The run over these days; `with_own` the last one whether or not it is outstanding."""
        days = {one.day for one in self.days} | ({self.until} if with_own else set())
        return Scope(
            command=command,
            first=min(days),
            last=max(days),
            days=tuple(sorted(days)),
            missing=self.missing,
            final=final,
            dry_run=dry_run,
            allow=allow,
        )


def plan_catch_up(settings: Settings, ledger: Ledger, until: date) -> CatchUp:
    """What a catch-up until that day has to do; raises `ExportError` where exports can't be listed."""
    calendar = draw_calendar(settings, ledger, until, days=settings.catch_up_days, is_expected=True)
    missing = [one.day for one in calendar.find(MISSING)]
    named = _find_named(ledger, missing)
    return CatchUp(
        until=until,
        days=calendar.find(OUTSTANDING),
        missing=tuple(day for day in missing if day not in named),
        older=calendar.older,
    )


def name_missing(ledger: Ledger, days: tuple[date, ...]) -> None:
    """Keep that these days were found to have no export, where no run is there to do it."""
    read_at = ledger.engine.stamp()
    ledger.exports.record(ExportRecord(day, outcome=MISSING, read_at=read_at) for day in days)


def _find_named(ledger: Ledger, days: list[date]) -> set[date]:
    if not days:
        return set()
    known = ledger.exports.between(min(days), max(days))
    return {one.day for one in known if one.outcome == MISSING}
