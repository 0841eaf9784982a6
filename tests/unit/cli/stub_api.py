"""An API server on 127.0.0.1 that keeps objects, follows scripts, and remembers what it was asked."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.simulation.fake_merge import merge_patch
from trainyard.cluster.resources import ALL
from trainyard.endpoint.certificates import Bundle, up_to_date

Object = dict[str, Any]
Answer = tuple[int, Object | str | Sequence[str] | Iterator[str]]
"""Code, and an object, a text, or lines that are sent as they come."""
TOKEN = "ann's"
_PLURALS = {each.plural: each for each in ALL}


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    query: dict[str, str]
    authorization: str
    body: Any
    content_type: str = ""


@dataclass
class StubApi:
    """objects: by path. script: answers of a path, one after the other, of which the last stays. logs: of pods, by name."""

    url: str = ""
    objects: dict[str, Object] = field(default_factory=dict)
    script: dict[str, list[Object]] = field(default_factory=dict)
    logs: dict[str, Sequence[str] | Iterator[str]] = field(default_factory=dict)
    errors: dict[tuple[str, str], list[tuple[int, Object | str]]] = field(default_factory=dict)
    """By method and path; each is used once, the last for ever."""
    requests: list[Request] = field(default_factory=list)
    token: str = TOKEN
    page: int = 500
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *objects: Object) -> None:
        for each in objects:
            meta = each["metadata"]
            meta.setdefault("uid", f"uid-{meta['name']}")
            plural = next(known.plural for known in ALL if known.kind == each["kind"])
            self.objects[_PLURALS[plural].path(meta.get("namespace"), meta["name"])] = each

    def asked(self, method: str) -> list[Request]:
        return [each for each in self.requests if each.method == method]

    def created(self) -> list[Object]:
        """What was posted in earnest."""
        return [each.body for each in self.asked("POST") if "dryRun" not in each.query]

    def answer(self, request: Request) -> Answer:
        with self.lock:
            self.requests.append(request)
            told = self.errors.get((request.method, request.path))
            if told:
                return told.pop(0) if len(told) > 1 else told[0]
            if request.authorization not in ("", f"Bearer {self.token}"):
                return 401, status("Unauthorized", "Unauthorized")
            if request.method == "PATCH":
                return self._patch(request)
            return self._create(request) if request.method == "POST" else self._read(request)

    def _create(self, request: Request) -> Answer:
        name = request.body["metadata"]["name"]
        path = f"{request.path}/{name}"
        plural = request.path.rpartition("/")[2]
        if path in self.objects:
            return 409, status("AlreadyExists", f'{plural}.trainyard.dev "{name}" already exists')
        made = {**request.body, "metadata": {**request.body["metadata"], "uid": f"uid-{name}"}}
        if "dryRun" not in request.query:
            self.objects[path] = made
        return 201, made

    def _patch(self, request: Request) -> Answer:
        """A merge patch, on condition of the resourceVersion that it names."""
        if request.content_type != "application/merge-patch+json":
            return 415, status("UnsupportedMediaType", f"{request.content_type} is not understood")
        there = self.objects.get(request.path)
        if there is None:
            return 404, status("NotFound", f"{request.path} not found")
        if request.body["metadata"].get("resourceVersion", "") != there["metadata"].get("resourceVersion", ""):
            return 409, status("Conflict", "the object has been modified")
        self.objects[request.path] = merge_patch(there, request.body)
        return 200, self.objects[request.path]

    def _read(self, request: Request) -> Answer:
        path, query = request.path, request.query
        if path in self.script:
            told = self.script[path]
            return 200, told.pop(0) if len(told) > 1 else told[0]
        if path.endswith("/log"):
            lines = self.logs[path.split("/")[-2]]
            return 200, lines[-int(query.get("tailLines", 99)) :] if isinstance(lines, Sequence) else lines
        if path in self.objects:
            return 200, self.objects[path]
        plural, name = path.rpartition("/")[2], ""
        if plural not in _PLURALS:
            plural, name = path.split("/")[-2:]
            return 404, status("NotFound", f'{_PLURALS[plural]} "{name}" not found')
        found = [each for at, each in self.objects.items() if _within(at, path) and _selected(each, query)]
        begin = int(query.get("continue", 0))
        more = {"continue": str(begin + self.page)} if begin + self.page < len(found) else {}
        return 200, {"kind": "List", "metadata": more, "items": found[begin : begin + self.page]}


def status(reason: str, message: str) -> Object:
    return {"kind": "Status", "status": "Failure", "reason": reason, "message": message}


def _within(path: str, collection: str) -> bool:
    """Of a namespace, or of all."""
    head, _, plural = collection.rpartition("/")
    return path.startswith(f"{head}/") and path.split("/")[-2] == plural


def _selected(each: Object, query: dict[str, str]) -> bool:
    wanted = [part.split("=") for part in query.get("labelSelector", "").split(",") if part]
    labels = each["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in wanted)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what some tests are about."""


