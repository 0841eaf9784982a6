"""Open Inference Protocol v2 over REST: bodies to tensors and back, in JSON and by the binary tensor extension. Pure.

Every refusal names the field, the value and what was expected, since the reader of the message is often a person
who wrote the request by hand. Numbers are checked in tensors.py.

A binary body is JSON followed by raw tensors; the header Inference-Header-Content-Length says where the JSON ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np
import orjson

from server.card import Card, TensorSpec
from server.classification import TEXT, classes_of, ranked
from server.errors import BadRequest
from server.tensors import (
    Array,
    as_object,
    checked_shape,
    from_raw,
    from_values,
    require_datatype,
    require_finite,
    shown,
    to_raw,
)
from server.terms import timeout_of

MODEL_VERSION = "1"
LENGTH_HEADER = "Inference-Header-Content-Length"
_DIGITS = 12  # of a length; more are longer than any body


@dataclass(frozen=True)
class InferRequest:
    """A checked request: one input of the model's own datatype, and the outputs to answer with."""

    id: str | None
    array: Array
    outputs: tuple[str, ...]
    timeout: int | None = None  # microseconds, as Triton has it
    binary: frozenset[str] = frozenset()  # outputs to answer as raw bytes
    classes: Mapping[str, int] = field(default_factory=dict)  # outputs to answer as the first so many classes


class Body(NamedTuple):
    """An answer; json_length is None where all of it is JSON, and else the bytes before the first raw tensor."""

    content: bytes
    json_length: int | None


def decode(body: bytes, card: Card, max_batch: int, json_length: str | None = None) -> InferRequest:
    """Request of a body. json_length: the header that says where raw tensors begin. Raises BadRequest."""
    return checked(*opened(body, json_length), card.input, card.outputs, max_batch)


def opened(body: bytes, json_length: str | None = None) -> tuple[Mapping[str, Any], memoryview | None]:
    """The JSON of a body, and the raw tensors after it where the header says that there are any. Raises BadRequest."""
    length = len(body) if json_length is None else _length(json_length, len(body))
    return as_object(parse(body[:length]), "the request body"), None if json_length is None else memoryview(body)[
        length:
    ]


def checked(
    fields: Mapping[str, Any],
    raw: memoryview | None,
    taken: TensorSpec,
    answered: Sequence[TensorSpec],
    max_batch: int,
) -> InferRequest:
    """Request for the outputs `answered` of what takes one input. Raises BadRequest."""
    identifier = fields.get("id")
    if identifier is not None and not isinstance(identifier, str):
        raise BadRequest(f"id is {shown(identifier)}; expected a string")
    parameters = _parameters(fields, "parameters")
    array = _input(_only_input(fields, taken), taken, max_batch, raw)
    wanted = _requested(fields, answered, binary=_flag(parameters, "binary_data_output", "parameters"))
    return InferRequest(identifier, array, tuple(wanted), timeout_of(fields.get("parameters")), *_forms(wanted))


def encode(
    request: InferRequest, card: Card, model_name: str, results: Mapping[str, Array], version: str = MODEL_VERSION
) -> Body:
    """The answer's body. Raises ModelFailed where the model answered NaN or infinity."""
    return written(request, card.outputs, card.labels, results, {"model_name": model_name, "model_version": version})


def written(
    request: InferRequest,
    answered: Sequence[TensorSpec],
    labels: Sequence[int | str] | None,
    results: Mapping[str, Array],
    about: Mapping[str, Any],
) -> Body:
    """Body of an answer that begins with `about`; labels: names of the classes. Raises ModelFailed for NaN or infinity."""
    specs = {spec.name: spec for spec in answered}
    outputs, tail = [], []
    for name in request.outputs:
        spec, values = ranked(specs[name], labels, results[name], request.classes.get(name))
        require_finite(spec, values)
        if name in request.binary:
            tail.append(to_raw(spec, values))
            outputs.append(_described(spec, values) | {"parameters": {"binary_data_size": len(tail[-1])}})
        else:
            outputs.append(_described(spec, values) | {"data": as_json(values)})
    reply: dict[str, Any] = {**about, "outputs": outputs}
    if request.id is not None:
        reply["id"] = request.id
    head = orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)
    return Body(b"".join((head, *tail)), len(head)) if tail else Body(head, None)


def parse(body: bytes) -> object:
    """The JSON of a body. Raises BadRequest; more than 1,024 levels are refused by orjson."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        names_nan = b"NaN" in body or b"Infinity" in body
        hint = "; NaN and Infinity are not JSON and are not accepted" if names_nan else ""
        raise BadRequest(f"the request body is not valid JSON: {error}{hint}") from error


def as_json(values: Array, *, nested: bool = False) -> list[Any] | Array:
    """What orjson writes as an array of the values: flat, as the protocol has it, or nested like their shape."""
    if values.dtype.kind in "OUe":
        plain: list[Any] = values.tolist() if nested else values.reshape(-1).tolist()
        return plain
    return np.ascontiguousarray(values if nested else values.reshape(-1))


def _described(spec: TensorSpec, values: Array) -> dict[str, Any]:
    return {"name": spec.name, "shape": list(values.shape), "datatype": spec.datatype}


def _length(text: str, available: int) -> int:
    whole = text.isascii() and text.isdecimal() and len(text) <= _DIGITS
    if not whole or int(text) > available:
        expected = f"expected the number of bytes of JSON, at most the body's {available}"
        raise BadRequest(f"{LENGTH_HEADER} is {shown(text)}; {expected}")
    return int(text)


def _parameters(fields: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The parameters of a request, a tensor or an output: names with a boolean, a number or a string."""
    parameters = fields.get("parameters")
    if parameters is None:
        return {}
    for name, value in as_object(parameters, where).items():
        if not isinstance(value, bool | int | float | str):
            raise BadRequest(f"{where}.{name} is {shown(value)}; expected a boolean, a number or a string")
    return as_object(parameters, where)


