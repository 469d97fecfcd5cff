"""Where a secret or a customer's address could be left behind, and that it is not."""

from __future__ import annotations

import base64
import signal
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from robin_etl.delivery import Client, Meaning
from robin_etl.sandbox.faults import Fault, Faults
from robin_etl.sandbox.robin import Robin
from robin_etl.sandbox.server import Sandbox
from robin_etl.settings import Settings
from tests import processes
from tests.conftest import KEY, SECRET, Export
from tests.integration.test_cli import COMMAND, Command, environment, robin_etl
from tests.waiting import until

__all__ = ["robin_etl"]  # a fixture

DATA_FILES = {
    *("exported.parquet", "changes.parquet", "requests.jsonl"),
    *("quarantine.csv", "quarantine.jsonl"),
}
HEADER = "order_number,email_address,phone_number,revenue,order_date"
DOMAIN, PHONE, CUSTOMER_KEY = "leak.shop.example", "+31699887766", "the-key-of-customers"
SECRETS = (SECRET, base64.b64encode(f"{KEY}:{SECRET}".encode()).decode(), CUSTOMER_KEY)


class Quoting(Robin):
    """A ROBIN that repeats the customer in its words when it refuses an order."""

    def answer(self, authorization: str | None, body: bytes) -> tuple[int, Any]:
        status, said = super().answer(authorization, body)
        return status, {**said, "of": body.decode()[:400]} if status >= 400 else said


@pytest.fixture
def nights(settings: Settings, export: Export, tmp_path: Path, quick_command: Path) -> str:
    """Everything that was printed while days went well, badly, and not at all, with --debug."""
    good = [f"{n},c{n}@{DOMAIN},,{n},2026-03-01" for n in range(40)]
    export("2026-03-01", f"p,,{PHONE},5,2026-03-01", *good, header=HEADER)
    bad = [f"b1,not an address {DOMAIN},,1,2026-03-02", f"b2,x@{DOMAIN},{PHONE},ten,2026-03-02"]
    later = [f"l{n},l{n}@{DOMAIN},,{n},2026-03-02" for n in range(40)]
    export("2026-03-02", *bad, *later, header=HEADER)
    export("2026-03-03", *bad, header=HEADER)
    (Path(settings.exports) / "orders_2026-03-04.csv").write_bytes(HEADER.encode() + b"\n\xff\xfe")
    robin = Quoting(KEY, SECRET, limits=(), faults=Faults(refused="^(7|l9)$"))
    printed = ""
    with Sandbox(robin) as sandbox:
        there = {**environment(settings, BASE_URL=sandbox.url, CUSTOMER_KEY=CUSTOMER_KEY)}

        def run(*arguments: str, **changed: str) -> None:
            nonlocal printed
            done = processes.run(
                [quick_command, "--debug", *arguments], env={**there, **changed}, cwd=tmp_path
            )
            printed += done.stdout + done.stderr

        run("run", "--date", "2026-03-01")
        robin.faults = Faults(refused="^l9$", script={1: Fault.RESET_AFTER})
        run("run", "--date", "2026-03-02", ROBIN_ETL_MAX_ATTEMPTS="3", ROBIN_ETL_BACKOFF="0.01")
        run("run", "--date", "2026-03-02", ROBIN_ETL_API_SECRET=f"{SECRET}x")
        run("run", "--date", "2026-03-02", "--dry-run")
        for arguments in (
            ("run", "--date", "2026-03-03"),
            ("run", "--date", "2026-03-04"),
            ("run", "--date", "2026-03-05"),
            ("baseline", "--from", "2026-03-01", "--to", "2026-03-02"),
            ("status",),
            ("rejected",),
            ("history", "7"),
            ("check", str(Path(settings.exports) / "orders_2026-03-02.csv")),
            ("run", "--date", "2026-03-01", "--nonsense"),
        ):
            run(*arguments)
        run("status", ROBIN_ETL_LEDGER=f"postgresql://robin:{SECRET}@127.0.0.1:1/robin")
        run(
            "run", "--date", "2026-03-01", ROBIN_ETL_BASE_URL=f"https://{KEY}:{SECRET}@robin.example.com"
        )
        run("run", "--date", "2026-03-01", ROBIN_ETL_CUSTOMER_KEY=CUSTOMER_KEY * 9)
    return printed


