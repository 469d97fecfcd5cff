"""Texts that are not ours, made safe to show: without passwords, and without signs that do something."""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = "(hidden)"
# A user and a password before a host; in an address without a scheme too.
_USERINFO = re.compile(r"(?<=://)[^\s'\"]*:[^\s'\"]*@|(?<![\w:/.])[\w.+~-]+:(?!//)[^\s'\"@]+@(?=[\w\[])")
# What stands behind the path may be a token.
_QUERY = re.compile(r"(?<=://)([^\s'\"?]+\?)[^\s'\"]+")

# Control and format characters, halves of others, those of nobody, and ends of lines.
_STEERING = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def hide_credentials(text: str) -> str:
    """A text without the passwords and tokens of the addresses in it."""
    if "@" in text:
        text = _USERINFO.sub(f"{_HIDDEN}@", text)
    if "?" in text and "://" in text:
        text = _QUERY.sub(rf"\1{_HIDDEN}", text)
    return text


def make_printable(text: str) -> str:
    """A text in one line, without signs that steer a terminal, turn its direction or can't be seen."""
    if text.isprintable():
        return text
    return "".join(" " if unicodedata.category(sign) in _STEERING else sign for sign in text)


def holds_password(location: str) -> bool:
    """Whether an address has a password before its host."""
    return bool(_USERINFO.search(location))
