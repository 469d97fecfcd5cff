"""The bytes of an export: opened, bounded, and cut into blocks of whole lines in UTF-8."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from robin_etl.exceptions import ExportError, ExportMissingError
from robin_etl.exports.bounds import Measure

# Gives so many bytes at most, and none at the end.
Read = Callable[[int], bytes]
# The number of the first line, and whole lines in UTF-8.
Block = tuple[int, bytes]
# What a reader makes of blocks: cells, and the line that each record starts on.
Cells = tuple[pd.DataFrame, pd.Series]

_DIGEST_BYTES = 16
_BLOCK_BYTES = 1 << 20
# Of the pattern that lines are sieved by; beyond it the sieve would cost more than it saves.
_LONGEST_PATTERN = 20_000


@contextmanager
def open_export(path: UPath) -> Iterator[BinaryIO]:
    """The file's bytes, of which there is at least one.

    Raises `ExportMissingError`, or `ExportError` for a file that is empty or can't be read.
    """
    try:
        with path.open("rb") as stream:
            if not stream.read(1):
                raise ExportError(
                    f"{path} is empty, without even a header. Write it again, then run again.",
                    path=str(path),
                )
            stream.seek(0)
            yield stream
    except FileNotFoundError:
        raise ExportMissingError(f"There is no file {path}.", location=str(path)) from None
    except OSError as error:
        raise ExportError(f"{path} can't be read: {error}.", path=str(path)) from error


class DigestingReader:
    """Reads a stream, and makes a digest of its bytes on the way."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = blake2b(digest_size=_DIGEST_BYTES)

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        return data

    def tell(self) -> int:
        return self._stream.tell()

    def finish(self) -> str:
        """The digest of all bytes, those behind what was read included."""
        while self.read(_BLOCK_BYTES):
            pass
        return self._hash.hexdigest()


def digest(path: UPath) -> str:
    """The digest of a file's bytes; raises what `open_export` does."""
    with open_export(path) as stream:
        return DigestingReader(stream).finish()


def bound(read: Read, path: str, most: int) -> Read:
    """Reads the same; raises `ExportError` where it is more than `most` bytes."""
    left = most

    def read_bounded(size: int) -> bytes:
        nonlocal left
        data = read(size)
        left -= len(data)
        if left < 0:
            raise make_size_error(path, most)
        return data

    return read_bounded


def make_size_error(path: str, most: int) -> ExportError:
    """The error for an export that is larger than `most` bytes."""
    return ExportError(
        f"{path} holds more than {most:,} bytes once unzipped. Set ROBIN_ETL_MAX_EXPORT_SIZE higher if "
        "that is meant.",
        path=path,
    )


def split_into_blocks(
    read: Read, encoding: str, path: str, size: int, measure: Measure
) -> Iterator[Block]:
    """Blocks of about `size` bytes, at least one, without a byte order mark.

    Raises `ExportError` for bytes that are not of the encoding, and for a line without end.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, line, rest = 0, 1, b""
    is_first = True
    while True:
        data = read(size)
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise _make_encoding_error(error, encoding, path, offset - pending, line) from error
        offset += len(data)
        block = rest + text.encode()
        if is_first:
            block = block.removeprefix(codecs.BOM_UTF8)
        end = len(block) if not data else block.rfind(b"\n") + 1
        block, rest = block[:end], block[end:]
        measure.check_line(len(rest), line + block.count(b"\n"))
        if block or (is_first and not data):
            yield line, block
            line += block.count(b"\n")
            is_first = False
        if not data:
            return


def notice_end(blocks: Iterator[Block], notice: Callable[[bool], None]) -> Iterator[Block]:
    """The same blocks; once they are through, `notice` hears whether the text ended within a line."""
    last = b""
    for line, block in blocks:
        last = block or last
        yield line, block
    notice(not last.endswith((b"\n", b"\r")) and bool(last))


def keep_lines(blocks: Iterator[Block], texts: pd.Series) -> Iterator[Block]:
    """The first line, and those that hold any of these texts: a sieve that lets too much through rather
    than too little. Lines are not numbered as they were.

    A block in which a cell may go over several lines, or be written in another way, stays as it is.
    """
    wanted = "|".join(re.escape(text) for text in texts.unique())
    if len(wanted) > _LONGEST_PATTERN:
        yield from blocks
        return
    is_first = True
    for line, block in blocks:
        if b'"' in block or b"\\" in block:
            yield line, block
        else:
            lines = _split_lines(block)
            is_kept = pc.match_substring_regex(lines, wanted).to_numpy(zero_copy_only=False)
            is_kept[:1] |= is_first
            yield line, b"".join(lines.filter(pa.array(is_kept)).to_pylist())
        is_first = False


def _split_lines(block: bytes) -> pa.Array:
    """The lines with their ends, as one array over the same bytes."""
    ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord(b"\n")) + 1
    if not len(ends) or ends[-1] < len(block):
        ends = np.append(ends, len(block))
    offsets = np.insert(ends, 0, 0).astype(np.int64)
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(block)]
    )


def _make_encoding_error(
    error: UnicodeDecodeError, encoding: str, path: str, offset: int, line: int
) -> ExportError:
    """`offset` and `line` are those that the bytes of the error begin at."""
    line += error.object.count(b"\n", 0, error.start)
    return ExportError(
        f"{path} is not {encoding}: byte {offset + error.start} (line {line}) is "
        f"0x{error.object[error.start]:02x}. Write it in {encoding}, or name its encoding in a profile"
        f"{_name_likely(error)}.",
        path=path,
    )


def _name_likely(error: UnicodeDecodeError) -> str:
    """What the first bytes of a text say of its encoding, as words for a sentence."""
    marks = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    if error.start == 0 and (name := marks.get(bytes(error.object[:2]))):
        return f": it begins as {name} does"
    return ""
