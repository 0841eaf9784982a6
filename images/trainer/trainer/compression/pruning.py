"""Takes whole neurons, channels or gates out of a model, so that its matrices shrink and what follows them too.

Zeros in a dense matrix cost as much as other numbers; only smaller shapes are faster. What is left is a smaller model of
the same kind. Which units go is judged by their weights: the norm of what leads into a unit times that of what leads out
of it (Li et al. 2017, with both sides counted).
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor, nn

from trainer.compression.unsuitable import UnsuitableError
from trainer.models import build_model

_Weights = dict[str, Tensor]
_Names = list[str]
_EVEN: Final = 8
"""Numbers of units that are multiples of this suit the processor's wide registers."""
_SMALL: Final = 2 * _EVEN


def kept_of(units: int, fraction: float) -> int:
    """How many units stay when this fraction goes, at least one; of many an even number."""
    kept = max(1, round(units * (1 - fraction)))
    return kept if kept < _SMALL else kept - kept % _EVEN


def pruned(module: nn.Module, architecture: Mapping[str, Any], fraction: float) -> tuple[nn.Module, dict[str, Any]]:
    """A smaller model with the weightiest units of the given one, in evaluation mode, and its architecture.

    Raises UnsuitableError for a kind of model that is not known here.
    """
    name = architecture["model"]
    prune = _KINDS.get(name)
    if prune is None:
        raise UnsuitableError(f"needs a model whose layers can be thinned: {', '.join(_KINDS)}; this is {name}")
    weights = {key: value.detach().clone() for key, value in module.state_dict().items()}
    parameters = dict(architecture["parameters"])
    prune(module, weights, parameters, fraction)
    smaller = build_model(name, parameters)
    smaller.load_state_dict(weights)
    return smaller.to(next(module.parameters()).device).eval(), {"model": name, "parameters": parameters}


def _mlp(module: nn.Module, weights: _Weights, parameters: dict[str, Any], fraction: float) -> None:
    layers = _named(module, nn.Linear)
    hidden = []
    for into, out in pairwise(layers):
        weight = _norms(weights[f"{into}.weight"], 0) * _norms(weights[f"{out}.weight"], 1)
        rows = _strongest(weight, kept_of(len(weight), fraction))
        _keep(weights, f"{into}.weight", 0, rows)
        _keep(weights, f"{into}.bias", 0, rows)
        _keep(weights, f"{out}.weight", 1, rows)
        hidden.append(len(rows))
    parameters["hidden"] = hidden


def _cnn(module: nn.Module, weights: _Weights, parameters: dict[str, Any], fraction: float) -> None:
    convolutions, norms = _named(module, nn.Conv2d), _named(module, nn.GroupNorm)
    last = _named(module, nn.Linear)[0]
    width = kept_of(parameters["width"], fraction)
    for index, (into, norm) in enumerate(zip(convolutions, norms, strict=True)):
        channels = len(weights[f"{into}.weight"])
        out = convolutions[index + 1] if index + 1 < len(convolutions) else last
        following = weights[f"{out}.weight"]
        places = following.shape[1] // channels if out == last else 1  # of the image that is flattened
        weight = _norms(weights[f"{into}.weight"], 0) * weights[f"{norm}.weight"].abs()
        weight = weight * _norms(following.unflatten(1, (channels, places)), 1)
        rows = _strongest(weight, width * channels // parameters["width"])
        _keep(weights, f"{into}.weight", 0, rows)
        _keep(weights, f"{norm}.weight", 0, rows)
        _keep(weights, f"{norm}.bias", 0, rows)
        inputs = (rows[:, None] * places + torch.arange(places, device=rows.device)).flatten()
        _keep(weights, f"{out}.weight", 1, inputs)
    parameters["width"] = width


def _llama(_module: nn.Module, weights: _Weights, parameters: dict[str, Any], fraction: float) -> None:
    kept = max(_EVEN, kept_of(parameters["hidden"], fraction))  # the least that such a model may have
    for index in range(parameters["layers"]):
        feed = f"layers.{index}.feed"
        weight = _norms(weights[f"{feed}.down.weight"], 1)
        weight = weight * _norms(weights[f"{feed}.gate.weight"], 0) * _norms(weights[f"{feed}.up.weight"], 0)
        rows = _strongest(weight, kept)
        _keep(weights, f"{feed}.gate.weight", 0, rows)
        _keep(weights, f"{feed}.up.weight", 0, rows)
        _keep(weights, f"{feed}.down.weight", 1, rows)
    parameters["hidden"] = kept


_KINDS: Final[Mapping[str, Callable[[nn.Module, _Weights, dict[str, Any], float], None]]] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "llama": _llama,
}


def _named(module: nn.Module, kind: type[nn.Module]) -> _Names:
    return [name for name, each in module.named_modules() if type(each) is kind]


def _norms(weight: Tensor, dimension: int) -> Tensor:
    """Norm of what belongs to each index of the dimension."""
    return weight.transpose(0, dimension).flatten(1).norm(dim=1)


def _strongest(weight: Tensor, count: int) -> Tensor:
    """Indices of the `count` largest, in their old order."""
    return weight.topk(count).indices.sort().values


def _keep(weights: _Weights, key: str, dimension: int, rows: Tensor) -> None:
    weights[key] = weights[key].index_select(dimension, rows).contiguous()
