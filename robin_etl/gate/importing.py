"""Importing Great Expectations, when it is first needed and more quickly: nearly half is for nothing."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


def import_great_expectations() -> Any:
    """The module, imported when the gate first runs: it costs seconds, which `--help` need not pay."""
    if "great_expectations" not in sys.modules:
        _quieten()
        # Dear, and needed by few rules; jsonschema alone compiles a grammar for half a second.
        with put_off("scipy.stats", "altair", "jsonschema", "boto3"), without_collection():
            import great_expectations  # noqa: F401
        _quieten()
    return sys.modules["great_expectations"]


def _quieten() -> None:
    """Great Expectations logs at length, turns that up on import, and takes over all warnings."""
    for chatty in ("great_expectations", "great_expectations.data_context.types.base"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(capture=False)


class _StandIn(ModuleType):
    """Stands for a module until something in it is wanted, and imports it then."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by the import system, of every module
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def put_off(*names: str) -> Iterator[None]:
    """While this lasts, importing these modules gives stand-ins that import them when first used.

    One that has been imported already, or is not installed, stays as it is.
    """
    stand_ins = {}
    for name in names:
        spec = None if name in sys.modules else importlib.util.find_spec(name)
        if spec is not None:
            stand_ins[name] = sys.modules[name] = _StandIn(name)
            if spec.submodule_search_locations is not None:
                stand_ins[name].__path__ = list(spec.submodule_search_locations)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


@contextmanager
def without_collection() -> Iterator[None]:
    """Import without looking for garbage among what is being made, nor ever after among it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
