"""The one story that both doors tell: extract, classify, validate, load, report.

Each stage reads what the one before left in the run's folder, leaves its own files there and returns
its counts. Nothing is posted before validate has passed.

A large run is split by customer into parts. Classify and validate take one part each; extract and
load go over all of them without ever holding more than one.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from upath import UPath

from robin_etl import exports, gate, limits, locations, orders, payload, profiles, shards
from robin_etl.client import Client
from robin_etl.delivery import RetryPolicy, Sender, stopped_by_signals
from robin_etl.exceptions import CorrectionsError, RobinEtlError
from robin_etl.ledger import DONE, STOPPED, Ledger
from robin_etl.reconcile import reconcile
from robin_etl.runs import Folder, Run
from robin_etl.settings import Settings

log = logging.getLogger(__name__)

Counts = dict[str, Any]
Advance = Callable[[int], Any]

# Corrections beyond both of these stop a run that was not told to allow them.
MOST_CORRECTIONS = 1_000
MOST_CORRECTED_SHARE = 0.2

# Small exports are judged together, up to so many rows: the gate has a price for each time it is asked.
_JUDGED_ROWS = 100_000

# The counts of a run, in the order they are told.
COUNTS = (
    "exported",
    *orders.KINDS,
    "unchanged",
    "stale",
    "quarantined",
    "posted",
    "rejected",
    "in_doubt",
    "requests",
)
_SIDE_COUNTS = ("duplicates", "superseded", "held_back", "without_contact", "parts")

# What extract leaves of each row: `broken` where a row rule quarantined it.
_ROWS_DTYPES = {**orders.EXPORTED_DTYPES, **orders.CONTACT_DTYPES, "broken": orders.FLAG}


@dataclass(frozen=True)
class Plan:
    """What is about to be posted: how many changes, in how many requests."""

    changes: int
    requests: int


def extract(settings: Settings, run: Run) -> Counts:
    """Read the run's exports, let the gate name what is quarantined, and split the rest into parts.

    Raises `ExportMissingError`, `ExportError` or `GateError`.
    """
    with _stage(settings, run) as ledger:
        files = _files(settings, run)
        suite = settings.path(settings.expectations) / gate.EXPORT_SUITE
        judgement = gate.Judgement(suite, {"fewest_rows": _fewest_rows(ledger, suite, len(files))})
        quarantine = []
        with run.files.writing_frames("exported") as write:
            heard = 0
            for read in _gathered(settings, files):
                rows = pd.concat([export.rows for export in read], ignore_index=True)
                rows.index += heard
                broken = judgement.hear(rows)
                quarantine.append(_quarantine(read, broken, heard))
                heard += len(rows)
                rows["broken"] = pd.array(rows.index.isin(broken.index), dtype=orders.FLAG)
                write(orders.identified(rows, key=settings.digest_key()))
        verdict = judgement.conclude(lambda columns: run.files.read_frame("exported", columns))
        pa.default_memory_pool().release_unused()
        run.files.write_json("verdict_export", verdict.as_json())
        run.files.write_csv("quarantine", pd.concat(quarantine, ignore_index=True))
        counts = {
            "files": len(files),
            "exported": heard,
            "quarantined": len(verdict.broken),
            "warnings": list(verdict.warnings),
        }
        run.files.write_json("extract", counts)
        number = shards.number_for(heard) if settings.shards == "auto" else settings.shards
        _split(run, ledger, number)
        for rule in verdict.warnings:
            log.warning("The rule %s of %s warns about %s.", rule, suite.name, run.title)
        verdict.stop_unless_passed(f"the export of {run.title}")
        return {**counts, "parts": len(parts(run))}


def parts(run: Run) -> list[Folder]:
    """The folders of the parts that extract has split the run into: the run's own if it is but one."""
    number = run.files.read_json("parts").get("number", 1)
    return [run.part(at) for at in range(1, number + 1)] if number > 1 else [run.files]


def classify(settings: Settings, run: Run, part: int = 1) -> Counts:
    """Compare a part of what was exported with the ledger; leave its `changes` and `confirmed`."""
    with _stage(settings, run) as ledger:
        folder = parts(run)[part - 1]
        counts = _classify(settings, run, folder, ledger)
        folder.write_json("classify", counts)
        return counts


