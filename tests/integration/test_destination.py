"""Where orders go: one ROBIN and one customer key for a ledger, and what counts as ROBIN's answer.

Each of these ended with exit code 0 and wrong numbers before the ledger knew whose it is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from robin_etl import pipeline
from robin_etl.exceptions import BindingError
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from robin_etl.stages.records import Scope
from robin_etl.stages.run import Run
from tests.conftest import KEY, SECRET, Export, run_days
from tests.integration.test_cli import Command, last_line, robin_etl

__all__ = ["robin_etl"]  # a fixture

DAY, NEXT = "2026-03-01", "2026-03-02"
DAYS = ("--from", DAY, "--to", DAY)
KEYED = {"CUSTOMER_KEY": "the-first-key"}
ROWS = ("1,ann@x.nl,10,2026-03-01", "2,bob@x.nl,20,2026-03-01")
LOGIN = (
    b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head>"
    b"<body onload='x()'><h1>Please\x1b[31m log in</h1>" + b"<p>again</p>" * 100 + b"</body></html>"
)


@pytest.fixture
def trial() -> Iterator[Sandbox]:
    """Another ROBIN."""
    with Sandbox(Robin(KEY, SECRET, limits=())) as running:
        yield running


@contextmanager
def answering(
    status: int, content: bytes, kind: str | None, *, is_chunked: bool = False
) -> Iterator[tuple[str, list[bytes]]]:
    """Something on the way that answers every POST so; its address, and the bodies it was sent."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            if kind:
                self.send_header("Content-Type", kind)
            if is_chunked:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for at in range(0, len(content), 5):
                    part = content[at : at + 5]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.write(b"0\r\n\r\n")
                return
            if status != 204:
                self.send_header("Content-Length", f"{len(content)}")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", bodies
        finally:
            server.shutdown()
            serving.join()


