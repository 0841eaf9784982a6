"""Parts for tests of a real gateway pod on loopback: replicas, an operator over TLS, both containers, callers."""

import asyncio
import datetime as dt
import ipaddress
import os
import re
import signal
import ssl
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dev.ports import HeldPort

HOST = "127.0.0.1"
SERVICE_UID = "4d3c2b1a-0000-4000-8000-000000000001"
DIGEST = "sha256:" + "a" * 64
TOKEN = "a-projected-token"
REPOSITORY = Path(__file__).parents[2]


async def _close(runner: web.AppRunner) -> None:
    """Stop listening, let connections that were just accepted become known, then close them all."""
    for site in list(runner.sites):
        await site.stop()
    await asyncio.sleep(0.05)
    await runner.cleanup()


@dataclass
class Replica:
    """A fake model server: the health check of the contract, and answers that take `delay` seconds."""

    name: str
    uid: str = SERVICE_UID
    digest: str = DIGEST
    delay: float = 0.01
    port: int = 0
    """The real one once it was started."""
    answered: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_get("/v2/health/ready", self._ready)
        app.router.add_post("/infer", self._infer)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, HOST, self.port).start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        if self.runner is not None:
            await _close(self.runner)
            self.runner = None

    async def _ready(self, request: web.Request) -> web.Response:
        own = {"X-Trainyard-Service": self.uid, "X-Trainyard-Digest": self.digest}
        same = all(request.headers.get(header, "") in ("", value) for header, value in own.items())
        return web.Response(status=200 if same else 409)

    async def _infer(self, request: web.Request) -> web.Response:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await request.read()
            await asyncio.sleep(self.delay)
            self.answered += 1
            return web.json_response({"from": self.name})
        finally:
            self.in_flight -= 1

    def member(self, state: str = "active", **changes: Any) -> dict[str, Any]:
        return {"name": self.name, "address": HOST, "port": self.port, "state": state, "weight": 100} | changes


class Operator:
    """The membership endpoint, over TLS with a certificate of its own."""

    def __init__(self, folder: Path) -> None:
        self._held = HeldPort(HOST)  # also while it is away
        self.port = self._held.number
        self.generation = 0
        self.members: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self._runner: web.AppRunner | None = None
        self.ca, certificate, key = _certificate()
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        (folder / "operator.crt").write_text(certificate)
        (folder / "operator.key").write_text(key)
        self._tls.load_cert_chain(folder / "operator.crt", folder / "operator.key")

    def want(self, *members: dict[str, Any]) -> int:
        self.generation += 1
        self.members = list(members)
        return self.generation

    @property
    def last(self) -> dict[str, Any]:
        return self.reports[-1] if self.reports else {}

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/gateways", self._sync)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port, ssl_context=self._tls).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await _close(self._runner)
            self._runner = None

    async def _sync(self, request: web.Request) -> web.Response:
        self.tokens.add(request.headers.get("Authorization", ""))
        self.reports.append(await request.json())
        return web.json_response({"generation": self.generation, "digest": DIGEST, "members": self.members})


