"""HTTP routes of the Open Inference Protocol v2, the probes and /metrics.

Every answer that is not a result is `{"error": "..."}`. What a request goes through is in inference.py, V1 in v1.py,
explanations in explain/routes.py, the repository extension in repository_routes.py.
"""

import asyncio
import logging
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from server.bodies import Bodies
from server.describing import model_metadata, server_metadata
from server.errors import RequestError
from server.explain.routes import ExplainRoutes
from server.inference import Inference, Results
from server.openai import OpenAiRoutes
from server.protocol import LENGTH_HEADER, InferRequest, decode, encode
from server.replies import failure, ok, refusal, tensors
from server.repository_routes import RepositoryRoutes
from server.state import Phase, Serving
from server.v1 import V1Routes

_OPENAPI = Path(__file__).with_name("openapi.json")
_log = logging.getLogger(__name__)


class Api:
    """The handlers of one server."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._settings = inference.settings
        self._state = inference.state
        self._repository = inference.repository
        self._metrics = inference.metrics
        self._bodies = Bodies(inference.settings.max_body_bytes)
        self._document = _OPENAPI.read_bytes()

    def application(self) -> web.Application:
        app = web.Application(
            client_max_size=self._settings.max_body_bytes,
            middlewares=[self._errors_as_json, self._for_this_service],
        )
        app.on_response_prepare.append(self._close_while_draining)
        app.add_routes(
            [
                web.get("/v2", self._server),
                web.get("/v2/health/live", self._live),
                web.get("/v2/health/ready", self._ready),
                web.get("/v2/models/stats", self._all_statistics),
                web.get("/metrics", self._show_metrics),
                web.get("/openapi.json", self._openapi),
            ]
        )
        prefixes = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
        for prefix in prefixes:  # first, since the router tries one after another
            app.router.add_post(f"{prefix}/infer", self._infer, expect_handler=self._bodies.expect)
        for prefix in prefixes:
            app.add_routes(
                [
                    web.get(prefix, self._metadata),
                    web.get(f"{prefix}/ready", self._model_ready),
                    web.get(f"{prefix}/stats", self._statistics),
                ]
            )
        app.add_routes(RepositoryRoutes(self._repository, self._bodies).routes())
        V1Routes(self._inference, self._bodies).add_to(app)
        ExplainRoutes(self._inference, self._bodies).add_to(app)
        OpenAiRoutes(self._inference, self._bodies).add_to(app)
        return app

    async def _server(self, _request: web.Request) -> web.Response:
        return ok(server_metadata(repository=self._settings.repository is not None))

    async def _live(self, _request: web.Request) -> web.Response:
        return ok({"live": True})

    async def _ready(self, _request: web.Request) -> web.Response:
        self._inference.require_ready()
        return ok({"ready": True})

    async def _model_ready(self, request: web.Request) -> web.Response:
        serving = self._serving(request)
        self._inference.require_ready()
        return ok({"name": serving.name, "ready": True})

    async def _metadata(self, request: web.Request) -> web.Response:
        serving = self._serving(request)
        return ok(model_metadata(serving, self._repository.versions(serving.name)))

    async def _statistics(self, request: web.Request) -> web.Response:
        one, version = self._serving(request), request.match_info.get("version")
        asked = [
            serving
            for serving in self._repository.serving
            if serving.name == one.name and version in (None, serving.version)
        ]
        return ok({"model_stats": [serving.statistics.as_json(serving.name, serving.version) for serving in asked]})

    async def _all_statistics(self, _request: web.Request) -> web.Response:
        every = self._repository.serving
        return ok({"model_stats": [serving.statistics.as_json(serving.name, serving.version) for serving in every]})

    async def _openapi(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json")

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        self._metrics.in_flight.set(self._state.in_flight)
        self._metrics.queue_depth.set(sum(serving.batcher.waiting for serving in self._repository.serving))
        self._metrics.ready.set(self._state.phase is Phase.READY)
        return web.Response(body=self._metrics.render(), content_type="text/plain", charset="utf-8")

    async def _infer(self, request: web.Request) -> web.Response:
        json_length = request.headers.get(LENGTH_HEADER)

        async def read() -> tuple[bytes, int]:
            body = await self._bodies.read(request)
            return body, len(body)

        def decoded(body: bytes, serving: Serving) -> InferRequest:
            return decode(body, serving.model.card, serving.batcher.limits.max_batch, json_length)

        return await self._inference.answer(request.headers, lambda: self._serving(request), read, decoded, _encoded)

    def _serving(self, request: web.Request) -> Serving:
        return self._inference.find(request.match_info["model"], request.match_info.get("version"))

    async def _close_while_draining(self, _request: web.Request, response: web.StreamResponse) -> None:
        if self._state.phase is Phase.DRAINING:
            # A pooled connection must not be picked in the moment of the exit. The header is set by hand because
            # aiohttp has decided on it before this hook runs.
            response.force_close()
            response.headers["Connection"] = "close"

    @web.middleware
    async def _for_this_service(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._inference.require_meant_for_us(request.headers)
        return await handler(request)

    @web.middleware
    async def _errors_as_json(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except RequestError as error:
            return refusal(error)
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            return failure(405, f"method {error.method} is not allowed here; expected {allowed}", {"Allow": allowed})
        except web.HTTPNotFound:
            return failure(404, f"path {request.path!r} is not here; see the Open Inference Protocol v2")
        except web.HTTPException as error:
            return failure(error.status, error.reason)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 - the caller gets a 500 in our own form, the log gets the traceback
            _log.exception("%s %s failed", request.method, request.path)
            return failure(500, "internal error; see the server's log")


def _encoded(asked: InferRequest, serving: Serving, results: Results) -> web.Response:
    return tensors(encode(asked, serving.model.card, serving.name, results, serving.version))
