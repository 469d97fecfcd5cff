"""Addresses made safe to show and to keep: whatever is shown or kept of one goes through this."""

from __future__ import annotations

import re

_HIDDEN = "(hidden)"
# A user and a password before a host; in an address without a scheme too.
_USERINFO = re.compile(r"(?<=://)[^\s'\"]*:[^\s'\"]*@|(?<![\w:/.])[\w.+~-]+:(?!//)[^\s'\"@]+@(?=[\w\[])")
# What stands behind the path may be a token.
_QUERY = re.compile(r"(?<=://)([^\s'\"?]+\?)[^\s'\"]+")


def hide_credentials(text: str) -> str:
    """A text without the passwords and tokens of the addresses in it."""
    if "@" in text:
        text = _USERINFO.sub(f"{_HIDDEN}@", text)
    if "?" in text and "://" in text:
        text = _QUERY.sub(rf"\1{_HIDDEN}", text)
    return text


def holds_password(location: str) -> bool:
    """Whether an address has a password before its host."""
    return bool(_USERINFO.search(location))
