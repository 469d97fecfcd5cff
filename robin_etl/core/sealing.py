"""Contacts sealed under `CONTACT_KEY`: authenticated encryption (AES-GCM), so that only who has the key
reads them, and none can be put in another's place. Pure but for its random numbers.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from hashlib import blake2b

KEY_BYTES = 32
_NAME_BYTES = 4
_NONCE_BYTES = 12


def parse_keys(text: str) -> tuple[bytes, ...]:
    """Keys from text such as `new,old`, each 32 bytes in base64; raises `ValueError` with a sentence."""
    keys = []
    for part in filter(None, (one.strip() for one in text.split(","))):
        try:
            key = base64.b64decode(part, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise ValueError(
                f"each key is {KEY_BYTES} bytes in base64, as openssl rand -base64 {KEY_BYTES} prints "
                "them; several are separated by commas"
            )
        keys.append(key)
    return tuple(keys)


class Sealer:
    """Seals with the first of some keys, and opens what any of them has sealed."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 (few runs need it)

        self._keys = {_name_key(key): AESGCM(key) for key in keys}
        self._first = _name_key(keys[0])

    def seal(self, contact: str, digest: str) -> bytes:
        """A contact as it is kept beside its digest."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._keys[self._first].encrypt(nonce, contact.encode(), digest.encode())
        return self._first + nonce + sealed

    def open(self, sealed: bytes, digest: str) -> str | None:
        """The contact; None where none of the keys has sealed it for this digest."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 (likewise)

        name, nonce = sealed[:_NAME_BYTES], sealed[_NAME_BYTES : _NAME_BYTES + _NONCE_BYTES]
        if (key := self._keys.get(name)) is None:
            return None
        try:
            return key.decrypt(nonce, sealed[_NAME_BYTES + _NONCE_BYTES :], digest.encode()).decode()
        except InvalidTag:
            return None


def _name_key(key: bytes) -> bytes:
    """What says which key has sealed a contact, and nothing else of the key."""
    return blake2b(key, digest_size=_NAME_BYTES, person=b"robin contacts").digest()