def validate(settings: Settings, run: Run, part: int = 1) -> Counts:
    """Let the gate judge the changes of a part; raises `GateError` where any breaks a rule."""
    with _stage(settings, run):
        return _validate(settings, run, parts(run)[part - 1])


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
            ledger.posting(run.id),
            Client(settings.base_url, key, secret, timeout=settings.timeout) as client,
        ):
            _keep(run, **asdict(ledger.settle_interrupted(run.id)))
            for folder in _renewed(settings, run, ledger):
                _validate(settings, run, folder)
            plan = _planned(settings, run)
            _confirm(run, ledger)
            stopping = Event()
            with stopped_by_signals(stopping), watched(plan) as advance:
                sender = Sender(
                    client,
                    ledger,
                    _pace(settings, ledger, stopping),
                    run=run.id,
                    chunk_size=settings.chunk_size,
                    concurrency=settings.concurrency,
                    retry=RetryPolicy(
                        settings.max_attempts, sleep=stopping.wait, backoff=settings.backoff
                    ),
                    stopping=stopping,
                    progress=advance,
                )
                try:
                    sender.deliver(_changes(run), total=plan.changes)
                finally:
                    _keep(run, held_back=sender.delivered.held_back)
        return _delivered(ledger, run)


def acknowledge(settings: Settings, run: Run) -> Counts:
    """Baseline: take the changes over into the ledger without posting any."""
    with _stage(settings, run) as ledger, ledger.posting(run.id):
        _renewed(settings, run, ledger)
        _confirm(run, ledger)
        acknowledged = 0
        for changes in _changes(run):
            ledger.baseline(changes)
            acknowledged += len(changes)
        counts = {"acknowledged": acknowledged}
        run.files.write_json("load", counts)
        return counts


def report(settings: Settings, run: Run) -> Counts:
    """Put the counts of all stages together, keep them as `summary`, and close the run."""
    with _ledger(settings, run) as ledger:
        summary = _summary(ledger, run)
        run.files.write_json("summary", summary)
        if not run.dry_run:
            ledger.finish_run(run.id, DONE, counts=summary)
            ledger.close_interrupted(run.files.read_json("load").get("runs", []))
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
def _stage(settings: Settings, run: Run) -> Iterator[Ledger]:
    """A stage's ledger, open. A stop is logged with the run before it goes on to the caller."""
    with _ledger(settings, run) as ledger:
        if not run.dry_run:
            ledger.start_run(run.id, command=run.command, first=run.first, last=run.last)
        try:
            yield ledger
        except RobinEtlError as error:
            if not run.dry_run:
                # What went wrong first is what counts, even where it can't be written down.
                with suppress(RobinEtlError):
                    summary = _summary(ledger, run)
                    run.files.write_json("summary", summary)
                    ledger.finish_run(run.id, STOPPED, words=str(error), counts=summary)
                    ledger.close_interrupted(run.files.read_json("load").get("runs", []))
            raise


def _ledger(settings: Settings, run: Run) -> Ledger:
    return Ledger.open(settings.ledger, read_only=run.dry_run)


def _files(settings: Settings, run: Run) -> dict[date, UPath]:
    if run.exports:
        return {date.fromisoformat(day): settings.path(path) for day, path in run.exports}
    days = locations.days_between(run.first, run.last)
    found = locations.find(settings.exports, days, settings.path)
    if not found:
        raise locations.missing(settings.exports, run.first, run.last)
    return found


def _fewest_rows(ledger: Ledger, suite: UPath, files: int) -> int:
    """How many rows the guard on volume wants of so many files, going by the last runs."""
    volume = gate.load(suite)["meta"].get("volume", {})
    usual = ledger.rows_per_day(int(volume.get("days", 0)))
    return int(float(volume.get("least_share", 0)) * median(usual) * files) if usual else 0


def _gathered(settings: Settings, files: dict[date, UPath]) -> Iterator[list[exports.Export]]:
    """The exports in batches of a size that is worth judging; at least one, if there is a file."""
    profile = profiles.named(settings.profile)
    gathered: list[exports.Export] = []
    for day, path in files.items():
        for batch in exports.batches(path, profile, day):
            gathered.append(batch)
            if sum(len(export.rows) for export in gathered) >= _JUDGED_ROWS:
                yield gathered
                gathered = []
    if gathered:
        yield gathered


def _quarantine(read: list[exports.Export], broken: pd.Series, start: int) -> pd.DataFrame:
    """The broken rows as they were, behind the file, line and rules that say where and why.

    `start` is the place of the first row of `read` in the index of `broken`.
    """
    found = [pd.DataFrame(columns=["file", "line", "rules"])]
    for export in read:
        own = broken[(broken.index >= start) & (broken.index < start + len(export.rows))]
        if len(own):
            at = own.index - start
            cells = export.cells.loc[at].reset_index(drop=True)
            cells.insert(0, "rules", own.array)
            cells.insert(0, "line", export.lines.loc[at].array)
            cells.insert(0, "file", Path(export.path).name)
            found.append(cells)
        start += len(export.rows)
    return pd.concat(found, ignore_index=True) if len(found) > 1 else found[0]


