"""Room for the frames of calls, in one piece of memory.

CPython keeps frames in pieces of 16 kB. Up to 3.12, and in early releases of 3.13 and 3.14, a loop whose
calls begin on one piece and end on the next asks the system for a piece at each call, and gives it back
(python/cpython#142183). Whether a loop does depends on how deep it stands: a quiet day did so 66,000
times, mostly while importing, which took half a second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# A piece is made as large as its first frame and 1,000 cells need, rounded up to a power of two: here
# 2^17 cells (1 MB), half of which this frame takes and never touches. The rest holds a thousand frames.
_CELLS = 2**16


def with_room(function: Callable[P, T]) -> Callable[P, T]:
    """The same function; the frames of what it calls share one piece of memory."""

    @wraps(function)
    def call_with_room(*arguments: P.args, **named: P.kwargs) -> T:
        return _call(function, arguments, named)

    return call_with_room


def _call(function: Callable[..., T], arguments: tuple[Any, ...], named: dict[str, Any]) -> T:
    return function(*arguments, **named)


_call.__code__ = _call.__code__.replace(co_stacksize=_CELLS)