def _flag(parameters: Mapping[str, Any], name: str, where: str, *, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise BadRequest(f"{where}.{name} is {shown(value)}; expected true or false")
    return value


def _only_input(fields: Mapping[str, Any], spec: TensorSpec) -> Mapping[str, Any]:
    if "inputs" not in fields:
        raise BadRequest(f"inputs is missing; expected a list of one tensor named {spec.name!r}")
    inputs = fields["inputs"]
    if not isinstance(inputs, list) or not inputs:
        raise BadRequest(f"inputs is {shown(inputs)}; expected a list of one tensor named {spec.name!r}")
    tensors = [as_object(tensor, f"inputs[{index}]") for index, tensor in enumerate(inputs)]
    for index, tensor in enumerate(tensors):
        if "name" not in tensor:
            raise BadRequest(f"inputs[{index}].name is missing; expected {spec.name!r}")
        if tensor["name"] != spec.name:
            raise BadRequest(f"inputs[{index}].name is {shown(tensor['name'])}; expected {spec.name!r}")
    if len(tensors) > 1:
        raise BadRequest(f"inputs holds {spec.name!r} {len(tensors)} times; expected it once")
    return tensors[0]


def _input(tensor: Mapping[str, Any], spec: TensorSpec, max_batch: int, raw: memoryview | None) -> Array:
    where = f"inputs[{spec.name}]"
    if "shape" not in tensor:
        expected = f"expected {list(spec.shape)}, where -1 is any size from 1"
        raise BadRequest(f"{where}.shape is missing; {expected}")
    shape = checked_shape(tensor["shape"], spec, max_batch)
    if "datatype" not in tensor:
        raise BadRequest(f"{where}.datatype is missing; expected {spec.datatype!r}")
    require_datatype(tensor["datatype"], spec)
    size = _parameters(tensor, f"{where}.parameters").get("binary_data_size")
    if size is not None:
        return _binary(tensor, spec, shape, size, raw)
    if "data" not in tensor:
        raise BadRequest(f"{where}.data is missing; expected {prod(shape)} numbers")
    if raw:
        raise BadRequest(f"{len(raw)} bytes follow the JSON, but {where} has no parameter binary_data_size")
    return from_values(tensor["data"], spec, shape, f"{where}.data")


def _binary(
    tensor: Mapping[str, Any], spec: TensorSpec, shape: tuple[int, ...], size: object, raw: memoryview | None
) -> Array:
    where = f"inputs[{spec.name}]"
    if raw is None:
        raise BadRequest(f"{where} has binary_data_size, but the header {LENGTH_HEADER} is missing")
    if "data" in tensor:
        raise BadRequest(f"{where} has both data and binary_data_size; expected one of them")
    if type(size) is not int or size != len(raw):
        raise BadRequest(f"{where}.parameters.binary_data_size is {shown(size)}; {len(raw)} bytes follow the JSON")
    return from_raw(raw, spec, shape)


class _Wanted(NamedTuple):
    binary: bool
    classes: int | None


def _requested(fields: Mapping[str, Any], answered: Sequence[TensorSpec], *, binary: bool) -> dict[str, _Wanted]:
    """Outputs to answer with, in the order asked for; binary: what holds for those that do not say."""
    known = {spec.name: spec for spec in answered}
    asked = fields.get("outputs")
    if asked is None or asked == []:
        return dict.fromkeys(known, _Wanted(binary, None))
    if not isinstance(asked, list):
        raise BadRequest(f"outputs is {shown(asked)}; expected a list of objects with a name")
    wanted: dict[str, _Wanted] = {}
    for index, entry in enumerate(asked):
        where = f"outputs[{index}]"
        name = as_object(entry, where).get("name")
        if not isinstance(name, str) or name not in known:
            raise BadRequest(f"{where}.name is {shown(name)}; expected one of {', '.join(known)}")
        parameters = _parameters(entry, f"{where}.parameters")
        raw = _flag(parameters, "binary_data", f"{where}.parameters", default=binary)
        classes = classes_of(parameters.get(TEXT), known[name], f"{where}.parameters")
        wanted[name] = _Wanted(raw, classes)
    return wanted


def _forms(wanted: Mapping[str, _Wanted]) -> tuple[frozenset[str], dict[str, int]]:
    binary = frozenset(name for name, one in wanted.items() if one.binary)
    return binary, {name: one.classes for name, one in wanted.items() if one.classes is not None}
