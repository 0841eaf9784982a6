"""Requests for explanations, checked, and their answers. Pure.

A request is that of an inference; its `parameters` say against what, how exactly and of which class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from server.card import Card, TensorSpec
from server.errors import BadRequest
from server.protocol import Body, InferRequest, as_json, checked, opened, parse, written
from server.tensors import Array, as_object, from_values, require_finite, shown
from server.terms import timeout_of
from server.v1 import rows_of

ATTRIBUTIONS, TARGET, PREDICTION = "attributions", "target", "prediction"
BASELINE_PREDICTION, GAP = "baseline_prediction", "completeness_gap"
STEPS, MOST_STEPS = 50, 1000
_OWN = frozenset({"baseline", "steps", "target"})
_BASELINES = "zero, mean, a number, or a list with the values of one row"


@dataclass(frozen=True)
class Asked:
    """A checked request. rows: (N, ...) and baseline: (1, ...) in FP32; target: a class, None for the greatest of each row."""

    request: InferRequest
    rows: Array
    baseline: Array
    steps: int
    target: int | None


def answered(card: Card) -> tuple[TensorSpec, ...]:
    """Tensors of an answer, one entry of each for a row."""
    return (
        TensorSpec(ATTRIBUTIONS, "FP32", card.input.shape),
        TensorSpec(TARGET, "INT64", (-1,)),
        TensorSpec(PREDICTION, "FP32", (-1,)),
        TensorSpec(BASELINE_PREDICTION, "FP32", (-1,)),
        TensorSpec(GAP, "FP32", (-1,)),
    )


def decode(body: bytes, card: Card, mean: object, max_batch: int, json_length: str | None) -> Asked:
    """Of V2. mean: of the card's preprocessing, None without. Raises BadRequest."""
    fields, raw = opened(body, json_length)
    parameters = _parameters(fields)
    rest = {name: value for name, value in parameters.items() if name not in _OWN}
    request = checked({**fields, "parameters": rest}, raw, card.input, answered(card), max_batch)
    return _asked(request, parameters, card.input, mean)


def decode_v1(body: bytes, card: Card, mean: object, max_batch: int) -> Asked:
    """Of V1. mean: as of `decode`. Raises BadRequest."""
    fields = as_object(parse(body), "the request body")
    parameters = _parameters(fields)
    names = tuple(spec.name for spec in answered(card))
    request = InferRequest(None, rows_of(fields, card.input, max_batch), names, timeout_of(parameters))
    return _asked(request, parameters, card.input, mean)


def encode(asked: Asked, card: Card, about: Mapping[str, Any], results: Mapping[str, Array]) -> Body:
    """Body of a V2 answer that begins with `about`. Raises ModelFailed for NaN or infinity."""
    told = {**about, "parameters": {"method": "integrated_gradients", "steps": asked.steps}}
    return written(asked.request, answered(card), None, results, told)


def encode_v1(asked: Asked, card: Card, results: Mapping[str, Array]) -> bytes:
    """Body of a V1 answer: an object for each row. Raises ModelFailed for NaN or infinity."""
    columns = []
    for spec in answered(card):
        require_finite(spec, results[spec.name])
        columns.append(as_json(results[spec.name], nested=True))
    rows = [dict(zip(asked.request.outputs, row, strict=True)) for row in zip(*columns, strict=True)]
    return orjson.dumps({"explanations": rows}, option=orjson.OPT_SERIALIZE_NUMPY)


def _parameters(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    found = fields.get("parameters")
    return {} if found is None else as_object(found, "parameters")


def _asked(request: InferRequest, parameters: Mapping[str, Any], spec: TensorSpec, mean: object) -> Asked:
    steps, target = parameters.get("steps", STEPS), parameters.get("target")
    if type(steps) is not int or not 1 <= steps <= MOST_STEPS:
        raise BadRequest(f"parameters.steps is {shown(steps)}; expected a whole number from 1 to {MOST_STEPS}")
    if target is not None and (type(target) is not int or target < 0):
        raise BadRequest(f"parameters.target is {shown(target)}; expected the number of a class, from 0")
    rows = request.array.astype(np.float32)
    baseline = _baseline(parameters.get("baseline", "zero"), (1, *rows.shape[1:]), spec, mean)
    return Asked(request, rows, baseline, steps, target)


def _baseline(asked: object, shape: tuple[int, ...], spec: TensorSpec, mean: object) -> Array:
    """(1, ...) in FP32."""
    where = "parameters.baseline"
    if asked == "zero":
        return np.zeros(shape, dtype=np.float32)
    if asked == "mean":
        return _mean(mean, shape)
    if type(asked) in (int, float):
        return np.full(shape, from_values([asked], spec, (1,), where)[0], dtype=np.float32)
    if isinstance(asked, list):
        return from_values(_one_row(asked, shape), spec, shape, where).astype(np.float32)
    raise BadRequest(f"{where} is {shown(asked)}; expected {_BASELINES}")


def _one_row(values: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Nested values without the batch's dimension get it; flat ones are taken as they are."""
    nested = any(isinstance(value, list) for value in values)
    return [values] if nested and len(shape) > 1 else values


def _mean(mean: object, shape: Sequence[int]) -> Array:
    """What preprocessing makes zero of: one number, or one for each index of the second dimension."""
    if mean is None:
        expected = _BASELINES.replace("mean, ", "")
        raise BadRequest(
            f'parameters.baseline is "mean", but the model\'s card has no mean of its inputs; expected {expected}'
        )
    values = np.asarray(mean, dtype=np.float32)
    if values.ndim:
        values = values.reshape(1, -1, *[1] * (len(shape) - 2))
    return np.broadcast_to(values, shape).copy()
