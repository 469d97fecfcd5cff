"""A ledger keeps what it holds in total."""

import sqlalchemy as sa
from alembic import op

revision = "7"
down_revision = "6"


def upgrade() -> None:
    text = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    for name in ("told_orders", "told_first_orders", "told_revenue"):
        op.add_column("meta", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("meta", sa.Column("newest_day", text))
    first = "is_first_order and not is_cancelled"
    for name, total in (
        ("told_orders", "coalesce(sum(case when is_told then 1 else 0 end), 0)"),
        ("told_first_orders", f"coalesce(sum(case when {first} then 1 else 0 end), 0)"),
        ("told_revenue", "coalesce(sum(revenue), 0)"),
        ("newest_day", "max(day)"),
    ):
        op.execute(f"update meta set {name} = (select {total} from orders)")  # noqa: S608 (fixed words)