def status_of(robin_etl: Command, **changed: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(robin_etl("status", "--json", **changed).stdout)
    return shown


# One ROBIN for a ledger


@pytest.fixture
def tried(robin_etl: Command, export: Export, trial: Sandbox) -> Command:
    """The command with a ledger that a run against the trial has filled."""
    export(DAY, *ROWS)
    done = robin_etl("run", "--date", DAY, BASE_URL=trial.url)
    assert done.returncode == 0, done.stderr
    return robin_etl


def test_it_is_so_in_both_kinds_of_ledger(
    robin_etl: Command, export: Export, trial: Sandbox, sandbox: Sandbox, ledger_url: str
) -> None:
    there = {"LEDGER": ledger_url}
    export(DAY, *ROWS)
    assert robin_etl("run", "--date", DAY, BASE_URL=trial.url, **there).returncode == 0
    assert trial.url in robin_etl("run", "--date", DAY, **there).stderr
    assert robin_etl("ledger", "bind", "--moved", **there).returncode == 0
    assert robin_etl("run", "--date", DAY, **there, **KEYED).returncode == 1
    with answering(201, b"one error", None) as (url, _):
        assert robin_etl("ledger", "bind", "--moved", BASE_URL=url, **there).returncode == 0
        export(NEXT, "3,ann@x.nl,5,2026-03-02")
        assert robin_etl("run", "--date", NEXT, BASE_URL=url, **there).returncode == 3
    assert sandbox.robin.orders == {}


WRITING = [
    ("run", "--date", DAY),
    ("run", "--date", DAY, "--dry-run"),
    ("backfill", *DAYS),
    ("backfill", *DAYS, "--dry-run"),
    ("baseline", *DAYS),
]


def test_orders_that_a_trial_was_told_do_not_count_as_told_to_the_real_robin(
    tried: Command, trial: Sandbox, sandbox: Sandbox
) -> None:
    for command in WRITING:
        stopped = tried(*command)
        assert stopped.returncode == 1, (command, stopped.stdout)
        for words in (trial.url, sandbox.url, "ROBIN_ETL_LEDGER", "ledger bind --moved"):
            assert words in stopped.stderr, command
    assert sandbox.robin.read_state()["requests"] == 0
    assert len(tried("history", "1", "--json").stdout.splitlines()) == 1
    assert status_of(tried)["orders"] == 2


def test_with_a_ledger_of_its_own_the_real_robin_is_told_everything(
    tried: Command, sandbox: Sandbox, tmp_path: Path
) -> None:
    done = tried("run", "--date", DAY, "--json", LEDGER=str(tmp_path / "real.db"))
    assert last_line(done)["posted"] == 2
    assert set(sandbox.robin.orders) == {"1", "2"}


def test_another_account_of_the_same_robin_stops_until_the_ledger_is_bound_to_it(
    tried: Command, trial: Sandbox
) -> None:
    trial.robin = Robin("renewed-key", SECRET, limits=())
    renewed = {"BASE_URL": trial.url, "API_KEY": "renewed-key"}
    commands = (WRITING[0], WRITING[3])
    said = ""
    for command in commands:
        stopped = tried(*command, **renewed)
        assert stopped.returncode == 1, (command, stopped.stdout)
        assert "another API key" in stopped.stderr
        assert "robin-etl ledger bind" in stopped.stderr
        said += stopped.stderr
    bound = tried("ledger", "bind", **renewed)
    assert bound.returncode == 0, bound.stderr
    for command in commands:
        assert tried(*command, **renewed).returncode == 0, command
    for key in ("renewed-key", KEY):
        assert key not in said + bound.stdout


def test_a_dry_run_without_a_key_compares_the_address_alone(
    tried: Command, trial: Sandbox, sandbox: Sandbox
) -> None:
    keyless = {"API_KEY": "", "API_SECRET": ""}
    dry = ("run", "--date", DAY, "--dry-run")
    assert tried(*dry, BASE_URL=trial.url, **keyless).returncode == 0
    assert tried(*dry, BASE_URL=sandbox.url, **keyless).returncode == 1
    assert tried(*dry, BASE_URL="http://robin.example", **keyless).returncode == 2


def test_one_address_has_many_spellings(tried: Command, trial: Sandbox) -> None:
    port = trial.url.rsplit(":", 1)[-1]
    for address in (f"{trial.url}/", f"HTTP://127.0.0.1:{port}//", trial.url.upper()):
        done = tried("run", "--date", DAY, BASE_URL=address)
        assert done.returncode == 0, done.stderr
    assert tried("run", "--date", DAY, BASE_URL=f"http://localhost:{port}").returncode == 1
    assert tried("run", "--date", DAY, BASE_URL=f"{trial.url}/v2").returncode == 1


def test_a_robin_that_has_moved_is_bound_anew_by_saying_so(
    tried: Command, trial: Sandbox, sandbox: Sandbox
) -> None:
    refused = tried("ledger", "bind")
    assert refused.returncode == 1
    assert "--moved" in refused.stderr
    assert trial.url in refused.stderr
    moved = tried("ledger", "bind", "--moved", "--json")
    assert moved.returncode == 0, moved.stderr
    shown = last_line(moved)
    assert (shown["before"]["address"], shown["now"]["address"]) == (trial.url, sandbox.url)  # type: ignore[index]
    assert tried("run", "--date", DAY).returncode == 0
    assert tried("run", "--date", DAY, BASE_URL=trial.url).returncode == 1


def test_status_shows_whose_a_ledger_is(
    robin_etl: Command, export: Export, sandbox: Sandbox, settings: Settings
) -> None:
    assert status_of(robin_etl)["binding"] is None
    export(DAY, *ROWS)
    robin_etl("run", "--date", NEXT)  # which has no export
    assert "not bound to a ROBIN yet" in robin_etl("status").stdout
    robin_etl("run", "--date", DAY)
    shown = robin_etl("status").stdout
    assert f"It belongs to {sandbox.url} (API key " in shown
    bound = status_of(robin_etl)["binding"]
    assert bound["account"] in shown
    assert (bound["address"], bound["customer_key"]) == (sandbox.url, "none")
    assert KEY.encode() not in Path(settings.ledger).read_bytes()


def test_a_ledger_that_holds_no_order_takes_another_robin_and_another_key(
    robin_etl: Command, export: Export, sandbox: Sandbox
) -> None:
    export(DAY, *ROWS)
    mistyped = {"API_KEY": "mistyped", "CUSTOMER_KEY": "mistyped"}
    assert robin_etl("run", "--date", DAY, **mistyped).returncode == 1  # ROBIN refuses it
    done = robin_etl("run", "--date", DAY)
    assert done.returncode == 0, done.stderr
    assert set(sandbox.robin.orders) == {"1", "2"}


def test_a_baseline_needs_to_know_whose_orders_it_acknowledges(
    robin_etl: Command, export: Export, trial: Sandbox, sandbox: Sandbox
) -> None:
    export(DAY, *ROWS)
    keyless = robin_etl("baseline", *DAYS, API_KEY="")
    assert keyless.returncode == 2
    assert "ROBIN_ETL_API_KEY is not set" in keyless.stderr
    assert robin_etl("baseline", *DAYS, BASE_URL="http://robin.example").returncode == 2
    assert robin_etl("baseline", *DAYS).returncode == 0
    assert status_of(robin_etl)["binding"]["address"] == sandbox.url
    assert robin_etl("run", "--date", DAY, BASE_URL=trial.url).returncode == 1


# One customer key for a ledger


def test_another_customer_key_or_none_makes_nobody_a_new_customer(
    robin_etl: Command, export: Export, sandbox: Sandbox
) -> None:
    forget = ("forget", "ann@x.nl")
    another = {"CUSTOMER_KEY": "another-key"}
    export(DAY, *ROWS)
    assert robin_etl("run", "--date", DAY, **KEYED).returncode == 0
    export(DAY, *ROWS, "3,ann@x.nl,5,2026-03-02")  # a repeat, with the right key
    tries: list[tuple[tuple[str, ...], dict[str, str]]] = [
        *((command, another) for command in (*WRITING, forget)),
        *((command, {}) for command in (WRITING[0], forget)),
    ]
    for command, other in tries:
        stopped = robin_etl(*command, **other)
        assert stopped.returncode == 1, (command, other, stopped.stdout)
        assert "The customer key of the ledger has the fingerprint" in stopped.stderr
        assert "the-first-key" not in stopped.stderr
        assert "another-key" not in stopped.stderr
    assert set(sandbox.robin.orders) == {"1", "2"}
    for command in (*WRITING, forget):
        assert robin_etl(*command, **KEYED).returncode == 0, command
    assert set(sandbox.robin.orders) == {"1", "2", "3"}


def test_a_baseline_from_a_shell_without_the_key_is_seen_by_the_first_keyed_run(
    robin_etl: Command, export: Export, sandbox: Sandbox
) -> None:
    export(DAY, *ROWS)
    export(NEXT, "3,ann@x.nl,5,2026-03-02")
    assert robin_etl("baseline", *DAYS).returncode == 0
    stopped = robin_etl("run", "--date", NEXT, **KEYED)
    assert stopped.returncode == 1
    assert "The customer key of the ledger was none" in stopped.stderr
    assert sandbox.robin.orders == {}
    assert last_line(robin_etl("run", "--date", NEXT, "--json"))["repeat"] == 1


def test_a_ledger_is_bound_to_no_other_customer_key(robin_etl: Command, export: Export) -> None:
    export(DAY, *ROWS)
    robin_etl("run", "--date", DAY)
    refused = robin_etl("ledger", "bind", "--moved", **KEYED)
    assert refused.returncode == 1
    assert "customer key" in refused.stderr


def test_one_worker_without_the_key_stops_the_run_that_others_began(
    settings: Settings, export: Export, sandbox: Sandbox
) -> None:
    export(DAY, *ROWS)
    keyed = settings.model_copy(update={"customer_key": SecretStr("the-first-key")})
    day = date.fromisoformat(DAY)
    words = "were read with a customer key of the fingerprint"
    for first, other in ((keyed, settings), (settings, keyed)):
        for is_dry in (True, False):
            run = Run.start(settings.runs, Scope("airflow", day, day, dry_run=is_dry))
            pipeline.extract(first, run)
            with pytest.raises(BindingError, match=words):
                pipeline.classify(other, run)
            pipeline.classify(first, run)
            pipeline.plan(first, run)
            with pytest.raises(BindingError, match=words):
                pipeline.load(other, run)
    assert sandbox.robin.orders == {}


def test_a_ledger_that_was_bound_since_the_rows_were_read_is_seen_before_anything_is_posted(
    settings: Settings, export: Export, sandbox: Sandbox, trial: Sandbox
) -> None:
    export(DAY, *ROWS)
    there = settings.model_copy(update={"base_url": trial.url})
    day = date.fromisoformat(DAY)
    run = Run.start(settings.runs, Scope("run", day, day))
    pipeline.extract(settings, run)
    pipeline.classify(settings, run)
    pipeline.plan(settings, run)
    run_days(there, DAY)
    with pytest.raises(BindingError, match=trial.url):
        pipeline.load(settings, run)
    assert sandbox.robin.read_state()["requests"] == 0


# What acknowledges

NOT_ROBIN = [
    (200, LOGIN, "text/html; charset=utf-8", "Sign in Please [31m log in again"),
    (201, b" \n<html>Welcome</html>", None, "Welcome"),
    (200, b'{"ok": true}', "application/json", '{"ok": true}'),
    (204, b"", None, "without any text"),
    (206, b"accepted", "text/plain", "accepted"),
]


@pytest.mark.parametrize(
    ("status", "content", "kind", "words"), NOT_ROBIN, ids=lambda value: f"{value}"[:20]
)
def test_what_is_not_robins_answer_acknowledges_nothing(
    robin_etl: Command,
    export: Export,
    settings: Settings,
    status: int,
    content: bytes,
    kind: str | None,
    words: str,
) -> None:
    export(DAY, *ROWS, *(f"{n},c{n}@x.nl,1,2026-03-01" for n in range(10, 40)))
    with answering(status, content, kind) as (url, bodies):
        stopped = robin_etl("run", "--date", DAY, BASE_URL=url, CHUNK_SIZE="2", MAX_ATTEMPTS="3")
    assert stopped.returncode == 1, stopped.stdout
    assert len(bodies) == 1
    sentence = stopped.stderr
    assert f"{url}/dynamic/orders was answered by what is not ROBIN: {status}, " in sentence
    for said in (words, "ROBIN_ETL_BASE_URL", "proxy"):
        assert said in sentence
    if status != 201:
        assert "ROBIN_ETL_ACCEPTED_STATUSES" in sentence
    for harmful in ("<", "\x1b"):
        assert harmful not in sentence
    assert len(sentence) < 900
    assert status_of(robin_etl)["orders"] == 0
    (sent,) = json.loads(robin_etl("history", "1", "--json").stdout)
    assert (sent["outcome"], sent["status"]) == ("in doubt", status)
    (summary,) = Path(settings.runs).glob("*/summary.json")
    assert json.loads(summary.read_text())["orders_in_doubt"] == ["1", "2"]


def test_whoever_took_the_orders_no_other_address_is_sent_them_again_unless_it_is_said_to_be_the_same(
    robin_etl: Command, export: Export, sandbox: Sandbox
) -> None:
    export(DAY, *ROWS)
    with answering(200, LOGIN, "text/html") as (url, _):
        assert robin_etl("run", "--date", DAY, BASE_URL=url).returncode == 1
    elsewhere = robin_etl("run", "--date", DAY)
    assert elsewhere.returncode == 1
    assert "robin-etl ledger bind --moved" in elsewhere.stderr
    assert not sandbox.robin.orders
    assert robin_etl("ledger", "bind", "--moved").returncode == 0
    assert last_line(robin_etl("run", "--date", DAY, "--json"))["posted"] == 2
    assert len(sandbox.robin.orders) == 2


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", None),
        (b"", "text/html"),
        (b"created", "text/plain"),
        (b'{"created": 2, "errors": []}', "application/json"),
    ],
)
def test_the_body_of_a_201_may_be_empty_or_text_or_json(
    robin_etl: Command, export: Export, content: bytes, kind: str | None
) -> None:
    export(DAY, *ROWS)
    with answering(201, content, kind) as (url, _):
        done = robin_etl("run", "--date", DAY, "--json", BASE_URL=url)
    assert done.returncode == 0, done.stderr
    assert last_line(done)["posted"] == 2


