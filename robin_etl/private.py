"""Folders and files on this machine that only their owner reads, whatever the umask is."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

from upath import UPath
from upath.implementations.local import PosixUPath

_LOCAL = ("file", "local")


def resolve_local(path: UPath) -> UPath:
    """A path of this machine as such, however it is written (`file://…`); any other as it is."""
    return UPath(path.path) if path.protocol in _LOCAL else path


def is_local(path: UPath) -> bool:
    """Whether it is a path of this machine, as `resolve_local` gives it."""
    return isinstance(path, PosixUPath)


def is_link(path: UPath) -> bool:
    """Whether it is a symbolic link, which leads elsewhere."""
    return isinstance(path, PosixUPath) and path.is_symlink()


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing; one that is there stays as it is."""
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)


def make_file(path: Path) -> None:
    """Make a file where there is none, with nothing in it."""
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def open_file(path: UPath) -> BinaryIO:
    """A stream into a file, of which nothing is kept; raises `OSError`, for a link as well: whoever has
    planted it chooses what is overwritten.
    """
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        number = os.open(str(path), flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "it is a link, which is not followed; remove it") from None
        raise
    os.fchmod(number, 0o600)  # where it was there before
    return os.fdopen(number, "wb")
