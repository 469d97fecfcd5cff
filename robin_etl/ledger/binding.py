"""What a ledger is bound to: one ROBIN, by its address and API key, and one customer key.

Keys are known by fingerprints only. A ledger that holds no order is free, whatever it was bound to; but
not while anything is in doubt, which only the ROBIN that it was sent to may be sent again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from robin_etl.exceptions import BindingError
from robin_etl.ledger.engine import Engine
from robin_etl.ledger.schema import MAY_BE_IN_DOUBT, META, ORDERS, REQUESTS
from robin_etl.settings import Settings

NO_KEY = "none"  # the fingerprint of there being no customer key

_FINGERPRINT_BYTES = 8
_DEFAULT_PORTS = {"http": 80, "https": 443}

_OTHER_LEDGER = (
    "For another ROBIN, such as a trial, set ROBIN_ETL_LEDGER to a ledger of its own (in Airflow "
    "ledger or ledger_conn_id)"
)


@dataclass(frozen=True)
class Binding:
    """Whose states a ledger holds: the address of ROBIN in its normal form, the fingerprint of the API
    key (`account`, None where no key is set), and that of the customer key (`NO_KEY` without one).
    """

    address: str
    account: str | None
    customer_key: str

    @classmethod
    def of(cls, settings: Settings) -> Binding:
        """What these settings would bind a ledger to."""
        key = settings.api_key.get_secret_value()
        return cls(
            address=normalize_address(settings.base_url),
            account=_compute_fingerprint(key.encode(), b"robin account") if key else None,
            customer_key=fingerprint_customer_key(settings),
        )

    def is_same_robin(self, other: Binding) -> bool:
        """Whether both are of one account of one ROBIN, under whatever customer key."""
        return (self.address, self.account) == (other.address, other.account)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self) -> str:
        """The address and the fingerprints in words."""
        customers = "no customer key" if self.customer_key == NO_KEY else f"key {self.customer_key}"
        return f"{self.address} (API key {self.account}; customers: {customers})"


class Bindings:
    """What one ledger is bound to."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self) -> Binding | None:
        """What the ledger is bound to; None before its first post or baseline."""
        names = (META.c.address, META.c.account, META.c.customer_key)
        with self._engine.read() as connection:
            row = connection.execute(sa.select(*names)).one()
        return None if row.address is None else Binding(*row)

    def check(self, wanted: Binding) -> None:
        """Raise `BindingError` where the ledger's orders belong to another ROBIN, account or customer
        key. Of settings without an API key the account is not compared.
        """
        bound = self._read_while_held()
        if bound is None:
            return
        self.compare(bound, wanted)

    def compare(self, bound: Binding, wanted: Binding) -> None:
        """Raise `BindingError` where something of one binding is not of the other, as `check` does."""
        if bound.address != wanted.address:
            raise BindingError(
                f"The ledger belongs to the ROBIN at {bound.address}, and ROBIN_ETL_BASE_URL (in "
                f"Airflow the connection's address) is {wanted.address}. Nothing was posted. "
                f"{_OTHER_LEDGER}; if the same ROBIN has a new address, run robin-etl ledger bind "
                "--moved."
            )
        if wanted.account not in (None, bound.account):
            raise BindingError(
                f"The ledger belongs to another API key of {bound.address}: its fingerprint is "
                f"{bound.account}, and that of ROBIN_ETL_API_KEY (in Airflow the connection's login) "
                f"is {wanted.account}. Nothing was posted. If the key was renewed, run robin-etl "
                f"ledger bind. {_OTHER_LEDGER}."
            )
        self._check_customer_key(bound, wanted.customer_key)

    def check_customer_key(self, wanted: str) -> None:
        """Raise `BindingError` where the ledger's customers are digests under a key with another
        fingerprint.
        """
        bound = self._read_while_held()
        if bound is not None:
            self._check_customer_key(bound, wanted)

    def bind(self, wanted: Binding) -> None:
        """Bind the ledger, or raise what `check` raises. Needs the posting lock."""
        with self._engine.transaction():
            self.check(wanted)
            self._write(wanted)

    def rebind(self, wanted: Binding, *, is_moved: bool) -> Binding | None:
        """Bind the ledger to another API key, or where it `is_moved` to another address; what it was
        bound to. Needs the posting lock.

        Raises `BindingError` for another address that is not said to be the same ROBIN's, and for
        another customer key.
        """
        with self._engine.transaction():
            bound = self._read_while_held()
            if bound is not None:
                if bound.address != wanted.address and not is_moved:
                    raise BindingError(
                        f"The ledger belongs to the ROBIN at {bound.address}, and ROBIN_ETL_BASE_URL is "
                        f"{wanted.address}. It stays as it is. If the same ROBIN has a new address, "
                        f"run robin-etl ledger bind --moved. {_OTHER_LEDGER}."
                    )
                self._check_customer_key(bound, wanted.customer_key)
            before = self.read()
            self._write(wanted)
        return before

    def _read_while_held(self) -> Binding | None:
        """What the ledger's orders, and what is in doubt, belong to; None where there is neither, or it
        is not bound yet.
        """
        doubtful = sa.select(REQUESTS.c.id).where(MAY_BE_IN_DOUBT)
        holds = sa.exists(sa.select(ORDERS)) | sa.exists(doubtful)
        with self._engine.read() as connection:
            is_held = connection.execute(sa.select(holds)).scalar_one()
        return self.read() if is_held else None

    def _check_customer_key(self, bound: Binding, wanted: str) -> None:
        if bound.customer_key == wanted:
            return
        if wanted == NO_KEY:
            differs = f"has the fingerprint {bound.customer_key}, and ROBIN_ETL_CUSTOMER_KEY is not set"
        elif bound.customer_key == NO_KEY:
            differs = f"was none, and ROBIN_ETL_CUSTOMER_KEY has the fingerprint {wanted}"
        else:
            differs = (
                f"has the fingerprint {bound.customer_key}, and ROBIN_ETL_CUSTOMER_KEY has {wanted}"
            )
        raise BindingError(
            f"The customer key of the ledger {differs}: under another key every customer is a new one. "
            "Nothing was changed. Set ROBIN_ETL_CUSTOMER_KEY (in Airflow the connection's "
            "customer_key_secret, for every worker) as it was; docs/how-to/customer-key.md says how to "
            "change the key on purpose."
        )

    def _write(self, binding: Binding) -> None:
        with self._engine.write() as connection:
            connection.execute(META.update().values(binding.as_json()))


def normalize_address(address: str) -> str:
    """One form of an address: scheme and host in lower case, no default port, no slash at its end."""
    parts = urlsplit(address.strip())
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    is_default = parts.port is None or parts.port == _DEFAULT_PORTS.get(parts.scheme)
    place = host if is_default else f"{host}:{parts.port}"
    return f"{parts.scheme}://{place}{parts.path.rstrip('/')}"


def fingerprint_customer_key(settings: Settings) -> str:
    """The fingerprint of the customer key; `NO_KEY` where there is none."""
    key = settings.digest_key()
    return _compute_fingerprint(key, b"robin customers") if key else NO_KEY


def _compute_fingerprint(key: bytes, purpose: bytes) -> str:
    return blake2b(key, digest_size=_FINGERPRINT_BYTES, person=purpose).hexdigest()
