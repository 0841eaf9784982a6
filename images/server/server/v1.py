"""The V1 protocol: `{"instances": [...]}` in, `{"predictions": [...]}` out, one entry for each row."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from server.bodies import Bodies
from server.card import Card, TensorSpec
from server.errors import BadRequest
from server.inference import Inference, Results
from server.language.replies import described
from server.protocol import InferRequest, as_json, parse
from server.replies import ok
from server.state import Serving
from server.tensors import Array, as_object, checked_shape, from_values, require_finite, shown
from server.terms import timeout_of


class V1Routes:
    """Handlers of /v1."""

    def __init__(self, inference: Inference, bodies: Bodies) -> None:
        self._inference = inference
        self._bodies = bodies

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{model}", self._ready)
        app.router.add_post("/v1/models/{model}:predict", self._predict, expect_handler=self._bodies.expect)

    async def _models(self, _request: web.Request) -> web.Response:
        """KServe's list and OpenAI's in one answer."""
        created = {serving.name: serving.since for serving in self._inference.repository.serving}
        data = [described(name, since) for name, since in created.items()]
        return ok({"models": list(created), "object": "list", "data": data})

    async def _ready(self, request: web.Request) -> web.Response:
        serving = self._inference.find(request.match_info["model"])
        self._inference.require_ready()
        return ok({"name": serving.name, "ready": True} | described(serving.name, serving.since))

    async def _predict(self, request: web.Request) -> web.Response:
        async def read() -> tuple[bytes, int]:
            body = await self._bodies.read(request)
            return body, len(body)

        return await self._inference.answer(
            request.headers, lambda: self._inference.find(request.match_info["model"]), read, _decode, _encode
        )


def decode(body: bytes, card: Card, max_batch: int) -> InferRequest:
    """Request of a body; an instance is a row's values, or an object with them by the input's name."""
    fields = as_object(parse(body), "the request body")
    names = tuple(spec.name for spec in card.outputs)
    return InferRequest(None, rows_of(fields, card.input, max_batch), names, timeout_of(fields.get("parameters")))


def rows_of(fields: Mapping[str, Any], spec: TensorSpec, max_batch: int) -> Array:
    """The instances as an array. Raises BadRequest."""
    instances = fields.get("instances")
    if not isinstance(instances, list) or not instances:
        raise BadRequest(f"instances is {shown(instances)}; expected a list with an entry for each row")
    rows = [_row(instance, spec, f"instances[{index}]") for index, instance in enumerate(instances)]
    shape = checked_shape([len(rows), *_inner(rows[0], spec)], spec, max_batch)
    return from_values(rows, spec, shape, "instances")


def encode(card: Card, results: Results) -> bytes:
    """Body of the answer: bare values where there is one output, else objects by the outputs' names."""
    rows: dict[str, list[Any]] = {}
    for spec in card.outputs:
        require_finite(spec, results[spec.name])
        values = as_json(results[spec.name], nested=True)
        rows[spec.name] = values if isinstance(values, list) else list(values)
    if len(rows) == 1:
        predictions: list[Any] = next(iter(rows.values()))
    else:
        predictions = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
    return orjson.dumps({"predictions": predictions}, option=orjson.OPT_SERIALIZE_NUMPY)


def _decode(body: bytes, serving: Serving) -> InferRequest:
    return decode(body, serving.model.card, serving.batcher.limits.max_batch)


def _encode(_request: InferRequest, serving: Serving, results: Results) -> web.Response:
    return web.Response(body=encode(serving.model.card, results), content_type="application/json")


def _row(instance: object, spec: TensorSpec, where: str) -> object:
    if not isinstance(instance, dict):
        return instance
    if set(instance) != {spec.name}:
        raise BadRequest(f"{where} has the inputs {shown(sorted(instance))}; expected {spec.name!r} alone")
    return instance[spec.name]


def _inner(row: object, spec: TensorSpec) -> list[int]:
    """Sizes of a row as it is nested, as deep as the model's input is; the values are compared with them later."""
    sizes: list[int] = []
    while isinstance(row, list) and len(sizes) < len(spec.shape) - 1:
        sizes.append(len(row))
        row = row[0] if row else None
    return sizes
