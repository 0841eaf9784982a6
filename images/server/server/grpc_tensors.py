"""Messages of gRPC to checked requests and back, by the same checks as REST. Pure, but for the message classes.

Contents may be raw or typed. The answer is raw, as everyone reads it, unless the request came typed.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from server.card import Card, TensorSpec
from server.classification import TEXT, classes_of, ranked
from server.errors import BadRequest
from server.grpc_messages import message
from server.protocol import InferRequest
from server.tensors import (
    Array,
    checked_shape,
    from_raw,
    from_values,
    require_datatype,
    require_finite,
    shown,
    to_raw,
)
from server.terms import timeout_of

_Response = message("ModelInferResponse")
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Typed contents of each datatype; FP16 and BF16 travel raw only."""


def decode(request: Any, card: Card, max_batch: int) -> InferRequest:
    """Checked request of a ModelInferRequest. Raises BadRequest."""
    spec = card.input
    if len(request.inputs) != 1 or request.inputs[0].name != spec.name:
        given = [tensor.name for tensor in request.inputs]
        raise BadRequest(f"inputs are {shown(given)}; expected one tensor named {spec.name!r}")
    tensor = request.inputs[0]
    shape = checked_shape(list(tensor.shape), spec, max_batch)
    require_datatype(tensor.datatype, spec)
    array = _contents(tensor, request.raw_input_contents, spec, shape)
    parameters = parameters_of(request.parameters)
    known = {output.name: output for output in card.outputs}
    classes: dict[str, int] = {}
    for index, output in enumerate(request.outputs):
        where = f"outputs[{index}]"
        if output.name not in known:
            raise BadRequest(f"{where}.name is {shown(output.name)}; expected one of {', '.join(known)}")
        asked = classes_of(parameters_of(output.parameters).get(TEXT), known[output.name], f"{where}.parameters")
        if asked is not None:
            classes[output.name] = asked
    names = tuple(dict.fromkeys(output.name for output in request.outputs)) or tuple(known)
    raw = frozenset(names) if request.raw_input_contents else frozenset()
    return InferRequest(request.id or None, array, names, timeout_of(parameters), raw, classes)


def encode(asked: InferRequest, card: Card, name: str, version: str, results: Mapping[str, Array]) -> Any:
    """A ModelInferResponse. Raises ModelFailed where the model answered NaN or infinity."""
    response = _Response(model_name=name, model_version=version, id=asked.id or "")
    specs = {spec.name: spec for spec in card.outputs}
    answers = [
        ranked(specs[output], card.labels, results[output], asked.classes.get(output)) for output in asked.outputs
    ]
    raw = bool(asked.binary) or any(spec.datatype not in _CONTENTS for spec, _ in answers)
    for spec, values in answers:
        require_finite(spec, values)
        tensor = response.outputs.add(name=spec.name, datatype=spec.datatype, shape=values.shape)
        if raw:
            response.raw_output_contents.append(to_raw(spec, values))
            continue
        flat: Iterable[Any] = values.reshape(-1).tolist()
        if spec.datatype == "BYTES":
            flat = (str(value).encode() for value in flat)
        getattr(tensor.contents, _CONTENTS[spec.datatype]).extend(flat)
    return response


def parameters_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values of a map of parameters; one without a value is None."""
    chosen = ((name, value, value.WhichOneof("parameter_choice")) for name, value in parameters.items())
    return {name: getattr(value, choice) if choice else None for name, value, choice in chosen}


def _contents(tensor: Any, raw: Any, spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    where = f"inputs[{spec.name}]"
    typed = [field.name for field, _ in tensor.contents.ListFields()]
    if raw:
        if typed or len(raw) != 1:
            raise BadRequest(f"{len(raw)} raw contents and {', '.join(typed) or 'no typed ones'}; expected 1 raw alone")
        return from_raw(raw[0], spec, shape)
    expected = _CONTENTS.get(spec.datatype, "raw_input_contents")
    if typed != [expected]:
        raise BadRequest(f"{where} has {', '.join(typed) or 'no contents'}; expected {expected} for {spec.datatype}")
    return from_values(list(getattr(tensor.contents, expected)), spec, shape, f"{where}.contents")
