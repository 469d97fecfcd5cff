"""The one story that both doors tell: extract, classify, validate, load, report.

Each stage reads what the one before left in the run's folder, leaves its own files there and returns
its counts. Nothing is posted before validate has passed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any

import pandas as pd
from upath import UPath

from robin_etl import exports, gate, limits, orders, payload, profiles
from robin_etl.client import Client
from robin_etl.delivery import RetryPolicy, Sender, stopped_by_signals
from robin_etl.exceptions import CorrectionsError, GateError, RobinEtlError
from robin_etl.ledger import ACCEPTED, DONE, IN_DOUBT, REJECTED, STOPPED, Ledger
from robin_etl.reconcile import reconcile
from robin_etl.runs import Run
from robin_etl.settings import Settings

log = logging.getLogger(__name__)

Counts = dict[str, Any]

# Corrections beyond both of these stop a run that was not told to allow them.
MOST_CORRECTIONS = 1_000
MOST_CORRECTED_SHARE = 0.2

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
_SIDE_COUNTS = ("duplicates", "superseded", "held_back", "without_contact")


def extract(settings: Settings, run: Run) -> Counts:
    """Read the run's exports and let the gate part them into `exported` and `quarantine`.

    Raises `ExportMissingError`, `ExportError` or `GateError`.
    """
    with _stage(settings, run) as ledger:
        files = _files(settings, run)
        profile = profiles.named(settings.profile)
        read = [exports.read(path, profile, day) for day, path in files.items()]
        rows = pd.concat([export.rows for export in read], ignore_index=True)

        suite = UPath(settings.expectations) / gate.EXPORT_SUITE
        volume = gate.load(suite)["meta"].get("volume", {})
        usual = ledger.rows_per_day(int(volume.get("days", 0)))
        share = float(volume.get("least_share", 0))
        fewest = int(share * median(usual) * len(files)) if usual else 0
        verdict = gate.judge(rows, suite, {"fewest_rows": fewest})
        run.write_json("verdict_export", verdict.as_json())
        run.write_csv("quarantine", _quarantine(read, verdict.broken))

        kept, duplicates = _kept(rows, verdict.broken)
        run.write_frame("exported", kept[list(orders.EXPORTED_DTYPES)])
        counts = {
            "files": len(files),
            "exported": len(rows),
            "quarantined": len(verdict.broken),
            "duplicates": duplicates,
            "warnings": list(verdict.warnings),
        }
        run.write_json("extract", counts)
        for rule in verdict.warnings:
            log.warning("The rule %s of %s warns about %s.", rule, suite.name, run.title)
        verdict.stop_unless_passed(f"the export of {run.title}")
        return counts


def classify(settings: Settings, run: Run) -> Counts:
    """Compare what was exported with the ledger; leave `changes` and `confirmed`.

    Raises `CorrectionsError` for more corrections than a shop makes.
    """
    with _stage(settings, run) as ledger:
        counts = _classify(settings, run, ledger)
        run.write_json("classify", counts)
        return counts


def validate(settings: Settings, run: Run) -> Counts:
    """Let the gate judge the changes; raises `GateError` where any breaks a rule."""
    with _stage(settings, run):
        return _validate(settings, run)


def load(settings: Settings, run: Run, *, progress: Callable[[int], Any] = lambda _: None) -> Counts:
    """Post the changes, or in a dry run keep what would be posted.

    Only one run posts at a time. Where the ledger has moved since classify (another run, or an
    earlier try of this one), the changes are made and validated anew before anything is posted.
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
            if ledger.revision() != run.read_json("basis")["revision"]:
                _classify(settings, run, ledger)
                _validate(settings, run)
            ledger.confirm(_frame(run, "confirmed", orders.LEDGER_DTYPES))
            stopping = Event()
            sender = Sender(
                client,
                ledger,
                _pace(settings, ledger, stopping),
                run=run.id,
                chunk_size=settings.chunk_size,
                concurrency=settings.concurrency,
                retry=RetryPolicy(settings.max_attempts, sleep=stopping.wait, backoff=settings.backoff),
                stopping=stopping,
                progress=progress,
            )
            try:
                with stopped_by_signals(stopping):
                    sender.deliver(_frame(run, "changes", orders.CHANGE_DTYPES))
            finally:
                _keep(run, held_back=sender.delivered.held_back)
        return _delivered(ledger, run)


def acknowledge(settings: Settings, run: Run) -> Counts:
    """Baseline: take the changes over into the ledger without posting any."""
    with _stage(settings, run) as ledger, ledger.posting(run.id):
        if ledger.revision() != run.read_json("basis")["revision"]:
            _classify(settings, run, ledger)
        ledger.confirm(_frame(run, "confirmed", orders.LEDGER_DTYPES))
        changes = _frame(run, "changes", orders.CHANGE_DTYPES)
        ledger.baseline(changes)
        counts = {"acknowledged": len(changes)}
        run.write_json("load", counts)
        return counts


