"""Linear layers whose weights are held in 8 bits with a scale for each output: plain tensors, so that safetensors can hold them.

Source of the scheme: Jacob et al. 2018, symmetric and for each output channel; inputs are scaled as they come.
"""

import math
from typing import ClassVar, Final, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

_LEAST_SCALE: Final = 1e-12
_LARGEST_ON_CPU: Final = 127
_ON_CPU: Final = "onednn" in torch.backends.quantized.supported_engines
_LEAST_ROWS: Final = 32
"""What torch's product of 8-bit matrices on a GPU takes at least; fewer are filled up."""


class QuantisedLinear(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """y = x (weight * scale)^T + bias. weight: (outputs, inputs) in 8 bits; scale, bias: (outputs,) in single precision."""

    dtype: ClassVar[torch.dtype] = torch.int8
    largest: ClassVar[float] = 127.0
    multiple: ClassVar[int] = 1
    """What both sides of the matrix must be multiples of."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = inputs, outputs
        self.register_buffer("weight", torch.zeros(outputs, inputs, dtype=self.dtype))
        self.register_buffer("scale", torch.ones(outputs))
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)

    @classmethod
    def empty_like(cls, linear: nn.Linear) -> Self:
        """Of the same shape, with weights that are to be loaded."""
        return cls(linear.in_features, linear.out_features, bias=linear.bias is not None)

    @classmethod
    def of(cls, linear: nn.Linear) -> Self:
        """The layer with its weights rounded."""
        made = cls.empty_like(linear)
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp_min(_LEAST_SCALE) / cls.largest
        made.scale.copy_(scale)
        made.weight.copy_(cls.rounded(weight / scale[:, None]))
        if linear.bias is not None:
            made.bias.copy_(linear.bias.detach())
        return made

    @classmethod
    def rounded(cls, values: Tensor) -> Tensor:
        """Values within `largest`, rounded to what the weights are held in."""
        return values.round().clamp(-cls.largest, cls.largest).to(cls.dtype)

    def forward(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def widened(self, inputs: Tensor) -> Tensor:
        """The answer by a product in the inputs' precision: exact, small in storage, and no faster."""
        answer = F.linear(inputs, self.weight.to(inputs.dtype)) * self.scale
        return answer if self.bias is None else answer + self.bias


class Int8WeightLinear(QuantisedLinear):
    """Only the weights have 8 bits; they are widened for each product."""

    def forward(self, inputs: Tensor) -> Tensor:
        return self.widened(inputs)


class Int8DynamicLinear(QuantisedLinear):
    """The product itself is made in 8 bits; each call measures its inputs anew.

    On a CPU inputs are rounded to 7 bits: processors without VNNI add pairs of 8-bit products in 16 bits, where more
    would overflow. So the answer is the same on every CPU, and what was measured on one holds on another.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.register_buffer("_zeros", torch.zeros(outputs, dtype=torch.int32), persistent=False)
        self._packed: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.device.type == "cpu" and _ON_CPU:
            return self._on_cpu(inputs)
        if inputs.is_cuda and not (self.in_features % 8 or self.out_features % 8):
            return self._on_gpu(inputs)
        return self.widened(inputs)

    def _on_cpu(self, inputs: Tensor) -> Tensor:
        lowest, highest = (float(each) for each in torch.aminmax(inputs))
        lowest, highest = min(lowest, 0.0), max(highest, 0.0)
        step = (highest - lowest) / _LARGEST_ON_CPU or 1.0
        zero = math.ceil(-lowest / step)  # rounded up, so that no count is negative
        counts = torch.add(zero, inputs, alpha=1 / step).round_().to(torch.uint8)
        if self._packed is None:  # by the first call, when the weights have been loaded
            self._packed = torch.ops.onednn.qlinear_prepack(self.weight, None)
        weight, bias, kept = (self._packed, self.scale, self._zeros), self.bias, (1.0, 0, torch.float32)
        answer: Tensor = torch.ops.onednn.qlinear_pointwise(counts, step, zero, *weight, bias, *kept, "none", [], "")
        return answer

    def _on_gpu(self, inputs: Tensor) -> Tensor:
        rows = inputs.reshape(-1, self.in_features).float()
        steps = rows.abs().amax(dim=1, keepdim=True).clamp_min(_LEAST_SCALE) / self.largest
        counts = F.pad(self.rounded(rows / steps), (0, 0, 0, max(0, _LEAST_ROWS - len(rows))))
        product = torch._int_mm(counts, self.weight.t())[: len(rows)]  # noqa: SLF001 - torch has no public name for it
        answer = product * (steps * self.scale)
        return (answer if self.bias is None else answer + self.bias).unflatten(0, inputs.shape[:-1])


class Float8Linear(QuantisedLinear):
    """The product is made in 8-bit floating point (e4m3); needs a GPU that has it to be fast."""

    dtype = torch.float8_e4m3fn
    largest = 448.0
    multiple = 16

    @classmethod
    def rounded(cls, values: Tensor) -> Tensor:
        return values.clamp(-cls.largest, cls.largest).to(cls.dtype)

    def forward(self, inputs: Tensor) -> Tensor:
        if not inputs.is_cuda:
            return self.widened(inputs)
        rows = inputs.reshape(-1, self.in_features).float()
        steps = rows.abs().amax(dim=1, keepdim=True).clamp_min(_LEAST_SCALE) / self.largest
        product = torch._scaled_mm(  # noqa: SLF001 - torch has no public name for it
            self.rounded(rows / steps),
            self.weight.t(),
            scale_a=steps,
            scale_b=self.scale[None, :],
            out_dtype=torch.bfloat16,
        ).float()
        return (product if self.bias is None else product + self.bias).unflatten(0, inputs.shape[:-1])
