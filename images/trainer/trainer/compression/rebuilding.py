"""From a card to the module that its weights fit: what the trainer and the server do alike when they load a variant.

A card has `compression` only where the weights are held otherwise than the model's own code holds them. A pruned or a
distilled variant is a smaller model of the registry, and needs nothing of this.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from trainer.compression.layers import Float8Linear, Int8DynamicLinear, Int8WeightLinear, QuantisedLinear

QUANTISED: Final[Mapping[str, type[QuantisedLinear]]] = {
    "Int8Dynamic": Int8DynamicLinear,
    "Int8Weights": Int8WeightLinear,
    "Float8": Float8Linear,
}
CAST: Final[Mapping[str, torch.dtype]] = {"BFloat16": torch.bfloat16, "Float16": torch.float16}


class Halved(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A network whose matrix products are made in 16 bits, with answers in single precision."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self._dtype = network, dtype

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, dtype=self._dtype, cache_enabled=False):
            answer: Tensor = self.network(inputs)
        return answer.float()


def rebuilt(module: nn.Module, scheme: Mapping[str, Any]) -> nn.Module:
    """The module with the layers that the scheme names made ready for their weights; changes the one given.

    scheme: a card's `compression`, with method and layers. Raises ValueError for one that is not known or does not fit.
    """
    method, names = scheme.get("method"), scheme.get("layers")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"compression.layers is {names!r}; expected the names of layers")
    if not isinstance(method, str) or method not in {*QUANTISED, *CAST}:
        raise ValueError(f"compression.method is {method!r}; this version loads {', '.join([*QUANTISED, *CAST])}")
    if method in CAST:
        for name in names:
            _place(module, name)[2].to(CAST[method])
        return Halved(module, CAST[method])
    replace_layers(module, names, QUANTISED[method].empty_like)
    return module


def replace_layers(module: nn.Module, names: list[str], make: Any) -> None:
    """Put make(layer) in the place of each linear layer named, in the module itself. Raises ValueError for one that is none."""
    for name in names:
        parent, own, layer = _place(module, name)
        if not isinstance(layer, nn.Linear):
            raise ValueError(f"compression.layers: {name} is a {type(layer).__name__}, expected a linear layer")  # noqa: TRY004 - of a card
        setattr(parent, own, make(layer))
        if isinstance(parent, nn.TransformerEncoderLayer):
            parent.activation_relu_or_gelu = 0  # its short cut in evaluation reads the layers' weights itself


def _place(module: nn.Module, name: str) -> tuple[nn.Module, str, nn.Module]:
    """Who holds the layer, under which name, and the layer."""
    path, _, own = name.rpartition(".")
    try:
        parent = module.get_submodule(path)
        return parent, own, parent.get_submodule(own)
    except AttributeError as error:
        raise ValueError(f"compression.layers: there is no layer {name}") from error
