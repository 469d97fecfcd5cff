"""Requests under way found without a look at all deliveries of a run."""

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    op.drop_index("deliveries_by_run", "deliveries")
    op.create_index("deliveries_by_run", "deliveries", ["run", "request"])
    under_way = sa.text("id = request AND outcome = 'sending'")
    op.create_index(
        "requests_under_way",
        "deliveries",
        ["run", "request"],
        sqlite_where=under_way,
        postgresql_where=under_way,
    )