def _handler(answer: Callable[[Request], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(
                self.command,
                parts.path,
                dict(parse_qsl(parts.query)),
                self.headers.get("Authorization", ""),
                json.loads(raw) if raw else None,
                self.headers.get("Content-Type", ""),
            )
            code, body = answer(request)
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "https://elsewhere.example/")
            if isinstance(body, dict | str):
                whole = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_header("Content-Length", str(len(whole)))
                self.end_headers()
                self.wfile.write(whole)
                return
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for line in body:
                self.wfile.write(f"{len(line.encode()) + 1:x}\r\n{line}\n\r\n".encode())
            self.wfile.write(b"0\r\n\r\n")

        do_GET = do_POST = do_PATCH = _answer  # noqa: N815  as the base class wants them

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def certificates() -> Bundle:
    """Of an authority of its own, for 127.0.0.1."""
    return up_to_date(None, "127.0.0.1", datetime.now(UTC))


def a_person() -> tuple[bytes, bytes]:
    """A certificate that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ann")])
    begin = datetime.now(UTC) - timedelta(minutes=5)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(begin).not_valid_after(begin + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return builder.sign(key, hashes.SHA256()).public_bytes(pem), plain


@contextmanager
def serving(answer: Callable[[Request], Answer], trusted: ssl.SSLContext | None) -> Iterator[str]:
    """The address, while the block runs."""
    server = _Server(("127.0.0.1", 0), _handler(answer))
    if trusted is not None:
        server.socket = trusted.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"{'http' if trusted is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def relaying() -> Iterator[tuple[str, list[str]]]:
    """A proxy for TLS: its address, and the heads of what it was asked."""
    heads: list[str] = []

    class Relay(StreamRequestHandler):
        def handle(self) -> None:
            head = b"".join(iter(self.rfile.readline, b"\r\n")).decode()
            heads.append(head)
            host, _, port = head.split()[1].rpartition(":")
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            with socket.create_connection((host, int(port))) as there:
                back = threading.Thread(target=_copy, args=(there, self.connection), daemon=True)
                back.start()
                _copy(self.connection, there)
                back.join()

    server = ThreadingTCPServer(("127.0.0.1", 0), Relay)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", heads
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)


def tls(bundle: Bundle, folder: Path, *, clients_of: bytes = b"") -> ssl.SSLContext:
    """clients_of: the authority of the certificate that a client must show."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = folder / "serving.pem"
    path.write_bytes(bundle.certificate + bundle.key)
    context.load_cert_chain(path)
    if clients_of:
        context.load_verify_locations(cadata=clients_of.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def kubeconfig(path: Path, cluster: Object, user: Object, namespace: str = "vision") -> Path:
    """One context, which is in force."""
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "ann", "user": user}],
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "ann", "namespace": namespace}}],
                "current-context": "here",
            }
        )
    )
    return path
