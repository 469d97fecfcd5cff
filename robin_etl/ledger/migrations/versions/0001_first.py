"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None


def upgrade() -> None:
    text = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    op.create_table(
        "meta",
        sa.Column("only", sa.Integer, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("holder", text),
    )
    op.create_table(
        "orders",
        sa.Column("order_number", text, primary_key=True),
        sa.Column("day", text, nullable=False),
        sa.Column("customer", text, nullable=False),
        sa.Column("email_day", text),
        sa.Column("phone", text),
        sa.Column("phone_day", text),
        sa.Column("revenue", sa.BigInteger, nullable=False),
        sa.Column("profit", sa.BigInteger),
        sa.Column("profit_day", text),
        sa.Column("order_date", text, nullable=False),
        sa.Column("placed_at", text, nullable=False),
        sa.Column("webstore_url", text),
        sa.Column("webstore_url_day", text),
        sa.Column("is_first_order", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "orders_by_customer", "orders", ["customer", "is_first_order", "placed_at", "order_number"]
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("request", sa.BigInteger, nullable=False),
        sa.Column("run", text, nullable=False),
        sa.Column("order_number", text, nullable=False),
        sa.Column("kind", text, nullable=False),
        sa.Column("wave", sa.Integer, nullable=False),
        sa.Column("payload", text, nullable=False),
        sa.Column("outcome", text, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("words", text),
        sa.Column("sent_at", text, nullable=False),
        sa.Column("answered_at", text),
        sqlite_with_rowid=False,
    )
    op.create_index("deliveries_by_order", "deliveries", ["order_number"])
    one_a_request = sa.text("id = request")
    op.create_index(
        "requests_by_moment",
        "deliveries",
        ["sent_at"],
        sqlite_where=one_a_request,
        postgresql_where=one_a_request,
    )
    op.create_index("deliveries_by_run", "deliveries", ["run"])
    op.create_table(
        "runs",
        sa.Column("run", text, primary_key=True),
        sa.Column("command", text, nullable=False),
        sa.Column("from_day", text, nullable=False),
        sa.Column("to_day", text, nullable=False),
        sa.Column("started_at", text, nullable=False),
        sa.Column("finished_at", text),
        sa.Column("outcome", text, nullable=False),
        sa.Column("words", text),
        sa.Column("files", sa.Integer),
        sa.Column("exported", sa.BigInteger),
        sa.Column("counts", text),
    )
    op.create_index("runs_by_start", "runs", ["started_at"])
