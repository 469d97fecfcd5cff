"""Customers: one form of an address, and the digests that stand for contacts. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from robin_etl.core.columns import to_series, to_strings, trim

_DIGEST_BYTES = 16

# An address without any of these, in plain ASCII, has nothing around it or in it that does not belong.
_MARKS: Final = (b"<", b">", b":", b"'", b'"')
_ODD: Final = r"""[<>:'"]|\.\z"""

# What has no width or shows nothing: formats (zero-width ones, a soft hyphen, directions, a byte order
# mark), fillers and selectors of variants.
_INVISIBLE: Final = (
    r"[\p{Cf}\x{034f}\x{115f}\x{1160}\x{17b4}\x{17b5}\x{180b}-\x{180f}\x{2065}\x{3164}"
    r"\x{fe00}-\x{fe0f}\x{ffa0}\x{e0100}-\x{e01ef}]"
)
_SPACES: Final = r"\s\v\x1c-\x1f\x{85}\x{1680}\x{2028}\x{2029}"
_AROUND: Final = rf"\A[{_SPACES}']+|[{_SPACES}'.]+\z"
_QUOTED: Final = r'\A"([^"@]+@[^"@]+)"\z'
_LINK: Final = r"(?s)\Amailto:([^?]*)(?:\?.*)?\z"
# Written so that there is one way to match it, which is several times as fast.
_NAMED: Final = r'\A(?P<name>(?:[^<"]|"[^"]*")*)<(?P<address>[^<>]*)>\z'
_NAME_QUOTES: Final = rf'\A[{_SPACES}\'"]+|[{_SPACES}\'"]+\z'
_QUOTED_NAME: Final = rf'\A[{_SPACES}]*"[^"]*"[{_SPACES}]*\z'
_PARTS: Final = r"(?s)\A(?P<name>.*@)(?P<domain>[^@]*)\z"

# How many things may be around an address, each around the other; what has more is no address.
_LAYERS: Final = 8


def normalize_addresses(text: pd.Series) -> pd.Series:
    """E-mail addresses in their one form; blank is null.

    Gone are white space and apostrophes around them, a display name, `mailto:`, invisible characters and
    the dot behind the domain. They are in NFKC and lower-cased, the domain as IDNA writes it. What can't
    be brought to that form stays for the gate to name.
    """
    strings = to_strings(trim(text))
    if _are_plain(strings):
        return to_series(pc.ascii_lower(strings), text.index)
    odd = pc.fill_null(_are_odd(strings), fill_value=False)
    formed = _bring_to_form(strings.filter(odd))
    return to_series(pc.replace_with_mask(pc.ascii_lower(strings), odd, formed), text.index)


def _are_plain(strings: pa.Array) -> bool:
    """Whether there is nothing odd in any of them, which is quick to see in all bytes at once."""
    if (content := strings.buffers()[-1]) is None:
        return True
    everything = content.to_pybytes()
    if not everything.isascii() or any(mark in everything for mark in _MARKS):
        return False
    return not pc.any(pc.ends_with(strings, ".")).as_py()


def _are_odd(strings: pa.Array) -> pa.Array:
    return pc.or_(pc.invert(pc.string_is_ascii(strings)), pc.match_substring_regex(strings, _ODD))


def _bring_to_form(strings: pa.Array) -> pa.Array:
    """The one form of addresses that are not plain."""
    is_foreign = pc.invert(pc.string_is_ascii(strings))
    letters = _normalize_letters(strings.filter(is_foreign))
    whole = bare = pc.replace_with_mask(pc.ascii_lower(strings), is_foreign, letters)
    for _ in range(_LAYERS):
        before, bare = bare, _unwrap(bare)
        if bare.equals(before):
            break
    else:
        bare = pc.if_else(pc.equal(bare, _unwrap(bare)), bare, whole)
    formed = _encode_domains(bare)
    return pc.if_else(pc.equal(formed, ""), None, formed)


def _normalize_letters(strings: pa.Array) -> pa.Array:
    """Text without what nobody sees, in NFKC and lower-cased, which can make letters that NFKC joins."""
    visible = pc.replace_substring_regex(strings, _INVISIBLE, "")
    lower = pc.utf8_lower(pc.utf8_normalize(visible, form="NFKC"))
    return pc.utf8_normalize(lower, form="NFKC")


def _unwrap(strings: pa.Array) -> pa.Array:
    """Addresses without the outermost of what is around them."""
    bare = pc.replace_substring_regex(strings, _AROUND, "")
    for wrapping in (_QUOTED, _LINK):
        bare = pc.replace_substring_regex(bare, wrapping, r"\1")
    name, address = pc.extract_regex(bare, _NAMED).flatten()
    shown = pc.replace_substring_regex(name, _NAME_QUOTES, "")
    # Two addresses beside each other are not one with a name, unless they are the same.
    is_name = pc.or_(
        pc.or_(pc.invert(pc.match_substring(name, "@")), pc.match_substring_regex(name, _QUOTED_NAME)),
        pc.equal(shown, address),
    )
    return pc.if_else(pc.fill_null(is_name, fill_value=False), address, bare)


def _encode_domains(strings: pa.Array) -> pa.Array:
    """Addresses with their domain as IDNA writes it in ASCII; one that IDNA refuses stays as it is."""
    name, domain = pc.extract_regex(strings, _PARTS).flatten()
    is_foreign = pc.fill_null(pc.invert(pc.string_is_ascii(domain)), fill_value=False)
    if not pc.any(is_foreign).as_py():
        return strings
    distinct = pc.if_else(is_foreign, domain, None).dictionary_encode()
    encoded = pa.array(map(_encode_domain, distinct.dictionary.to_pylist()), pa.string())
    joined = pc.binary_join_element_wise(name, encoded.take(distinct.indices), "")
    return pc.coalesce(joined, strings)


def _encode_domain(domain: str) -> str | None:
    import idna  # noqa: PLC0415 (its tables are large, and few exports have such a domain)

    try:
        return idna.encode(domain, uts46=True).decode().rstrip(".") or None
    except (idna.IDNAError, UnicodeError):
        return None


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
