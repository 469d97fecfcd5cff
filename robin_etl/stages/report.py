"""Report: put the counts of all stages together, close the run in the ledger, and draw its pages."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace

import pyarrow as pa

from robin_etl.exceptions import LedgerBusyError, RobinEtlError
from robin_etl.gate import Verdict
from robin_etl.ledger import Ledger
from robin_etl.settings import Settings
from robin_etl.stages import pages
from robin_etl.stages.calendar import OUTSTANDING, Calendar, draw_calendar
from robin_etl.stages.exports_read import describe_exports, record_exports
from robin_etl.stages.records import Classified, Delivered, Extracted, FoundExports, Loaded, Summary
from robin_etl.stages.run import Run

log = logging.getLogger(__name__)


def close_run(settings: Settings, run: Run, ledger: Ledger) -> Summary:
    """Keep the summary and the pages of a run that is through; raises `UnavailableError`."""
    summary, found = summarize(settings, run, ledger)
    calendar = Calendar()
    if not run.scope.dry_run:
        record_exports(run, ledger, summary, found)
        calendar = _draw_calendar(settings, run, ledger)
        ledger.exports.renew(calendar.unchanged)
        outstanding = tuple(one.day for one in calendar.find(OUTSTANDING))
        summary = replace(summary, outstanding=outstanding)
    run.summary.write(summary.counts())
    pages.write_page(run, ledger, summary)
    if not run.scope.dry_run:
        _finish(run, ledger, summary)
        _close_doubt(run, ledger, summary)
        pages.write_index(run, ledger, calendar)
    return summary


def close_stopped_run(settings: Settings, run: Run, ledger: Ledger, reason: str) -> None:
    """The same for a run that stops, as far as it can be done: why it stopped is what counts."""
    with suppress(RobinEtlError):
        summary, found = summarize(settings, run, ledger, is_stopped=True)
        run.summary.write(summary.counts())
        if not run.scope.dry_run:
            record_exports(run, ledger, summary, found)
            _finish(run, ledger, summary, reason)
            _close_doubt(run, ledger, summary)
        # Files of a stage that was cut off can't be read, and may not hide why it was.
        with suppress(OSError, pa.ArrowException):
            pages.write_page(run, ledger, summary, stopped=reason)
        if not run.scope.dry_run:
            pages.write_index(run, ledger, _draw_calendar(settings, run, ledger))


def summarize(
    settings: Settings, run: Run, ledger: Ledger, *, is_stopped: bool = False
) -> tuple[Summary, FoundExports]:
    """What came of all stages until now, partitions and tries added up; and the exports read."""
    partitions = run.partitions
    extracted = run.extracted.find() or Extracted()
    classified = Classified.add_up(
        [record for partition in partitions if (record := partition.classified.find())]
    )
    found = describe_exports(settings, run, ledger, classified)
    summary = Summary(
        run=run.id,
        first=run.scope.first,
        last=run.scope.last,
        extracted=extracted,
        classified=classified,
        partitions=len(partitions),
        delivered=look_up_delivered(run, ledger),
        loaded=run.loaded.find() or Loaded(),
        warnings=tuple(dict.fromkeys((*extracted.warnings, *_find_warnings(run)))),
        is_stopped=is_stopped,
        missing=found.missing,
        notes=tuple(note for one in (*found.files, *found.left_out) for note in one.notes),
    )
    return summary, found


def _draw_calendar(settings: Settings, run: Run, ledger: Ledger) -> Calendar:
    """The calendar until the newest day that was run; an empty one where exports can't be listed."""
    until = max(run.scope.last, ledger.exports.last_day() or run.scope.last)
    try:
        return draw_calendar(settings, ledger, until, days=settings.catch_up_days)
    except RobinEtlError as error:
        log.warning("Which days are outstanding is not known: %s", error)
        return Calendar()


def _find_warnings(run: Run) -> Iterator[str]:
    """The rules on the changes of any partition that failed and only warn."""
    for partition in run.partitions:
        if content := partition.verdict.find():
            yield from Verdict.from_json(content).warnings


def look_up_delivered(run: Run, ledger: Ledger) -> Delivered:
    """What the delivery log says of the run, with what its tries at loading have found."""
    loaded = run.loaded.find() or Loaded()
    outcome = ledger.deliveries.outcome_of(run.id)
    return Delivered(
        posted=outcome.posted,
        requests=outcome.requests,
        rejected=outcome.rejected,
        in_doubt=tuple(sorted({*outcome.in_doubt, *loaded.in_doubt})),
        undecided=loaded.undecided,
        held_back=loaded.held_back,
        remarked=outcome.remarked,
        remarks=outcome.remarks,
    )


def _close_doubt(run: Run, ledger: Ledger, summary: Summary) -> None:
    """Log that the run has reported what it found in doubt."""
    ledger.runs.close_interrupted(summary.loaded.interrupted_runs)
    if summary.loaded.doubtful:
        # Where another run is posting, the next one reports it once more.
        with suppress(LedgerBusyError), ledger.posting(run.id, run.journals):
            ledger.doubts.close(summary.loaded.doubtful)


def _finish(run: Run, ledger: Ledger, summary: Summary, reason: str | None = None) -> None:
    extracted = summary.extracted
    ledger.runs.finish(
        run.id,
        summary.outcome,
        words=reason,
        counts=summary.counts(),
        files=extracted.files,
        exported=extracted.exported,
        highest=extracted.highest,
        read_by=asdict(extracted.read_by) if extracted.read_by else None,
    )
    ledger.exports.count_acknowledged((run.id, *summary.loaded.interrupted_runs))
