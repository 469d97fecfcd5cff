"""Brings a database to the schema of this version: makes it, or migrates an older one."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa

from robin_etl.exceptions import LedgerError
from robin_etl.ledger import schema

_PREPARING = 0x726F62696F  # the posting lock's number and one more


def prepare(connection: sa.Connection) -> None:
    """Make the tables that are not there yet, or bring those of an older version up to this one.

    Raises `LedgerError` for a database of a newer version.
    """
    if _read_version(connection) == schema.VERSION:
        return
    if connection.dialect.name == "postgresql":  # where "if not exists" alone loses a race
        key = sa.literal(_PREPARING, sa.BigInteger)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
        _make_schema(connection)
    else:  # which would commit each table by itself
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    version = _read_version(connection)
    if version is None:
        _create(connection)
    elif version > schema.VERSION:
        raise LedgerError(
            f"The ledger has schema version {version}, and this robin-etl knows versions up to "
            f"{schema.VERSION}. Use the newer robin-etl that wrote it."
        )
    elif version < schema.VERSION:
        _migrate(connection, version)


def _make_schema(connection: sa.Connection) -> None:
    """Make the schema that the connection looks for its tables in, if it is not there."""
    if connection.execute(sa.select(sa.func.current_schema())).scalar() is None:
        name = connection.exec_driver_sql("show search_path").scalar_one()
        connection.execute(sa.schema.CreateSchema(str(name), if_not_exists=True))


def _read_version(connection: sa.Connection) -> int | None:
    """The version of the schema; None where there is none yet."""
    if not sa.inspect(connection).has_table(schema.META.name):
        return None
    version: int | None = connection.execute(sa.select(schema.META.c.version)).scalar()
    return version


def _create(connection: sa.Connection) -> None:
    for table in schema.METADATA.sorted_tables:
        connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
        for index in sorted(table.indexes, key=lambda one: str(one.name)):
            connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
    new = {"only": 1, "version": schema.VERSION, "revision": 0, "ledger": uuid4().hex}
    connection.execute(schema.META.insert().values(new))


def _migrate(connection: sa.Connection, version: int) -> None:
    """Run the migrations from that version on; all of them, or none."""
    from alembic import command  # noqa: PLC0415 (few ledgers need it)
    from alembic.config import Config  # noqa: PLC0415 (likewise)

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.stamp(config, f"{version}")
    command.upgrade(config, f"{schema.VERSION}")
    connection.execute(schema.META.update().values(version=schema.VERSION))
