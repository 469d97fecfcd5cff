"""Bytes that claim to be an export, through every reader and profile: orders, or an error that says why.

`python -m tests.fuzz --runs 100000` lets atheris look for bytes that do something else, guided by what
they reach; `tests/unit/test_hostile_exports.py` does the same for seconds with hypothesis. `--of answer`
and `--of setting` do so with what `fuzz_edges` and `tests/unit/test_hostile_edges.py` try.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import sys
import tomllib
from datetime import date
from pathlib import Path

import fsspec
from upath import UPath

from robin_etl.core import customers, versions
from robin_etl.exceptions import ExportError
from robin_etl.exports import files, profiles, sampling
from robin_etl.exports.drafting import draft_profile
from robin_etl.exports.locations import SUFFIXES

DAY = date(2026, 3, 1)
MOST_BYTES = 1 << 20
PROFILES = tuple(
    profile.model_copy(update={"timezone": profile.timezone or "Europe/Amsterdam"})
    for profile in profiles.list_shipped()
)
SEEDS = sorted((Path(__file__).parent / "profiles").iterdir())


def read(data: bytes, suffix: str, profile: profiles.Profile) -> int:
    """How many orders are in it; 0 where it is no export. Raises what it should not."""
    fsspec.filesystem("memory").pipe(f"/fuzz/orders{suffix}", data)
    path = UPath(f"memory://fuzz/orders{suffix}")
    try:
        sampling.take_sample(path)
        parts = list(files.read_batches(path, profile, DAY, batch_bytes=64, most_bytes=MOST_BYTES))
    except ExportError as error:
        if str(path) in str(error):
            return 0
        raise
    for part in parts:
        assert len(part.orders.cells) == len(part.orders.lines) == len(part.orders.rows)
        rows = customers.add_digests(part.orders.rows.assign(broken=False), key=b"")
        versions.keep_last_rows(rows)
        assert (rows["order_date"].dropna().str.len() == len("2026-03-01T00:00:00Z")).all()
    return sum(len(part.orders.rows) for part in parts)


def draft(data: bytes, suffix: str) -> str:
    """The profile drafted from it, blank where it is no export. Raises what it should not."""
    fsspec.filesystem("memory").pipe(f"/fuzz/orders{suffix}", data)
    path = UPath(f"memory://fuzz/orders{suffix}")
    try:
        drafted = draft_profile(sampling.read_everything(path, MOST_BYTES))
    except ExportError as error:
        if str(path) in str(error):
            return ""
        raise
    tomllib.loads(drafted.text)
    if not drafted.questions:
        profiles.parse_profile(drafted.text, "the draft")
    return drafted.text


def one(data: bytes) -> None:
    """The first bytes choose reader and profile, the rest is the file."""
    if len(data) < 2:
        return
    suffix, profile = SUFFIXES[data[0] % len(SUFFIXES)], PROFILES[data[1] % len(PROFILES)]
    content = gzip.compress(data[2:], 1) if suffix == ".csv.gz" and data[0] & 0x80 else data[2:]
    read(content, suffix, profile)
    draft(content, suffix)


def main() -> None:
    import atheris  # only this needs it

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--of", choices=("export", "answer", "setting"), default="export")
    parser.add_argument("--folder", default=".cache/fuzz", help="Where what is worth keeping goes.")
    options = parser.parse_args()
    corpus = Path(options.folder) / options.of
    corpus.mkdir(parents=True, exist_ok=True)
    for at, path in enumerate(SEEDS if options.of == "export" else ()):
        for reader in range(len(SUFFIXES)):
            (corpus / f"seed-{at}-{reader}").write_bytes(bytes([reader | 0x80, at]) + path.read_bytes())
    # Imported anew, so that atheris sees which lines a file reaches.
    for name in [name for name in sys.modules if name.startswith("robin_etl")]:
        del sys.modules[name]
    with atheris.instrument_imports(include=["robin_etl"]):
        if options.of == "export":
            guided = importlib.import_module("tests.fuzz").one
        else:
            guided = getattr(importlib.import_module("tests.fuzz_edges"), options.of)
    settings = [f"-runs={options.runs}", "-max_len=4096", "-timeout=60"]
    atheris.Setup([sys.argv[0], *settings, str(corpus)], guided)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
