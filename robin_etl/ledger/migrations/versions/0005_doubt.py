"""A request in doubt says whether that is settled, and a ledger has a name that its journals bear."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "5"
down_revision = "4"

# Until now nothing was sent again word for word: of these nobody can say more than that.
_OPEN = """
    update requests set doubt = 'open' where outcome = 'in doubt' and exists (
        select 1 from deliveries where deliveries.request = requests.id and not exists (
            select 1 from deliveries held join requests later on later.id = held.request
            where held.order_number = deliveries.order_number
            and held.request > deliveries.request and later.outcome in ('accepted', 'rejected')
        )
    )
"""


def upgrade() -> None:
    text = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    op.add_column("requests", sa.Column("doubt", text))
    op.execute(sa.text(_OPEN))
    where = sa.text("doubt is not null")
    op.create_index("requests_in_doubt", "requests", ["id"], sqlite_where=where, postgresql_where=where)
    op.add_column("meta", sa.Column("ledger", text, nullable=False, server_default=uuid4().hex))
