"""The ledger: what ROBIN has acknowledged, beside the log of how it came to that."""

from robin_etl.ledger.ledger import Ledger

__all__ = ["Ledger"]