def _split(run: Run, ledger: Ledger, number: int) -> None:
    """Write what was exported anew, in so many parts that can each be reconciled by itself."""
    revision = ledger.revision()
    if number > 1:
        parts_of_rows = _parts_of_rows(run, ledger, number)
        with ExitStack() as stack:
            writers = []
            for part in range(1, number + 1):
                run.part(part).make()
                writers.append(stack.enter_context(run.part(part).writing_frames("exported")))
                writers[-1](orders.empty(_ROWS_DTYPES))
            done = 0
            for frame in run.files.reading_frames("exported", list(_ROWS_DTYPES)):
                rows = orders.typed(frame, _ROWS_DTYPES)
                for index, own in rows.groupby(parts_of_rows[done : done + len(rows)]):
                    writers[int(str(index))](own)
                done += len(rows)
    run.files.write_json("parts", {"number": number, "revision": revision})


def _parts_of_rows(run: Run, ledger: Ledger, number: int) -> shards.Parts:
    rows = run.files.read_json("extract")["exported"]
    of_orders, of_customers = np.empty((2, rows), dtype=np.uint64)
    known_orders, known_customers = [of_orders[:0]], [of_customers[:0]]
    done = 0
    for frame in run.files.reading_frames("exported", ["order_number", "email", "phone"]):
        numbers, here = frame["order_number"], slice(done, done + len(frame))
        of_orders[here] = shards.keys(numbers)
        of_customers[here] = shards.keys(frame["email"].fillna(frame["phone"]))
        known = ledger.customers_of(numbers.dropna())
        known_orders.append(shards.keys(known["order_number"]))
        known_customers.append(shards.keys(known["customer"]))
        done += len(frame)
    both = (np.concatenate(known_orders), np.concatenate(known_customers))
    return shards.parts_of(of_orders, of_customers, both, number)


def _classify(settings: Settings, run: Run, folder: Folder, ledger: Ledger) -> Counts:
    rows = orders.typed(folder.read_frame("exported", list(_ROWS_DTYPES)), _ROWS_DTYPES)
    exported, duplicates = orders.kept(rows)
    revision = ledger.revision()
    customers = pd.concat([exported["email"], exported["phone"]], ignore_index=True)
    known = ledger.look_up(exported["order_number"], customers)
    result = reconcile(exported, known, final=run.final)

    changes = _with_contacts_of_earlier_exports(settings, result.changes)
    nameless = changes["email_address"].isna() & changes["phone_number"].isna()
    if run.command == "baseline":
        nameless &= False  # nothing is posted, so nobody need be named
    elif nameless.any():
        log.warning(
            "%d corrections wait until their customers' address is exported again: %s.",
            int(nameless.sum()),
            ", ".join(changes["order_number"][nameless].head(10)),
        )
    changes = changes[~nameless]
    folder.write_frame("changes", changes)
    folder.write_frame("confirmed", result.confirmed)
    kinds = {kind: int((changes["kind"] == kind).sum()) for kind in orders.KINDS}
    waves = changes["wave"].value_counts()
    basis = {
        "revision": revision,
        "rows": len(exported),
        "corrections": kinds[orders.CORRECTION],
        "waves": {str(wave): int(count) for wave, count in waves.items()},
    }
    folder.write_json("basis", basis)
    return {
        **kinds,
        "unchanged": result.unchanged,
        "stale": result.stale,
        "duplicates": duplicates,
        "superseded": result.superseded,
        "without_contact": int(nameless.sum()),
    }


def _with_contacts_of_earlier_exports(settings: Settings, changes: pd.DataFrame) -> pd.DataFrame:
    """Changes of orders whose customer no row of this run names, named from the earlier exports.

    That happens when an order leaves a customer for another: the customer's next order becomes the
    first. The ledger knows no address, but it knows the day whose export told it.
    """
    nameless = changes["email_address"].isna() & changes["phone_number"].isna()
    if not nameless.any():
        return changes
    profile = profiles.named(settings.profile)
    wanted = changes[nameless]
    days = wanted["email_day"].fillna(wanted["phone_day"])
    told = [date.fromisoformat(day) for day in sorted(days.dropna().unique())]
    changes = changes.copy()
    for day, path in locations.find(settings.exports, told, settings.path).items():
        rows = pd.concat(
            batch.rows[batch.rows["order_number"].isin(wanted["order_number"])]
            for batch in exports.batches(path, profile, day)
        )
        known = orders.identified(rows, key=settings.digest_key())
        for digest, contact in (("email", "email_address"), ("phone", "phone_number")):
            named = known.dropna(subset=digest).drop_duplicates(digest, keep="last")
            found = changes[digest].map(named.set_index(digest)[contact])
            changes[contact] = changes[contact].fillna(found.astype(orders.TEXT))
    return changes


