"""Named tensors as they travel between stages: their values are looked at only where something depends on them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.card import DATATYPES
from server.errors import BadRequest
from server.tensors import as_object, shown

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Tensor:
    """data: flat or nested, as it came."""

    datatype: str
    shape: tuple[int, ...]
    data: Any

    def as_json(self, name: str) -> dict[str, Any]:
        return {"name": name, "shape": list(self.shape), "datatype": self.datatype, "data": self.data}

    def values(self) -> Array:
        """Of its shape. Raises ValueError where the data is not of that shape and datatype."""
        kind = np.dtype(DATATYPES.get(self.datatype, "object"))
        found: Array = np.array(self.data, dtype=kind).reshape(self.shape)
        return found


Tensors = Mapping[str, Tensor]


def tensors_of(listed: object, where: str) -> dict[str, Tensor]:
    """By name, of the `inputs` of a request or the `outputs` of an answer. Raises BadRequest."""
    if not isinstance(listed, list) or not listed:
        raise BadRequest(f"{where} is {shown(listed)}; expected a list of tensors")
    found: dict[str, Tensor] = {}
    for index, entry in enumerate(listed):
        place = f"{where}[{index}]"
        fields = as_object(entry, place)
        name, datatype, shape = fields.get("name"), fields.get("datatype"), fields.get("shape")
        if not isinstance(name, str) or name in found:
            raise BadRequest(f"{place}.name is {shown(name)}; expected a name that stands there once")
        if not isinstance(datatype, str):
            raise BadRequest(f"{place}.datatype is {shown(datatype)}; expected one like 'FP32'")
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise BadRequest(f"{place}.shape is {shown(shape)}; expected a list of whole numbers")
        if "data" not in fields:
            raise BadRequest(f"{place}.data is missing; a graph takes tensors in JSON, not in binary")
        found[name] = Tensor(datatype, tuple(shape), fields["data"])
    return found
