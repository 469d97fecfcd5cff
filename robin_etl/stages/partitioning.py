"""The partitions of a run: its rows split by customer, so that each can be compared by itself."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from robin_etl.core import columns, customers, partition
from robin_etl.ledger import Ledger
from robin_etl.stages.records import Partitioning
from robin_etl.stages.run import ROW_DTYPES, Run


def write_partitions(run: Run, ledger: Ledger, number: int) -> None:
    """Write what was exported anew, in so many partitions that can each be compared by itself."""
    revision = ledger.states.revision()
    if number > 1:
        with ExitStack() as stack:
            writers = []
            for one in run.split(number):
                one.folder.make()
                writers.append(stack.enter_context(one.rows.writing()))
                writers[-1](columns.make_empty(ROW_DTYPES))
            assigned = _assign_rows(run, ledger, number)
            done = 0
            for rows in run.exported.read_batches(ROW_DTYPES):
                for index, own in rows.groupby(assigned[done : done + len(rows)]):
                    writers[int(str(index))](own)
                done += len(rows)
    run.partitioning.write(Partitioning(number, revision))


def _assign_rows(run: Run, ledger: Ledger, number: int) -> partition.Partitions:
    """The partition of each row, counted from 0."""
    rows = run.extracted.read().exported
    of_orders, of_customers = np.empty((2, rows), dtype=np.uint64)
    known_orders, known_customers = [of_orders[:0]], [of_customers[:0]]
    done = 0
    for frame in run.exported.read_batches(["order_number", "email", "phone"]):
        numbers, here = frame["order_number"], slice(done, done + len(frame))
        of_orders[here] = partition.hash_keys(numbers)
        of_customers[here] = partition.hash_keys(customers.identify_customers(frame))
        known = ledger.states.customers_of(numbers.dropna())
        known_orders.append(partition.hash_keys(known["order_number"]))
        known_customers.append(partition.hash_keys(known["customer"]))
        done += len(frame)
    known_pairs = (np.concatenate(known_orders), np.concatenate(known_customers))
    return partition.assign_partitions(of_orders, of_customers, known_pairs, number)
