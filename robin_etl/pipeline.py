"""The one story that both doors tell: extract, classify, validate, load, report.

Each stage reads what the one before left in the run's folder, leaves its own files there and returns
its counts. Nothing is posted before validate has passed.

A large run is split by customer into parts. Classify and validate take one part each; extract and
load go over all of them without ever holding more than one.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from robin_etl import reports, signals
from robin_etl.core import columns, limits, payload
from robin_etl.delivery import Client, LedgerWriter, Pace, RetryPolicy, Sender
from robin_etl.exceptions import InterruptedRunError, RobinEtlError
from robin_etl.ledger import Ledger
from robin_etl.ledger.runs import DONE, STOPPED
from robin_etl.observer import Event, Progressed
from robin_etl.settings import Settings
from robin_etl.stages.classify import Plan, changes_of, classified, planned, renewed, validated
from robin_etl.stages.extract import extracted, parts
from robin_etl.stages.run import Run

Counts = dict[str, Any]
Advance = Callable[[int], Any]

# The counts of a run, in the order they are told.
COUNTS = (
    "exported",
    *columns.KINDS,
    "unchanged",
    "stale",
    "quarantined",
    "posted",
    "rejected",
    "in_doubt",
    "requests",
)
_SIDE_COUNTS = ("duplicates", "superseded", "left_out", "held_back", "without_contact", "parts")


def extract(settings: Settings, run: Run) -> Counts:
    """Read the run's exports, let the gate name what is quarantined, and split the rest into parts.

    Raises `ExportMissingError`, `ExportError` or `GateError`.
    """
    with _stage(settings, run) as ledger:
        return extracted(settings, run, ledger)


def classify(settings: Settings, run: Run, part: int = 1) -> Counts:
    """Compare a part of what was exported with the ledger; leave its `changes` and `confirmed`."""
    with _stage(settings, run, restart=False) as ledger:
        folder = parts(run)[part - 1]
        counts = classified(settings, run, folder, ledger)
        folder.write_json("classify", counts)
        return counts


def validate(settings: Settings, run: Run, part: int = 1) -> Counts:
    """Let the gate judge the changes of a part; raises `GateError` where any breaks a rule."""
    with _stage(settings, run, restart=False):
        return validated(settings, run, parts(run)[part - 1])


def load(
    settings: Settings,
    run: Run,
    *,
    watched: Callable[[Plan], AbstractContextManager[Advance]] = lambda _: nullcontext(lambda _: None),
) -> Counts:
    """Post the changes of all parts, or in a dry run keep what would be posted.

    Only one run posts at a time. Where the ledger has moved since classify (another run, or an
    earlier try of this one), the changes are made and validated anew before anything is posted.
    `watched` is given the plan, and then told the number of changes done with after each answer.
    Raises `CorrectionsError` for more corrections than a shop makes.
    """
    with _stage(settings, run) as ledger:
        if run.dry_run:
            return _rehearse(settings, run)
        key, secret = settings.credentials()
        with (
            ledger.lock.hold(run.id),
            Client(settings.base_url, key, secret, timeout=settings.timeout) as client,
        ):
            _keep(run, **asdict(ledger.deliveries.settle_interrupted(run.id)))
            for folder in renewed(settings, run, ledger):
                validated(settings, run, folder)
            plan = planned(settings, run)
            _confirm(run, ledger)
            stopping = threading.Event()
            with (
                signals.setting(stopping),
                watched(plan) as advance,
                LedgerWriter(ledger, run.id) as writer,
            ):
                sender = Sender(
                    client,
                    _pace(settings, ledger, stopping),
                    RetryPolicy(settings.max_attempts, sleep=stopping.wait, backoff=settings.backoff),
                    writer,
                    chunk_size=settings.chunk_size,
                    concurrency=settings.concurrency,
                    stopping=stopping,
                    observer=lambda event: _advance(advance, event),
                )
                try:
                    sender.deliver(changes_of(run), total=plan.changes)
                finally:
                    _keep(run, held_back=sender.delivered.held_back)
        return _delivered(ledger, run)


def acknowledge(settings: Settings, run: Run) -> Counts:
    """Baseline: take the changes over into the ledger without posting any."""
    with _stage(settings, run) as ledger, ledger.lock.hold(run.id):
        renewed(settings, run, ledger)
        _confirm(run, ledger)
        acknowledged = 0
        for folder in parts(run):
            changes = columns.conform(folder.read_frame("changes"), columns.LEDGER_DTYPES)
            ledger.states.baseline(changes)
            acknowledged += len(changes)
        counts = {"acknowledged": acknowledged}
        run.files.write_json("load", counts)
        return counts


def report(settings: Settings, run: Run) -> Counts:
    """Put the counts of all stages together, keep them as `summary`, and close the run."""
    with _ledger(settings, run) as ledger:
        summary = _summary(ledger, run)
        run.files.write_json("summary", summary)
        reports.write(run, ledger, summary)
        if not run.dry_run:
            ledger.runs.finish(run.id, DONE, counts=summary, **_size(summary))
            ledger.runs.close_interrupted(run.files.read_json("load").get("runs", []))
            reports.write_index(run, ledger)
        return summary


def run_all(settings: Settings, run: Run, **watching: Any) -> Counts:
    """All five stages, one after the other and part after part, and the summary of them.

    `watching` is handed to `load`.
    """
    if not run.dry_run:
        settings.credentials()
    extract(settings, run)
    numbers = range(1, len(parts(run)) + 1)
    for part in numbers:
        classify(settings, run, part)
    for part in numbers:
        validate(settings, run, part)
    load(settings, run, **watching)
    return report(settings, run)


def baseline(settings: Settings, run: Run) -> Counts:
    """The stages of a baseline: as a run, but acknowledged instead of posted."""
    extract(settings, run)
    for part in range(1, len(parts(run)) + 1):
        classify(settings, run, part)
    acknowledge(settings, run)
    return report(settings, run)


# Inside


@contextmanager
def _stage(settings: Settings, run: Run, *, restart: bool = True) -> Iterator[Ledger]:
    """A stage's ledger, open. A stop is logged with the run before it goes on to the caller.

    A stage of one part does not `restart` a run that another part has stopped meanwhile.
    """
    with _ledger(settings, run) as ledger:
        if restart and not run.dry_run:
            ledger.runs.start(run.id, command=run.command, first=run.first, last=run.last)
        try:
            with _interrupts_named():
                yield ledger
        except RobinEtlError as error:
            if not run.dry_run:
                # What went wrong first is what counts, even where it can't be written down.
                with suppress(RobinEtlError):
                    summary = _summary(ledger, run)
                    run.files.write_json("summary", summary)
                    ledger.runs.finish(
                        run.id, STOPPED, words=str(error), counts=summary, **_size(summary)
                    )
                    ledger.runs.close_interrupted(run.files.read_json("load").get("runs", []))
                    # Files of a stage that was cut off can't be read, and may not hide why it was.
                    with suppress(OSError, pa.ArrowException):
                        reports.write(run, ledger, summary, stopped=str(error))
                    reports.write_index(run, ledger)
            raise


@contextmanager
def _interrupts_named() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRunError(
            "The run was told to stop. What ROBIN acknowledged is kept; run again, and it goes on from "
            "there."
        ) from None


def _ledger(settings: Settings, run: Run) -> Ledger:
    return Ledger.open(settings.ledger, read_only=run.dry_run)


def _confirm(run: Run, ledger: Ledger) -> None:
    for folder in parts(run):
        for frame in folder.reading_frames("confirmed"):
            confirmed = columns.conform(frame, columns.LEDGER_DTYPES)
            ledger.states.acknowledge(columns.iterate_states(confirmed))


def _rehearse(settings: Settings, run: Run) -> Counts:
    plan = planned(settings, run)
    chunks = payload.split_into_chunks(changes_of(run), settings.chunk_size, payload.encode_payloads)
    bodies = (payload.encode_body(chunk) for _, chunk in chunks)
    requests = run.files.write_lines("requests.jsonl", bodies)
    counts = {"would_post": plan.changes, "would_request": requests}
    run.files.write_json("load", counts)
    return counts


def _advance(advance: Advance, event: Event) -> None:
    if isinstance(event, Progressed):
        advance(event.changes)


def _pace(settings: Settings, ledger: Ledger, stopping: threading.Event) -> Pace:
    """ROBIN's limits, with what was sent within them before."""
    kept = limits.parse_limits(settings.rate_limits)
    ages = ledger.deliveries.request_ages(max(limit.seconds for limit in kept))
    return Pace(kept, ages=ages, sleep=stopping.wait)


