"""HTTP routes of the Open Inference Protocol v2, the probes and /metrics.

Every answer that is not a result is `{"error": "..."}`. A body is refused by its declared length before a byte of it
is read, and a chunked one as soon as it passes the limit.
"""

import asyncio
import logging
import time

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from server import VERSION
from server.config import Settings
from server.errors import BadRequest, BodyTooLarge, Mismatch, NotFound, NotReady, RequestError
from server.metrics import Metrics
from server.protocol import MODEL_VERSION, InferRequest, decode, encode
from server.state import Phase, Serving, State

SERVICE_HEADER = "X-Trainyard-Service"
DIGEST_HEADER = "X-Trainyard-Digest"
_CLIENT_LEFT = "499"
_LARGE = 256 * 1024  # bytes of JSON that take long enough to parse to be worth another thread
_log = logging.getLogger(__name__)


class Api:
    """The handlers of one server."""

    def __init__(self, settings: Settings, state: State, metrics: Metrics) -> None:
        self._settings = settings
        self._state = state
        self._metrics = metrics

    def application(self) -> web.Application:
        app = web.Application(
            client_max_size=self._settings.max_body_bytes,
            middlewares=[self._errors_as_json, self._for_this_service],
        )
        app.on_response_prepare.append(self._close_while_draining)
        model = "/v2/models/{model}"
        app.add_routes(
            [
                web.get("/v2", self._server),
                web.get("/v2/health/live", self._live),
                web.get("/v2/health/ready", self._ready),
                web.get("/metrics", self._show_metrics),
            ]
        )
        for prefix in (model, f"{model}/versions/{{version}}"):
            app.add_routes([web.get(prefix, self._metadata), web.get(f"{prefix}/ready", self._model_ready)])
            app.router.add_post(f"{prefix}/infer", self._infer, expect_handler=self._expect)
        return app

    async def _server(self, _request: web.Request) -> web.Response:
        return _json({"name": "trainyard-server", "version": VERSION, "extensions": []})

    async def _live(self, _request: web.Request) -> web.Response:
        return _json({"live": True})

    async def _ready(self, _request: web.Request) -> web.Response:
        self._require_ready()
        return _json({"ready": True})

    async def _model_ready(self, request: web.Request) -> web.Response:
        serving = self._serving(request)
        self._require_ready()
        return _json({"name": serving.name, "ready": True})

    async def _metadata(self, request: web.Request) -> web.Response:
        serving = self._serving(request)
        card = serving.model.card
        return _json(
            {
                "name": serving.name,
                "versions": [MODEL_VERSION],
                "platform": "pytorch",
                "inputs": [card.input.as_json()],
                "outputs": [spec.as_json() for spec in card.outputs],
                "parameters": {"digest": card.digest},
            }
        )

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        self._metrics.in_flight.set(self._state.in_flight)
        self._metrics.ready.set(self._state.phase is Phase.READY)
        return web.Response(body=self._metrics.render(), content_type="text/plain", charset="utf-8")

    async def _infer(self, request: web.Request) -> web.Response:
        started = time.perf_counter()
        code = _CLIENT_LEFT
        try:
            with self._state.request():
                response = await self._answer(request)
            code = str(response.status)
        except RequestError as error:
            code = str(error.status)
            raise
        finally:
            self._metrics.requests.labels(code).inc()
            self._metrics.latency.observe(time.perf_counter() - started)
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        serving = self._serving(request)
        asked = await self._decode(await self._body(request), serving)
        results = await serving.batcher.submit(asked.array)
        body = encode(asked, serving.model.card, serving.name, results)
        return web.Response(body=body, content_type="application/json")

    async def _body(self, request: web.Request) -> bytes:
        self._require_small(request)
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise self._too_large("more") from error

    async def _decode(self, body: bytes, serving: Serving) -> InferRequest:
        arguments = (body, serving.model.card, self._settings.max_batch)
        if len(body) < _LARGE:
            return decode(*arguments)
        return await asyncio.to_thread(decode, *arguments)  # probes must be answered meanwhile

    async def _expect(self, request: web.Request) -> web.StreamResponse | None:
        """Answer `Expect: 100-continue` with 413 rather than an invitation, where the body is too long."""
        try:
            self._require_small(request)
            if request.headers.get("Expect", "").lower() != "100-continue":
                raise BadRequest(f"the Expect header is {request.headers.get('Expect')!r}; expected 100-continue")
        except RequestError as error:  # middlewares have not begun yet
            return _refusal(error)
        if request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    def _require_small(self, request: web.Request) -> None:
        length = request.content_length
        if length is not None and length > self._settings.max_body_bytes:
            raise self._too_large(str(length))

    def _too_large(self, length: str) -> BodyTooLarge:
        limit = self._settings.max_body_bytes
        return BodyTooLarge(f"the request body has {length} bytes; expected at most {limit}: send fewer rows at once")

    def _serving(self, request: web.Request) -> Serving:
        serving = self._state.serving
        if serving is None:
            raise NotReady("the model is still loading; try again later")
        model, version = request.match_info["model"], request.match_info.get("version", MODEL_VERSION)
        if model != serving.name:
            raise NotFound(f"model {model!r} is not here; expected {serving.name!r}")
        if version != MODEL_VERSION:
            raise NotFound(f"version {version!r} of model {model!r} is not here; expected {MODEL_VERSION!r}")
        return serving

    def _require_ready(self) -> None:
        if self._state.phase is not Phase.READY:
            raise NotReady(f"the server is {self._state.phase}; expected {Phase.READY}")

    async def _close_while_draining(self, _request: web.Request, response: web.StreamResponse) -> None:
        if self._state.phase is Phase.DRAINING:
            # A pooled connection must not be picked in the moment of the exit. The header is set by hand because
            # aiohttp has decided on it before this hook runs.
            response.force_close()
            response.headers["Connection"] = "close"

    @web.middleware
    async def _for_this_service(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what was meant for another service: its address may be ours now."""
        self._compare(request, SERVICE_HEADER, self._settings.service_uid)
        if self._state.serving is not None:
            self._compare(request, DIGEST_HEADER, self._state.serving.model.card.digest)
        return await handler(request)

    @staticmethod
    def _compare(request: web.Request, header: str, own: str) -> None:
        wanted = request.headers.get(header, "")
        if wanted and wanted != own:
            raise Mismatch(f"{header} is {wanted!r}; this server has {own!r}")

    @web.middleware
    async def _errors_as_json(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except RequestError as error:
            return _refusal(error)
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            return _error(405, f"method {error.method} is not allowed here; expected {allowed}", {"Allow": allowed})
        except web.HTTPNotFound:
            return _error(404, f"path {request.path!r} is not here; see the Open Inference Protocol v2")
        except web.HTTPException as error:
            return _error(error.status, error.reason)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 - the caller gets a 500 in our own form, the log gets the traceback
            _log.exception("%s %s failed", request.method, request.path)
            return _error(500, "internal error; see the server's log")


def _refusal(error: RequestError) -> web.Response:
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    response = _error(error.status, str(error), headers)
    if isinstance(error, BodyTooLarge):
        response.force_close()  # the rest of the body is not worth reading
    return response


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = orjson.dumps({"error": message})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
