"""A stage of a run: how each of them starts, fails, is reported and ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from robin_etl.core.words import count
from robin_etl.exceptions import NOTHING_POSTED, InterruptedRunError, RobinEtlError
from robin_etl.ledger import Ledger
from robin_etl.ledger.deliveries import ACCEPTED
from robin_etl.observer import Observer, Result, StageEnded, StageStarted
from robin_etl.settings import Settings
from robin_etl.stack import with_room
from robin_etl.stages.records import Loaded
from robin_etl.stages.report import close_stopped_run
from robin_etl.stages.run import Run

R = TypeVar("R", bound=Result)


@with_room
def run_stage(
    name: str,
    work: Callable[[Ledger], R],
    settings: Settings,
    run: Run,
    observer: Observer,
    *,
    partition: int | None = None,
    restarts: bool = True,
) -> R:
    """Do the work of a stage with the ledger open; what it gives.

    The first stages and each new try mark the run as under way: it `restarts`. The stage of one
    partition does not, since another partition may have stopped the run meanwhile. A stop is logged
    with the run, and on its page, before it goes on to the caller; an interrupt is such a stop.
    """
    scope = run.scope
    observer(StageStarted(name, partition))
    with Ledger.open(settings.ledger, read_only=scope.dry_run) as ledger:
        if restarts and not scope.dry_run:
            ledger.runs.start(run.id, command=scope.command, first=scope.first, last=scope.last)
        try:
            result = _do(work, ledger)
        except RobinEtlError as error:
            _admit_posts(error, run, ledger)
            close_stopped_run(settings, run, ledger, str(error))
            raise
    observer(StageEnded(name, result, partition))
    return result


def _admit_posts(error: RobinEtlError, run: Run, ledger: Ledger) -> None:
    """Let a stop's sentence be true of a run that has posted before: what was in doubt, or an earlier
    try's changes.
    """
    if run.scope.dry_run or NOTHING_POSTED not in str(error):
        return
    with suppress(RobinEtlError):
        deliveries = ledger.deliveries.deliveries_of(run.id)
        posted = set(deliveries["order_number"][deliveries["outcome"] == ACCEPTED])
        in_doubt = set((run.loaded.find() or Loaded()).in_doubt)
        if posted and posted <= in_doubt:
            settled = count(len(posted), "order")
            error.say_instead(
                NOTHING_POSTED, f"No change was posted ({settled} in doubt, settled before)"
            )
        elif posted:
            told = count(len(posted), "order")
            error.say_instead(NOTHING_POSTED, f"No more was posted (ROBIN took {told} before)")


def _do(work: Callable[[Ledger], R], ledger: Ledger) -> R:
    try:
        return work(ledger)
    except KeyboardInterrupt:
        raise InterruptedRunError(
            "The run was told to stop. What ROBIN acknowledged is kept; run again, and it goes on from "
            "there."
        ) from None
