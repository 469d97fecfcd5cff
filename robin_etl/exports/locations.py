"""Where exports lie: the files of days, found under any path or URL that fsspec opens, each as it is.

A place is listed once, however many days are asked for, where its storage can list.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from upath import UPath

from robin_etl.exceptions import ConfigurationError, ExportError, ExportMissingError
from robin_etl.redaction import hide_credentials

# The forms of an export, by the ends of their names; those of text may be packed.
TEXTS = (".csv", ".tsv", ".txt")
PLAIN = (*TEXTS, ".jsonl", ".json")
SUFFIXES = (
    *(suffix + packed for suffix in PLAIN for packed in ("", ".gz", ".zip")),
    *(".zip", ".parquet", ".xlsx"),
)
DEFAULT_NAME = "orders_{date}"

_ISO = "%Y-%m-%d"
_DATE_FIELD = re.compile(r"\{date(?::([^{}]*))?\}")
_SPECIAL = re.compile(r"\{date(?::[^{}]*)?\}|[*?]")
# A web server can't be asked which files it has; what looks like a wildcard there is part of an address.
_NO_LISTING = ("http://", "https://")

# What says that a file has changed, by the names that storages have for it; the first that is there.
_VERSIONS = (
    "ETag",
    "etag",
    "md5Hash",
    "content_md5",
    "mtime",
    "LastModified",
    "updated",
    "last_modified",
)
_MOMENTS = ("mtime", "LastModified", "updated", "last_modified", "created")


@dataclass(frozen=True)
class ExportFile:
    """A file of a day's export, as its storage describes it: its `place` there, the `size` in bytes, a
    `version` that differs once the file does (an ETag, or the time of the last change), and when that
    was. None where the storage does not say.
    """

    path: UPath = field(compare=False)
    place: str
    size: int | None
    version: str | None
    changed_at: datetime | None = field(compare=False)

    @property
    def name(self) -> str:
        """The file's own name, without its folder."""
        return str(self.path.name)


def list_days(first: date, last: date) -> list[date]:
    """Every day of a range, both ends included; raises `ConfigurationError` where it runs backwards."""
    if last < first:
        raise ConfigurationError(f"The range ends ({last}) before it begins ({first}).")
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def can_list(location: str) -> bool:
    """Whether a place can be listed at once, however many days it holds; a web server is asked file by
    file.
    """
    return not location.startswith(_NO_LISTING)


def find_exports(
    location: str,
    days: Iterable[date],
    path_of: Callable[[str], UPath] = UPath,
    *,
    done_marker: str = "",
    conflicts: dict[date, ExportError] | None = None,
) -> dict[date, tuple[ExportFile, ...]]:
    """The files of those days that exist, in the order of their names, under a folder or URL, or under
    one with `{date}` in it.

    `{date}` may carry a strftime format, as in `{date:%Y%m%d}`, and such a pattern may hold `*` and
    `?`. In a folder the name is `orders_{date}` with any of `SUFFIXES`. `path_of` opens a location with
    the credentials that it needs. With a `done_marker` a file is there only once another is: one by its
    name and that ending (`.done`), or one of that name in its folder (`_SUCCESS`).

    Raises `ExportError` for a place that can't be listed, and for a day that has two files of one name
    in two forms, unless `conflicts` is there to take that.
    """
    days = list(days)
    is_pattern = bool(_DATE_FIELD.search(location))
    pattern = location if is_pattern else f"{location.rstrip('/')}/{DEFAULT_NAME}"
    suffixes = ("",) if is_pattern else SUFFIXES
    if not can_list(location):
        found = _ask(pattern, suffixes, days, path_of, done_marker)
    else:
        found = _match(pattern, suffixes, days, path_of(_split(pattern)[0]), done_marker)
    ordered: dict[date, tuple[ExportFile, ...]] = {}
    for day in sorted(found):
        try:
            ordered[day] = _order(found[day], day, location)
        except ExportError as error:
            if conflicts is None:
                raise
            conflicts[day] = error
    return ordered


def name_file(location: str, day: date, suffix: str) -> str:
    """The one name that a day's file of that form has there; raises `ConfigurationError` where it may
    have several, or none.
    """
    pattern = location
    if not _DATE_FIELD.search(location):
        pattern = f"{location.rstrip('/')}/{DEFAULT_NAME}{suffix}"
    name = _fill_in_date(pattern, day)
    if _SPECIAL.search(name) or not name.endswith(suffix) or not can_list(location):
        raise ConfigurationError(
            f"ROBIN_ETL_EXPORTS is {location}, where no answer to ROBIN_ETL_QUERY can be kept: set it "
            f"to a folder, or to a pattern with {{date}} and no wildcard that ends in {suffix}."
        )
    return name


def look_at(path: UPath) -> ExportFile | None:
    """A file as it is now; None where there is none, or its storage does not say."""
    try:
        path.fs.invalidate_cache()
        return _describe(path, path.fs.info(path.path))
    except (OSError, NotImplementedError):
        return None


def make_missing_error(location: str, first: date, last: date) -> ExportMissingError:
    """The error for a range of days without any export."""
    pattern = location if _DATE_FIELD.search(location) else f"{location}/{DEFAULT_NAME}.*"
    when = f"{first}" if first == last else f"any day from {first} to {last}"
    where = _fill_in_date(pattern, first) if first == last else pattern
    return ExportMissingError(
        f"There is no export for {when} at {where}. "
        "Run again when it is there, or set ROBIN_ETL_EXPORTS to where it is: a folder or, for files of "
        "another name, one with the date in it, such as exports/export_{date}.csv.",
        location=location,
    )


