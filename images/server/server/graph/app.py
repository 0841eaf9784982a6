"""HTTP of a router: the inference of V2, the probes and /metrics. What it does not have is at the stages' own servers."""

import asyncio
import logging

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from server.bodies import Bodies
from server.errors import BadRequest, Mismatch, NotFound, NotReady, QueueFull, RequestError
from server.graph.asking import DEPTH_HEADER, Asker, StageFailed
from server.graph.metrics import RouterMetrics
from server.graph.settings import RouterSettings
from server.graph.stages import through
from server.graph.tensors import Tensor, tensors_of
from server.outcome import Outcome
from server.protocol import LENGTH_HEADER, parse
from server.replies import failure, ok, refusal
from server.tensors import as_object, shown
from server.terms import terms_of, timeout_of

MOST_GRAPHS = 8
"""One inside the other; more are taken for a circle that the operator has not seen yet."""
_log = logging.getLogger(__name__)


class Router:
    """One replica. `draining` is set by whoever stops it."""

    def __init__(self, settings: RouterSettings) -> None:
        self.settings, self.metrics = settings, RouterMetrics()
        self.draining, self.in_flight = False, 0
        self._bodies = Bodies(settings.max_body_bytes)
        self._session: aiohttp.ClientSession | None = None

    def application(self) -> web.Application:
        app = web.Application(client_max_size=self.settings.max_body_bytes, middlewares=[self._errors_as_json])
        app.cleanup_ctx.append(self._connections)
        app.add_routes([web.get("/v2/health/live", self._live), web.get("/v2/health/ready", self._ready)])
        app.add_routes([web.get("/metrics", self._show_metrics)])
        for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version:1}"):
            app.add_routes([web.get(prefix, self._metadata), web.get(f"{prefix}/ready", self._ready)])
            app.router.add_post(f"{prefix}/infer", self._counted, expect_handler=self._bodies.expect)
        return app

    async def _connections(self, _app: web.Application):  # type: ignore[no-untyped-def] # noqa: ANN202 - aiohttp's
        connector = aiohttp.TCPConnector(limit=0)  # requests in flight are bounded, and so are connections
        async with aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(), auto_decompress=False
        ) as self._session:
            yield

    async def _live(self, _request: web.Request) -> web.Response:
        return ok({"live": True})

    async def _ready(self, request: web.Request) -> web.Response:
        self._require_meant_for_us(request)
        if self.draining:
            raise NotReady("the router is draining; expected ready")
        return ok({"name": self.settings.name, "ready": True})

    async def _metadata(self, request: web.Request) -> web.Response:
        self._require_meant_for_us(request)
        stages = ", ".join(stage.name for stage in self.settings.stages)
        about = {"digest": self.settings.digest, "stages": stages}
        tensors: dict[str, list[object]] = {"inputs": [], "outputs": []}  # the stages know them
        return ok({"name": self.settings.name, "versions": ["1"], "platform": "graph", **tensors, "parameters": about})

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        self.metrics.in_flight.set(self.in_flight)
        return web.Response(body=self.metrics.render(), content_type="text/plain", charset="utf-8")

    async def _counted(self, request: web.Request) -> web.Response:
        self.in_flight += 1
        try:
            with Outcome(self.metrics.requests.labels, self.metrics.latency):
                return await self._infer(request)
        finally:
            self.in_flight -= 1

    async def _infer(self, request: web.Request) -> web.Response:
        self._require_meant_for_us(request)
        if self.in_flight > self.settings.max_queue:
            raise QueueFull(f"{self.settings.max_queue} requests are in flight, which is the limit; try again later")
        received = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(received + self.settings.request_seconds):
                body = await self._bodies.read(request)
        except TimeoutError as error:
            raise StageFailed("request", 504, "the body did not come in time") from error
        if LENGTH_HEADER in request.headers:
            raise BadRequest(f"the header {LENGTH_HEADER} is set; a graph takes tensors in JSON, not in binary")
        fields = as_object(parse(body), "the request body")
        terms = terms_of(request.headers, timeout_of(fields.get("parameters")))
        until = received + min(terms.seconds, self.settings.request_seconds)
        assert self._session is not None
        most = self.settings.max_body_bytes
        asker = Asker(self._session, self.metrics, request.headers, until, _depth(request), most)
        outputs = await through(self.settings.stages, asker, tensors_of(fields.get("inputs"), "inputs"))
        reply = {"model_name": self.settings.name, "model_version": "1", "outputs": _asked_for(fields, outputs)}
        return ok(reply | ({"id": fields["id"]} if isinstance(fields.get("id"), str) else {}))

    def _require_meant_for_us(self, request: web.Request) -> None:
        """Refuse what was meant for another: its address may be ours now. Raises Mismatch, NotFound."""
        for header, own in (
            ("X-Trainyard-Service", self.settings.service_uid),
            ("X-Trainyard-Digest", self.settings.digest),
        ):
            told = request.headers.get(header)
            if told and told != own:
                raise Mismatch(f"{header} is {told!r}; this router has {own!r}")
        model = request.match_info.get("model", self.settings.name)
        if model != self.settings.name:
            raise NotFound(f"model {model!r} is not here; expected {self.settings.name!r}")

    @web.middleware
    async def _errors_as_json(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except RequestError as error:
            response = refusal(error)
        except web.HTTPException as error:
            return failure(error.status, f"{error.reason}: a graph answers /v2/models/{self.settings.name}/infer")
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 - the caller gets a 500 in our own form, the log gets the traceback
            _log.exception("%s %s failed", request.method, request.path)
            return failure(500, "internal error; see the router's log")
        if self.draining:
            response.force_close()
        return response


def _depth(request: web.Request) -> int:
    """Graphs that the request came through. Raises StageFailed where they are too many for one that ends."""
    text = request.headers.get(DEPTH_HEADER, "0")
    if not text.isdecimal() or int(text) >= MOST_GRAPHS:
        raise StageFailed("request", 508, f"came through {text[:20]} graphs; expected fewer than {MOST_GRAPHS}")
    return int(text)


def _asked_for(fields: dict[str, object] | object, outputs: dict[str, Tensor]) -> list[dict[str, object]]:
    """The outputs that the request names, or all. Raises BadRequest."""
    asked = as_object(fields, "the request body").get("outputs") or [{"name": name} for name in outputs]
    if not isinstance(asked, list):
        raise BadRequest(f"outputs is {shown(asked)}; expected a list of objects with a name")
    found = []
    for index, entry in enumerate(asked):
        name = as_object(entry, f"outputs[{index}]").get("name")
        if not isinstance(name, str) or name not in outputs:
            raise BadRequest(f"outputs[{index}].name is {shown(name)}; expected one of {', '.join(outputs)}")
        found.append(outputs[name].as_json(name))
    return found