def _validate(settings: Settings, run: Run, folder: Folder) -> Counts:
    suite = settings.path(settings.expectations) / gate.CHANGES_SUITE
    verdict = gate.judge(_frame(folder, "changes", orders.CHANGE_DTYPES), suite)
    folder.write_json("verdict_changes", verdict.as_json())
    verdict.stop_unless_passed(f"the changes of {run.title}")
    return {"validated": verdict.rows}


def _renewed(settings: Settings, run: Run, ledger: Ledger) -> list[Folder]:
    """The parts whose changes had to be made anew, since the ledger has moved: all of them, or none.

    An order may have moved to another customer meanwhile, so the parts themselves are made anew.
    """
    folders = parts(run)
    based = {folder.read_json("basis")["revision"] for folder in folders}
    if {*based, run.files.read_json("parts")["revision"]} == {ledger.revision()}:
        return []
    _split(run, ledger, len(folders))
    for folder in folders:
        _classify(settings, run, folder, ledger)
    return folders


def _confirm(run: Run, ledger: Ledger) -> None:
    for folder in parts(run):
        for frame in folder.reading_frames("confirmed"):
            ledger.confirm(orders.typed(frame, orders.LEDGER_DTYPES))


def _planned(settings: Settings, run: Run) -> Plan:
    """What the parts are about to post together; raises `CorrectionsError`."""
    bases = [folder.read_json("basis") for folder in parts(run)]
    _stop_at_mass_corrections(
        run, sum(basis["corrections"] for basis in bases), sum(basis["rows"] for basis in bases)
    )
    waves: Counter[str] = sum((Counter(basis["waves"]) for basis in bases), Counter())
    requests = sum(-(-changes // settings.chunk_size) for changes in waves.values())
    return Plan(changes=waves.total(), requests=requests)


def _stop_at_mass_corrections(run: Run, corrections: int, rows: int) -> None:
    if run.allow_corrections or corrections <= MOST_CORRECTIONS:
        return
    if corrections > MOST_CORRECTED_SHARE * rows:
        raise CorrectionsError(
            f"{corrections} corrections in {rows} rows are more than a shop makes: a new column or "
            "a changed mapping is more likely. Nothing was posted. Look at the export, and run with "
            "--allow-corrections if they are meant.",
            corrections=corrections,
        )


def _changes(run: Run) -> Iterator[pd.DataFrame]:
    """The changes of all parts, wave by wave, oldest first."""
    return payload.merged(
        [
            (orders.typed(frame, orders.CHANGE_DTYPES) for frame in folder.reading_frames("changes"))
            for folder in parts(run)
        ]
    )


def _rehearse(settings: Settings, run: Run) -> Counts:
    plan = _planned(settings, run)
    bodies = (
        payload.body(payload.payloads(chunk))
        for _, chunk in payload.chunked(_changes(run), settings.chunk_size)
    )
    requests = run.files.write_lines("requests.jsonl", bodies)
    counts = {"would_post": plan.changes, "would_request": requests}
    run.files.write_json("load", counts)
    return counts


def _pace(settings: Settings, ledger: Ledger, stopping: Event) -> limits.Pace:
    """ROBIN's limits, with what was sent within them before."""
    kept = limits.parse(settings.rate_limits)
    ages = ledger.request_ages(max(limit.seconds for limit in kept))
    return limits.Pace(kept, ages=ages, sleep=stopping.wait)


def _keep(run: Run, **told: Iterable[str]) -> None:
    """Add to what the run's tries at loading have found, by name."""
    kept = run.files.read_json("load")
    both = {name: sorted({*kept.get(name, []), *found}) for name, found in told.items()}
    run.files.write_json("load", {**kept, **both})


def _delivered(ledger: Ledger, run: Run) -> Counts:
    """What the delivery log says of the run, over all its tries."""
    kept = run.files.read_json("load")
    outcome = ledger.outcome_of(run.id)
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


def _summary(ledger: Ledger, run: Run) -> Counts:
    classified: Counter[str] = Counter()
    folders = parts(run)
    for folder in folders:
        classified.update(folder.read_json("classify"))
    told = {**run.files.read_json("extract"), **classified, **_delivered(ledger, run)}
    told |= {"parts": len(folders)} | {
        name: count
        for name, count in run.files.read_json("load").items()
        if name in ("acknowledged", "would_post", "would_request")
    }
    counted = {name: told.pop(name, 0) for name in (*COUNTS, *_SIDE_COUNTS)}
    return {"run": run.id, "from": f"{run.first}", "to": f"{run.last}", **counted, **told}


def _frame(folder: Folder, name: str, dtypes: dict[str, str]) -> pd.DataFrame:
    return orders.typed(folder.read_frame(name), dtypes)
