"""GET /metrics: the registry in the format that the caller asks for, OpenMetrics or Prometheus text.

It is rendered and compressed in a thread, since that takes seconds with ten thousand objects; collectors look after
themselves. Anybody in the cluster may ask, so nothing here grows with those who do: one rendering at a time, a few
callers at once, and a time by which an answer must have been read.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family

from trainyard.metrics.sample import Rows

HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Encode = Callable[["_Few"], bytes]
PLACES = 8
"""Callers at once, those that still read their answer included; others are asked to come back."""
READ_SECONDS = 30.0
"""Whoever has not read the answer by then is hung up on: it lies in memory until then."""
_COMPRESSION = 1
"""Names of labels repeat themselves: more effort saves hardly any bytes."""
_GZIP = 31
"""Window bits that make zlib write gzip's header."""


class _Few:
    """A registry of these families, in the shape that encoders take."""

    def __init__(self, *families: Family) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        return iter(self._families)


class _Exposition:
    """Serves one registry."""

    def __init__(self, registry: CollectorRegistry, read_seconds: float) -> None:
        self._registry = registry
        self._read_seconds = read_seconds
        self._turn = asyncio.Semaphore(1)
        self._callers = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self._callers >= PLACES:
            said = f"{PLACES} scrapes are being answered; expected are a few at a time, try again later\n"
            return web.Response(status=503, text=said, headers={"Retry-After": "5"})
        self._callers += 1
        try:
            return await self._answer(request)
        finally:
            self._callers -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        headers = {"Content-Type": content_type}
        zipped = "gzip" in request.headers.get("Accept-Encoding", "").lower()
        if zipped:
            headers["Content-Encoding"] = "gzip"
        async with self._turn:
            body = await asyncio.to_thread(self._rendered, encode, zipped)
        response = web.Response(body=body, headers=headers)
        try:
            async with asyncio.timeout(self._read_seconds):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # the caller left
        return response

    def _rendered(self, encode: Encode, zipped: bool) -> bytes:
        """Family by family: the whole text of a large cluster is longer than all that is known of it."""
        if not zipped:
            return b"".join(self._pieces(encode))
        press = zlib.compressobj(_COMPRESSION, wbits=_GZIP)
        return b"".join([*map(press.compress, self._pieces(encode)), press.flush()])

    def _pieces(self, encode: Encode) -> Iterator[bytes]:
        end = encode(_Few())
        for family in self._registry.collect():
            rows = family.samples
            if isinstance(rows, Rows):
                yield encode(_Few(_head(family))).removesuffix(end)
                yield rows.text().encode()
            else:
                yield encode(_Few(_without_created(family))).removesuffix(end)
        yield end


def metrics_handler(registry: CollectorRegistry, read_seconds: float = READ_SECONDS) -> HttpHandler:
    """A handler that serves `registry`."""
    return _Exposition(registry, read_seconds).handle


def _without_created(family: Family) -> Family:
    """Prometheus keeps `_created` as a series of its own, a third of all of a counter's, and nobody queries it."""
    if not any(sample.name.endswith("_created") for sample in family.samples):
        return family
    kept = _head(family)
    kept.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
    return kept


def _head(family: Family) -> Family:
    """The head alone."""
    return Family(family.name, family.documentation, family.type, family.unit)
