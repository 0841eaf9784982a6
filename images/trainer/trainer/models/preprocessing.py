"""What happens to raw inputs before a model sees them; applied alike in training and in serving."""

from collections.abc import Mapping
from functools import lru_cache
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
    return (inputs - _broadcast(stored["mean"], inputs)).div_(_broadcast(stored["std"], inputs))


def _broadcast(value: float | list[float], inputs: Tensor) -> Tensor:
    stored = _constant(tuple(value) if isinstance(value, list) else value, inputs.device)
    if stored.ndim == 0:
        return stored
    if inputs.ndim < _LEAST_DIMENSIONS_PER_FEATURE or inputs.shape[1] != stored.shape[0]:
        raise ValueError(f"preprocessing has {stored.shape[0]} values, inputs have shape {tuple(inputs.shape)}")
    return stored.view(1, -1, *[1] * (inputs.ndim - 2))


@lru_cache(maxsize=64)
def _constant(value: float | tuple[float, ...], device: torch.device) -> Tensor:
    """Made once: for a small model it would cost as much as a layer. Not an inference tensor, since training uses it too."""
    with torch.inference_mode(mode=False):
        return torch.tensor(value, dtype=torch.float32, device=device)
