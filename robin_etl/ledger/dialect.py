"""What SQLite and PostgreSQL write differently in a statement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


class Dialect:
    """Parts of statements, as one of the two databases takes them."""

    def __init__(self, *, is_postgresql: bool) -> None:
        self.is_postgresql = is_postgresql
        self.insert: Any = postgresql.insert if is_postgresql else sqlite.insert

    def list_values(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """The values of a column as one JSON array."""
        listing = sa.func.json_agg if self.is_postgresql else sa.func.json_group_array
        return listing(column, type_=sa.JSON)

    def is_among(self, column: sa.ColumnElement[Any], keys: pd.Series) -> sa.ColumnElement[bool]:
        """Whether a column has one of these keys: any number of them are one parameter."""
        return self._is_among(column, self.select_keys(keys))

    def is_among_given(self, column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
        """The same of keys that a parameter of this name gives when the statement is executed, as
        `encode_keys` writes them.
        """
        return self._is_among(column, self._select_json(sa.bindparam(name, type_=sa.String)))

    def _is_among(self, column: sa.ColumnElement[Any], keys: sa.Select[Any]) -> sa.ColumnElement[bool]:
        if self.is_postgresql:
            # Not IN, which hashes the keys and so asks for them in no order, each page again and again.
            return column == sa.any_(sa.func.array(keys.scalar_subquery()))
        return column.in_(keys)

    def select_keys(self, keys: pd.Series) -> sa.Select[Any]:
        """These keys as rows, each once, and sorted."""
        distinct = pc.unique(pa.array(keys, pa.large_string(), from_pandas=True)).drop_null()
        encoded = self.encode_keys(distinct.take(pc.sort_indices(distinct)).to_pylist())
        return self._select_json(sa.literal(encoded, sa.String))

    def make_lateral(self, values: sa.Select[Any]) -> Any:
        """What a query of one column, `value`, finds for each row of a table that it speaks of, to be
        joined with that table.
        """
        if self.is_postgresql:
            return values.lateral()
        listed = sa.select(self.list_values(values.subquery().c.value)).scalar_subquery()
        return sa.func.json_each(listed).table_valued("value")

    @staticmethod
    def encode_keys(keys: Sequence[str]) -> str:
        """Keys, which are sorted, as one parameter: so they touch each page of the index once."""
        return json.dumps(keys)

    def _select_json(self, text: sa.ColumnElement[Any]) -> sa.Select[Any]:
        if self.is_postgresql:
            table = sa.func.json_array_elements_text(sa.cast(text, sa.JSON)).table_valued("value")
        else:
            table = sa.func.json_each(text).table_valued("value")
        return sa.select(sa.cast(table.c.value, sa.String).label("value"))