def _keep(run: Run, **told: Iterable[str]) -> None:
    """Add to what the run's tries at loading have found, by name."""
    kept = run.files.read_json("load")
    both = {name: sorted({*kept.get(name, []), *found}) for name, found in told.items()}
    run.files.write_json("load", {**kept, **both})


def _delivered(ledger: Ledger, run: Run) -> Counts:
    """What the delivery log says of the run, over all its tries."""
    kept = run.files.read_json("load")
    outcome = ledger.deliveries.outcome_of(run.id)
    in_doubt = sorted({*outcome.in_doubt, *kept.get("orders", [])})
    held_back = kept.get("held_back", [])
    return {
        "posted": outcome.posted,
        "rejected": len(outcome.rejected),
        "in_doubt": len(in_doubt),
        "requests": outcome.requests,
        "held_back": len(held_back),
        "orders_rejected": list(outcome.rejected),
        "orders_in_doubt": in_doubt,
        "orders_held_back": held_back,
    }


def _size(summary: Counts) -> dict[str, Any]:
    """The files and rows of a run, where they are known."""
    return {name: summary.get(name) for name in ("files", "exported")}


def _summary(ledger: Ledger, run: Run) -> Counts:
    changes: Counter[str] = Counter()
    folders = parts(run)
    for folder in folders:
        changes.update(folder.read_json("classify"))
    told = {**run.files.read_json("extract"), **changes, **_delivered(ledger, run)}
    told |= {"parts": len(folders)} | {
        name: count
        for name, count in run.files.read_json("load").items()
        if name in ("acknowledged", "would_post", "would_request")
    }
    counted = {name: told.pop(name, 0) for name in (*COUNTS, *_SIDE_COUNTS)}
    return {"run": run.id, "from": f"{run.first}", "to": f"{run.last}", **counted, **told}