def test_no_secret_is_left_anywhere_and_no_address_but_in_a_runs_own_data_files(
    nights: str, settings: Settings, tmp_path: Path
) -> None:
    assert nights.count("Traceback") >= 5
    for private in (*SECRETS, DOMAIN, PHONE):
        assert private not in nights
    places = [path for path in tmp_path.rglob("*") if path.is_file()]
    places = [path for path in places if Path(settings.exports) not in path.parents]
    assert {"ledger.db", "report.html", "index.html", "summary.json"} <= {path.name for path in places}
    for path in places:
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in SECRETS), path
        named = DOMAIN.encode() in content or PHONE.encode() in content
        if named:
            assert path.name in DATA_FILES, path
            assert path.stat().st_mode & 0o077 == 0
            assert path.parent.stat().st_mode & 0o077 == 0


def test_no_secret_is_in_the_list_of_processes(settings: Settings, export: Export) -> None:
    export("2026-03-01", "1,a@x.nl,1,2026-03-01")
    robin = Robin(KEY, SECRET, limits=(), faults=Faults(script={1: Fault.HANG_BEFORE}))
    with (
        Sandbox(robin) as sandbox,
        processes.started(
            [COMMAND, "run", "--date", "2026-03-01"],
            env=environment(settings, BASE_URL=sandbox.url),
        ) as run,
    ):
        for attempt in until(processes.DEADLINE, while_raising=AssertionError):
            with attempt:
                assert robin.faults.played or not run.is_running, "no request has come yet"
        assert run.is_running, run.printed
        arguments = Path(f"/proc/{run.pid}/cmdline").read_bytes()
        run.signal(signal.SIGKILL)
        run.ended()
    assert b"run" in arguments
    assert SECRET.encode() not in arguments


def test_settings_and_clients_show_no_secret(settings: Settings) -> None:
    keyed = settings.model_copy(update={})
    client = Client("https://robin.example.com", KEY, SECRET, timeout=1)
    for shown in (repr(keyed), str(keyed), keyed.model_dump_json(), repr(client), str(client)):
        assert SECRET not in shown


class _Answering(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(self.path)  # type: ignore[attr-defined]
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.seen: list[str] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Silence: a client that does not trust it goes away."""


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def https(authority: trustme.CA) -> Iterator[str]:
    server = _Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent(https: str) -> None:
    with Client(https, KEY, SECRET, timeout=60) as client:
        answer = client.post(b"{}")
    assert answer.meaning is Meaning.NOT_SENT
    assert answer.words == "the certificate was not taken: unable to get local issuer certificate"


def test_a_private_authority_is_trusted_by_the_usual_variable(
    https: str, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with Client(https, KEY, SECRET, timeout=60) as client:
        assert client.post(b"{}").meaning is Meaning.ACCEPTED


def test_a_proxy_is_used_by_the_usual_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_error(502)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
        with Client("https://robin.example.com", KEY, SECRET, timeout=60) as client:
            answer = client.post(b"{}")
        proxy.shutdown()
    assert asked == ["robin.example.com:443"]
    assert answer.words == "the proxy did not make the connection"


@pytest.mark.parametrize(
    "address",
    [
        "shop:hush-hush@api.robinhq.com",
        "https://shop:hush-hush@api.robinhq.com",
        "https://[::1",
        "https://[::1:hush-hush@x",
        "http://shop:hush-hush@host",
        "https://host:port",
        "//",
    ],
)
def test_an_address_that_is_none_is_one_sentence_without_what_may_be_a_password(
    address: str, robin_etl: Command, export: Export, settings: Settings
) -> None:
    export("2026-03-01", "1,a@x.nl,1,2026-03-01")
    for command in (("run", "--date", "2026-03-01"), ("status",), ("ledger", "bind")):
        done = robin_etl(*command, BASE_URL=address)
        if command != ("status",):
            assert done.returncode == 2, done.stderr
            assert "ROBIN_ETL_BASE_URL" in done.stderr
        shown = done.stdout + done.stderr
        assert "hush-hush" not in shown
        assert "broke" not in shown
    assert_nowhere(Path(settings.runs).parent, "hush-hush")


def test_the_password_of_an_exports_address_is_in_no_sentence_and_no_file(
    robin_etl: Command, settings: Settings
) -> None:
    address = "sftp://shop:hush-hush@127.0.0.1:1/exports"
    for arguments in (
        ("run", "--date", "2026-03-01"),
        ("catch-up", "--until", "2026-03-01"),
        ("check", f"{address}/orders_2026-03-01.csv"),
        ("run", f"{address}/orders_2026-03-01.csv"),
        ("status",),
    ):
        done = robin_etl(*arguments, EXPORTS=address)
        assert "hush-hush" not in done.stdout + done.stderr, arguments
    assert_nowhere(Path(settings.runs).parent, "hush-hush")


def assert_nowhere(folder: Path, secret: str) -> None:
    """No file below the folder has the secret in it."""
    holding = [
        path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert holding == []