def test_a_gateway_that_answers_otherwise_is_let_pass_by_the_setting(
    robin_etl: Command, export: Export
) -> None:
    export(DAY, *ROWS)
    with answering(202, b"queued", "text/plain") as (url, _):
        done = robin_etl("run", "--date", DAY, BASE_URL=url, ACCEPTED_STATUSES="201, 202")
    assert done.returncode == 0, done.stderr
    with answering(202, LOGIN, "text/html") as (url, _):
        page = robin_etl("run", "--date", DAY, BASE_URL=url, ACCEPTED_STATUSES="202", LEDGER="other.db")
    assert page.returncode == 1
    assert "a page of HTML" in page.stderr


def test_a_status_that_acknowledges_nothing_is_refused_as_a_setting(robin_etl: Command) -> None:
    done = robin_etl("run", "--date", DAY, ACCEPTED_STATUSES="201,404")
    assert done.returncode == 2
    assert "ROBIN_ETL_ACCEPTED_STATUSES" in done.stderr
    assert "'404' can't acknowledge a request" in done.stderr


def test_an_echo_shows_neither_contact_nor_secret(
    robin_etl: Command, export: Export, settings: Settings
) -> None:
    export(DAY, *ROWS)
    echo = b"secret=" + SECRET.encode() + b" of ann@x.nl " + b"and more " * 60 + b"bob@x.nl"
    with answering(200, echo, "text/plain") as (url, _):
        stopped = robin_etl("run", "--date", DAY, BASE_URL=url)
    assert "secret=(secret) of (contact) and more" in stopped.stderr
    for path in (Path(settings.ledger), *Path(settings.runs).glob("*/*.html")):
        content = path.read_bytes()
        assert SECRET.encode() not in content
        assert b"@x.nl" not in content


