"""Open Inference Protocol v2, JSON form: bodies to tensors and back. Pure.

Every refusal names the field, the value and what was expected, since the reader of the message is often a person
who wrote the request by hand. NaN policy: JSON has no NaN or Infinity, so neither can come in (a null or a number
beyond the datatype is refused as well), and a model that answers one is an error rather than a silent null.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from server.card import DATATYPES, Card, TensorSpec
from server.errors import BadRequest, ModelFailed

Array = NDArray[Any]
MODEL_VERSION = "1"
_SHOWN = 60
_JSON_NAMES = {dict: "object", list: "array", str: "string", int: "number", float: "number", bool: "boolean"}


@dataclass(frozen=True)
class InferRequest:
    """A checked request: one input of the model's own datatype, and the outputs to answer with."""

    id: str | None
    array: Array
    outputs: tuple[str, ...]


def decode(body: bytes, card: Card, max_batch: int) -> InferRequest:
    """Request of a JSON body. Raises BadRequest."""
    fields = _object(_parse(body), "the request body")
    identifier = fields.get("id")
    if identifier is not None and not isinstance(identifier, str):
        raise BadRequest(f"id is {_shown(identifier)}; expected a string")
    tensor = _only_input(fields, card.input)
    shape = _shape(tensor, card.input, max_batch)
    array = _data(tensor, card.input, shape)
    return InferRequest(identifier, array, _requested(fields, card))


def encode(request: InferRequest, card: Card, model_name: str, results: Mapping[str, Array]) -> bytes:
    """JSON body of the answer. Raises ModelFailed where the model answered NaN or infinity."""
    specs = {spec.name: spec for spec in card.outputs}
    outputs = [_output(specs[name], results[name]) for name in request.outputs]
    reply: dict[str, Any] = {"model_name": model_name, "model_version": MODEL_VERSION, "outputs": outputs}
    if request.id is not None:
        reply["id"] = request.id
    return orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)


def _output(spec: TensorSpec, values: Array) -> dict[str, Any]:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ModelFailed(f"the model answered NaN or infinity in output {spec.name!r} for this input")
    flat = values.reshape(-1)
    data = flat.tolist() if flat.dtype.kind in "OUe" else np.ascontiguousarray(flat)
    return {"name": spec.name, "shape": list(values.shape), "datatype": spec.datatype, "data": data}


