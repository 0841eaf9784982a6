"""A real HAProxy on loopback with our configuration, driven through `Runtime` and `plan`; replicas are small HTTP servers."""

import asyncio
import json
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from gateway.config import Settings
from gateway.members import Member, Membership
from gateway.observed import Observed
from gateway.plan import is_applied, plan
from gateway.render import write
from gateway.runtime import Runtime, RuntimeUnavailable
from gateway.split import Split

from dev.ports import HeldPort

HOST = "127.0.0.1"
SECONDS = 60.0
UID = "uid-1"
needs_haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs the haproxy program")


@dataclass
class Replica:
    """A model server. Spoil it with `fail`: a status to answer with, or "hang up" after the request was read."""

    name: str
    canary: bool = False
    delay: float = 0.0
    fail: int | str = 0
    asked: int = 0
    port: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)
    says: Any = None
    """Its answer, where it is not its name."""
    outputs: list[dict[str, Any]] = field(default_factory=list)
    """As its metadata lists them."""
    digest: str = ""

    @property
    def member(self) -> Member:
        return Member(self.name, HOST, self.port, canary=self.canary, digest=self.digest)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/v2/health/ready":
            return web.Response()
        if request.path == "/v2/models/digits":
            return web.json_response({"platform": "pytorch", "inputs": [], "outputs": self.outputs})
        await request.read()
        self.asked += 1
        self.headers.append(dict(request.headers))
        await asyncio.sleep(self.delay)
        if isinstance(self.fail, str):
            assert request.transport is not None
            request.transport.abort()
        if request.path.endswith("/completions") and not self.fail and not self.says:
            return await self._stream(request)
        return web.json_response(self.says or {"from": self.name}, status=int(self.fail or 200))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Five events, each after the delay."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(5):
            await asyncio.sleep(self.delay)
            await response.write(f"data: {number}\n\n".encode())
        return response


@asynccontextmanager
async def replicas(*wanted: Replica, host: str = HOST) -> AsyncIterator[None]:
    runners = []
    for replica in wanted:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", replica.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, host, 0).start()
        replica.port = runner.addresses[0][1]
        runners.append(runner)
    try:
        yield
    finally:
        for runner in runners:
            await runner.cleanup()


class Haproxy:
    """One running HAProxy and what it is told. Use `haproxy(...)`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.port = int(settings.traffic_bind.rpartition(":")[2])
        self.runtime = Runtime(settings)
        self.process: asyncio.subprocess.Process | None = None
        self.session: aiohttp.ClientSession

    async def start(self) -> None:
        write(self.settings)
        with (self.settings.folder / "haproxy.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                "haproxy", "-db", "-f", str(self.settings.haproxy_config), stdout=log, stderr=log
            )
        await until(self._answers, "HAProxy answers on its socket")

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, (self.settings.folder / "haproxy.log").read_text()
        try:
            await self.runtime.ask("show info")
        except RuntimeUnavailable:
            return False
        return True

    def membership(self, *members: Member, split: Split | None = None) -> Membership:
        return Membership(1, members, split or Split())

    async def follow(
        self, *members: Member, split: Split | None = None, awaited: Collection[str] | None = None, **measured: str
    ) -> Observed:
        """Converge until HAProxy routes by these members and those awaited, by default all with a weight, are up."""
        wanted = self.membership(*members, split=split)
        names = {member.name for member in members if member.active and member.weight} if awaited is None else awaited

        async def applied() -> Observed | None:
            observed = await self.runtime.observe()
            await self.runtime.execute(plan(wanted, observed, self.settings.server_share, measured))
            observed = await self.runtime.observe()
            down = {server.name for server in observed.servers if not server.up}
            there = {server.name for server in observed.servers}
            return observed if is_applied(wanted, observed) and set(names) <= there - down else None

        found: Observed = await until(applied, "the members are followed")
        return found

    async def post(self, path: str = "/infer", body: bytes = b"{}", **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON body, headers; underscores of header names become dashes. Status 0: no answer."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            async with self.session.post(f"http://{HOST}:{self.port}{path}", data=body, headers=sent) as response:
                return response.status, json.loads(await response.read() or b"null"), dict(response.headers)
        except aiohttp.ClientError:
            return 0, None, {}

    async def posts(self, count: int, **headers: Any) -> list[tuple[int, Any, dict[str, str]]]:
        return await asyncio.gather(*(self.post(**headers) for _ in range(count)))


@asynccontextmanager
async def haproxy(**changes: Any) -> AsyncIterator[Haproxy]:
    """HAProxy with these settings; its folder is short, since a socket's path must be."""
    with tempfile.TemporaryDirectory(prefix="gw") as folder:
        held = [HeldPort(HOST) for _ in range(3)]
        traffic, metrics, tls = (f"{HOST}:{each}" for each in held)
        binds = Settings("digits", UID, folder=Path(folder), traffic_bind=traffic, metrics_bind=metrics, tls_bind=tls)
        running = Haproxy(replace(binds, threads=1, **changes))
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as running.session:
            try:
                await running.start()
                yield running
            finally:
                await running.stop()


async def until(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Wait for condition() to be true, awaiting it where it is a coroutine. Returns what it gave."""
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return result
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")


def log_socket(folder: Path) -> socket.socket:
    """A listener on HAProxy's log."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(os.fspath(folder / "log.sock"))
    listener.setblocking(False)
    return listener
