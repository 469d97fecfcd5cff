"""All that a command imports, imported by importing this: for a process that forks for each command."""

import gc

import pyarrow.dataset  # noqa: F401

from robin_etl.cli import main, progress, tables  # noqa: F401
from robin_etl.gate.importing import import_great_expectations
from robin_etl.sandbox import demo  # noqa: F401

import_great_expectations()
gc.freeze()  # what a child's collector looks through, that child has to copy
