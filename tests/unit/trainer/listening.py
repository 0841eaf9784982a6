"""A stand-in for the operator's endpoint, with real TLS and a certificate of its own."""

import dataclasses
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclasses.dataclass
class Operator:
    """A stand-in for the operator's endpoint: keeps what it was sent, answers what it is told to."""

    url: str
    authority: str
    token_file: Path
    received: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    routes: list[str] = dataclasses.field(default_factory=list)
    """Where each of those was sent."""
    tokens: list[str] = dataclasses.field(default_factory=list)
    commands: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    status: int = 200
    hang: threading.Event | None = None

    def variables(self) -> dict[str, str]:
        return {
            "TRAINYARD_PROGRESS_URL": self.url,
            "TRAINYARD_PROGRESS_CA": self.authority,
            "TRAINYARD_TOKEN_FILE": str(self.token_file),
        }

    def wait_for(self, condition: Callable[[dict[str, Any]], bool], timeout: float = 20) -> dict[str, Any]:
        limit = time.monotonic() + timeout
        while time.monotonic() < limit:
            for report in list(self.received):
                if condition(report):
                    return report
            time.sleep(0.01)
        raise AssertionError(f"not among {len(self.received)} reports")


@contextmanager
def listening_operator(folder: Path) -> Iterator[Operator]:
    """The operator's endpoint on 127.0.0.1 with a certificate of its own."""
    certificate, key = _certificate(folder)
    token_file = folder / "token"
    token_file.write_text("token-1\n")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if answers.hang is not None:
                answers.hang.wait(30)
            answers.tokens.append(self.headers["Authorization"].removeprefix("Bearer "))
            answers.routes.append(self.path)
            answers.received.append(json.loads(content))
            commands, answers.commands = answers.commands, []
            body = json.dumps({"commands": commands}).encode()
            self.send_response(answers.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that gave up is part of the tests."""

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    answers = Operator(f"https://127.0.0.1:{server.server_port}/v1/progress", certificate.read_text(), token_file)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield answers
    if answers.hang is not None:
        answers.hang.set()
    server.shutdown()
    server.server_close()


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "operator")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "tls.crt", folder / "tls.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file
