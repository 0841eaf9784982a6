"""gRPC beside tests/unit/gateway/rig.py: replicas that speak it, HAProxy with a port for it, and callers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import grpc
from gateway.members import Member

from dev.ports import HeldPort
from tests.unit.gateway.rig import HOST, Haproxy, Replica, haproxy, replicas

SERVICE = "inference.GRPCInferenceService"
Answer = tuple[str, str]


@dataclass
class GrpcReplica(Replica):
    """A model server that answers ModelInfer with its name; health is asked over HTTP. `status` spoils its answers."""

    grpc_port: int = 0
    status: grpc.StatusCode | None = None
    working: int = 0
    most: int = 0

    @property
    def member(self) -> Member:
        return replace(super().member, grpc_port=self.grpc_port)

    async def infer(self, request: bytes, context: Any) -> bytes:
        self.asked += 1
        self.working += 1
        self.most = max(self.most, self.working)
        self.headers.append(dict(context.invocation_metadata()))
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.working -= 1
        if self.status is not None:
            await context.abort(self.status, f"{self.name} is broken")
        return self.name.encode() + request


@asynccontextmanager
async def grpc_replicas(*wanted: GrpcReplica) -> AsyncIterator[None]:
    async with replicas(*wanted), AsyncExitStack() as stack:
        for replica in wanted:
            server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
            methods = {"ModelInfer": grpc.unary_unary_rpc_method_handler(replica.infer)}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
            replica.grpc_port = server.add_insecure_port(f"{HOST}:0")
            await server.start()
            stack.push_async_callback(server.stop, None)
        yield


class Caller:
    """One connection, whatever is asked over it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._ask = channel.unary_unary(f"/{SERVICE}/ModelInfer")

    async def ask(self, body: bytes = b"", **metadata: str) -> Answer:
        """("OK", the answer), or status and words; underscores of the names of metadata become dashes."""
        sent = [(name.replace("_", "-"), value) for name, value in metadata.items()]
        try:
            return "OK", (await self._ask(body, metadata=sent, timeout=20)).decode()
        except grpc.aio.AioRpcError as error:
            return error.code().name, error.details() or ""

    async def asks(self, count: int, **metadata: str) -> list[Answer]:
        return await asyncio.gather(*(self.ask(b"", **metadata) for _ in range(count)))


@asynccontextmanager
async def grpc_gateway(**changes: Any) -> AsyncIterator[tuple[Haproxy, Caller]]:
    """HAProxy that offers gRPC, and one plain connection to it."""
    port = HeldPort(HOST)
    bind = f"{HOST}:{port}"
    async with haproxy(grpc=True, grpc_bind=bind, **changes) as running, grpc.aio.insecure_channel(bind) as channel:
        yield running, Caller(channel)


def answerers(answers: Sequence[Answer]) -> list[str]:
    """Names of the replicas that answered; fails for a refusal."""
    assert {status for status, _ in answers} == {"OK"}, answers
    return [name for _, name in answers]
