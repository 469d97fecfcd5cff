"""A catch-up: which days it runs and why, and the run that it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from robin_etl.ledger import ExportRecord, Ledger, UnchangedExport
from robin_etl.ledger.exports import MISSING
from robin_etl.settings import Settings
from robin_etl.stages.calendar import OUTSTANDING, DayState, draw_calendar
from robin_etl.stages.records import Scope


@dataclass(frozen=True)
class CatchUp:
    """The outstanding `days` until a day, oldest first; the days before it that are `missing`, and that
    no run has named yet; how many `older` days beyond its reach were never run; and the files that
    were written anew, or moved, `unchanged`.
    """

    until: date
    days: tuple[DayState, ...]
    missing: tuple[date, ...]
    older: int
    unchanged: tuple[UnchangedExport, ...]

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
        refresh: bool = False,
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
            refresh=refresh,
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
        unchanged=calendar.unchanged,
    )


def keep_findings(ledger: Ledger, planned: CatchUp) -> None:
    """Keep which files are as they were read; and which days have no export, where no day is to be run,
    since a run names them itself.
    """
    ledger.exports.renew(planned.unchanged)
    if not planned.days:
        read_at = ledger.engine.stamp()
        missing = (ExportRecord(day, outcome=MISSING, read_at=read_at) for day in planned.missing)
        ledger.exports.record(missing)


def _find_named(ledger: Ledger, days: list[date]) -> set[date]:
    if not days:
        return set()
    known = ledger.exports.between(min(days), max(days))
    return {one.day for one in known if one.outcome == MISSING}
