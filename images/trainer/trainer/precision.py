"""The precisions of `training.precision`: which a device has, and what they make of a model.

fp32 computes in single precision. bf16 computes matrix products and what layers hand on to each other in 16 bits, while
weights, gradients' sums and the optimizer stay in 32. fp8 is bf16 but for the products of the large linear layers: their
factors are scaled to 8 bits each time, tensor by tensor, forward in e4m3 and gradients in e5m2 (Micikevicius et al. 2022).
Weights are the same in all of them, under the same names: a checkpoint of one can be continued in another.
"""

from typing import Final

import torch
from torch import nn

from trainer.errors import ConfigurationError

FP8: Final = "fp8"
COMPUTED_IN: Final[dict[str, torch.dtype | None]] = {"fp32": None, "bf16": torch.bfloat16, FP8: torch.bfloat16}
"""What the forward pass is cast to, by the name of the precision."""
_LEAST_CAPABILITY: Final = (8, 9)
_MULTIPLE: Final = 16
"""Of the sides of a matrix that is multiplied in 8 bits: what the hardware takes at once."""


def check_precision(precision: str, device: torch.device) -> None:
    """Raise ConfigurationError for a precision that the device does not have."""
    if precision != FP8:
        return
    expected = "fp32 or bf16 here; fp8 needs an NVIDIA GPU of compute capability 8.9 or more (Ada, Hopper, Blackwell)"
    if device.type != "cuda":
        raise ConfigurationError("training.precision", precision, f"{expected}, and this worker has no GPU")
    found = torch.cuda.get_device_capability(device)
    if found < _LEAST_CAPABILITY:
        name, version = torch.cuda.get_device_name(device), ".".join(map(str, found))
        raise ConfigurationError("training.precision", precision, f"{expected}, and {name} has {version}")


def multiply_in_8_bits(module: nn.Module, *, emulate: bool = False) -> None:
    """Let the module's linear layers multiply in 8 bits, in place; all but the last, whose outputs are what is told.

    emulate: whether to round as the hardware would, on any device. Raises ConfigurationError for a model without a
    layer whose sides are multiples of 16.
    """
    # Takes seconds to import, and is of no use to other jobs.
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training  # noqa: PLC0415

    layers = [each for each in module.modules() if type(each) is nn.Linear]  # what derives from it computes otherwise
    suited = {each for each in layers[:-1] if not (each.in_features % _MULTIPLE or each.out_features % _MULTIPLE)}
    if not suited:
        raise ConfigurationError(
            "training.precision",
            FP8,
            "fp32 or bf16, as no linear layer of this model has sides that are multiples of 16",
        )
    # The number of samples, or of their tokens, is padded where it is no such multiple.
    config = Float8LinearConfig(pad_inner_dim=True, emulate=emulate)
    convert_to_float8_training(module, config=config, module_filter_fn=lambda layer, _name: layer in suited)
