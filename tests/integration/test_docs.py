"""The documentation is true: it builds without a warning, and its commands do what it says."""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from robin_etl.sandbox.faults import Faults
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from tests import processes
from tests.conftest import HEADER, KEY, SECRET

DOCS = Path(__file__).parents[2] / "docs"
# Their commands need an Airflow or a checkout; test_readme.py sees that each exists. Of README the
# first block is run here, and the demonstration by `python -m tests.release`.
NOT_FOLLOWED = {"README.md", "CONTRIBUTING.md", "docs/deployment.md"}
BIN = Path(sys.executable).parent
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
END = "--the-command-is-done--"


class Shell:
    """One bash, as a reader's: what a block sets, the next one has. `commands` is where robin-etl is."""

    def __init__(self, folder: Path, commands: Path, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ROBIN_ETL_")}
        self._starting = processes.started(
            ["bash", "--norc"],
            cwd=folder,
            env={
                **kept,
                "PATH": f"{commands}:{BIN}:{os.environ['PATH']}",
                "NO_COLOR": "1",
                **environment,
            },
        )
        self._process = self._starting.__enter__()

    def run(self, command: str) -> list[str]:
        """The lines that a command prints, both streams together."""
        self._process.say(f"{command}\necho; echo {END}\n")
        lines = []
        while (line := self._process.next_line()) and line.strip() != END:
            lines.append(line)
        return lines

    def close(self) -> None:
        """End it with all that it put into the background."""
        self._starting.__exit__(None, None, None)


def commands(block: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a block with the lines that it is said to print."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        more = [line for line in lines[1:] if line.startswith(">")]
        yield "\n".join([lines[0], *(line[2:] for line in more)]), lines[1 + len(more) :]


def looks_like(said: list[str], shown: list[str]) -> bool:
    """Whether these lines are as said: `…` stands for anything, and a line of it for any lines."""
    pattern = ""
    for line in filter(None, map(str.split, said)):
        if line == ["…"]:
            pattern += r"(?:.*\n)*"
        else:
            pattern += re.escape(" ".join(line)).replace("…", ".*") + r"\n"
    text = "".join(" ".join(line.split()) + "\n" for line in shown if line.strip())
    return re.fullmatch(pattern, text) is not None


@contextmanager
def reader(folder: Path, commands: Path) -> Iterator[Shell]:
    shell = Shell(folder, commands)
    try:
        yield shell
    finally:
        shell.close()


def follow(
    page: str,
    shell: Shell,
    *,
    instead: dict[str, str] | None = None,
    before: dict[int, Callable[[], object]] | None = None,
) -> None:
    """Run every command of a page: `instead` of places it names others, `before` a block a step."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for old, new in (instead or {}).items():
        assert old in text
        text = text.replace(old, new)
    blocks = BLOCK.findall(text)
    assert blocks
    for at, block in enumerate(blocks):
        (before or {}).get(at, lambda: None)()
        run(page, shell, block)


def run(page: str, shell: Shell, block: str) -> None:
    for command, said in commands(block):
        shown = shell.run(command)
        assert looks_like(said, shown), f"{page}: {command}\n{''.join(shown)}"


def write(folder: Path, day: str, *rows: str, header: str = HEADER) -> None:
    (folder / "exports").mkdir(exist_ok=True)
    (folder / f"exports/orders_{day}.csv").write_text(
        "\n".join([header, *rows]) + "\n", encoding="utf-8"
    )


def shop(folder: Path) -> None:
    """Four days: ten new customers, ten more, two new and two again, one of each."""
    days = {
        "2026-11-01": range(10),
        "2026-11-02": range(10, 20),
        "2026-11-03": (20, 21, 0, 1),
        "2026-11-04": (22, 2),
    }
    number = 1000
    for day, customers in days.items():
        rows = []
        for customer in customers:
            rows.append(f"{number},c{customer}@example.com,10,{day}")
            number += 1
        write(folder, day, *rows)


@pytest.fixture
def place(tmp_path: Path, sandbox: Sandbox, quick_command: Path) -> Iterator[Callable[..., Shell]]:
    """A reader's shell in an empty folder, with settings for a sandbox."""
    shells = []

    def start(**environment: str) -> Shell:
        settings = {
            "ROBIN_ETL_BASE_URL": sandbox.url,
            "ROBIN_ETL_API_KEY": KEY,
            "ROBIN_ETL_API_SECRET": SECRET,
            "ROBIN_ETL_EXPORTS": "exports",
            **environment,
        }
        shells.append(Shell(tmp_path, quick_command.parent, **settings))
        return shells[-1]

    yield start
    for shell in shells:
        shell.close()


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        "docs",
        str(tmp_path),
    ]
    processes.run(build, cwd=DOCS.parent, succeeds=True)
    assert "RATE_LIMITS" in (tmp_path / "settings.html").read_text(encoding="utf-8")
    assert "shopify" in (tmp_path / "reference/profiles.html").read_text(encoding="utf-8")
    assert "email_day" in (tmp_path / "reference/ledger.html").read_text(encoding="utf-8")
    assert "--allow" in (tmp_path / "reference/commands.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "sandbox_started"),
    [
        ("docs/quickstart.md", "robin-etl sandbox --port 8765 &"),
        ("README.md", "robin-etl sandbox > robin.log &"),
    ],
)
def test_what_a_newcomer_types_first(
    page: str, sandbox_started: str, tmp_path: Path, quick_command: Path
) -> None:
    with Sandbox(Robin(KEY, SECRET)) as taken:
        port = taken.url.rsplit(":", 1)[-1]
    text = (DOCS.parent / page).read_text(encoding="utf-8")
    blocks = BLOCK.findall(text) if page != "README.md" else BLOCK.findall(text)[:1]
    started = f"robin-etl sandbox --port {port} > sandbox.log &"
    listening = "until grep -qs BASE_URL sandbox.log; do read -t 0.1 <> <(:); done"
    with reader(tmp_path, BIN if page == "README.md" else quick_command.parent) as shell:
        for block in blocks:
            here = block.replace(sandbox_started, f"{started}\n$ {listening}\n$ ").replace("8765", port)
            run(page, shell, here)


def test_every_page_with_commands_is_followed() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    for path in [*DOCS.parent.glob("*.md"), *DOCS.glob("**/*.md")]:
        page = f"{path.relative_to(DOCS.parent)}"
        if BLOCK.search(path.read_text(encoding="utf-8")) and page not in NOT_FOLLOWED:
            assert f'"{page}"' in source or f'"{page.removeprefix("docs/")}"' in source, page


def test_the_page_on_ones_own_orders(tmp_path: Path, place: Callable[..., Shell]) -> None:
    shop(tmp_path)
    theirs = {
        "/shop/exports": "exports",
        "ROBIN_ETL_API_KEY=…": f"ROBIN_ETL_API_KEY={KEY}",
        "ROBIN_ETL_API_SECRET=…": f"ROBIN_ETL_API_SECRET={SECRET}",
    }
    follow("how-to/own-orders.md", place(), instead=theirs)


@pytest.mark.parametrize("page", ["how-to/first-day.md", "how-to/backfill.md"])
def test_the_pages_on_old_shops(page: str, tmp_path: Path, place: Callable[..., Shell]) -> None:
    shop(tmp_path)
    follow(page, place())


def test_the_page_on_guards(tmp_path: Path, place: Callable[..., Shell]) -> None:
    def known(revenue: str) -> list[str]:
        return [f"{1000 + n},c{n}@example.com,{revenue},2026-11-01" for n in range(30)]

    stall = [f"S{100 + n},s{n}@example.com,8,2026-09-05" for n in range(24)]
    write(tmp_path, "2026-11-01", *known("12.34"))
    write(tmp_path, "2026-11-02", *known("1234"), "1030,c3@example.com,2500,2026-11-02")
    write(tmp_path, "2026-11-03", "1031,c4@example.com,25,2026-11-03", *stall)
    shell = place()
    shell.run("robin-etl run --date 2026-11-01")
    follow("how-to/guard.md", shell)


def test_the_page_on_profiles(tmp_path: Path, place: Callable[..., Shell]) -> None:
    shopify = (DOCS.parent / "tests/profiles/shopify.csv").read_text(encoding="utf-8-sig")
    rows = re.sub(r"^#100[456].*\n", "", shopify, flags=re.MULTILINE)
    (tmp_path / "shopify.csv").write_text(rows, encoding="utf-8")
    (tmp_path / "dutch.csv").write_text(
        "Bestelnummer;Klant e-mail;Totaal;Terugbetaald;Status;Besteldatum\n"
        "2601;ann@example.com;1.234,50;30,00;Betaald;28-03-2026 10:00\n"
        "2602;bob@example.com;12,50;;Geannuleerd;29-03-2026 10:00\n"
        "2603;cat@example.com;20,00;;Verzonden;29-03-2026 11:00\n",
        encoding="utf-8",
    )
    (tmp_path / "unclear.csv").write_text(
        "order,email,total,date,status\n"
        "1,ann@example.com,5.00,05/04/2026,Binnen\n2,bob@example.com,6.00,06/04/2026,Binnen\n",
        encoding="utf-8",
    )
    follow("how-to/profile.md", place(COLUMNS="80"))


def test_the_page_on_a_rejected_order(
    tmp_path: Path, place: Callable[..., Shell], sandbox: Sandbox
) -> None:
    write(tmp_path, "2026-11-01", *(f"X{n:03},c{n}@example.com,10,2026-11-01" for n in range(20)))
    sandbox.robin.faults = Faults(refused="^X007$")
    follow(
        "how-to/rejected-order.md",
        place(),
        before={1: lambda: setattr(sandbox.robin.faults, "refused", None)},
    )


def test_the_page_on_a_corrected_export(tmp_path: Path, place: Callable[..., Shell]) -> None:
    write(tmp_path, "2026-11-01", *(f"{1000 + n},c{n}@example.com,10,2026-11-01" for n in range(20)))
    follow("how-to/corrected-export.md", place())


def test_the_page_on_outages(tmp_path: Path, place: Callable[..., Shell]) -> None:
    shop(tmp_path)
    shell = place()
    last = tmp_path / "exports/orders_2026-11-04.csv"
    whole = last.read_text(encoding="utf-8")
    last.write_text("".join(whole.splitlines(keepends=True)[:2]), encoding="utf-8")
    for day in ("2026-11-01", "2026-11-02", "2026-11-04"):
        shell.run(f"robin-etl run --date {day}")
    last.write_text(whole, encoding="utf-8")
    follow("how-to/outage.md", shell)


def test_the_page_on_a_lost_ledger(tmp_path: Path, place: Callable[..., Shell]) -> None:
    shop(tmp_path)
    shell = place()
    for day in ("2026-11-01", "2026-11-02"):
        shell.run(f"robin-etl run --date {day}")
    follow(
        "how-to/lost-ledger.md",
        shell,
        before={1: lambda: shell.run("robin-etl run --date 2026-11-03")},
    )


def test_the_page_on_taking_a_baseline_back(tmp_path: Path, place: Callable[..., Shell]) -> None:
    shop(tmp_path)
    follow("how-to/retract.md", place())


def test_the_page_on_column_rules(tmp_path: Path, place: Callable[..., Shell]) -> None:
    rows = [f"{1000 + n},c{n}@example.com,10,2026-11-01" for n in range(30)]
    write(tmp_path, "2026-11-01", *rows, "X7,x@example.com,10,2026-11-01")
    follow("how-to/column-rule.md", place())


def test_the_page_on_postgresql(tmp_path: Path, place: Callable[..., Shell], postgresql: str) -> None:
    shop(tmp_path)
    follow("how-to/postgresql.md", place(), instead={"postgresql://robin@db.internal/robin": postgresql})


def test_the_page_on_erasure(tmp_path: Path, place: Callable[..., Shell]) -> None:
    write(tmp_path, "2026-11-01", "1,carl@example.com,10,2026-11-01", "2,ann@example.com,1,2026-11-01")
    shell = place()
    shell.run("robin-etl run --date 2026-11-01")
    follow("how-to/erasure.md", shell)


def test_the_page_on_trials(tmp_path: Path, place: Callable[..., Shell], sandbox: Sandbox) -> None:
    shop(tmp_path)
    with Sandbox(Robin("sandbox", "sandbox", limits=())) as trial:
        theirs = {
            "http://127.0.0.1:8765": trial.url,
            "https://api.robinhq.com": sandbox.url,
            "ROBIN_ETL_API_KEY=…": f"ROBIN_ETL_API_KEY={KEY}",
            "ROBIN_ETL_API_SECRET=…": f"ROBIN_ETL_API_SECRET={SECRET}",
        }
        follow("how-to/trial.md", place(), instead=theirs)


def test_the_page_on_several_shops(tmp_path: Path, place: Callable[..., Shell]) -> None:
    shop(tmp_path)
    (tmp_path / "de" / "exports").mkdir(parents=True)
    follow("how-to/several-shops.md", place(ROBIN_ETL_DE_API_KEY="another"))


def test_two_shops_on_one_account_as_the_page_sets_them(
    tmp_path: Path, place: Callable[..., Shell], sandbox: Sandbox
) -> None:
    page = (DOCS / "how-to/several-shops.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for name, hour in {"nl": 8, "de": 9}.items():
        own = f'exports = "{name}/exports"\nledger = "{name}/ledger.db"\nruns = "{name}/runs"\n'
        block = block.replace(f"[shops.{name}]\n", f"[shops.{name}]\n{own}")
        (tmp_path / name).mkdir()
        write(tmp_path / name, "2026-11-01", f"1001,ann@example.com,10,2026-11-01T0{hour}:00:00Z")
    (tmp_path / "shops.toml").write_text(block, encoding="utf-8")
    shell = place(ROBIN_ETL_CONFIG="shops.toml")  # whose API key, of all shops, comes first
    for name in ("nl", "de"):
        shown = shell.run(f"robin-etl --shop {name} run --date 2026-11-01 --json")
        assert '"posted": 1' in "".join(shown)
    held = {
        number: (order["webstore_url"], order["is_first_order"])
        for number, order in sandbox.robin.orders.items()
    }
    assert held == {
        "NL-1001": ("https://www.example.nl", True),
        "DE-1001": ("https://www.example.de", False),
    }
    assert "NL-1001" in "".join(shell.run("robin-etl --shop nl history NL-1001"))


def test_the_page_on_the_customer_key(tmp_path: Path, place: Callable[..., Shell]) -> None:
    shop(tmp_path)
    shell = place(ROBIN_ETL_CUSTOMER_KEY="the-old-key")
    shell.run("robin-etl backfill --from 2026-11-01 --to 2026-11-03")
    text = (DOCS / "how-to/customer-key.md").read_text(encoding="utf-8")
    blocks = BLOCK.findall(re.sub("^   ", "", text, flags=re.MULTILINE))
    assert len(blocks) == 4
    for block in blocks:
        run("how-to/customer-key.md", shell, block)


def test_the_page_on_orders_without_a_customer(tmp_path: Path, place: Callable[..., Shell]) -> None:
    rows = [f"{1000 + n},c{n}@example.com,10,2026-11-01" for n in range(8)]
    write(tmp_path, "2026-11-01", *rows, "T1,,5,2026-11-01", "T2,pos@shop.example,5,2026-11-01")
    follow("how-to/till-sales.md", place(COLUMNS="80"))


def test_the_page_on_cancelled_orders(tmp_path: Path, place: Callable[..., Shell]) -> None:
    header = f"{HEADER},status"
    days = {
        "2026-11-01": (
            "1001,ann@example.com,50.00,2026-11-01T09:00:00Z,paid",
            "1002,ann@example.com,20.00,2026-11-01T15:00:00Z,paid",
            "1003,bob@example.com,80.00,2026-11-01T16:00:00Z,on-hold",
        ),
        "2026-11-02": (
            "1001,ann@example.com,50.00,2026-11-01T09:00:00Z,cancelled",
            "1003,bob@example.com,80.00,2026-11-01T16:00:00Z,cancelled",
        ),
        "2026-11-03": ("1004,bob@example.com,30.00,2026-11-03T10:00:00Z,paid",),
    }
    for day, rows in days.items():
        write(tmp_path, day, *rows, header=header)
    follow("how-to/cancelled-orders.md", place())


def test_the_page_on_the_contact_key(tmp_path: Path, place: Callable[..., Shell]) -> None:
    write(
        tmp_path,
        "2026-11-01",
        "1001,ann@example.com,50.00,2026-11-01T09:00:00Z",
        "1002,carl@example.com,20.00,2026-11-01T15:00:00Z",
    )
    write(tmp_path, "2026-11-02", "1001,,30.00,2026-11-01T09:00:00Z")
    shell = place()
    shell.run("robin-etl run --date 2026-11-01; cp -r exports backup")
    follow("how-to/contact-key.md", shell)


def fill(path: Path, *statements: str) -> str:
    """A shop's database in SQLite; its address."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return f"sqlite:///{path}"


def test_the_page_on_queries(tmp_path: Path, place: Callable[..., Shell]) -> None:
    shop = fill(
        tmp_path / "shop.db",
        "create table orders (number, email, total numeric, refunded numeric, placed_at, updated_at, "
        "status)",
        """insert into orders values
        ('1001', 'ann@example.com', 99.95, 10, '2026-10-31 23:30:00', '2026-11-01 09:00:00', 'paid'),
        ('1002', 'bob@example.com', 5, 0, '2026-11-01 10:00:00', '2026-11-01 10:00:00', 'cancelled'),
        ('1003', 'cat@example.com', 12, 0, '2026-11-01 11:00:00', '2026-11-01 22:59:59', 'paid'),
        ('1004', 'dan@example.com', 7, 0, '2026-11-01 11:00:00', '2026-11-01 11:00:00', 'on hold'),
        ('1005', 'eve@example.com', 9, 0, '2026-11-01 23:00:00', '2026-11-01 23:00:00', 'paid')""",
    )
    woocommerce = fill(
        tmp_path / "woocommerce.db",
        """create table wp_wc_orders (id integer, status text, currency text, type text,
        total_amount numeric, billing_email text, date_created_gmt text, date_updated_gmt text,
        parent_order_id integer)""",
        """insert into wp_wc_orders values
        (101, 'wc-completed', 'EUR', 'shop_order', 50, 'ann@example.com', '2026-10-30 10:00:00',
            '2026-10-30 11:00:00', 0),
        (102, 'wc-completed', 'EUR', 'shop_order_refund', -10, null, '2026-11-01 09:00:00',
            '2026-11-01 09:00:00', 101),
        (103, 'wc-processing', 'EUR', 'shop_order', 8.5, 'ann@example.com', '2026-11-01 10:00:00',
            '2026-11-01 10:00:00', 0),
        (104, 'wc-on-hold', 'EUR', 'shop_order', 4, 'bob@example.com', '2026-11-01 10:00:00',
            '2026-11-01 10:00:00', 0),
        (105, 'wc-processing', 'GBP', 'shop_order', 4, 'bob@example.com', '2026-11-01 10:00:00',
            '2026-11-01 10:00:00', 0),
        (106, 'wc-processing', 'EUR', 'shop_order', 4, 'bob@example.com', '2026-11-02 10:00:00',
            '2026-11-02 10:00:00', 0)""",
        """create table wp_posts (ID integer, post_type text, post_status text, post_date_gmt text,
        post_modified_gmt text, post_parent integer)""",
        """insert into wp_posts select id, type, status, date_created_gmt, date_updated_gmt,
        parent_order_id from wp_wc_orders""",
        "create table wp_postmeta (post_id integer, meta_key text, meta_value text)",
        """insert into wp_postmeta
        select id, '_billing_email', billing_email from wp_wc_orders where type = 'shop_order'
        union all select id, '_order_currency', currency from wp_wc_orders
        union all select id, '_order_total', printf('%.2f', total_amount) from wp_wc_orders
        union all select id, '_refund_amount', printf('%.2f', -total_amount) from wp_wc_orders
            where type = 'shop_order_refund'""",
    )
    prestashop = fill(
        tmp_path / "prestashop.db",
        "create table ps_customer (id_customer integer, email text)",
        "insert into ps_customer values (1, 'ann@example.com'), (2, 'bob@example.com')",
        "create table ps_currency (id_currency integer, iso_code text)",
        "insert into ps_currency values (1, 'EUR')",
        "create table ps_order_state (id_order_state integer, logable integer)",
        "insert into ps_order_state values (2, 1), (4, 1), (6, 0), (7, 1), (8, 0), (10, 0)",
        "create table ps_configuration (name text, value text)",
        """insert into ps_configuration values ('PS_OS_CANCELED', '6'), ('PS_OS_REFUND', '7'),
        ('PS_OS_ERROR', '8'), ('PS_OS_PAYMENT', '2'), ('PS_SHOP_NAME', 'Shop')""",
        """create table ps_orders (id_order integer, id_customer integer, id_currency integer,
        current_state integer, total_paid_tax_incl numeric, date_add text, date_upd text)""",
        """insert into ps_orders values
        (7, 1, 1, 4, 60.5, '2026-10-20 10:00:00', '2026-10-21 10:00:00'),
        (8, 2, 1, 6, 30, '2026-10-31 10:00:00', '2026-11-01 00:00:00'),
        (9, 1, 1, 2, 20, '2026-11-01 00:30:00', '2026-11-01 00:31:00'),
        (10, 2, 1, 10, 15, '2026-11-01 12:00:00', '2026-11-01 12:00:00'),
        (11, 2, 1, 2, 15, '2026-11-02 00:00:00', '2026-11-02 00:00:00')""",
        """create table ps_order_slip (id_order integer, total_products_tax_incl numeric,
        total_shipping_tax_incl numeric, date_add text)""",
        "insert into ps_order_slip values (7, 4, 1, '2026-11-01 15:00:00')",
    )
    follow(
        "how-to/query.md",
        place(),
        instead={
            "postgresql://reader:…@db.shop.example/shop": shop,
            "mysql+pymysql://reader:…@db.shop.example/wordpress": woocommerce,
            "mysql+pymysql://reader:…@db.shop.example/prestashop": prestashop,
        },
    )