def _parse(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        hint = "; NaN and Infinity are not JSON and are not accepted" if _names_nan(body) else ""
        raise BadRequest(f"the request body is not valid JSON: {error}{hint}") from error


def _names_nan(body: bytes) -> bool:
    return b"NaN" in body or b"Infinity" in body


def _only_input(fields: Mapping[str, Any], spec: TensorSpec) -> Mapping[str, Any]:
    if "inputs" not in fields:
        raise BadRequest(f"inputs is missing; expected a list of one tensor named {spec.name!r}")
    inputs = fields["inputs"]
    if not isinstance(inputs, list) or not inputs:
        raise BadRequest(f"inputs is {_shown(inputs)}; expected a list of one tensor named {spec.name!r}")
    tensors = [_object(tensor, f"inputs[{index}]") for index, tensor in enumerate(inputs)]
    for index, tensor in enumerate(tensors):
        if "name" not in tensor:
            raise BadRequest(f"inputs[{index}].name is missing; expected {spec.name!r}")
        if tensor["name"] != spec.name:
            raise BadRequest(f"inputs[{index}].name is {_shown(tensor['name'])}; expected {spec.name!r}")
    if len(tensors) > 1:
        raise BadRequest(f"inputs holds {spec.name!r} {len(tensors)} times; expected it once")
    return tensors[0]


def _shape(tensor: Mapping[str, Any], spec: TensorSpec, max_batch: int) -> tuple[int, ...]:
    where = f"inputs[{spec.name}].shape"
    expected = f"expected {list(spec.shape)}, where -1 is any size from 1"
    if "shape" not in tensor:
        raise BadRequest(f"{where} is missing; {expected}")
    shape = tensor["shape"]
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise BadRequest(f"{where} is {_shown(shape)}; expected a list of whole numbers like {list(spec.shape)}")
    fits = len(shape) == len(spec.shape) and all(
        (size > 0 if wanted == -1 else size == wanted) for size, wanted in zip(shape, spec.shape, strict=True)
    )
    if not fits:
        raise BadRequest(f"{where} is {_shown(shape)}; {expected}")
    if shape[0] > max_batch:
        raise BadRequest(f"{where}[0] is {shape[0]}; expected a batch of at most {max_batch} rows: split the request")
    return tuple(shape)


def _data(tensor: Mapping[str, Any], spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    where = f"inputs[{spec.name}]"
    if "datatype" not in tensor:
        raise BadRequest(f"{where}.datatype is missing; expected {spec.datatype!r}")
    if tensor["datatype"] != spec.datatype:
        raise BadRequest(f"{where}.datatype is {_shown(tensor['datatype'])}; expected {spec.datatype!r}")
    if "data" not in tensor:
        parameters = tensor.get("parameters")
        binary = isinstance(parameters, dict) and "binary_data_size" in parameters
        hint = "; the binary data extension is not supported" if binary else ""
        raise BadRequest(f"{where}.data is missing; expected {prod(shape)} numbers{hint}")
    data = tensor["data"]
    if not isinstance(data, list):
        raise BadRequest(f"{where}.data is {_shown(data)}; expected an array of {prod(shape)} numbers")
    flat = _flatten(data, shape, f"{where}.data")
    _require_numbers(flat, spec.datatype, f"{where}.data")
    return _array(flat, spec.datatype, f"{where}.data").reshape(shape)


def _flatten(data: list[Any], shape: tuple[int, ...], where: str) -> list[Any]:
    """Values in row-major order, of data that is either flat or nested exactly like shape."""
    if not any(isinstance(value, list) for value in data):
        if len(data) != prod(shape):
            raise BadRequest(f"{where} holds {len(data)} values; expected {prod(shape)} for shape {list(shape)}")
        return data
    level: list[Any] = [data]
    for depth, size in enumerate(shape):
        for row in level:
            if not isinstance(row, list) or len(row) != size:
                got = f"{len(row)} entries" if isinstance(row, list) else _shown(row)
                raise BadRequest(f"{where} has {got} at depth {depth}; expected {size} for shape {list(shape)}")
        level = [value for row in level for value in row]
    return level


def _require_numbers(flat: Sequence[Any], datatype: str, where: str) -> None:
    accepted = _accepted_types(datatype)
    if set(map(type, flat)) <= accepted:
        return
    index = next(index for index, value in enumerate(flat) if type(value) not in accepted)
    expected = {"BOOL": "true or false"}.get(datatype, "a number" if float in accepted else "a whole number")
    raise BadRequest(f"{where}[{index}] is {_shown(flat[index])}; expected {expected} for datatype {datatype}")


def _accepted_types(datatype: str) -> set[type]:
    if datatype == "BOOL":
        return {bool}
    return {int, float} if datatype.startswith("FP") else {int}


def _array(flat: Sequence[Any], datatype: str, where: str) -> Array:
    dtype = np.dtype(DATATYPES[datatype])
    if dtype.kind == "f":
        wide = np.array(flat, dtype=np.float64)
        with np.errstate(over="ignore"):
            array: Array = wide.astype(dtype)
        outside = ~np.isfinite(array)
    else:
        bounds = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        outside = np.array([not bounds[0] <= value <= bounds[1] for value in flat], dtype=bool)
        array = np.array(flat, dtype=dtype) if not outside.any() else np.zeros(0, dtype=dtype)
    if outside.any():
        index = int(np.argmax(outside))
        raise BadRequest(f"{where}[{index}] is {_shown(flat[index])}; that does not fit datatype {datatype}")
    return array


def _requested(fields: Mapping[str, Any], card: Card) -> tuple[str, ...]:
    known = tuple(spec.name for spec in card.outputs)
    asked = fields.get("outputs")
    if asked is None or asked == []:
        return known
    if not isinstance(asked, list):
        raise BadRequest(f"outputs is {_shown(asked)}; expected a list of objects with a name")
    names = []
    for index, entry in enumerate(asked):
        name = _object(entry, f"outputs[{index}]").get("name")
        if name not in known:
            raise BadRequest(f"outputs[{index}].name is {_shown(name)}; expected one of {', '.join(known)}")
        names.append(name)
    return tuple(dict.fromkeys(names))


def _object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadRequest(f"{where} is {_shown(value)}; expected a JSON object")
    return value


def _shown(value: object) -> str:
    """A value as it stood in the request, short enough for a message."""
    if value is None:
        return "null"
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, orjson.JSONEncodeError):
        text = repr(value)
    if len(text) <= _SHOWN:
        return text
    return f"{_JSON_NAMES.get(type(value), 'value')} {text[:_SHOWN]}..."
