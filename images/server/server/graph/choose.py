"""Which of several is asked. Pure."""

from collections.abc import Mapping

from server.errors import BadRequest
from server.graph.tensors import Array, Tensors
from server.graph.wiring import Switch, Target, When


def chosen(switch: Switch, inputs: Tensors, headers: Mapping[str, str]) -> Target:
    """The target of the first case that fits. Raises BadRequest where none does, and where a tensor cannot be compared."""
    for when, target in switch.cases:
        if fits(when, inputs, headers):
            return target
    if switch.otherwise is None:
        raise BadRequest(f"the request fits none of {len(switch.cases)} cases, and there is no other way")
    return switch.otherwise


def fits(when: When, inputs: Tensors, headers: Mapping[str, str]) -> bool:
    """Whether the header has the value, or every value of the tensor fits. Raises BadRequest."""
    if when.header is not None:
        return headers.get(when.header) == when.equals
    name = when.tensor or ""
    if name not in inputs:
        raise BadRequest(f"tensor {name!r} is missing, on which it depends who is asked; there is {', '.join(inputs)}")
    try:
        return _all_fit(when, inputs[name].values())
    except (ValueError, TypeError) as error:
        raise BadRequest(f"tensor {name!r} cannot be compared: {error}") from error


def _all_fit(when: When, values: Array) -> bool:
    if when.equals is not None:
        wanted = float(when.equals) if values.dtype.kind in "fiu" else when.equals
        return all(_plain(value) == wanted for value in values.reshape(-1).tolist())
    if values.dtype.kind not in "fiu":
        raise ValueError("expected numbers")
    low = when.at_least is None or bool((values >= when.at_least).all())
    return low and (when.below is None or bool((values < when.below).all()))


def _plain(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value
