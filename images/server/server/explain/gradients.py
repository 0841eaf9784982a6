"""What a model answers at points, and the gradient of that by the points; which models have none, and why."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from trainer.models import preprocess

from server.card import Card
from server.errors import BadRequest, ModelFailed
from server.model import Model

Array = NDArray[Any]
_LEAST_BITS = 16
_CLASSES = 2  # dimensions of [N, C]


def require_explainable(model: Model, *, language: bool) -> None:
    """Raise BadRequest where there is nothing that integrated gradients could say of the model."""
    why = _not_by_card(model.card, language=language) or _rounding(model.module)
    if why is not None:
        raise _refusal(model.card, why)


def answers(model: Model, rows: Array) -> Array:
    """Outputs (N, C) in FP32 for rows (N, ...). Raises ModelFailed."""
    try:
        with torch.inference_mode():
            values: Array = _outputs(model, torch.from_numpy(rows).to(model.device)).cpu().numpy()
    except Exception as error:
        raise _failed(error) from error
    return values


def slopes(model: Model, rows: Array, targets: NDArray[np.int64]) -> Array:
    """Gradient of output targets[i] by rows[i], (N, ...) in FP32. Raises BadRequest where there is none, ModelFailed."""
    try:
        with torch.enable_grad(), _differentiable(model):
            inputs = torch.from_numpy(rows).to(model.device).requires_grad_()
            outputs = _outputs(model, inputs)
            chosen = outputs.gather(1, torch.from_numpy(targets).to(model.device)[:, None]).sum()
            found = torch.autograd.grad(chosen, inputs, allow_unused=True)[0] if chosen.requires_grad else None
    except Exception as error:
        raise _failed(error) from error
    if found is None:
        raise _refusal(model.card, f"its answer has no gradient by its input {model.card.input.name!r}")
    gradients: Array = found.cpu().numpy()
    return gradients


def _outputs(model: Model, inputs: Tensor) -> Tensor:
    answer = model.module(preprocess(model.raw_card, inputs))
    flat: Tensor = answer.float().reshape(len(inputs), -1)
    return flat


def _differentiable(model: Model) -> AbstractContextManager[None]:
    """cuDNN has gradients of recurrent layers in training only; torch's own have them always."""
    recurrent = any(isinstance(layer, nn.RNNBase) for layer in model.module.modules())
    if recurrent and model.device.type == "cuda":
        without: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=False)
        return without
    return nullcontext()


def _not_by_card(card: Card, *, language: bool) -> str | None:
    if language:
        return "it reads tokens, and there is nothing between two tokens"
    if not card.input.datatype.startswith(("FP", "BF")):
        return f"its input {card.input.name!r} is {card.input.datatype}, and there is nothing between two whole numbers"
    if len(card.output.shape) > _CLASSES:
        return f"its output {card.output.name!r} is {list(card.output.shape)}; expected one number for each class"
    return None


def _rounding(module: nn.Module) -> str | None:
    """A layer that rounds to a few bits is a staircase: flat nearly everywhere, so its gradient says nothing."""
    for name, layer in module.named_modules():
        weight = getattr(layer, "weight", None)
        if isinstance(weight, Tensor) and weight.dtype.itemsize * 8 < _LEAST_BITS:
            kind = str(weight.dtype).removeprefix("torch.")
            return f"its layer {name!r} computes with weights in {kind}, which have no gradient; ask its parent model"
    return None


def _refusal(card: Card, why: str) -> BadRequest:
    return BadRequest(f"model {card.name!r} cannot be explained by integrated gradients: {why}")


def _failed(error: Exception) -> ModelFailed:
    return ModelFailed(f"the model raised {type(error).__name__}: {error}")
