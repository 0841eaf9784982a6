"""Measures models on this machine: what they answer on held-out samples, and how long they take."""

import time
from dataclasses import dataclass
from statistics import median
from typing import Final

import torch
from torch import Tensor, nn

from trainer.compression.parent import Parent

Latency = dict[int, float]
"""Median seconds of a forward pass, by batch size."""

_WARM_UPS: Final = 3
_LEAST_REPEATS: Final = 30
_MOST_REPEATS: Final = 300
_SECONDS: Final = 0.6
"""How long the repeats of one batch size go on beyond the least number of them."""
_ROWS_AT_ONCE: Final = 256


@dataclass(frozen=True)
class Quality:
    """metric: of the parent's name. sqnr: decibels by which the parent's outputs exceed the difference from them."""

    metric: float
    sqnr: float


def quality(module: nn.Module, parent: Parent) -> Quality:
    """Of the held-out samples."""
    judge, data = parent.judge, parent.held_out
    column = judge.names(module).index(parent.metric)
    total = signal = noise = 0.0
    with torch.inference_mode():
        for rows in torch.arange(len(data), device=data.targets.device).split(_ROWS_AT_ONCE):
            outputs, right = module(data.inputs[rows]), parent.module(data.inputs[rows])
            total += judge.sums(outputs, data.targets[rows])[column]
            signal += float(right.double().square().sum())
            noise += float((outputs.double() - right.double()).square().sum())
    return Quality(total / len(data), _decibels(signal, noise))


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return float("inf")
    return float(10 * torch.tensor(signal / noise, dtype=torch.float64).log10())


def latencies(parent: Parent, variant: nn.Module, sizes: tuple[int, ...]) -> tuple[Latency, Latency]:
    """Of the parent and of the variant. Their calls take turns, so that whatever else the machine does slows both."""
    own: Latency = {}
    others: Latency = {}
    for size in sizes:
        own[size], others[size] = _in_turns(parent.module, variant, _rows(parent.held_out.inputs, size))
    return own, others


def _rows(inputs: Tensor, count: int) -> Tensor:
    repeats = -(-count // len(inputs))
    return inputs.repeat(repeats, *[1] * (inputs.dim() - 1))[:count].contiguous()


def _in_turns(first: nn.Module, second: nn.Module, inputs: Tensor) -> tuple[float, float]:
    seconds: tuple[list[float], list[float]] = ([], [])
    models = (first, second)
    with torch.inference_mode():
        for module in models:
            for _ in range(_WARM_UPS):
                _timed(module, inputs)
        began = time.perf_counter()
        while len(seconds[0]) < _LEAST_REPEATS or (
            len(seconds[0]) < _MOST_REPEATS and time.perf_counter() - began < _SECONDS
        ):
            turn = len(seconds[0]) % 2  # who comes second finds other things in the caches
            for index in (turn, 1 - turn):
                seconds[index].append(_timed(models[index], inputs))
    return median(seconds[0]), median(seconds[1])


def _timed(module: nn.Module, inputs: Tensor) -> float:
    began = time.perf_counter()
    module(inputs)
    if inputs.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began
