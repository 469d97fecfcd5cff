"""Classify: compare a partition's rows with the ledger; leave the changes."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from robin_etl.core import columns, customers, versions
from robin_etl.core.figures import measure_changes
from robin_etl.core.reconcile import Reconciliation, reconcile
from robin_etl.core.words import count
from robin_etl.ledger import Ledger
from robin_etl.ledger.states import OrderStates
from robin_etl.redaction import make_printable
from robin_etl.settings import Settings
from robin_etl.stages.contacts import add_contacts, lacks_customer
from robin_etl.stages.destination import check_reader
from robin_etl.stages.nameless import find_settled
from robin_etl.stages.other_shops import count_moves, look_up_others, open_other_shops
from robin_etl.stages.records import Basis, Classified
from robin_etl.stages.run import Partition, Run

log = logging.getLogger(__name__)

# Load reads the changes of all partitions side by side, two frames of each: about so many rows together.
_ROWS_HELD = 200_000
_FEWEST_ROWS = 500
_NAMED = 10


def classify_rows(settings: Settings, run: Run, partition: Partition, ledger: Ledger) -> Classified:
    """Compare the partition's rows for the first time; what came of it is what the run reports.

    Raises `BindingError` where they were read under another customer key.
    """
    check_reader(settings, run)
    classified = compare_rows(settings, run, partition, ledger)
    partition.classified.write(classified)
    return classified


def compare_rows(settings: Settings, run: Run, partition: Partition, ledger: Ledger) -> Classified:
    """Leave the partition's changes, and the states that are confirmed for a newer day."""
    exported, duplicates = versions.keep_last_rows(partition.rows.read())
    revision = ledger.states.revision()
    exported, unsettled = _drop_unsettled(exported, ledger)
    with open_other_shops(settings) as others:
        elsewhere = count_moves(others)
        result = reconcile_with(exported, ledger, others, final=run.scope.final)

    changes, waiting = result.changes, unsettled
    if not run.scope.is_baseline:  # where nothing is posted nobody need be named
        changes = add_contacts(settings, ledger, changes)
        nameless = lacks_customer(changes)
        _warn_of_nameless(changes[nameless])
        changes, waiting = changes[~nameless], pd.concat([unsettled, changes["day"][nameless]])
    at_once = max(_ROWS_HELD // (2 * len(run.partitions)), _FEWEST_ROWS)
    partition.changes.write(changes, at_once=at_once)
    partition.confirmed.write(result.confirmed)
    figures = measure_changes(changes, old_after_days=settings.guards.old_orders_days)
    classified = Classified(
        rows=len(exported),
        kinds={kind: int((changes["kind"] == kind).sum()) for kind in columns.KINDS},
        waves={int(str(wave)): int(count) for wave, count in changes["wave"].value_counts().items()},
        unchanged=result.unchanged,
        stale=result.stale,
        duplicates=duplicates,
        superseded=result.superseded,
        without_contact=len(waiting),
        untold=result.untold,
        new_by_day=figures.new_by_day,
        waiting_by_day={str(day): int(number) for day, number in waiting.value_counts().items()},
    )
    partition.basis.write(Basis(revision, classified, figures, elsewhere))
    return classified


def _drop_unsettled(exported: pd.DataFrame, ledger: Ledger) -> tuple[pd.DataFrame, pd.Series]:
    """The rows whose customer is known, and the days of the others.

    Extract lets such a row pass when an earlier one names its customer. That one may have been
    quarantined, or the order removed from the ledger since.
    """
    settled = find_settled(exported, lambda numbers: ledger.states.customers_of(numbers)["order_number"])
    unsettled = exported["order_number"][~settled]
    if len(unsettled):
        log.warning(
            "Waiting until their customers are exported: %s (%s).",
            count(len(unsettled), "row"),
            make_printable(", ".join(unsettled.head(_NAMED))),
        )
    return exported[settled], exported["day"][~settled]


def reconcile_with(
    exported: pd.DataFrame,
    ledger: Ledger,
    other_shops: tuple[OrderStates, ...] = (),
    *,
    final: bool = False,
) -> Reconciliation:
    """Compare exported rows with what the ledger knows of them, and other shops' of their customers."""
    named_customers = customers.identify_customers(exported)
    known = ledger.states.look_up(exported["order_number"], named_customers)
    elsewhere = look_up_others(other_shops, known, named_customers)
    own = pd.concat([exported["order_number"], known["order_number"]])
    elsewhere = elsewhere[~_is_among(elsewhere["order_number"], own)]

    def compare(known: pd.DataFrame) -> Reconciliation:
        rows = pd.concat([known, elsewhere], ignore_index=True) if len(elsewhere) else known
        result = reconcile(exported, rows, final=final)
        if elsewhere.empty:
            return result
        changes, confirmed = (
            frame[~_is_among(frame["order_number"], elsewhere["order_number"])].reset_index(drop=True)
            for frame in (result.changes, result.confirmed)
        )
        return replace(result, changes=changes, confirmed=confirmed)

    result = compare(known)
    changed = result.changes["order_number"]
    others = changed[~_is_among(changed, exported["order_number"])]
    if others.empty:
        return result
    # Orders that no row names are looked up whole only now that they are seen to change.
    lean = known["order_number"].isin(others)
    whole = pd.concat([known[~lean], ledger.states.rows_of(others)], ignore_index=True)
    return compare(whole)


def _is_among(texts: pd.Series, those: pd.Series) -> npt.NDArray[np.bool_]:
    # Not Series.isin, which makes a Python object of every text.
    found = pc.is_in(columns.to_arrow(texts), columns.to_arrow(those))
    is_among: npt.NDArray[np.bool_] = found.to_numpy(zero_copy_only=False)
    return is_among


def _warn_of_nameless(changes: pd.DataFrame) -> None:
    if len(changes):
        log.warning(
            "Waiting until their customers are exported again: %s (%s).",
            count(len(changes), "change"),
            make_printable(", ".join(changes["order_number"].head(_NAMED))),
        )
