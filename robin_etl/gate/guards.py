"""Guards: figures of a whole plan at which a run stops, since no shop's day looks like that."""

from __future__ import annotations

from robin_etl.exceptions import CorrectionsError

# Corrections beyond both of these stop a run.
MOST_CORRECTIONS = 1_000
MOST_CORRECTED_SHARE = 0.2


def guard_corrections(corrections: int, rows: int) -> None:
    """Raise `CorrectionsError` where so many corrections in so many exported rows are too many."""
    if corrections > MOST_CORRECTIONS and corrections > MOST_CORRECTED_SHARE * rows:
        raise CorrectionsError(
            f"{corrections} corrections in {rows} rows are more than a shop makes: a new column or "
            "a changed mapping is more likely. Nothing was posted. Look at the export, and run with "
            "--allow-corrections if they are meant.",
            corrections=corrections,
        )
