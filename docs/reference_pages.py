"""The reference, written from the code each time the documentation is built, so that it can't drift."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from upath import UPath

from robin_etl.exports import profiles
from robin_etl.exports.profiles import Columns, Currency, Profile, Refunds, Status
from robin_etl.ledger import schema
from robin_etl.ledger.moves import MOVES
from robin_etl.stages.files import Folder, FrameFile, RecordFile
from robin_etl.stages.run import Declared, Partition, Run, describe_files

FOLDER = Path(__file__).parent / "reference"


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's hook: write the pages before it looks for any."""
    app.connect("config-inited", lambda *_: write())
    return {"parallel_read_safe": True}


def write() -> None:
    """Write every generated page that is not written so already."""
    FOLDER.mkdir(exist_ok=True)
    pages = {
        "profiles": profile_keys(),
        "ledger": ledger(),
        "run-files": run_files(),
        "commands": commands(),
    }
    for name, lines in pages.items():
        text = "\n".join(lines) + "\n"
        path = FOLDER / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def profile_keys() -> Iterator[str]:
    yield "# Profiles"
    yield ""
    yield "The keys of a profile's TOML file. {doc}`../how-to/profile` shows how to write one."
    for title, model in (
        ("At the top", Profile),
        ("`[columns]`", Columns),
        ("`[status]`", Status),
        ("`[currency]`", Currency),
        ("`[refunds]`", Refunds),
    ):
        yield ""
        yield f"## {title}"
        yield ""
        yield from _fields(model)
    yield ""
    yield "## Shipped profiles"
    for profile in profiles.list_shipped():
        yield ""
        yield f"### {profile.name}"
        yield ""
        yield f"{profile.title}."
        yield ""
        yield "```toml"
        yield profiles.read_toml(profile.name).rstrip()
        yield "```"


def ledger() -> Iterator[str]:
    yield "# The ledger's tables"
    yield ""
    yield f"Schema version {schema.VERSION}, the same in SQLite and PostgreSQL. Money is in cents."
    yield "A moment is the text `2017-04-05T12:34:56Z` (UTC), a day `2017-04-05`."
    yield "A customer is a keyed digest."
    for table in schema.METADATA.sorted_tables:
        yield ""
        yield f"## {table.name}"
        yield ""
        yield "| column | type | |"
        yield "|---|---|---|"
        for column in table.columns:
            words = ["primary key"] if column.primary_key else []
            words += [] if column.nullable or column.primary_key else ["never null"]
            yield f"| `{column.name}` | {_type(column)} | {', '.join(words)} |"


def run_files() -> Iterator[str]:
    yield "# Files of a run"
    yield ""
    yield "A run's folder lies under `ROBIN_ETL_RUNS` and is readable by its owner only, since it holds"
    yield "customers' addresses. The rows of a run that is split are in a folder for each partition,"
    yield "`partition-001` and so on; otherwise they are in the run's own folder."
    yield ""
    yield "Beside the folders of runs lies `journals`, with a folder for each ledger, and in it a file"
    yield "for each time that a run held its posting lock: `<revision>-<moment>.<run>.jsonl`. A line is"
    yield f"a move, its name first ({', '.join(MOVES)}), or closes a"
    yield "transaction with the ledger's revision before and after. The first line says whose it is, and"
    yield "the columns of a state. There are no addresses in it. A `.snapshot.jsonl` has all that"
    yield "the ledger held at its revision."
    kinds = {Run: "Of the run", Partition: "Of each partition"}
    for holder, title in kinds.items():
        yield ""
        yield f"## {title}"
        yield ""
        yield "| file | left by | |"
        yield "|---|---|---|"
        own = [declared for owner, declared in describe_files() if owner is holder]
        for declared in own:
            yield f"| `{declared.name}` | {declared.by} | {_cell(declared.about)} |"
        for declared in own:
            yield from _content(declared)


def _content(declared: Declared[Any]) -> Iterator[str]:
    """What is in a file: the columns of rows, the fields of a record."""
    file = declared.make(Folder(UPath(".")), declared.name)
    if isinstance(file, FrameFile):
        content = file.dtypes
    elif isinstance(file, RecordFile):
        content = {field.name: field.type for field in fields(file.kind)}
    else:
        return
    yield ""
    yield f"### {declared.name}"
    yield ""
    yield "| name | type |"
    yield "|---|---|"
    for name, kind in content.items():
        yield f"| `{name}` | {_cell(str(kind))} |"


def commands() -> Iterator[str]:
    yield "# Commands"
    yield ""
    yield "Exit codes: 0 done; 1 stopped (validation, a guard, authentication, ROBIN not reachable);"
    yield "2 wrong usage or settings; 3 degraded: done, but somebody has to look at something."
    yield "See {doc}`../after-a-bad-night`."
    yield ""
    yield "```{eval-rst}"
    yield ".. click:: robin_etl.cli.main:cli"
    yield "   :prog: robin-etl"
    yield "   :nested: full"
    yield "```"


def _fields(model: type[BaseModel]) -> Iterator[str]:
    yield "| key | default | |"
    yield "|---|---|---|"
    for name, field in model.model_fields.items():
        if field.description:
            yield f"| `{name}` | {_default(field)} | {_cell(field.description)} |"


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "those shipped"
    value = field.default
    plain = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    shown = ", ".join(map(str, plain)) if isinstance(plain, tuple) else plain
    return f"`{shown}`" if shown not in ("", None, {}) else "none"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def _type(column: sa.Column[Any]) -> str:
    return {
        "VARCHAR": "text",
        "BIGINT": "integer",
        "INTEGER": "integer",
        "BOOLEAN": "true or false",
        "BLOB": "bytes",
    }[str(column.type.compile()).split("(")[0].split(" ")[0]]
