"""Classify and validate: each part of what was exported, compared with the ledger and then judged."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from robin_etl.core import columns, customers, payload, versions
from robin_etl.core.reconcile import Reconciliation, reconcile
from robin_etl.exports import files, locations, profiles
from robin_etl.gate import CHANGES_SUITE, check_frame, guard_corrections, load_suite
from robin_etl.ledger import Ledger
from robin_etl.settings import Settings
from robin_etl.stages.extract import ROWS_DTYPES, parts, split
from robin_etl.stages.run import Folder, Run

log = logging.getLogger(__name__)

Counts = dict[str, Any]

# Load reads the changes of all parts side by side, and holds about so many rows of them together.
_ROWS_HELD = 100_000
_FEWEST_ROWS = 500


@dataclass(frozen=True)
class Plan:
    """What is about to be posted: how many changes, in how many requests."""

    changes: int
    requests: int


def classified(settings: Settings, run: Run, folder: Folder, ledger: Ledger) -> Counts:
    rows = columns.conform(folder.read_frame("exported", list(ROWS_DTYPES)), ROWS_DTYPES)
    exported, duplicates = versions.keep_last_rows(rows)
    revision = ledger.states.revision()
    result = reconciled(exported, ledger, final=run.final)

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
    folder.write_frame("changes", changes, at_once=max(_ROWS_HELD // len(parts(run)), _FEWEST_ROWS))
    folder.write_frame("confirmed", result.confirmed)
    kinds = {kind: int((changes["kind"] == kind).sum()) for kind in columns.KINDS}
    waves = changes["wave"].value_counts()
    basis = {
        "revision": revision,
        "rows": len(exported),
        "corrections": kinds[columns.CORRECTION],
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


def reconciled(exported: pd.DataFrame, ledger: Ledger, *, final: bool = False) -> Reconciliation:
    """Exported rows, compared with what the ledger knows of them."""
    known = ledger.states.look_up(exported["order_number"], customers.identify_customers(exported))
    result = reconcile(exported, known, final=final)
    changed = result.changes["order_number"]
    # Not Series.isin, which makes a Python object of every text.
    named = pc.is_in(columns.to_arrow(changed), columns.to_arrow(exported["order_number"]))
    others = changed[~named.to_numpy(zero_copy_only=False)]
    if others.empty:
        return result
    # Orders that no row names are looked up whole only now that they are seen to change.
    lean = known["order_number"].isin(others)
    whole = pd.concat([known[~lean], ledger.states.rows_of(others)], ignore_index=True)
    return reconcile(exported, whole, final=final)


def validated(settings: Settings, run: Run, folder: Folder) -> Counts:
    suite = load_suite(settings.path(settings.expectations) / CHANGES_SUITE)
    verdict, _ = check_frame(frame_of(folder, "changes", columns.CHANGE_DTYPES), suite)
    folder.write_json("verdict_changes", verdict.to_json())
    verdict.stop_unless_passed(f"the changes of {run.title}")
    return {"validated": verdict.rows}


def renewed(settings: Settings, run: Run, ledger: Ledger) -> list[Folder]:
    """The parts whose changes had to be made anew, since the ledger has moved: all of them, or none.

    An order may have moved to another customer meanwhile, so the parts themselves are made anew.
    """
    folders = parts(run)
    based = {folder.read_json("basis")["revision"] for folder in folders}
    if {*based, run.files.read_json("parts")["revision"]} == {ledger.states.revision()}:
        return []
    split(run, ledger, len(folders))
    for folder in folders:
        classified(settings, run, folder, ledger)
    return folders


def planned(settings: Settings, run: Run) -> Plan:
    """What the parts are about to post together; raises `CorrectionsError`."""
    bases = [folder.read_json("basis") for folder in parts(run)]
    if not run.allow_corrections:
        guard_corrections(
            sum(basis["corrections"] for basis in bases), sum(basis["rows"] for basis in bases)
        )
    waves: Counter[str] = sum((Counter(basis["waves"]) for basis in bases), Counter())
    requests = sum(-(-changes // settings.chunk_size) for changes in waves.values())
    return Plan(changes=waves.total(), requests=requests)


def changes_of(run: Run) -> Iterator[pd.DataFrame]:
    """The changes of all parts, wave by wave, oldest first."""
    return payload.merge_partitions(
        [
            (columns.conform(frame, columns.CHANGE_DTYPES) for frame in folder.reading_frames("changes"))
            for folder in parts(run)
        ]
    )


def frame_of(folder: Folder, name: str, dtypes: dict[str, str]) -> pd.DataFrame:
    return columns.conform(folder.read_frame(name), dtypes)


def _with_contacts_of_earlier_exports(settings: Settings, changes: pd.DataFrame) -> pd.DataFrame:
    """Changes of orders whose customer no row of this run names, named from the earlier exports.

    That happens when an order leaves a customer for another: the customer's next order becomes the
    first. The ledger knows no address, but it knows the day whose export told it.
    """
    nameless = changes["email_address"].isna() & changes["phone_number"].isna()
    if not nameless.any():
        return changes
    profile = profiles.load_configured(settings)
    wanted = changes[nameless]
    days = wanted["email_day"].fillna(wanted["phone_day"])
    told = [date.fromisoformat(day) for day in sorted(days.dropna().unique())]
    changes = changes.copy()
    for day, path in locations.find_exports(settings.exports, told, settings.path).items():
        rows = pd.concat(
            batch.orders.rows[batch.orders.rows["order_number"].isin(wanted["order_number"])]
            for batch in files.read_batches(path, profile, day, most_bytes=settings.max_export_size)
        )
        known = customers.add_digests(rows, key=settings.digest_key())
        for digest, contact in (("email", "email_address"), ("phone", "phone_number")):
            named = known.dropna(subset=digest).drop_duplicates(digest, keep="last")
            found = changes[digest].map(named.set_index(digest)[contact])
            changes[contact] = changes[contact].fillna(found.astype(columns.TEXT))
    return changes
