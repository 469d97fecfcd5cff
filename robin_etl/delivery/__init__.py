"""Delivery: what talks to ROBIN, within its limits, and logs what it says."""

from robin_etl.delivery.account import AccountPace, AccountWindows
from robin_etl.delivery.answers import Answer, Meaning
from robin_etl.delivery.client import ORDERS_PATH, Client, check_address
from robin_etl.delivery.pace import Pace
from robin_etl.delivery.retries import RetryPolicy
from robin_etl.delivery.sender import Delivered, Sender
from robin_etl.delivery.writer import LedgerWriter

__all__ = [
    "ORDERS_PATH",
    "AccountPace",
    "AccountWindows",
    "Answer",
    "Client",
    "Delivered",
    "LedgerWriter",
    "Meaning",
    "Pace",
    "RetryPolicy",
    "Sender",
    "check_address",
]
