"""What files that are no export take: time, memory and the sentence of `check`, `run` and `profile new`.

    python -m tests.hostile_files [--of WORD] [--folder FOLDER] [--million 1000000]

Each file is at most 500 MB, and made to be more than it seems. None may take more than 2 GB or a minute
of the processor; one that does is marked with an exclamation mark, and the command fails.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

DAY = "2026-03-01"
HEADER = b"order_number,email_address,revenue,order_date\n"
NAMES = HEADER.decode().strip().split(",")
ROW = b"1,a@x.example,1,2026-03-01\n"
MOST_SECONDS, MOST_MB = 60, 2048
GIVE_UP_SECONDS, GIVE_UP_MB = 90, 4000
COMMANDS = {
    "check": ("check", "{file}"),
    "run": ("run", "--date", DAY),
    "draft": ("profile", "new", "{file}"),
}
COMMAND = (sys.executable, "-c", "from robin_etl.cli.main import main; main()")

# Writes a file of so many units, of which a full one has a million.
Write = Callable[[BinaryIO, int], None]


def repeat(stream: BinaryIO, unit: bytes, size: int) -> None:
    """Write `unit` over and over, `size` bytes in all."""
    many = unit * (max(1, (1 << 20) // len(unit)))
    stream.writelines(many for _ in range(size // len(many)))
    stream.write(many[: size % len(many)])


def filled(unit: bytes, size: int, *, above: bytes = HEADER) -> Write:
    """A file of `unit`, over and over, below its header: `size` bytes for each of the million."""

    def write(stream: BinaryIO, million: int) -> None:
        stream.write(above)
        repeat(stream, unit, size * million)

    return write


def wide(columns: int, row: bytes, size: int, *, is_whole: bool) -> Write:
    """So many columns, over lines that have them all or only the first."""

    def write(stream: BinaryIO, million: int) -> None:
        stream.write(HEADER.strip() + b"".join(b",c%d" % n for n in range(columns - 4)) + b"\n")
        line = row.strip() + b"," * (columns - 4) * is_whole + b"\n"
        repeat(stream, line, size * million)

    return write


def packed(unit: bytes, size: int, *, above: bytes = HEADER) -> Write:
    """The same as `filled`, as a gzip file."""

    def write(stream: BinaryIO, million: int) -> None:
        with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as inner:
            filled(unit, size, above=above)(inner, million)  # type: ignore[arg-type]

    return write


def zipped(unit: bytes, size: int) -> Write:
    """The same as a zip."""

    def write(stream: BinaryIO, million: int) -> None:
        with (
            zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open("orders.csv", "w", force_zip64=True) as inner,
        ):
            filled(unit, size)(inner, million)  # type: ignore[arg-type]

    return write


def zip_of_zips(stream: BinaryIO, million: int) -> None:
    """A zip in a zip in a zip."""
    content = HEADER + ROW * (million // 10)
    for depth in range(5):
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
            for copy in range(8 if depth else 1):
                archive.writestr(f"{copy}.csv.zip" if depth else "orders.csv", content)
        content = inner.getvalue()
    stream.write(content)


def zip_of_many(stream: BinaryIO, million: int) -> None:
    """Very many members, none of which is an export."""
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(million // 5):
            archive.writestr(f"{number}.csv", b"")


def keys_on_a_line(stream: BinaryIO, million: int) -> None:
    """One object of 100,000 keys."""
    stream.write(json.dumps({f"k{n}": 1 for n in range(million // 10)}).encode())


def keys_over_lines(stream: BinaryIO, million: int) -> None:
    """100,000 keys, one on each line."""
    stream.writelines(b'{"k%d": 1}\n' % number for number in range(million // 10))


def keys_over_many_lines(stream: BinaryIO, million: int) -> None:
    """9,000 keys on a line, others on each."""
    stream.writelines(
        json.dumps({f"k{line}_{n}": 1 for n in range(1_900)}).encode() + b"\n"
        for line in range(max(2, million // 20_000))
    )


def long_names(stream: BinaryIO, million: int) -> None:
    """Objects in objects, whose names are long: each value's has all of them."""
    key = b"k" * (million // 50)
    stream.write(b'{"x":1,"%s":' % key * 600 + b"1" + b"}" * 600)


def deep(stream: BinaryIO, million: int) -> None:
    """Objects in objects without end."""
    repeat(stream, b'{"a":', 10 * million)


def lists_on_a_line(stream: BinaryIO, million: int) -> None:
    """Very many empty lists in a value."""
    stream.write(b'{"order_number": [')
    repeat(stream, b"[],", 15 * million)
    stream.write(b"[]]}\n")


def dictionary(length: int, rows: int, **options: object) -> Write:
    """Rows that all name one long value."""

    def write(stream: BinaryIO, million: int) -> None:
        value = pa.DictionaryArray.from_arrays(
            pa.array([0], pa.int32()).take(pa.array([0] * (rows * million // 1_000_000), pa.int32())),
            pa.array(["x" * (length * million // 1_000_000)]),
        )
        table = pa.table(dict.fromkeys(NAMES, value))
        pq.write_table(table, stream, store_schema=False, dictionary_pagesize_limit=1 << 30, **options)

    return write


def prefixes(stream: BinaryIO, million: int) -> None:
    """Values that each begin as the one before does (DELTA_BYTE_ARRAY)."""
    same = pa.array(["x" * million]).take(pa.array([0] * 100))
    schema = pa.schema(dict.fromkeys(NAMES, pa.string()))
    with pq.ParquetWriter(
        stream, schema, use_dictionary=False, column_encoding=dict.fromkeys(NAMES, "DELTA_BYTE_ARRAY")
    ) as writer:
        for _ in range(100):
            writer.write_table(pa.table([same] * 4, schema=schema), row_group_size=10_000)


def large_page(stream: BinaryIO, million: int) -> None:
    """One value of 1.9 GB, well packed."""
    value = pa.array(["x" * (1_900 * million)])
    pq.write_table(
        pa.table(dict.fromkeys(NAMES, value)),
        stream,
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
    )


def many_columns(stream: BinaryIO, million: int) -> None:
    """100,000 columns."""
    nothing = pa.array([""])
    table = pa.table(
        {**dict.fromkeys(NAMES, nothing), **{f"c{n}": nothing for n in range(million // 10)}}
    )
    pq.write_table(table, stream, compression="none", write_statistics=False)


def nested(stream: BinaryIO, million: int) -> None:
    """Lists in lists, and structs in structs, as deep as can be written."""
    kind_of_lists, kind_of_structs = pa.string(), pa.string()
    for _ in range(100 if million > 1000 else 20):
        kind_of_lists = pa.list_(kind_of_lists)
        kind_of_structs = pa.struct({"a" * 200: kind_of_structs, "b": pa.string()})
    table = pa.table({name: pa.array([None] * 10, kind_of_lists) for name in NAMES})
    table = table.append_column("s", pa.array([None] * 10, kind_of_structs))
    pq.write_table(table, stream)


def nulls(stream: BinaryIO, million: int) -> None:
    """10^9 rows of nothing."""
    schema = pa.schema(dict.fromkeys(NAMES, pa.string()))
    part = pa.table([pa.nulls(10 * million, pa.string())] * 4, schema=schema)
    with pq.ParquetWriter(stream, schema) as writer:
        for _ in range(100):
            writer.write_table(part, row_group_size=10 * million)


def workbook(write_sheet: Write, write_strings: Write | None = None) -> Write:
    """An .xlsx whose only sheet, and whose shared strings, are written so."""

    def write(stream: BinaryIO, million: int) -> None:
        from tests.spreadsheets import make_spreadsheet

        with zipfile.ZipFile(io.BytesIO(make_spreadsheet([["x"]]))) as plain:
            parts = {one: plain.read(one) for one in plain.namelist()}
        name, strings = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"
        parts.pop(name)
        kind = b"http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings"
        link = b'<Relationship Id="z" Type="%s" Target="sharedStrings.xml"/></Relationships>' % kind
        relations = "xl/_rels/workbook.xml.rels"
        parts[relations] = parts[relations].replace(b"</Relationships>", link)
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for one, content in parts.items():
                archive.writestr(one, content)
            if write_strings:
                with archive.open(strings, "w", force_zip64=True) as inner:
                    inner.write(b'<?xml version="1.0"?><sst xmlns="%s">' % MAIN)
                    write_strings(inner, million)  # type: ignore[arg-type]
                    inner.write(b"</sst>")
            with archive.open(name, "w", force_zip64=True) as inner:
                write_sheet(inner, million)  # type: ignore[arg-type]

    return write


MAIN = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
SHEET = b'<?xml version="1.0"?>%s<worksheet xmlns="' + MAIN + b'"><sheetData>'
SHEET_END = b"</sheetData></worksheet>"


def text_cell(place: bytes, text: bytes) -> bytes:
    return b'<c r="%s" t="inlineStr"><is><t>%s</t></is></c>' % (place, text)


HEADER_ROW = b'<row r="1">%s</row>' % b"".join(
    text_cell(b"ABCD"[at : at + 1] + b"1", name.encode()) for at, name in enumerate(NAMES)
)


def rows_of(unit: bytes, count: int, *, doctype: bytes = b"") -> Write:
    """A sheet of a header and of `count` rows for each of the million."""

    def write(stream: BinaryIO, million: int) -> None:
        stream.write(SHEET % doctype + HEADER_ROW)
        repeat(stream, unit, len(unit) * (count * million // 1_000_000))
        stream.write(SHEET_END)

    return write


def one_string(length: int) -> Write:
    """A shared string of so many bytes for each of the million."""

    def write(stream: BinaryIO, million: int) -> None:
        stream.write(b"<si><t>")
        repeat(stream, b"x", length * million // 1_000_000)
        stream.write(b"</t></si>")

    return write


FAR = b'<row r="1048576">' + text_cell(b"XFD1048576", b"x") + b"</row>"
WIDE_ROW = b"<row>" + b"<c><v>1</v></c>" * 16_384 + b"</row>"
LAUGHS = (
    b'<!DOCTYPE w [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(10))
    + b"]>"
)

LAUGHING_ROW = b"<row>" + text_cell(b"A2", b"&k;") + b"</row>"
RUBBISH_16 = b"\x01\xd8\n\x00" + bytes(range(1, 255))
LINES_16 = "1,a@x.example\n".encode("utf-16-le")
BOM_16 = b"\xff\xfe"


@dataclass(frozen=True)
class Hostile:
    """A file that is no export: what it is, the end of its name, and what writes it."""

    name: str
    suffix: str
    write: Write

    @property
    def file_name(self) -> str:
        return f"orders_{DAY}{self.suffix}"


FILES = (
    Hostile("10,000 columns, short lines", ".csv", wide(10_000, ROW, 5, is_whole=False)),
    Hostile("2,000 columns, short lines", ".csv", wide(2_000, ROW, 500, is_whole=False)),
    Hostile("2,000 columns, whole lines", ".csv", wide(2_000, ROW, 500, is_whole=True)),
    Hostile("one line of 500 MB", ".csv", filled(b"x", 500, above=b"")),
    Hostile("a header, a line of 500 MB", ".csv", filled(b"x", 500)),
    Hostile("300 MB of blank lines", ".csv", filled(b"\n", 300, above=b"")),
    Hostile("a header, 300 MB of blank lines", ".csv", filled(b"\n", 300)),
    Hostile("a header, 300 MB of blank CR LF", ".csv", filled(b"\r\n", 300)),
    Hostile("a header, 500 MB of CR", ".csv", filled(b"\r", 500)),
    Hostile("a header, 500 MB of lines of delimiters", ".csv", filled(b",,,\n", 500)),
    Hostile("a header, 500 MB of lines of a letter", ".csv", filled(b"a\n", 500)),
    Hostile("a header, 500 MB of lines of quotes", ".csv", filled(b'""\n', 500)),
    Hostile("500 MB of quotes", ".csv", filled(b'"', 500, above=b"")),
    Hostile("a header, 500 MB of quotes", ".csv", filled(b'"', 500)),
    Hostile("500 MB of delimiters", ".csv", filled(b",", 500, above=b"")),
    Hostile("500 MB of NUL", ".csv", filled(b"\0", 500, above=b"")),
    Hostile("a header, 500 MB of NUL", ".csv", filled(b"\0", 500)),
    Hostile("a quote that 400 MB do not close", ".csv", filled(ROW, 400, above=HEADER + b'"')),
    Hostile("a quote in the header, not closed", ".csv", filled(ROW, 400, above=b'"' + HEADER)),
    Hostile("500 MB of surplus cells", ".csv", filled(b"1," * 5_000 + b"\n", 500)),
    Hostile("UTF-16 rubbish", ".csv", filled(RUBBISH_16, 500, above=BOM_16)),
    Hostile("UTF-16 lines", ".csv", filled(LINES_16, 500, above=BOM_16)),
    Hostile("all bytes", ".csv", filled(bytes(range(256)), 500, above=b"")),
    Hostile("10 GB of zeros", ".csv.gz", packed(b"\0", 10_000, above=b"")),
    Hostile("10 GB of blank lines", ".csv.gz", packed(b"\n", 10_000)),
    Hostile("10 GB of one order", ".csv.gz", packed(ROW, 10_000)),
    Hostile("10 GB of one order", ".csv.zip", zipped(ROW, 10_000)),
    Hostile("10 GB of zeros", ".zip", zipped(b"\0", 10_000)),
    Hostile("zips in zips", ".zip", zip_of_zips),
    Hostile("200,000 exports in a zip", ".zip", zip_of_many),
    Hostile("100,000 keys on a line", ".jsonl", keys_on_a_line),
    Hostile("100,000 keys, one a line", ".jsonl", keys_over_lines),
    Hostile("95,000 keys, 1,900 a line", ".jsonl", keys_over_many_lines),
    Hostile("names of 12 MB", ".jsonl", long_names),
    Hostile("objects in objects", ".jsonl", deep),
    Hostile("lists in a list", ".jsonl", lists_on_a_line),
    Hostile("one line of 400 MB", ".jsonl", filled(b"x", 400, above=b'{"order_number": "')),
    Hostile("300 MB of blank lines", ".jsonl", filled(b"\n", 300, above=b"{}\n")),
    Hostile("500 MB of empty objects", ".jsonl", filled(b"{}\n", 500, above=b"")),
    Hostile("500 MB of objects that are no orders", ".jsonl", filled(b'{"a":1}\n', 500, above=b"")),
    Hostile("a million rows of one value of 10 MB", ".parquet", dictionary(10_000_000, 1_000_000)),
    Hostile("a million rows of one value of 10 KB", ".parquet", dictionary(10_000, 1_000_000)),
    Hostile("values that begin as others do", ".parquet", prefixes),
    Hostile("a value of 1.9 GB, packed", ".parquet", large_page),
    Hostile("100,000 columns", ".parquet", many_columns),
    Hostile("lists in lists, structs in structs", ".parquet", nested),
    Hostile("10^9 rows of nulls", ".parquet", nulls),
    Hostile("one string in 200,000 cells", ".xlsx",
            workbook(rows_of(b'<row><c t="s"><v>0</v></c></row>', 200_000), one_string(1_000_000))),
    Hostile("a cell in the farthest corner", ".xlsx", workbook(rows_of(FAR, 1_000_000))),
    Hostile("a million empty rows", ".xlsx", workbook(rows_of(b"<row/>", 1_000_000))),
    Hostile("ten million empty rows", ".xlsx", workbook(rows_of(b"<row/>", 10_000_000))),
    Hostile("3,000 rows of 16,384 columns", ".xlsx", workbook(rows_of(WIDE_ROW, 3_000))),
    Hostile("entities in entities", ".xlsx",
            workbook(rows_of(LAUGHING_ROW, 1_000_000, doctype=LAUGHS))),
    Hostile("a sheet of 10 GB of spaces", ".xlsx", workbook(filled(b" ", 10_000, above=SHEET % b""))),
)  # fmt: skip


@dataclass(frozen=True)
class Taken:
    """What a command took: seconds of the processor, the most memory in MB, its exit code and words."""

    seconds: float
    peak_mb: float
    code: int
    words: str

    @property
    def is_too_much(self) -> bool:
        return self.seconds > MOST_SECONDS or self.peak_mb > MOST_MB


def measure(command: tuple[str, ...], environment: dict[str, str], said: Path) -> Taken:
    """Run a command to its end, or until it takes far too much."""
    with said.open("wb") as stream:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=stream, stdin=subprocess.DEVNULL
        )
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (GIVE_UP_SECONDS, GIVE_UP_SECONDS))
        ended = (0, 0, resource.getrusage(resource.RUSAGE_SELF))
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            time.sleep(0.05)
            if read_mb(process.pid) > GIVE_UP_MB:
                process.send_signal(signal.SIGKILL)
                ended = os.wait4(process.pid, 0)
                break
    process.returncode = os.waitstatus_to_exitcode(ended[1])
    used = ended[2]
    words = said.read_text(errors="replace").strip().splitlines()
    return Taken(
        used.ru_utime + used.ru_stime,
        used.ru_maxrss / 1024,
        process.returncode,
        words[-1] if words else "",
    )


def read_mb(process: int) -> float:
    """What a process holds now."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / (1 << 20)


def main() -> None:
    """Make each file, measure the commands over it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--of", default="", help="Files whose name, or its end, has this word.")
    parser.add_argument("--folder", type=Path, default=Path(".cache/hostile"))
    parser.add_argument("--million", type=int, default=1_000_000, help="Less makes all files smaller.")
    parser.add_argument("--make", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make is not None:
        one = FILES[given.make]
        with (given.folder / one.file_name).open("wb") as stream:
            one.write(stream, given.million)
        return
    shutil.rmtree(given.folder, ignore_errors=True)
    given.folder.mkdir(parents=True)
    print(f"{'file':<42}{'form':>9} {'MB':>6}  command  {'s':>6} {'peak MB':>8}  exit  what it says")
    is_any_too_much = False
    for at, one in enumerate(FILES):
        if given.of in f"{one.name}{one.suffix}":
            # In a process of its own, whose memory is not taken for the command's.
            making = ("--make", f"{at}", "--folder", f"{given.folder}", "--million", f"{given.million}")
            subprocess.run([sys.executable, "-m", "tests.hostile_files", *making], check=True)
            is_any_too_much |= try_commands(one, given.folder)
            (given.folder / one.file_name).unlink()
    if is_any_too_much:
        sys.exit(f"Some took more than {MOST_MB:,} MB or {MOST_SECONDS} s.")


def try_commands(one: Hostile, folder: Path) -> bool:
    """Measure the commands over a file and print a line for each; whether any took too much."""
    path = folder / one.file_name
    settings = {
        "BASE_URL": "http://127.0.0.1:9",
        "API_KEY": "key",
        "API_SECRET": "secret",
        "EXPORTS": f"{folder}",
        "RUNS": f"{folder / 'runs'}",
        "LEDGER": f"{folder / 'ledger.db'}",
    }
    environment = os.environ | {f"ROBIN_ETL_{name}": value for name, value in settings.items()}
    is_any_too_much = False
    for name, words in COMMANDS.items():
        command = (*COMMAND, *(word.format(file=path) for word in words))
        taken = measure(command, environment, folder / "said")
        is_any_too_much |= taken.is_too_much
        figures = f"{'!' if taken.is_too_much else ' '}{taken.seconds:>7.1f} {taken.peak_mb:>8.0f}"
        said = taken.words.replace(f"{folder}/", "")
        size = path.stat().st_size / 1e6
        place = f"{one.name:<42}{one.suffix:>9} {size:>6.1f}  {name:<7}"
        print(f"{place}{figures}{taken.code:>6}  {said}", flush=True)
        shutil.rmtree(folder / "runs", ignore_errors=True)
        (folder / "ledger.db").unlink(missing_ok=True)
    return is_any_too_much


if __name__ == "__main__":
    main()
