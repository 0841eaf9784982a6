"""Tensors as they travel: shapes, values of JSON or of protobuf messages, raw little-endian bytes. Pure.

Every way in ends with the same checks, so what one protocol refuses the others refuse in the same words. NaN policy:
JSON has no NaN or Infinity, so none can come in by any way, and a model that answers one is an error.
A BF16 tensor is held as float32 of the same value, because numpy has no such type; so the model sees it.
"""

import struct
from collections.abc import Mapping, Sequence
from math import isfinite, prod
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from server.card import DATATYPES, TensorSpec
from server.errors import BadRequest, ModelFailed

Array = NDArray[Any]
_SHOWN = 60
_JSON_NAMES = {dict: "object", list: "array", str: "string", int: "number", float: "number", bool: "boolean"}


def require_datatype(datatype: object, spec: TensorSpec) -> None:
    """Only the model's own datatype: a conversion that nobody asked for would hide a mistake."""
    if datatype != spec.datatype:
        raise BadRequest(f"inputs[{spec.name}].datatype is {shown(datatype)}; expected {spec.datatype!r}")


def checked_shape(shape: object, spec: TensorSpec, max_batch: int) -> tuple[int, ...]:
    """The shape, where it is one that spec allows and has at most max_batch rows. Raises BadRequest."""
    where = f"inputs[{spec.name}].shape"
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise BadRequest(f"{where} is {shown(shape)}; expected a list of whole numbers like {list(spec.shape)}")
    fits = len(shape) == len(spec.shape) and all(
        (size > 0 if wanted == -1 else size == wanted) for size, wanted in zip(shape, spec.shape, strict=True)
    )
    if not fits:
        raise BadRequest(f"{where} is {shown(shape)}; expected {list(spec.shape)}, where -1 is any size from 1")
    if shape[0] > max_batch:
        raise BadRequest(f"{where}[0] is {shape[0]}; expected a batch of at most {max_batch} rows: split the request")
    return tuple(shape)


def from_values(data: object, spec: TensorSpec, shape: tuple[int, ...], where: str) -> Array:
    """Array of plain values in row-major order, flat or nested exactly like shape. Raises BadRequest."""
    if not isinstance(data, list):
        raise BadRequest(f"{where} is {shown(data)}; expected an array of {prod(shape)} numbers")
    flat = _flatten(data, shape, where)
    _require_numbers(flat, spec.datatype, where)
    return _array(flat, spec.datatype, where).reshape(shape)


def from_raw(raw: bytes | memoryview, spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    """Array of raw row-major little-endian bytes. Raises BadRequest for a wrong length, NaN, infinity, or odd BOOL."""
    where = f"inputs[{spec.name}]"
    stored = _stored(spec.datatype)
    wanted = prod(shape) * stored.itemsize
    if len(raw) != wanted:
        expected = f"expected {wanted} for shape {list(shape)} of {spec.datatype}"
        raise BadRequest(f"{where} has {len(raw)} bytes of binary data; {expected}")
    array: Array = np.frombuffer(bytearray(raw), dtype=stored)  # torch wants an array that it may write to
    if spec.datatype == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    elif spec.datatype == "BOOL":
        _require_all(array <= 1, array, spec.datatype, where)
        array = array.view(np.bool_)
    if array.dtype.kind == "f":
        _require_all(np.isfinite(array), array, spec.datatype, where)
    return array.reshape(shape)


def to_raw(spec: TensorSpec, values: Array) -> bytes:
    """Raw bytes of an output; each element of BYTES is led by its length in four bytes."""
    if spec.datatype == "BYTES":
        texts = [value if isinstance(value, bytes) else str(value).encode() for value in values.reshape(-1).tolist()]
        return b"".join(part for text in texts for part in (struct.pack("<I", len(text)), text))
    if spec.datatype == "BF16":
        values = (as_bf16(values).view(np.uint32) >> 16).astype(np.uint16)
    return np.ascontiguousarray(values, dtype=_stored(spec.datatype)).tobytes()


def require_finite(spec: TensorSpec, values: Array) -> None:
    """Raises ModelFailed where the model answered NaN or infinity."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ModelFailed(f"the model answered NaN or infinity in output {spec.name!r} for this input")


def as_bf16(values: Array) -> Array:
    """Float32 values rounded to the nearest that BF16 has, ties to even; beyond its range infinity."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded: Array = ((bits + (0x7FFF + ((bits >> 16) & 1))) & np.uint32(0xFFFF0000)).view(np.float32)
    return rounded


def shown(value: object) -> str:
    """A value as it stood in the request, short enough for a message."""
    if value is None:
        return "null"
    if isinstance(value, float) and not isfinite(value):
        return repr(value)
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, orjson.JSONEncodeError):  # nested too deep, for example
        return _JSON_NAMES.get(type(value), type(value).__name__)
    if len(text) <= _SHOWN:
        return text
    return f"{_JSON_NAMES.get(type(value), 'value')} {text[:_SHOWN]}..."


