"""POST .../explain of V2 and :explain of V1."""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from aiohttp import web

from server.bodies import Bodies
from server.explain.explaining import explain
from server.explain.gradients import require_explainable
from server.explain.requests import Asked, decode, decode_v1, encode, encode_v1
from server.inference import LARGE, Inference, Results
from server.outcome import Outcome
from server.protocol import LENGTH_HEADER
from server.replies import tensors
from server.state import Serving
from server.terms import terms_of

Decode = Callable[[bytes, Serving], Asked]
Encode = Callable[[Asked, Serving, Results], web.Response]


class ExplainRoutes:
    """Handlers. An explanation is in flight like an inference, but counted apart."""

    def __init__(self, inference: Inference, bodies: Bodies) -> None:
        self._inference = inference
        self._bodies = bodies

    def add_to(self, app: web.Application) -> None:
        for path, handler in (
            ("/v1/models/{model}:explain", self._v1),
            ("/v2/models/{model}/explain", self._v2),
            ("/v2/models/{model}/versions/{version}/explain", self._v2),
        ):
            app.router.add_post(path, handler, expect_handler=self._bodies.expect)

    async def _v1(self, request: web.Request) -> web.Response:
        return await self._counted(request, _decoded_v1, _encoded_v1)

    async def _v2(self, request: web.Request) -> web.Response:
        return await self._counted(request, partial(_decoded, request.headers.get(LENGTH_HEADER)), _encoded)

    async def _counted(self, request: web.Request, decode: Decode, encode: Encode) -> web.Response:
        metrics = self._inference.metrics
        outcome = Outcome(metrics.explanations.labels, metrics.explanation_seconds)
        with outcome, self._inference.state.request(), self._inference.time_limit():
            return await self._answer(request, decode, encode)

    async def _answer(self, request: web.Request, decode: Decode, encode: Encode) -> web.Response:
        received = time.perf_counter()
        serving = self._inference.find(request.match_info["model"], request.match_info.get("version"))
        with serving.in_use(), serving.explaining.one():
            require_explainable(serving.model, language=serving.language is not None)
            body = await self._bodies.read(request)
            if len(body) < LARGE:
                asked = decode(body, serving)
            else:
                asked = await asyncio.to_thread(decode, body, serving)
            terms = terms_of(request.headers, asked.request.timeout).after(time.perf_counter() - received)
            pace = serving.explaining.pace
            results = await explain(serving.model, serving.batcher, pace, asked, terms.seconds)
            return encode(asked, serving, results)


def _decoded(json_length: str | None, body: bytes, serving: Serving) -> Asked:
    return decode(body, serving.model.card, _mean(serving), serving.batcher.limits.max_batch, json_length)


def _decoded_v1(body: bytes, serving: Serving) -> Asked:
    return decode_v1(body, serving.model.card, _mean(serving), serving.batcher.limits.max_batch)


def _mean(serving: Serving) -> object:
    return (serving.model.raw_card.get("preprocessing") or {}).get("mean")


def _encoded(asked: Asked, serving: Serving, results: Results) -> web.Response:
    about = {"model_name": serving.name, "model_version": serving.version}
    return tensors(encode(asked, serving.model.card, about, results))


def _encoded_v1(asked: Asked, serving: Serving, results: Results) -> web.Response:
    return web.Response(body=encode_v1(asked, serving.model.card, results), content_type="application/json")
