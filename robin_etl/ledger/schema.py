"""The ledger's tables, in SQLite and PostgreSQL alike."""

from __future__ import annotations

import sqlalchemy as sa

# Opening a ledger of a newer version is refused; an older one is brought up to this by `migrations`,
# where each version has a file.
VERSION = 8

# Order numbers and dates are compared byte by byte on every database, as Python compares them.
_TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
METADATA = sa.MetaData()

# The order number of deliveries to a customer who was forgotten.
FORGOTTEN_ORDER = "(forgotten)"

META = sa.Table(
    "meta",
    METADATA,
    sa.Column("only", sa.Integer, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    # Counts the transactions that changed `orders` or were written into a journal: equal means that
    # nothing has moved since.
    sa.Column("revision", sa.BigInteger, nullable=False),
    # Who holds the posting lock, for the words to whoever waits; the lock itself is elsewhere.
    sa.Column("holder", _TEXT),
    # Whose states these are: the address of the ROBIN that they are of, and fingerprints of the API key
    # and of the customer key. Null until the first post or baseline.
    sa.Column("address", _TEXT),
    sa.Column("account", _TEXT),
    sa.Column("customer_key", _TEXT),
    # What all orders come to (`totals`).
    sa.Column("told_orders", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("told_first_orders", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("told_revenue", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("newest_day", _TEXT),
    # What the ledger is known by, wherever it lies: its journals bear it.
    sa.Column("ledger", _TEXT, nullable=False),
)

COUNT_TRANSACTION = (
    META.update().values(revision=META.c.revision + sa.literal_column("1")).returning(META.c.revision)
)

ORDERS = sa.Table(
    "orders",
    METADATA,
    sa.Column("order_number", _TEXT, primary_key=True),
    sa.Column("day", _TEXT, nullable=False),
    sa.Column("customer", _TEXT, nullable=False),
    sa.Column("email_day", _TEXT),
    sa.Column("phone", _TEXT),
    sa.Column("phone_day", _TEXT),
    sa.Column("revenue", sa.BigInteger, nullable=False),
    sa.Column("profit", sa.BigInteger),
    sa.Column("profit_day", _TEXT),
    sa.Column("order_date", _TEXT, nullable=False),
    sa.Column("placed_at", _TEXT, nullable=False),
    sa.Column("webstore_url", _TEXT),
    sa.Column("webstore_url_day", _TEXT),
    sa.Column("is_first_order", sa.Boolean, nullable=False),
    sa.Column("is_cancelled", sa.Boolean, nullable=False),
    sa.Column("is_told", sa.Boolean, nullable=False),
    sqlite_with_rowid=False,
)
# Of each customer, cancelled orders aside: the flagged orders first, then the earliest of the others.
sa.Index(
    "orders_by_customer",
    ORDERS.c.customer,
    ORDERS.c.is_cancelled,
    ORDERS.c.is_first_order.desc(),
    ORDERS.c.placed_at,
    ORDERS.c.order_number,
)

# What CONTACT_KEY alone opens, by the digest that stands for it elsewhere.
CONTACTS = sa.Table(
    "contacts",
    METADATA,
    sa.Column("digest", _TEXT, primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

REQUESTS = sa.Table(
    "requests",
    METADATA,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("run", _TEXT, nullable=False),
    sa.Column("wave", sa.Integer, nullable=False),
    sa.Column("outcome", _TEXT, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("words", _TEXT),
    sa.Column("sent_at", _TEXT, nullable=False),
    sa.Column("answered_at", _TEXT),
    # Whether ROBIN has taken it and spoke of errors all the same; null where it said nothing of it.
    sa.Column("speaks_of_errors", sa.Boolean),
    # Of a request in doubt: open, settled or undecided; null once that is reported, and of all others.
    sa.Column("doubt", _TEXT),
    sqlite_with_rowid=False,
)
sa.Index("requests_by_run", REQUESTS.c.run)
# What was sent in the last day counts against ROBIN's limits.
sa.Index("requests_by_moment", REQUESTS.c.sent_at)
# A request of which no answer is logged: few at any time, each an entry that costs little to make and to
# drop. Written out, since an index with such a condition serves only queries with the same words.
UNDER_WAY = sa.text("outcome = 'sending'")
sa.Index(
    "requests_under_way",
    REQUESTS.c.id,
    sqlite_where=UNDER_WAY,
    postgresql_where=UNDER_WAY,
)
# Likewise those that ROBIN rejected.
_REJECTED = sa.text("outcome = 'rejected'")
IS_REJECTED = sa.literal_column("requests.outcome = 'rejected'", sa.Boolean)
sa.Index("requests_rejected", REQUESTS.c.id, sqlite_where=_REJECTED, postgresql_where=_REJECTED)

IS_DOUBTFUL = sa.text("doubt is not null")
sa.Index(
    "requests_in_doubt",
    REQUESTS.c.id,
    sqlite_where=IS_DOUBTFUL,
    postgresql_where=IS_DOUBTFUL,
)
# What may be in doubt: that, or cut off before there was an answer.
MAY_BE_IN_DOUBT = sa.text("(outcome = 'sending' or doubt = 'open')")

# Each change in each request; a request that is sent again or halved holds its changes anew.
DELIVERIES = sa.Table(
    "deliveries",
    METADATA,
    sa.Column("request", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("order_number", _TEXT, nullable=False),
    # The day of the export that said so; null of a delivery by a version that did not keep it.
    sa.Column("day", _TEXT),
    sa.Column("kind", _TEXT, nullable=False),
    sa.Column("payload", _TEXT, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("deliveries_by_order", DELIVERIES.c.order_number)

RUNS = sa.Table(
    "runs",
    METADATA,
    sa.Column("run", _TEXT, primary_key=True),
    sa.Column("command", _TEXT, nullable=False),
    sa.Column("from_day", _TEXT, nullable=False),
    sa.Column("to_day", _TEXT, nullable=False),
    sa.Column("started_at", _TEXT, nullable=False),
    sa.Column("finished_at", _TEXT),
    sa.Column("outcome", _TEXT, nullable=False),
    sa.Column("words", _TEXT),
    sa.Column("files", sa.Integer),
    sa.Column("exported", sa.BigInteger),
    sa.Column("counts", _TEXT),
    # The highest revenue of any row, in cents, and what the rows were read by, as JSON.
    sa.Column("highest", sa.BigInteger),
    sa.Column("read_by", _TEXT),
)
sa.Index("runs_by_start", RUNS.c.started_at)

# What is known of each file of a day's export: where it was and what it was like when it was read, and
# what came of it. A day that had none when a run looked for it has one row without a place.
EXPORTS = sa.Table(
    "exports",
    METADATA,
    sa.Column("day", _TEXT, primary_key=True),
    sa.Column("place", _TEXT, primary_key=True),
    sa.Column("size", sa.BigInteger),
    sa.Column("version", _TEXT),
    sa.Column("digest", _TEXT),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("quarantined", sa.BigInteger, nullable=False),
    # Of the day, and only in the row of its first file: new orders, and changes held back or waiting.
    sa.Column("new_orders", sa.BigInteger),
    sa.Column("waiting", sa.BigInteger, nullable=False),
    sa.Column("ends_within_line", sa.Boolean),
    sa.Column("notes", _TEXT),
    sa.Column("run", _TEXT),
    sa.Column("outcome", _TEXT, nullable=False),
    sa.Column("read_at", _TEXT, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("exports_by_digest", EXPORTS.c.digest)

# How many changes of a day and kind ROBIN acknowledged in a run.
ACKNOWLEDGED = sa.Table(
    "acknowledged",
    METADATA,
    sa.Column("day", _TEXT, primary_key=True),
    sa.Column("run", _TEXT, primary_key=True),
    sa.Column("kind", _TEXT, primary_key=True),
    sa.Column("changes", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
