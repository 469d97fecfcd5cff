"""The chunks of a wave that are still to be sent, in sizes that ROBIN takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from robin_etl.core import payload
from robin_etl.core.payload import Chunk


class ChunkQueue:
    """What is to be sent next: the halves of a refused chunk before the next chunk of the wave.

    `size` is the most changes in a chunk. ROBIN may lower it for the rest of a run.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._pieces: deque[Chunk] = deque()
        self._wave: Iterator[Chunk] = iter(())

    def start_wave(self, chunks: Iterator[Chunk]) -> None:
        """Go on with the chunks of another wave; what is left of the one before is dropped."""
        self._pieces.clear()
        self._wave = chunks

    def take(self) -> Chunk | None:
        """The next chunk, of the size that is allowed by now; None after the last."""
        chunk = self._pieces.popleft() if self._pieces else next(self._wave, None)
        if chunk is None or len(chunk) <= self._size:
            return chunk
        first, *others = payload.slice_chunk(chunk, self._size)
        self._pieces.extendleft(reversed(others))
        return first

    def put_halves(self, chunk: Chunk, *, is_too_large: bool) -> None:
        """Put a refused chunk back as two; where it was too large, no later one is larger than they."""
        half = (len(chunk) + 1) // 2
        if is_too_large:
            self._size = min(self._size, half)
        self._pieces.extendleft([chunk[half:], chunk[:half]])
