"""A ledger knows whose it is, a run what it read by, a request whether ROBIN spoke of errors."""

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    text = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    for name in ("address", "account", "customer_key"):
        op.add_column("meta", sa.Column(name, text))
    op.add_column("requests", sa.Column("speaks_of_errors", sa.Boolean))
    op.add_column("runs", sa.Column("highest", sa.BigInteger))
    op.add_column("runs", sa.Column("read_by", text))
