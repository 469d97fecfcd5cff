"""The story that both doors tell: extract, classify, validate, plan, load, report.

Each stage reads what the one before left in the run's folder, leaves its own files there, and returns a
record of what came of it. Nothing is posted before validate has passed and no guard stops the plan. A
large run is split by customer into partitions: classify and validate take one each; the others go over
all of them, and hold no more than one.

`observer` is called with what happens (`robin_etl.observer`).
"""

from __future__ import annotations

from functools import partial

from robin_etl.ledger import Ledger
from robin_etl.observer import Observer, ignore
from robin_etl.settings import Settings
from robin_etl.stages.classify import classify_rows
from robin_etl.stages.destination import check_destination, check_not_lost, require_credentials
from robin_etl.stages.doubt import settle_before_comparing
from robin_etl.stages.extract import extract_exports
from robin_etl.stages.load import acknowledge_changes, post_changes, rehearse_posts
from robin_etl.stages.plan import make_plan
from robin_etl.stages.records import Classified, Delivered, Extracted, Loaded, Plan, Summary, Validated
from robin_etl.stages.report import close_run, look_up_delivered
from robin_etl.stages.run import Run
from robin_etl.stages.stage import run_stage
from robin_etl.stages.validate import validate_changes


def run_all(settings: Settings, run: Run, observer: Observer = ignore) -> Summary:
    """Tell ROBIN what changed: all stages, one after the other, and partition after partition."""
    require_credentials(settings, run)
    extract(settings, run, observer)
    for partition in run.partitions:
        classify(settings, run, partition.number, observer)
    for partition in run.partitions:
        validate(settings, run, partition.number, observer)
    plan(settings, run, observer)
    load(settings, run, observer)
    return report(settings, run, observer)


def baseline(settings: Settings, run: Run, observer: Observer = ignore) -> Summary:
    """Acknowledge instead of posting: orders that ROBIN has, or should never celebrate."""
    require_credentials(settings, run)
    extract(settings, run, observer)
    for partition in run.partitions:
        classify(settings, run, partition.number, observer)
    plan(settings, run, observer)
    acknowledge(settings, run, observer)
    return report(settings, run, observer)


def extract(settings: Settings, run: Run, observer: Observer = ignore) -> Extracted:
    """Settle what is in doubt, read the run's exports, let the gate set rows aside, and write the rest
    in partitions.

    Raises `BindingError` where the ledger belongs to another ROBIN or customer key, `LedgerError` where
    it was lost, or is older than its journals, `ExportMissingError`, `ExportError` or `GateError`, and
    what stops delivery.
    """

    def work(ledger: Ledger) -> Extracted:
        check_destination(settings, run, ledger)
        if not run.scope.dry_run:
            check_not_lost(settings, run, ledger)
            ledger.check_age(run.journals)
        settle_before_comparing(settings, run, ledger, observer)
        return extract_exports(settings, run, ledger)

    return run_stage("extract", work, settings, run, observer)


def classify(
    settings: Settings, run: Run, partition: int = 1, observer: Observer = ignore
) -> Classified:
    """Compare a partition's rows with the ledger, and leave the changes."""

    def work(ledger: Ledger) -> Classified:
        # A task that was cleared writes anew what alone says what its run has sent.
        settle_before_comparing(settings, run, ledger, observer, only_own=True)
        return classify_rows(settings, run, run.partitions[partition - 1], ledger)

    return run_stage("classify", work, settings, run, observer, partition=partition, restarts=False)


def validate(settings: Settings, run: Run, partition: int = 1, observer: Observer = ignore) -> Validated:
    """Let the gate check a partition's changes; raises `GateError` where any breaks a rule."""

    def work(_: Ledger) -> Validated:
        return validate_changes(settings, run, run.partitions[partition - 1])

    return run_stage("validate", work, settings, run, observer, partition=partition, restarts=False)


def plan(settings: Settings, run: Run, observer: Observer = ignore) -> Plan:
    """Add up what all partitions are about to tell; raises `GuardError` where a guard stops the run."""
    return run_stage("plan", partial(make_plan, settings, run), settings, run, observer)


def load(settings: Settings, run: Run, observer: Observer = ignore) -> Delivered | Loaded:
    """Post the changes of all partitions, or in a dry run keep what would be posted.

    Raises `GuardError` where the ledger has moved and a guard stops the run now, `LedgerBusyError` while
    another run posts, and what stops delivery: `AuthenticationError`, `AnswerError`,
    `RobinUnavailableError`, `InterruptedRunError`.
    """

    def work(ledger: Ledger) -> Delivered | Loaded:
        if run.scope.dry_run:
            return rehearse_posts(settings, run, ledger)
        post_changes(settings, run, ledger, observer)
        return look_up_delivered(run, ledger)

    return run_stage("load", work, settings, run, observer)


def acknowledge(settings: Settings, run: Run, observer: Observer = ignore) -> Loaded:
    """Take the changes of all partitions over into the ledger without posting any."""

    def work(ledger: Ledger) -> Loaded:
        return acknowledge_changes(settings, run, ledger, observer)

    return run_stage("load", work, settings, run, observer)


def report(settings: Settings, run: Run, observer: Observer = ignore) -> Summary:
    """Put the counts of all stages together, keep them, close the run and draw its pages."""
    return run_stage(
        "report", partial(close_run, settings, run), settings, run, observer, restarts=False
    )
