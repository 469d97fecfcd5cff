"""A ledger knows whose it is and which orders are cancelled, a run what it read by, a request whether
ROBIN spoke of errors.
"""

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    for name, all_until_now in (("is_cancelled", sa.false()), ("is_told", sa.true())):
        flag = sa.Column(name, sa.Boolean, nullable=False, server_default=all_until_now)
        op.add_column("orders", flag)
    op.drop_index("orders_by_customer", "orders")
    by = ["customer", "is_cancelled", "is_first_order", "placed_at", "order_number"]
    op.create_index("orders_by_customer", "orders", by)
    text = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    for name in ("address", "account", "customer_key"):
        op.add_column("meta", sa.Column(name, text))
    op.create_table(
        "contacts",
        sa.Column("digest", text, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.add_column("requests", sa.Column("speaks_of_errors", sa.Boolean))
    op.add_column("runs", sa.Column("highest", sa.BigInteger))
    op.add_column("runs", sa.Column("read_by", text))