def as_object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadRequest(f"{where} is {shown(value)}; expected a JSON object")
    return value


def _stored(datatype: str) -> np.dtype[Any]:
    """How a datatype lies on the wire; BOOL as a byte, so that one which is neither 0 nor 1 is seen."""
    return np.dtype({"BF16": "<u2", "BOOL": "u1"}.get(datatype) or DATATYPES[datatype]).newbyteorder("<")


def _require_all(good: Array, array: Array, datatype: str, where: str) -> None:
    if not good.all():
        index = int(np.argmin(good))
        raise BadRequest(f"{where}[{index}] is {shown(array[index].item())}; that does not fit datatype {datatype}")


def _flatten(data: list[Any], shape: tuple[int, ...], where: str) -> list[Any]:
    if list not in set(map(type, data)):
        if len(data) != prod(shape):
            raise BadRequest(f"{where} holds {len(data)} values; expected {prod(shape)} for shape {list(shape)}")
        return data
    level: list[Any] = [data]
    for depth, size in enumerate(shape):
        for row in level:
            if not isinstance(row, list) or len(row) != size:
                got = f"{len(row)} entries" if isinstance(row, list) else shown(row)
                raise BadRequest(f"{where} has {got} at depth {depth}; expected {size} for shape {list(shape)}")
        level = [value for row in level for value in row]
    return level


def _require_numbers(flat: Sequence[Any], datatype: str, where: str) -> None:
    accepted = _accepted_types(datatype)
    if set(map(type, flat)) <= accepted:
        return
    index = next(index for index, value in enumerate(flat) if type(value) not in accepted)
    expected = {"BOOL": "true or false"}.get(datatype, "a number" if float in accepted else "a whole number")
    raise BadRequest(f"{where}[{index}] is {shown(flat[index])}; expected {expected} for datatype {datatype}")


def _accepted_types(datatype: str) -> set[type]:
    if datatype == "BOOL":
        return {bool}
    return {int, float} if datatype.startswith(("FP", "BF")) else {int}


def _array(flat: Sequence[Any], datatype: str, where: str) -> Array:
    dtype = np.dtype(DATATYPES[datatype])
    if dtype.kind == "f":
        wide = np.array(flat, dtype=np.float64)
        with np.errstate(over="ignore"):
            array: Array = wide.astype(dtype)
        if datatype == "BF16":
            array = as_bf16(array)
        outside = ~np.isfinite(array)
    else:
        bounds = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        outside = np.array([not bounds[0] <= value <= bounds[1] for value in flat], dtype=bool)
        array = np.array(flat, dtype=dtype) if not outside.any() else np.zeros(0, dtype=dtype)
    if outside.any():
        index = int(np.argmax(outside))
        raise BadRequest(f"{where}[{index}] is {shown(flat[index])}; that does not fit datatype {datatype}")
    return array
