"""Snapshots: all that a ledger holds, for a journal from which on nothing before it is needed.

One is written where the journals lack what the ledger has: after a loss of power, of a ledger that is
older than its journals, or when somebody asks for it. Its parts are moves: the states of orders in the
order of their numbers, those that ROBIN was told of apart from those that were only acknowledged; and at
the end the number of the last request, and the requests that are in doubt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from robin_etl.core import columns
from robin_etl.ledger import moves
from robin_etl.ledger.deliveries import ACCEPTED
from robin_etl.ledger.engine import Engine
from robin_etl.ledger.schema import DELIVERIES, MAY_BE_IN_DOUBT, ORDERS, REQUESTS

# So many states are a part.
STATES_IN_PART = 10_000

# What is kept of a request in doubt.
DOUBTFUL = ("id", "run", "wave", "outcome", "status", "sent_at", "answered_at", "doubt")
STATE = tuple(ORDERS.c[name] for name in columns.STATE_COLUMNS)


def read_snapshot(engine: Engine) -> Iterator[moves.Move]:
    """The parts of a snapshot of the ledger as it is now. Needs the posting lock."""
    above = ""
    with engine.read_snapshot() as connection:
        for at in _count_up():
            query = sa.select(*STATE).where(ORDERS.c.order_number > above)
            in_order = query.order_by(ORDERS.c.order_number).limit(STATES_IN_PART)
            rows = [list(row) for row in connection.execute(in_order)]
            if not rows:
                break
            told = find_told(connection, above, rows[-1][0])
            lists: tuple[list[Any], list[Any]] = ([], [])
            for row in rows:
                lists[row[0] not in told].append(row)
            yield [moves.SNAPSHOT, at, *lists]
            above = rows[-1][0]
        highest = connection.execute(sa.select(sa.func.max(REQUESTS.c.id))).scalar() or 0
        yield [moves.SNAPSHOT_END, highest, list(_read_doubts(connection))]


def find_told(connection: sa.Connection, above: str, until: str) -> set[str]:
    """The orders behind one number and up to another that ROBIN has accepted in any request."""
    query = (
        sa.select(DELIVERIES.c.order_number)
        .join(REQUESTS, REQUESTS.c.id == DELIVERIES.c.request)
        .where(
            REQUESTS.c.outcome == ACCEPTED,
            DELIVERIES.c.order_number > above,
            DELIVERIES.c.order_number <= until,
        )
        .distinct()
    )
    return set(connection.execute(query).scalars())


def _count_up() -> Iterator[int]:
    at = 0
    while True:
        yield at
        at += 1


def _read_doubts(connection: sa.Connection) -> Iterator[list[Any]]:
    names = [REQUESTS.c[name] for name in DOUBTFUL]
    requests = sa.select(*names).where(MAY_BE_IN_DOUBT).order_by(REQUESTS.c.id)
    told = (DELIVERIES.c.order_number, DELIVERIES.c.day, DELIVERIES.c.kind)
    for request in connection.execute(requests).all():
        own = sa.select(*told).where(DELIVERIES.c.request == request.id)
        orders = connection.execute(own.order_by(DELIVERIES.c.position))
        yield [*request, [list(order) for order in orders]]