def _certificate() -> tuple[str, str, str]:
    """CA, certificate and key in PEM; self-signed, for the address of loopback."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trainyard-operator")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, pem, key.private_bytes(*form).decode()


class Gateway:
    """Both containers of a gateway pod as processes, which share a folder as they share /run/lb."""

    def __init__(self, folder: Path, operator: Operator, **variables: str) -> None:
        self.folder = folder
        self._held = [HeldPort(HOST) for _ in range(3)]
        self.traffic, self.metrics, self.endpoint = (each.number for each in self._held)
        (folder / "token").write_text(TOKEN)
        self._environment = os.environ | {
            "PYTHONPATH": str(REPOSITORY / "images" / "gateway"),
            "TRAINYARD_NAMESPACE": "team",
            "TRAINYARD_SERVICE": "digits",
            "TRAINYARD_SERVICE_UID": SERVICE_UID,
            "POD_NAME": "digits-gateway-0",
            "TRAINYARD_LB_DIR": str(folder),
            "TRAINYARD_TRAFFIC_BIND": f"{HOST}:{self.traffic}",
            "TRAINYARD_METRICS_BIND": f"{HOST}:{self.metrics}",
            "TRAINYARD_ENDPOINT_HOST": HOST,
            "TRAINYARD_ENDPOINT_PORT": str(self.endpoint),
            "TRAINYARD_SYNC_URL": f"https://{HOST}:{operator.port}/v1/gateways",
            "TRAINYARD_SYNC_CA": operator.ca,
            "TRAINYARD_TOKEN_FILE": str(folder / "token"),
            "TRAINYARD_STOP_DELAY_SECONDS": "1",
            **variables,
        }
        self.haproxy: asyncio.subprocess.Process | None = None
        self.sidecar: asyncio.subprocess.Process | None = None

    async def start_haproxy(self) -> None:
        self.haproxy = await self._start("gateway.haproxy")

    async def start_sidecar(self) -> None:
        self.sidecar = await self._start("gateway")

    async def stop(self) -> None:
        for process in (self.haproxy, self.sidecar):
            if process is not None and process.returncode is None:
                process.send_signal(signal.SIGINT if process is self.haproxy else signal.SIGKILL)
                await process.wait()

    def haproxy_pid(self) -> int:
        """Process id of HAProxy itself, the supervisor's only child."""
        assert self.haproxy is not None
        children = Path(f"/proc/{self.haproxy.pid}/task/{self.haproxy.pid}/children").read_text().split()
        return int(children[0])

    async def ready(self) -> bool:
        return (await self._get(self.endpoint, "/readyz"))[0] == 200

    async def show_metrics(self, port: int) -> str:
        return (await self._get(port, "/metrics"))[1]

    async def _get(self, port: int, path: str) -> tuple[int, str]:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{port}{path}") as response:
                return response.status, await response.text()
        except aiohttp.ClientConnectionError:
            return 0, ""

    async def _start(self, module: str) -> asyncio.subprocess.Process:
        log = (self.folder / f"{module}.log").open("ab")
        with log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, env=self._environment, stdout=log, stderr=log
            )


@dataclass
class Answers:
    """What callers got: statuses (0: no answer), and who answered."""

    statuses: Counter[int] = field(default_factory=Counter)
    replicas: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return sum(self.statuses.values()) - self.statuses[200]


@asynccontextmanager
async def load(gateway: Gateway, callers: int = 8) -> AsyncIterator[Answers]:
    """Callers that ask without pause while the block runs, each on a kept-alive connection."""
    answers, stop = Answers(), asyncio.Event()

    async def call(session: aiohttp.ClientSession) -> None:
        while not stop.is_set():
            await one(gateway, session, answers)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        tasks = [asyncio.create_task(call(session)) for _ in range(callers)]
        try:
            yield answers
        finally:
            stop.set()
            await asyncio.gather(*tasks)


async def one(
    gateway: Gateway, session: aiohttp.ClientSession, answers: Answers, body: bytes = b"{}"
) -> tuple[int, dict[str, str], Any]:
    """One inference through the gateway."""
    started = time.perf_counter()
    try:
        async with session.post(f"http://{HOST}:{gateway.traffic}/infer", data=body) as response:
            reply = await response.json()
            headers = dict(response.headers)
            status = response.status
    except aiohttp.ClientError as error:
        answers.errors.append(repr(error))
        status, headers, reply = 0, {}, None
    answers.statuses[status] += 1
    answers.latencies.append(time.perf_counter() - started)
    if status == 200:
        answers.replicas[reply["from"]] += 1
    elif reply is not None:
        answers.errors.append(str(reply))
    return status, headers, reply


async def until(condition: Any, what: str, seconds: float = 60) -> float:
    """Wait for condition() to hold, awaiting it where it is a coroutine. Returns how long that took."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return time.monotonic() - started
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")


def sample(text: str, pattern: str) -> float:
    """Value of the one metric line that matches."""
    found = re.findall(rf"^{pattern} (\S+)$", text, flags=re.MULTILINE)
    assert len(found) == 1, (pattern, found)
    return float(found[0])
