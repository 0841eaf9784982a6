"""The classification extension: an output answered as its first classes, each as the text `value:index:label`. Pure."""

from collections.abc import Sequence

import numpy as np

from server.card import TensorSpec
from server.errors import BadRequest
from server.tensors import Array, require_finite, shown

TEXT = "classification"
_RANK = 2  # [N, C]


def classes_of(asked: object, spec: TensorSpec, where: str) -> int | None:
    """How many classes are asked for; None where the values are. Raises BadRequest."""
    if asked is None or (type(asked) is int and asked == 0):
        return None
    if type(asked) is not int or asked < 1:
        raise BadRequest(f"{where}.{TEXT} is {shown(asked)}; expected a whole number of classes, from 1")
    if len(spec.shape) != _RANK or spec.datatype == "BYTES":
        raise BadRequest(
            f"{where}.{TEXT} is {asked}, but output {spec.name!r} is {list(spec.shape)}, not [-1, classes]"
        )
    return asked


def ranked(
    spec: TensorSpec, labels: Sequence[int | str] | None, values: Array, classes: int | None
) -> tuple[TensorSpec, Array]:
    """The output as it is, or its greatest values of each row, greatest first, the lower index first on a tie."""
    if classes is None:
        return spec, values
    require_finite(spec, values)
    order = np.argsort(-values.astype(np.float64), axis=1, kind="stable")[:, :classes]
    named = labels is not None and len(labels) == values.shape[1]
    texts = [
        [f"{row[i]:f}:{i}:{labels[i]}" if named and labels else f"{row[i]:f}:{i}" for i in indices]
        for row, indices in zip(values.tolist(), order.tolist(), strict=True)
    ]
    return TensorSpec(spec.name, "BYTES", (-1, -1)), np.array(texts, dtype=np.object_)
