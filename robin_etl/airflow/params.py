"""The parameters of a DAG run, as Airflow's form asks for them and checks them."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from robin_etl.core.guards import GUARDS

# Airflow's form asks for what may not be null, and folds away all sections but its own.
_DAY = {"type": ["null", "string"], "format": "date"}
_OVERRIDE = {"section": "Settings of this run"}
_NAME = {"type": ["null", "string"], "minLength": 1, **_OVERRIDE}
_NUMBER = {"type": ["null", "integer"], "minimum": 1, **_OVERRIDE}


def make_params() -> dict[str, Any]:
    """The parameters by name: the days of a manual run and what it does, and settings of it alone."""
    return {
        "from_date": Param(
            None,
            **_DAY,
            title="From",
            description="First day of the run. Left blank, the day is that of the logical date.",
        ),
        "to_date": Param(None, **_DAY, title="To", description="Last day of a range, included."),
        "final": _flag("Final versions only", "Of each order only its last version in the range."),
        "dry_run": _flag(
            "Dry run", "Everything but the posts and the ledger; keeps what would be sent."
        ),
        "refresh": _flag("Ask again", "Ask QUERY again for days that it has answered."),
        "allow": Param(
            [],
            type=["array", "null"],
            items={"type": "string", "enum": list(GUARDS)},
            examples=list(GUARDS),
            title="Allow guards",
            description="Guards that this run may pass, after somebody has looked at its plan.",
        ),
        "exports": Param(
            None,
            **_NAME,
            title="Exports",
            description="Another folder or URL of the exports than usual.",
        ),
        "profile": Param(None, **_NAME, title="Profile", description="How they are written."),
        "shards": Param(
            None,
            **_NUMBER,
            maximum=256,
            title="Shards",
            description="Partitions to split the run into, by customer.",
        ),
        "chunk_size": Param(
            None, **_NUMBER, title="Chunk size", description="Orders in a request, at most."
        ),
    }


def _flag(title: str, description: str) -> Param:
    return Param(default=False, type=["boolean", "null"], title=title, description=description)