def report(settings: Settings, run: Run) -> Counts:
    """Put the counts of all stages together, keep them as `summary`, and close the run."""
    with _ledger(settings, run) as ledger:
        summary = _summary(ledger, run)
        run.write_json("summary", summary)
        if not run.dry_run:
            ledger.finish_run(run.id, DONE, counts=summary)
            ledger.close_interrupted(run.read_json("load").get("runs", []))
        return summary


def run_all(settings: Settings, run: Run) -> Counts:
    """All five stages, one after the other, and the summary of them."""
    extract(settings, run)
    classify(settings, run)
    validate(settings, run)
    load(settings, run)
    return report(settings, run)


def baseline(settings: Settings, run: Run) -> Counts:
    """The stages of a baseline: as a run, but acknowledged instead of posted."""
    extract(settings, run)
    classify(settings, run)
    acknowledge(settings, run)
    return report(settings, run)


@dataclass(frozen=True)
class Check:
    """What one export holds: counts, broken rows by rule, the first good rows as text (order_number,
    revenue, profit, order_date, kind of contact), and why a run would stop at it, if it would.
    """

    file: str
    rows: int
    quarantined: int
    duplicates: int
    rules: dict[str, int]
    first_rows: list[list[str]]
    stop: str | None

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def check(settings: Settings, file: str, day: date) -> Check:
    """Read, map and validate one export; nothing is written. Raises `ExportError`."""
    export = exports.read(UPath(file), profiles.named(settings.profile), day)
    suite = UPath(settings.expectations) / gate.EXPORT_SUITE
    verdict = gate.judge(export.rows, suite, {"fewest_rows": 0})
    kept, duplicates = _kept(export.rows, verdict.broken)
    try:
        verdict.stop_unless_passed(file)
        stop = None
    except GateError as error:
        stop = str(error)
    head = kept.head(5)
    money = [
        (head[name] / 100).map("{:.2f}".format, na_action="ignore") for name in ("revenue", "profit")
    ]
    # A terminal is no place for an address; which kind of contact there is says enough.
    contact = head["email_address"].notna().map({True: "e-mail", False: "phone"})
    shown = pd.concat([head["order_number"], *money, head["order_date"], contact], axis=1)
    return Check(
        file=file,
        rows=verdict.rows,
        quarantined=len(verdict.broken),
        duplicates=duplicates,
        rules={rule.rule: rule.broken for rule in verdict.rules if rule.is_row_rule},
        first_rows=shown.astype(object).fillna("").astype(str).to_numpy().tolist(),
        stop=stop,
    )


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
                    run.write_json("summary", summary)
                    ledger.finish_run(run.id, STOPPED, words=str(error), counts=summary)
                    ledger.close_interrupted(run.read_json("load").get("runs", []))
            raise


def _ledger(settings: Settings, run: Run) -> Ledger:
    return Ledger.open(settings.ledger, read_only=run.dry_run)


def _files(settings: Settings, run: Run) -> dict[date, UPath]:
    if run.files:
        return {date.fromisoformat(day): UPath(path) for day, path in run.files}
    found = exports.find(settings.exports, exports.days_between(run.first, run.last))
    if not found:
        raise exports.missing(settings.exports, run.first, run.last)
    return found


def _kept(rows: pd.DataFrame, broken: pd.Series) -> tuple[pd.DataFrame, int]:
    """The rows to go on with, and how many good ones a later row of their order replaced.

    The last row of an order wins even where it is quarantined: an older one is not its state.
    """
    last = ~rows.duplicated(["day", "order_number"], keep="last") | rows["order_number"].isna()
    good = ~rows.index.isin(broken.index)
    return rows[last & good], int((~last & good).sum())


def _quarantine(read: list[exports.Export], broken: pd.Series) -> pd.DataFrame:
    """The broken rows as they were, behind the file, line and rules that say where and why."""
    parts = [pd.DataFrame(columns=["file", "line", "rules"])]
    start = 0
    for export in read:
        own = broken[(broken.index >= start) & (broken.index < start + len(export.rows))]
        at = own.index - start
        cells = export.cells.loc[at] if len(own) else export.cells.head(0)
        cells = cells.reset_index(drop=True)
        cells.insert(0, "rules", own.array)
        cells.insert(0, "line", export.lines.loc[at].array)
        cells.insert(0, "file", Path(export.path).name)
        parts.append(cells)
        start += len(export.rows)
    return pd.concat(parts, ignore_index=True) if len(broken) else parts[0]


