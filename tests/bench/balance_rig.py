"""Parts of the benchmark `balance`: replicas that compute one request at a time, and the gateways in front of them."""

import asyncio
import queue
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from gateway.config import from_environment
from gateway.members import Member, Membership
from gateway.plan import plan
from gateway.render import write
from gateway.runtime import Runtime, RuntimeUnavailable

from tests.e2e.gateway_rig import DIGEST, HOST, Gateway, Operator, Replica, until
from trainyard.api.gateway import Gateway as GatewaySpec


@dataclass
class Worker(Replica):
    """A replica that computes one request at a time. A thread sleeps for it, since an event loop's timers are a millisecond late."""

    slowness: float = 1.0
    _waiting: queue.SimpleQueue[tuple[float, float, asyncio.Future[None]] | None] = field(
        default_factory=queue.SimpleQueue
    )

    async def start(self) -> None:
        await super().start()
        assert self.runner is not None
        self.port = self.runner.addresses[0][1]
        self._thread = threading.Thread(target=self._work, args=(asyncio.get_running_loop(),), daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        self._waiting.put(None)
        await super().stop()

    async def _infer(self, request: web.Request) -> web.Response:
        seconds = float(await request.text()) * self.slowness
        done = asyncio.get_running_loop().create_future()
        self._waiting.put((time.monotonic(), seconds, done))
        await done
        self.answered += 1
        return web.json_response({})

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        free_at = 0.0
        while (given := self._waiting.get()) is not None:
            came, seconds, done = given
            free_at = max(came, free_at) + seconds
            time.sleep(max(0.0, free_at - time.monotonic()))
            loop.call_soon_threadsafe(_finish, done)


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


class RoundRobin(Gateway):
    """The same HAProxy as a Service or a common load balancer would use it: each in turn, as many as come."""

    async def start(self, members: list[Member]) -> None:
        settings = from_environment(self._environment)
        write(settings)
        text = settings.haproxy_config.read_text()
        assert "balance leastconn" in text
        settings.haproxy_config.write_text(text.replace("balance leastconn", "balance roundrobin"))
        with (self.folder / "haproxy.log").open("wb") as log:
            command = ("haproxy", "-db", "-f", str(settings.haproxy_config))
            self.haproxy = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        runtime = Runtime(settings)

        async def up() -> bool:
            try:
                observed = await runtime.observe()
                await runtime.execute(plan(Membership(1, tuple(members)), observed, 0))
            except RuntimeUnavailable:
                return False
            return sum(one.up for one in observed.servers) == len(members)

        await until(up, "HAProxy has all servers")


@asynccontextmanager
async def served(spec: GatewaySpec | None, slowness: Sequence[float]) -> AsyncIterator[tuple[list[Worker], list[int]]]:
    """Replicas of this slowness, and the ports of the gateways in front of them; without a spec of one that goes round robin."""
    async with AsyncExitStack() as stack:
        workers = [Worker(f"digits-{number}", port=0, slowness=each) for number, each in enumerate(slowness)]
        for worker in workers:
            await worker.start()
            stack.push_async_callback(worker.stop)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bl")))
        operator = Operator(folder)
        operator.want(*(worker.member() for worker in workers))
        await operator.start()
        stack.push_async_callback(operator.stop)
        ports = []
        for number in range(spec.replicas if spec else 1):
            own = folder / str(number)
            own.mkdir()
            gateway = RoundRobin(own, operator) if spec is None else Gateway(own, operator, **_variables(spec))
            stack.push_async_callback(gateway.stop)
            if isinstance(gateway, RoundRobin):
                await gateway.start([Member(each.name, HOST, each.port, digest=DIGEST) for each in workers])
            else:
                await gateway.start_haproxy()
                await gateway.start_sidecar()
                await until(gateway.ready, "the gateway is ready")
            ports.append(gateway.traffic)
        yield workers, ports


def _variables(spec: GatewaySpec) -> dict[str, str]:
    """As the operator sets them in the gateway's Deployment."""
    return {
        "TRAINYARD_SERVER_MAXCONN": str(spec.max_concurrency),
        "TRAINYARD_GATEWAYS": str(spec.replicas),
        "TRAINYARD_QUEUE_LIMIT": str(spec.queue_limit),
        "TRAINYARD_RETRIES": str(spec.retries),
    }
