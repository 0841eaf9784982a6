"""What `helm test` finds, told by servers that answer as the parts of an installation would."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from trainyard.endpoint.certificates import SERVING_DAYS, up_to_date
from trainyard.installed import KINDS, Installation, certificate_wrong, kinds_missing, main, not_ready, problems
from trainyard.workloads.caches import OURS

SERVED = {"resources": [{"name": name} for kind in KINDS for name in (kind, f"{kind}/status")]}
READY = {"ok": True, "checks": {"leader": "ok"}}


@contextmanager
def server(status: int, body: Any, certificate: Path | None = None) -> Iterator[int]:
    """Answers every question like this; returns its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        made.socket = context.wrap_socket(made.socket, server_side=True)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made.server_address[1]
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


def certificate(folder: Path, host: str = "127.0.0.1", made: datetime | None = None) -> Path:
    bundle = up_to_date(None, host, made or datetime.now(UTC))
    path = folder / "both.pem"
    path.write_bytes(bundle.certificate + bundle.key)
    return path


@pytest.fixture
def well(tmp_path: Path) -> Iterator[Installation]:
    with server(200, SERVED) as api, server(200, READY) as health, server(200, {}, certificate(tmp_path)) as endpoint:
        yield Installation(f"http://127.0.0.1:{api}", f"http://127.0.0.1:{health}", f"https://127.0.0.1:{endpoint}")


def test_an_installation_that_works_is_told_so(well: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(well) == 0
    assert "the operator is ready" in capsys.readouterr().out


def test_every_problem_is_told(well: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    with server(503, {"checks": {"caches": "not filled yet: Pod", "leader": "ok"}}) as port:
        broken = replace(well, health=f"http://127.0.0.1:{port}", endpoint="https://127.0.0.1:1")
        assert main(broken, patience=0) == 1
    told = capsys.readouterr().err
    assert "wrong: the operator is not ready: caches: not filled yet: Pod\n" in told
    assert "the operator's endpoint does not answer at https://127.0.0.1:1" in told
    assert len(problems(broken)) == 2


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, "404 page not found", "install the CustomResourceDefinitions"),
        (200, {"resources": SERVED["resources"][:-1]}, "serves no inferenceservices/status"),
        (401, {"kind": "Status"}, "with 401, expected a list of kinds"),
    ],
)
def test_kinds_that_are_not_served_are_named(well: Installation, status: int, body: Any, words: str) -> None:
    with server(status, body) as port:
        assert words in str(kinds_missing(replace(well, api_server=f"http://127.0.0.1:{port}")))


def test_all_kinds_are_looked_for() -> None:
    assert {each.plural for each in OURS.values()} == set(KINDS)


def test_an_operator_that_is_not_there_is_told_with_what_may_be_wrong(well: Installation) -> None:
    told = str(not_ready(replace(well, health="http://127.0.0.1:1")))
    assert "no operator answers at http://127.0.0.1:1" in told
    assert "network policy" in told


def test_a_certificate_for_another_name_is_told(well: Installation, tmp_path: Path) -> None:
    with server(200, {}, certificate(tmp_path, "elsewhere.svc")) as port:
        told = str(certificate_wrong(replace(well, endpoint=f"https://127.0.0.1:{port}")))
    assert "is for elsewhere.svc, expected 127.0.0.1" in told


def test_a_certificate_that_ran_out_is_told(well: Installation, tmp_path: Path) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=SERVING_DAYS + 1)
    with server(200, {}, certificate(tmp_path, made=long_ago)) as port:
        assert "is valid from" in str(certificate_wrong(replace(well, endpoint=f"https://127.0.0.1:{port}")))


def test_an_endpoint_without_a_host_is_told(well: Installation) -> None:
    assert "expected https://HOST:PORT" in str(certificate_wrong(replace(well, endpoint="http://x:1")))
