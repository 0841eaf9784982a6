"""Spans to a collector: OTLP over http with protobuf, by OpenTelemetry's exporter.

A thread sends them in batches. What comes while the queue is full, or cannot be sent within seconds, is dropped: nobody
waits for a collector, and nothing but spans is lost with one.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from telemetry.span import Ids, Span

QUEUE_SPANS = 4096
_BATCH_SPANS = 512
_DELAY_MILLISECONDS = 1000
_SEND_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
_SAY_SECONDS = 60.0
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Exporter:
    """Sends spans of one process."""

    def __init__(self, endpoint: str, service: str, attributes: Mapping[str, str]) -> None:
        """endpoint: base of a collector's, such as http://collector:4318. service, attributes: what the process is."""
        known = {"service.name": service} | {key: value for key, value in attributes.items() if value}
        self._resource = Resource.create(known)
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_SEND_SECONDS)
        self._queue = BatchSpanProcessor(exporter, QUEUE_SPANS, _DELAY_MILLISECONDS, _BATCH_SPANS)
        logging.getLogger(OTLPSpanExporter.__module__).addFilter(_NOW_AND_THEN)

    def send(self, span: Span) -> None:
        """Put a span in the queue; returns at once."""
        parent = None if span.parent is None else _context(Ids(span.ids.trace, span.parent))
        self._queue.on_end(
            ReadableSpan(
                name=span.name,
                context=_context(span.ids),
                parent=parent,
                resource=self._resource,
                attributes=span.attributes,
                links=[Link(_context(ids)) for ids in span.links],
                kind=SpanKind.SERVER if span.of_request else SpanKind.INTERNAL,
                status=Status(StatusCode.ERROR if span.error else StatusCode.UNSET),
                start_time=span.began_ns,
                end_time=span.ended_ns,
            )
        )

    def close(self) -> None:
        """Send what is left, for two seconds at most; blocks."""
        ending = threading.Thread(target=self._queue.shutdown, name="spans-close", daemon=True)
        ending.start()
        ending.join(_CLOSE_SECONDS)


class NowAndThen(logging.Filter):
    """A collector that is away is told of once a minute."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic, self._said = monotonic, -_SAY_SECONDS

    def filter(self, _record: logging.LogRecord) -> bool:
        now = self._monotonic()
        if now - self._said < _SAY_SECONDS:
            return False
        self._said = now
        return True


_NOW_AND_THEN = NowAndThen()


def _context(ids: Ids) -> SpanContext:
    return SpanContext(ids.trace, ids.span, is_remote=False, trace_flags=_SAMPLED)
