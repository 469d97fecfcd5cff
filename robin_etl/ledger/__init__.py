"""The ledger: what ROBIN has acknowledged, beside the log of how it came to that."""

from robin_etl.ledger.binding import Binding
from robin_etl.ledger.engine import Engine
from robin_etl.ledger.ledger import Ledger
from robin_etl.ledger.records import (
    AnswerCount,
    DeliveryRecord,
    ExportRecord,
    OpenDoubt,
    RejectedOrder,
    RunOutcome,
    RunRecord,
    Totals,
    UnchangedExport,
)

__all__ = [
    "AnswerCount",
    "Binding",
    "DeliveryRecord",
    "Engine",
    "ExportRecord",
    "Ledger",
    "OpenDoubt",
    "RejectedOrder",
    "RunOutcome",
    "RunRecord",
    "Totals",
    "UnchangedExport",
]
