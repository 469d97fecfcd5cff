"""Exports that are packed: a gzip file, or the one file in a zip."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from robin_etl.exceptions import ExportError
from robin_etl.exports.bounds import Measure
from robin_etl.exports.naming import describe_fault
from robin_etl.exports.streams import DigestingReader, Read

GZIP = ".gz"
ZIP = ".zip"
_PIECE = 65_536
_DAMAGE = (
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)


def unzip(stream: BinaryIO | DigestingReader, path: str, measure: Measure) -> Read:
    """Reads what a gzip file holds; raises `ExportError` where it breaks off, or was a bomb."""
    unzipped = gzip.GzipFile(fileobj=cast("BinaryIO", stream))

    def read(size: int) -> bytes:
        try:
            data = unzipped.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ExportError(
                f"{path} is not a whole gzip file: after {unzipped.tell()} bytes of text "
                f"({stream.tell()} bytes compressed) it breaks off ({error}). Upload it again.",
                path=path,
            ) from error
        measure.check_packing(unzipped.tell(), stream.tell())
        return data

    return read


def open_zip(
    stream: BinaryIO, path: str, suffixes: tuple[str, ...], measure: Measure
) -> tuple[Read, str]:
    """Reads the one file that a zip holds, and tells which of `suffixes` its name ends with.

    Raises `ExportError` for a zip that is damaged, that holds something else or more, or is a bomb.
    """
    try:
        archive = zipfile.ZipFile(stream)
        members = [one for one in archive.infolist() if _is_export(one.filename, suffixes)]
        if len(members) != 1:
            raise ExportError(
                f"{path} holds {len(members)} exports ({', '.join(suffixes)}), and should hold one. Zip "
                "each of them alone.",
                path=path,
            )
        opened = archive.open(members[0])
    except _DAMAGE as error:
        raise _make_zip_error(error, path) from error
    name = members[0].filename.lower()

    def read(size: int) -> bytes:
        pieces: list[bytes] = []
        left = size
        # By pieces: of what is packed, as much is read ahead as is asked for, and counts as unpacked.
        while left > 0 and (piece := read_piece(min(left, _PIECE))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def read_piece(size: int) -> bytes:
        try:
            piece = opened.read(size)
        except _DAMAGE as error:
            raise _make_zip_error(error, path) from error
        measure.check_packing(opened.tell(), stream.tell())
        return piece

    return read, next(suffix for suffix in suffixes if name.endswith(suffix))


def _is_export(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a member's name is that of an export, and none that macOS has put beside it."""
    path = PurePosixPath(name)
    return (
        name.lower().endswith(suffixes)
        and "__MACOSX" not in path.parts
        and not path.name.startswith(".")
    )


def _make_zip_error(error: Exception, path: str) -> ExportError:
    return ExportError(
        f"{path} is not a readable zip file ({describe_fault(error)}). Zip it again, without a "
        "password.",
        path=path,
    )
