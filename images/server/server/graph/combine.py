"""The answers of an ensemble made one. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from server.graph.tensors import Array, Tensor, Tensors


class Uncombinable(Exception):  # noqa: N818 - what the answers are
    """The answers do not fit together; says why."""


def combined(answers: Sequence[Tensors], output: str, how: str) -> dict[str, Tensor]:
    """The output of that name alone. how: Mean, Vote or Concat. Raises Uncombinable."""
    for index, answer in enumerate(answers):
        if output not in answer:
            raise Uncombinable(f"target {index + 1} answered {', '.join(answer)}; expected {output!r}")
    tensors = [answer[output] for answer in answers]
    kinds = sorted({tensor.datatype for tensor in tensors})
    if len(kinds) > 1:
        raise Uncombinable(f"the targets answered {output!r} as {' and '.join(kinds)}; expected one datatype")
    try:
        values = _HOW[how]([tensor.values() for tensor in tensors])
    except (ValueError, TypeError) as error:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        raise Uncombinable(f"{how} of {output!r} with {kinds[0]} of shapes {shapes}: {error}") from error
    return {output: Tensor(kinds[0], values.shape, values.reshape(-1).tolist())}


def _mean(values: Sequence[Array]) -> Array:
    if values[0].dtype.kind != "f":
        raise ValueError("expected numbers in floating point")
    mean: Array = np.stack(values).mean(axis=0, dtype=np.float64).astype(values[0].dtype)
    return mean


def _vote(values: Sequence[Array]) -> Array:
    """At each place what most say; on a tie what the first of them says."""
    said = np.stack(values).reshape(len(values), -1)
    won = [Counter(column.tolist()).most_common(1)[0][0] for column in said.T]  # counted in order, ties as they came
    voted: Array = np.array(won, dtype=values[0].dtype).reshape(values[0].shape)
    return voted


def _concat(values: Sequence[Array]) -> Array:
    """Columns side by side; what has one value a row counts as one column."""
    joined: Array = np.concatenate([one[:, None] if one.ndim == 1 else one for one in values], axis=1)
    return joined


_HOW: Mapping[str, Callable[[Sequence[Array]], Any]] = {"Mean": _mean, "Vote": _vote, "Concat": _concat}
