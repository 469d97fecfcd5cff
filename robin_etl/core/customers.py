"""Customers: one form of an address, and the digests that stand for contacts. Pure."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from robin_etl.core.columns import to_series, to_strings, trim

_DIGEST_BYTES = 16


def normalize_addresses(text: pd.Series) -> pd.Series:
    """E-mail addresses, trimmed and lower-cased; blank is null."""
    return to_series(pc.utf8_lower(to_strings(trim(text))), text.index)


def digest_contacts(contacts: pd.Series, *, of: str, key: bytes) -> pd.Series:
    """Keyed BLAKE2b digests (32 hexadecimal digits) that stand for contacts in the ledger.

    `of` is the kind of contact: an address and a phone number never share a digest.
    """
    codes, distinct = pd.factorize(contacts)
    begun = blake2b(f"{of}:".encode(), key=key, digest_size=_DIGEST_BYTES)
    hashed = []
    for value in pc.cast(to_strings(distinct), pa.binary()).to_pylist():
        one = begun.copy()
        one.update(value)
        hashed.append(one.digest())
    digits = pa.py_buffer(b"".join(hashed).hex().encode())
    ends = pa.py_buffer(np.arange(len(hashed) + 1, dtype=np.int64) * 2 * _DIGEST_BYTES)
    texts = pa.LargeStringArray.from_buffers(len(hashed), ends, digits)
    return to_series(texts.take(pa.array(codes, mask=codes < 0)), contacts.index)


def add_digests(exported: pd.DataFrame, *, key: bytes) -> pd.DataFrame:
    """Exported rows with the digests of their contact, `email` and `phone`, beside it."""
    return exported.assign(
        email=digest_contacts(exported["email_address"], of="email", key=key),
        phone=digest_contacts(exported["phone_number"], of="phone", key=key),
    )


def identify_customers(identified: pd.DataFrame) -> pd.Series:
    """Whose each row is by itself: its address's digest or, without one, its phone number's."""
    return identified["email"].fillna(identified["phone"])
