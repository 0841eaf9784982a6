"""Spans of requests, from the lines that HAProxy leaves of them. Imported only where there is a collector.

HAProxy chose the ids when the request came (sections.py), since the replica had to be told. A span has names, numbers and
times, never a header's value or anything of a body.
"""

from collections.abc import Callable, Mapping
from random import Random

from telemetry.export import Exporter
from telemetry.span import Ids, Span, error_of, new_span

from gateway.config import Settings
from gateway.traffic import fields_of, whole

_MS = 1_000_000


class Spans:
    """Takes lines, sends spans."""

    def __init__(self, send: Callable[[Span], None], random: Random) -> None:
        self._send, self._random = send, random

    def take(self, line: str) -> None:
        """Send the spans of one line of HAProxy's log; one of a request that is not traced has none."""
        fields = fields_of(line)
        if fields.get("sampled") != "01":
            return
        request = request_span(fields)
        if request is None:
            return
        self._send(request)
        for name, began_ns, ended_ns in waits(fields, request):
            self._send(Span(name, new_span(self._random, request.ids.trace), began_ns, ended_ns, request.ids.span))


def request_span(fields: Mapping[str, str]) -> Span | None:
    """The gateway's span of a request; None for a line that was cut off."""
    total, head, at = (whole(fields.get(name)) for name in ("total_ms", "head_ms", "at_us"))
    trace, span, parent = (_id(fields.get(name)) for name in ("trace", "span", "parent"))
    if total is None or at is None or not trace or not span:
        return None
    began_ns = at * 1000 - max(0, head or 0) * _MS
    status = whole(fields.get("status"))
    answered = status is not None and status > 0
    error = error_of(status) if status is not None and answered else "no answer"
    if grpc_status := whole(fields.get("grpc_status")):
        error = str(grpc_status)
    method, path = fields.get("method", ""), fields.get("path", "")
    told: dict[str, str | int | bool] = {"http.request.method": method, "url.path": path}
    told |= {"http.response.status_code": status} if status is not None and answered else {}
    told |= {"rpc.system": "grpc", "rpc.grpc.status_code": grpc_status} if grpc_status else {}
    told |= {"trainyard.replica": fields["server"]} if fields.get("server", "<NOSRV>") != "<NOSRV>" else {}
    told |= {"trainyard.backend": fields.get("backend", ""), "trainyard.termination": fields.get("term", "")}
    told |= {"trainyard.retries": tries} if (tries := whole(fields.get("retries", "").lstrip("+"))) else {}
    told |= {"error.type": error} if error else {}
    ended_ns = began_ns + max(0, total) * _MS
    return Span(method, Ids(trace, span), began_ns, ended_ns, parent, of_request=True, attributes=told, error=error)


def waits(fields: Mapping[str, str], request: Span) -> list[tuple[str, int, int]]:
    """What a request waited for, as name, begin and end: a first replica, then its turn at one."""
    began_ns = request.began_ns + max(0, whole(fields.get("head_ms")) or 0) * _MS
    held_ns = (whole(fields.get("held_ms")) or 0) * _MS
    queued = whole(fields.get("queue_ms")) or 0
    ended_ns = request.ended_ns if queued < 0 else began_ns + queued * _MS
    found = [("hold", began_ns, began_ns + held_ns)] if held_ns else []
    return found + ([("queue", began_ns + held_ns, ended_ns)] if ended_ns > began_ns + held_ns else [])


def spans(settings: Settings) -> tuple[Spans, Callable[[], None]]:
    """What the settings ask for, and what ends it."""
    process = {"service.namespace": settings.namespace, "service.instance.id": settings.pod}
    exporter = Exporter(settings.otlp_endpoint, f"{settings.service}-gateway", process)
    return Spans(exporter.send, Random()), exporter.close  # noqa: S311 - ids are no secrets


def _id(text: str | None) -> int | None:
    try:
        return int(text or "", 16)
    except ValueError:
        return None