def _classify(settings: Settings, run: Run, ledger: Ledger) -> Counts:
    key = settings.digest_key()
    exported = orders.identified(_frame(run, "exported", orders.EXPORTED_DTYPES), key=key)
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
    counts: Counts = {kind: int((changes["kind"] == kind).sum()) for kind in orders.KINDS}
    counts |= {
        "unchanged": result.unchanged,
        "stale": result.stale,
        "superseded": result.superseded,
        "without_contact": int(nameless.sum()),
    }
    counts["planned_requests"] = sum(
        -(-len(wave) // settings.chunk_size) for _, wave in payload.waves(changes)
    )
    _stop_at_mass_corrections(run, counts[orders.CORRECTION], len(exported))
    run.write_frame("changes", changes)
    run.write_frame("confirmed", result.confirmed)
    run.write_json("basis", {"revision": revision})
    return counts


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
    for day, path in exports.find(settings.exports, told).items():
        rows = exports.read(path, profile, day).rows
        rows = rows[rows["order_number"].isin(wanted["order_number"])]
        known = orders.identified(rows, key=settings.digest_key())
        for digest, contact in (("email", "email_address"), ("phone", "phone_number")):
            named = known.dropna(subset=digest).drop_duplicates(digest, keep="last")
            found = changes[digest].map(named.set_index(digest)[contact])
            changes[contact] = changes[contact].fillna(found.astype(orders.TEXT))
    return changes


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


def _validate(settings: Settings, run: Run) -> Counts:
    suite = UPath(settings.expectations) / gate.CHANGES_SUITE
    verdict = gate.judge(_frame(run, "changes", orders.CHANGE_DTYPES), suite)
    run.write_json("verdict_changes", verdict.as_json())
    verdict.stop_unless_passed(f"the changes of {run.title}")
    return {"validated": verdict.rows}


def _rehearse(settings: Settings, run: Run) -> Counts:
    changes = _frame(run, "changes", orders.CHANGE_DTYPES)
    bodies = [
        payload.body(payload.payloads(chunk))
        for _, wave in payload.waves(changes)
        for chunk in payload.chunks(wave, settings.chunk_size)
    ]
    run.write_lines("requests.jsonl", bodies)
    counts = {"would_post": len(changes), "would_request": len(bodies)}
    run.write_json("load", counts)
    return counts


def _pace(settings: Settings, ledger: Ledger, stopping: Event) -> limits.Pace:
    """ROBIN's limits, with what was sent within them before."""
    kept = limits.parse(settings.rate_limits)
    ages = ledger.request_ages(max(limit.seconds for limit in kept))
    return limits.Pace(kept, ages=ages, sleep=stopping.wait)


def _keep(run: Run, **told: Iterable[str]) -> None:
    """Add to what the run's tries at loading have found, by name."""
    kept = run.read_json("load")
    both = {name: sorted({*kept.get(name, []), *found}) for name, found in told.items()}
    run.write_json("load", {**kept, **both})


def _delivered(ledger: Ledger, run: Run) -> Counts:
    """What the delivery log says of the run, over all its tries."""
    kept = run.read_json("load")
    deliveries = ledger.deliveries_of(run.id)
    doubted = deliveries["order_number"][deliveries["outcome"] == IN_DOUBT]
    accepted = deliveries["outcome"] == ACCEPTED
    newest = deliveries.drop_duplicates("order_number", keep="last")
    rejected = newest["order_number"][newest["outcome"] == REJECTED]
    return {
        "posted": int(accepted.sum()),
        "rejected": len(rejected),
        "in_doubt": len({*doubted, *kept.get("orders", [])}),
        "requests": int(deliveries["request"].nunique()),
        "held_back": len(kept.get("held_back", [])),
        "orders_rejected": sorted(rejected),
        "orders_in_doubt": sorted({*doubted, *kept.get("orders", [])}),
        "orders_held_back": kept.get("held_back", []),
    }


def _summary(ledger: Ledger, run: Run) -> Counts:
    told = {**run.read_json("extract"), **run.read_json("classify"), **_delivered(ledger, run)}
    told |= {
        name: count
        for name, count in run.read_json("load").items()
        if name in ("acknowledged", "would_post", "would_request")
    }
    counted = {name: told.pop(name, 0) for name in (*COUNTS, *_SIDE_COUNTS)}
    return {"run": run.id, "from": f"{run.first}", "to": f"{run.last}", **counted, **told}


def _frame(run: Run, name: str, dtypes: dict[str, str]) -> pd.DataFrame:
    return orders.typed(run.read_frame(name), dtypes)
