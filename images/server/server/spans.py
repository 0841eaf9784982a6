"""Spans of requests: a middleware for REST, an interceptor for gRPC. Imported only where there is a collector.

A span has names, numbers and times, never a header's value or anything of a body.
"""

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import grpc
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from telemetry.export import Exporter
from telemetry.span import TRACEPARENT, Ids, Parent, Span, error_of, is_sampled, new_span, parse_traceparent

from server.config import Settings
from server.tracing import TRACE, Waited

_QUIET = ("/metrics", "/v2/health/live", "/v2/health/ready")
"""Asked all the time by machines."""
_QUIET_CALLS = ("ServerLive", "ServerReady")
_LINKS = 128
Send = Callable[[Span], None]


class Tracing:
    """Begins and ends the traces of one server."""

    def __init__(self, exporter: Exporter, ratio: float, random: Random) -> None:
        """ratio: part of the requests that is traced where the caller does not say."""
        self._exporter, self._ratio, self._random = exporter, ratio, random

    def request(self, header: str | None) -> "_Request | None":
        """The trace of a request with this header; None for one that is not traced."""
        parent = parse_traceparent(header)
        return (
            _Request(self._exporter.send, self._random, parent)
            if is_sampled(parent, self._ratio, self._random)
            else None
        )

    def middleware(self) -> Middleware:
        """Of aiohttp; the outermost, so that it sees every status."""

        @web.middleware
        async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
            trace = None if request.path in _QUIET else self.request(request.headers.get(TRACEPARENT))
            if trace is None:
                return await handler(request)
            token, status = TRACE.set(trace), None
            try:
                response = await handler(request)
                status = response.status
                return response
            finally:
                TRACE.reset(token)
                _ended(trace, request, status)

        return traced

    def interceptor(self) -> grpc.aio.ServerInterceptor:
        """Of gRPC."""
        return _Interceptor(self)

    def close(self) -> None:
        """Send what is left, for a short time; blocks."""
        self._exporter.close()


def tracing(settings: Settings) -> Tracing:
    """What the settings ask for."""
    process = {"service.namespace": settings.namespace, "service.instance.id": socket.gethostname()}
    exporter = Exporter(settings.otlp_endpoint, settings.model_name or "trainyard-server", process)
    return Tracing(exporter, settings.trace_ratio, Random())  # noqa: S311 - ids are no secrets


class _Request:
    """The trace of one request; see tracing.RequestTrace."""

    def __init__(self, send: Send, random: Random, parent: Parent | None) -> None:
        self._send, self._random = send, random
        self.ids = new_span(random, parent.ids.trace if parent else None)
        self._parent = parent.ids.span if parent else None
        self._began = time.perf_counter_ns()
        self._epoch = time.time_ns() - self._began
        self._attributes: dict[str, str | int | bool] = {}

    def serves(self, model: str, version: str) -> None:
        self._attributes |= {"trainyard.model": model, "trainyard.model.version": version}

    def stages(self, stages: Mapping[str, tuple[int, int]]) -> None:
        for name, (began, ended) in stages.items():
            self.part(name, began, ended)

    def batch(self, waited: Sequence[Waited], rows: int, began_ns: int, ended_ns: int) -> None:
        """The batch is a trace of its own; each of its requests has a part that is linked to it, and the other way round."""
        batch = new_span(self._random)
        parts = []
        for one in waited:
            if isinstance(one.trace, _Request):
                one.trace.part("queue", one.since_ns, began_ns)
                parts.append(one.trace.part("compute", began_ns, ended_ns, batch))
        attributes = {"trainyard.batch.rows": rows, "trainyard.batch.traced_requests": len(waited)}
        times = (self._epoch + began_ns, self._epoch + ended_ns)
        self._send(Span("batch", batch, *times, attributes=attributes, links=tuple(parts[:_LINKS])))

    def end(self, name: str, attributes: Mapping[str, str | int | bool], error: str) -> None:
        """The request is over."""
        told = {**attributes, **self._attributes, **({"error.type": error} if error else {})}
        times = (self._epoch + self._began, self._epoch + time.perf_counter_ns())
        self._send(Span(name, self.ids, *times, self._parent, of_request=True, attributes=told, error=error))

    def part(self, name: str, began_ns: int, ended_ns: int, link: Ids | None = None) -> Ids:
        """Something that is part of the request."""
        ids = new_span(self._random, self.ids.trace)
        times = (self._epoch + began_ns, self._epoch + ended_ns)
        self._send(Span(name, ids, *times, self.ids.span, links=() if link is None else (link,)))
        return ids


def _ended(trace: _Request, request: web.Request, status: int | None) -> None:
    """status: None where there was no answer, since the caller left or the connection broke."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else ""
    attributes: dict[str, str | int | bool] = {"http.request.method": request.method}
    attributes |= {"http.route": route} if route else {}
    attributes |= {"http.response.status_code": status} if status is not None else {}
    error = "no answer" if status is None else error_of(status)
    trace.end(f"{request.method} {route}".strip(), attributes, error)


class _Interceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types here
    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        name = str(details.method).rpartition("/")[2]
        metadata = dict(details.invocation_metadata or ())
        trace = None if handler is None or name in _QUIET_CALLS else self._tracing.request(metadata.get(TRACEPARENT))
        if trace is None:
            return handler

        async def traced(request: Any, context: Any) -> Any:
            token, code = TRACE.set(trace), grpc.StatusCode.CANCELLED
            try:
                answer = await handler.unary_unary(request, context)
            except grpc.aio.AbortError:
                code = context.code()
                raise
            else:
                code = grpc.StatusCode.OK
                return answer
            finally:
                TRACE.reset(token)
                attributes = {"rpc.system": "grpc", "rpc.method": name, "rpc.grpc.status_code": code.value[0]}
                trace.end(name, attributes, "" if code is grpc.StatusCode.OK else code.name)

        return grpc.unary_unary_rpc_method_handler(traced, handler.request_deserializer, handler.response_serializer)
