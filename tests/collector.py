"""A collector of traces on loopback: takes what OpenTelemetry's exporter sends, and keeps it as plain values."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SERVER_KIND, ERROR = 2, 2
"""Of the protocol: SPAN_KIND_SERVER and STATUS_CODE_ERROR."""


@dataclass(frozen=True)
class Seen:
    """A span that came in; ids in hexadecimal, parent "" for none."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    began_ns: int
    ended_ns: int
    server: bool
    failed: bool
    attributes: dict[str, Any]
    links: tuple[str, ...]


@dataclass
class Collector:
    """`status`: what it answers; anything but 200 is a refusal."""

    endpoint: str = ""
    status: int = 200
    spans: list[Seen] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def named(self, name: str, trace: str = "") -> list[Seen]:
        return [each for each in self.spans if each.name == name and trace in ("", each.trace)]

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.status == 200:
            self.bodies.append(body)
            self.spans += _seen(ExportTraceServiceRequest.FromString(body))
        return web.Response(status=self.status)


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    found = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", found.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        await runner.cleanup()


def _seen(request: Any) -> Iterable[Seen]:
    for resource in request.resource_spans:
        service = _values(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Seen(
                    service,
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.kind == SERVER_KIND,
                    span.status.code == ERROR,
                    _values(span.attributes),
                    tuple(link.span_id.hex() for link in span.links),
                )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
