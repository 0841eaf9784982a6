"""What happens to raw inputs before a model sees them; applied alike in training and in serving."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_LEAST_DIMENSIONS_PER_FEATURE = 2


def preprocess(card: Mapping[str, Any], tensor: Tensor) -> Tensor:
    """Normalise raw inputs as the card says: (x - mean) / std, as FP32 on the tensor's device; tokens stay what they are.

    tensor: (samples, *shape). A number in the card holds for all values; a list holds one value for each index of
    the second dimension, that is for each feature of a table or each channel of an image. Without the entry
    `preprocessing` inputs pass as they are. Raises ValueError when the list does not fit.
    """
    stored = card.get("preprocessing")
    if not stored and tensor.dtype == torch.int64:
        return tensor
    inputs = tensor.to(torch.float32)
    if not stored:
        return inputs
    return (inputs - _broadcast(stored["mean"], inputs)) / _broadcast(stored["std"], inputs)


def _broadcast(value: float | list[float], inputs: Tensor) -> Tensor:
    stored = torch.as_tensor(value, dtype=torch.float32, device=inputs.device)
    if stored.ndim == 0:
        return stored
    if inputs.ndim < _LEAST_DIMENSIONS_PER_FEATURE or inputs.shape[1] != stored.shape[0]:
        raise ValueError(f"preprocessing has {stored.shape[0]} values, inputs have shape {tuple(inputs.shape)}")
    return stored.view(1, -1, *[1] * (inputs.ndim - 2))