def _list(root: UPath, *, is_deep: bool) -> Mapping[str, Mapping[str, Any]]:
    """What lies under a folder, by the path below it, as fsspec describes it."""
    folder = root.path.rstrip("/") or root.path
    try:
        file_system = root.fs
        file_system.invalidate_cache()  # a listing of a minute ago knows no new file
        if is_deep:
            described = file_system.find(folder, detail=True).values()
        else:
            described = file_system.ls(folder, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except Exception as error:  # each storage's library has errors of its own
        raise ExportError(
            f"{root} can't be listed: {error}. Look at ROBIN_ETL_EXPORTS, and at what it takes to read "
            "there.",
            path=str(root),
        ) from error
    prefix = f"{file_system._strip_protocol(folder).rstrip('/')}/"  # noqa: SLF001 (as it names files)
    return {info["name"].removeprefix(prefix): info for info in described if info["type"] != "directory"}


def _match(
    pattern: str,
    suffixes: tuple[str, ...],
    days: Sequence[date],
    root: UPath,
    done_marker: str,
) -> dict[date, list[ExportFile]]:
    """The files of these days, of one listing of the folder that all of them are in."""
    below = _split(pattern)[1]
    fields = [one[1] or _ISO for one in _DATE_FIELD.finditer(below)]
    by_texts: dict[tuple[str, ...], list[date]] = defaultdict(list)
    for day in days:
        by_texts[tuple(format(day, form) for form in fields)].append(day)
    endings = "|".join(map(re.escape, suffixes))
    expression = re.compile(f"{_compile(below, days[0] if days else date.min)}(?:{endings})")
    present = _list(root, is_deep="/" in below)
    found: dict[date, list[ExportFile]] = defaultdict(list)
    for name, info in present.items():
        matched = expression.fullmatch(name)
        if matched is None or (of := by_texts.get(matched.groups())) is None:
            continue
        if done_marker and (
            name.endswith(done_marker) or _name_marker(name, done_marker) not in present
        ):
            continue
        for day in of:
            found[day].append(_describe(root / name, info))
    return found


def _ask(
    pattern: str,
    suffixes: tuple[str, ...],
    days: Iterable[date],
    path_of: Callable[[str], UPath],
    done_marker: str,
) -> dict[date, list[ExportFile]]:
    """The files of these days, each asked for by its name."""
    found: dict[date, list[ExportFile]] = defaultdict(list)
    for day in days:
        for suffix in suffixes:
            name = f"{_fill_in_date(pattern, day)}{suffix}"
            path = path_of(name)
            if not path.exists() or (
                done_marker and not path_of(_name_marker(name, done_marker)).exists()
            ):
                continue
            found[day].append(
                look_at(path) or ExportFile(path, hide_credentials(name), None, None, None)
            )
    return found


def _order(files: list[ExportFile], day: date, location: str) -> tuple[ExportFile, ...]:
    """The files of a day by name; raises `ExportError` for one name in two forms."""
    ordered = sorted(files, key=lambda one: str(one.path))
    forms: dict[str, list[str]] = defaultdict(list)
    for one in ordered:
        suffix = max((known for known in SUFFIXES if one.name.endswith(known)), key=len, default="")
        forms[str(one.path).removesuffix(suffix)].append(one.name)
    twice = next((names for names in forms.values() if len(names) > 1), None)
    if twice:
        raise ExportError(
            f"There are two exports for {day} in {location}: {' and '.join(twice)}. Keep the one that "
            "counts.",
            path=location,
        )
    return tuple(ordered)


def _describe(path: UPath, info: Mapping[str, Any]) -> ExportFile:
    if info.get("islink"):  # of which fsspec tells the time of the link, not of the file
        state = path.stat()
        info = {**info, "size": state.st_size, "mtime": state.st_mtime, "ino": state.st_ino}
    version = next((str(info[name]).strip('"') for name in _VERSIONS if info.get(name)), None)
    changed_at = next((info[name] for name in _MOMENTS if info.get(name)), None)
    return ExportFile(
        path,
        hide_credentials(info["name"]),
        info.get("size"),
        f"{version}:{info['ino']}" if version and "ino" in info else version,
        _to_moment(changed_at),
    )


def _to_moment(value: object) -> datetime | None:
    if isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return None


def _compile(below: str, sample: date) -> str:
    """The regular expression of a pattern, with a group for each date in it."""
    parts: list[str] = []
    end = 0
    for special in _SPECIAL.finditer(below):
        parts.append(re.escape(below[end : special.start()]))
        parts.append(_compile_special(special[0], sample))
        end = special.end()
    return "".join([*parts, re.escape(below[end:])])


def _compile_special(text: str, sample: date) -> str:
    if text == "*":
        return "[^/]*"
    if (written := _DATE_FIELD.fullmatch(text)) is None:
        return "[^/]"
    shape = re.escape(format(sample, written[1] or _ISO))
    shape = re.sub(r"[^\W\d_]+", r"[^\\W\\d_]+", shape)
    # A number without leading zeros may have one digit or two.
    return (
        f"({re.sub(r'[0-9]+', r'[0-9]+', shape) if '%-' in text else re.sub('[0-9]', '[0-9]', shape)})"
    )


def _split(pattern: str) -> tuple[str, str]:
    """The folder that all files of a pattern are in, and the pattern below it."""
    special = _SPECIAL.search(pattern)
    at = pattern.rfind("/", 0, special.start() if special else len(pattern)) + 1
    return pattern[:at], pattern[at:]


def _name_marker(name: str, done_marker: str) -> str:
    """The name of the file that says that this one is complete."""
    if done_marker.startswith("."):
        return f"{name}{done_marker}"
    folder, slash, _ = name.rpartition("/")
    return f"{folder}{slash}{done_marker}"


def _fill_in_date(pattern: str, day: date) -> str:
    return _DATE_FIELD.sub(lambda one: format(day, one[1] or _ISO), pattern)
