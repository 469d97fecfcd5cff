"""A ledger knows which exports it has read, and of each delivery the day."""

import sqlalchemy as sa
from alembic import op

revision = "6"
down_revision = "5"


def upgrade() -> None:
    text = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    op.add_column("deliveries", sa.Column("day", text))
    op.create_table(
        "exports",
        sa.Column("day", text, primary_key=True),
        sa.Column("place", text, primary_key=True),
        sa.Column("size", sa.BigInteger),
        sa.Column("version", text),
        sa.Column("digest", text),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("quarantined", sa.BigInteger, nullable=False),
        sa.Column("new_orders", sa.BigInteger),
        sa.Column("waiting", sa.BigInteger, nullable=False),
        sa.Column("ends_within_line", sa.Boolean),
        sa.Column("notes", text),
        sa.Column("run", text),
        sa.Column("outcome", text, nullable=False),
        sa.Column("read_at", text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("exports_by_digest", "exports", ["digest"])
    op.create_table(
        "acknowledged",
        sa.Column("day", text, primary_key=True),
        sa.Column("run", text, primary_key=True),
        sa.Column("kind", text, primary_key=True),
        sa.Column("changes", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    rejected = sa.text("outcome = 'rejected'")
    op.create_index(
        "requests_rejected", "requests", ["id"], sqlite_where=rejected, postgresql_where=rejected
    )