# A 201 that speaks of errors

ERRORS = [
    (b'{"errors": [{"order": "2", "reason": "unknown shop"}]}', "unknown shop"),
    (b"1 order was created, 1 order failed", "1 order failed"),
    (b'{"message": "' + b"created " * 500 + b'but order 2 is invalid"}', "order 2 is invalid"),
]


@pytest.mark.parametrize(("content", "words"), ERRORS, ids=[words for _, words in ERRORS])
def test_a_201_that_speaks_of_errors_is_nothing_to_be_green_about(
    robin_etl: Command,
    export: Export,
    settings: Settings,
    content: bytes,
    words: str,
) -> None:
    export(DAY, *ROWS)
    with answering(201, content, "application/json", is_chunked=len(content) < 50) as (url, _):
        done = robin_etl("run", "--date", DAY, BASE_URL=url)
        assert done.returncode == 3, done.stdout
        assert "ROBIN took 2 changes and spoke of errors:" in done.stdout
        assert words in " ".join(done.stdout.split())
        again = robin_etl("run", "--date", DAY, "--json", BASE_URL=url)
        assert (again.returncode, last_line(again)["posted"]) == (0, 0)
    summary = min(Path(settings.runs).glob("*/summary.json"), key=lambda path: path.stat().st_mtime_ns)
    counts = json.loads(summary.read_text())
    assert (counts["posted"], counts["remarked"]) == (2, 2)
    assert words in counts["remarks"][0]
    page = summary.with_name("report.html").read_text()
    assert "ROBIN spoke of errors" in page
    assert "ROBIN: " in robin_etl("history", "2").stdout


def test_the_words_of_many_requests_are_named_once_each(robin_etl: Command, export: Export) -> None:
    export(DAY, *(f"{n},c{n}@x.nl,1,2026-03-01" for n in range(10)))
    with answering(201, b'{"error": "no such shop"}', "application/json") as (url, _):
        done = robin_etl("run", "--date", DAY, "--json", BASE_URL=url, CHUNK_SIZE="1")
    counts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, counts["remarked"]) == (3, 10)
    assert counts["remarks"] == ['{"error": "no such shop"}']
