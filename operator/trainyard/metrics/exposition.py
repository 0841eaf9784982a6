"""GET /metrics: the registry in the format that the caller asks for, OpenMetrics or Prometheus text.

It is rendered in a thread, since that takes seconds with ten thousand objects; collectors look after themselves.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family

HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Filtered:
    """A registry without the series that nobody wants, in the shape that encoders take."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Family]:
        return map(_without_created, self._registry.collect())


def metrics_handler(registry: CollectorRegistry) -> HttpHandler:
    """A handler that serves `registry`."""
    turn = asyncio.Semaphore(1)

    async def handle(request: web.Request) -> web.StreamResponse:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # One at a time: impatient or many scrapers must not multiply the work.
        async with turn:
            text = await asyncio.to_thread(encode, _Filtered(registry))
        response = web.Response(body=text, headers={"Content-Type": content_type})
        response.enable_compression()
        return response

    return handle


def _without_created(family: Family) -> Family:
    """Prometheus keeps `_created` as a series of its own, a third of all of a counter's, and nobody queries it."""
    if not any(sample.name.endswith("_created") for sample in family.samples):
        return family
    kept = Family(family.name, family.documentation, family.type, family.unit)
    kept.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
    return kept
