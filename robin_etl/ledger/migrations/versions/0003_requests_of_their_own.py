"""A request has a row of its own, so that an answer is written once and not for every change."""

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    text = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    op.create_table(
        "requests",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("run", text, nullable=False),
        sa.Column("wave", sa.Integer, nullable=False),
        sa.Column("outcome", text, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("words", text),
        sa.Column("sent_at", text, nullable=False),
        sa.Column("answered_at", text),
        sqlite_with_rowid=False,
    )
    op.execute(
        "insert into requests (id, run, wave, outcome, status, words, sent_at, answered_at) "
        "select id, run, wave, outcome, status, words, sent_at, answered_at from deliveries "
        "where id = request"
    )
    op.drop_index("deliveries_by_order", "deliveries")
    op.drop_index("deliveries_by_run", "deliveries")
    op.drop_index("requests_by_moment", "deliveries")
    op.drop_index("requests_under_way", "deliveries")
    op.rename_table("deliveries", "deliveries_until_now")
    op.create_table(
        "deliveries",
        sa.Column("request", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("order_number", text, nullable=False),
        sa.Column("kind", text, nullable=False),
        sa.Column("payload", text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        "insert into deliveries (request, position, order_number, kind, payload) "
        "select request, id - request, order_number, kind, payload from deliveries_until_now"
    )
    op.drop_table("deliveries_until_now")
    op.create_index("deliveries_by_order", "deliveries", ["order_number"])
    op.create_index("requests_by_run", "requests", ["run"])
    op.create_index("requests_by_moment", "requests", ["sent_at"])
    under_way = sa.text("outcome = 'sending'")
    op.create_index(
        "requests_under_way", "requests", ["id"], sqlite_where=under_way, postgresql_where=under_way
    )
