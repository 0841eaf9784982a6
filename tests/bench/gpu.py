"""Benchmark `gpu`: how much of a GPU's arithmetic the trainer's own training loop puts to use.

A decoder of 1.1 billion weights (models/llama.py by configuration) trains on one GPU in bf16, compiled, through the loop
that every job runs: batches, clipping, the optimizer, the boundary after each step. Prints one line, `gpu/decoder-1b`.
What a token costs is 6 operations for each weight that is multiplied and 6 x layers x width x context for causal
attention (`flops_per_token`); that over the time, and over the GPU's dense bf16 peak, is its utilisation (MFU).
`make bench NAME=gpu`. Where there is no GPU the same program trains a tiny model, `gpu/decoder-tiny-cpu`: that it runs,
not how fast a GPU is.
"""

import argparse
import json
import math
import os
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch._dynamo.utils import counters
from trainer.assembly import assemble
from trainer.control import StopSignal
from trainer.datasets.catalogue import Task
from trainer.datasets.preparation import Cleaning, PreparedData
from trainer.datasets.raw import RawData
from trainer.environment import read_environment
from trainer.group import WorkerGroup, joined_group
from trainer.loop import train_until_done
from trainer.models.llama import flops_per_token
from trainer.precision import check_precision
from trainer.progress import Progress, Reporter
from trainer.specification import Choice, parse_specification
from trainer.spending import Spending

BAR = 45.0
"""Percent of the peak."""
PEAKS = {
    "NVIDIA H200": 989.4e12,
    "NVIDIA H100 80GB HBM3": 989.4e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
}
"""Dense bf16 operations a second by the name that the driver gives, from the vendor's data sheets (SXM boards only)."""
FIRST = 3
"""Steps that do not count: the first compiles, the next two still find memory."""


@dataclass(frozen=True)
class Shape:
    """What is trained. batch: samples of a step. steps: of the whole run."""

    name: str
    model: Mapping[str, int]
    vocabulary: int
    context: int
    batch: int
    steps: int
    compile: bool

    @property
    def weights(self) -> int:
        """Of the whole model; those of the embedding are looked up, not multiplied."""
        dim, layers = self.model["dim"], self.model["layers"]
        multiplied = flops_per_token(self.architecture, 0) / 6
        return int(multiplied) + dim * self.vocabulary + dim * (2 * layers + 1)

    @property
    def architecture(self) -> dict[str, Any]:
        return {**self.model, "vocabulary": self.vocabulary}


DECODER = Shape(
    "gpu/decoder-1b",
    {"dim": 2048, "layers": 16, "heads": 16, "keyValueHeads": 4, "hidden": 8192},
    vocabulary=32_000,
    context=2048,
    batch=16,
    steps=FIRST + 30,
    compile=True,
)
TINY = Shape(
    "gpu/decoder-tiny-cpu",
    {"dim": 64, "layers": 2, "heads": 4, "keyValueHeads": 2, "hidden": 176},
    vocabulary=256,
    context=64,
    batch=8,
    steps=FIRST + 20,
    compile=False,  # on a CPU that takes longer than all the rest
)


@dataclass
class Measured:
    """What was seen of a run. seconds: of each step; waits: how often the loop had to wait for the GPU, after each step."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)

    @property
    def counted(self) -> Sequence[float]:
        return self.seconds[FIRST:]


class Watching(Reporter):
    """Takes the time at each boundary: on a GPU in the row of its work, so that nothing waits for the clock."""

    def __init__(self, device: torch.device, warned: Sequence[object]) -> None:
        super().__init__(Progress("", 1), client=None, every=math.inf, folder=None)
        self._cuda, self._warned = device.type == "cuda", warned
        self._marks: list[Any] = []
        self._found = Measured()

    def update(self, **changes: Any) -> None:
        super().update(**changes)
        if "epoch" not in changes:  # not a boundary
            return
        self._marks.append(self._now())
        self._found.waits.append(len(self._warned))
        if changes["loss"] is not None:
            self._found.losses.append(changes["loss"])

    def measured(self) -> Measured:
        """Ask for it when training has ended."""
        pairs = zip(self._marks[:-1], self._marks[1:], strict=True)
        self._found.seconds = [self._between(*pair) for pair in pairs]
        return self._found

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, start: Any, end: Any) -> float:
        if not self._cuda:
            return float(end - start)
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000


def tokens(shape: Shape, samples: int, seed: int) -> RawData:
    """Made-up text: words by Zipf's law, so that there is something to learn in a few steps."""
    shares = 1 / np.arange(1, shape.vocabulary + 1)
    drawn = np.random.default_rng(seed).choice(shape.vocabulary, (samples, shape.context + 1), p=shares / shares.sum())
    return RawData(drawn[:, :-1].copy(), drawn[:, 1:].copy(), Task.LANGUAGE, vocabulary=shape.vocabulary)


def train(shape: Shape, precision: str, group: WorkerGroup) -> Measured:
    """Train with the program's own parts, from the specification to the loop."""
    document = {
        "model": {"name": "llama", "parameters": dict(shape.model)},
        "dataset": {"name": "docs"},
        "training": {
            "epochs": 1,
            "batchSize": shape.batch,
            "optimizer": "adamw",
            "learningRate": 3e-4,
            "clipNorm": 1.0,
            "precision": precision,
            "compile": shape.compile,
        },
    }
    specification = replace(parse_specification(json.dumps(document), workers=1), dataset=Choice("made-up", {}))
    data = PreparedData(
        train=tokens(shape, shape.steps * shape.batch, seed=0),
        held_out=tokens(shape, 1, seed=1),
        normalisation=None,
        target_shift=0.0,
        target_scale=1.0,
        cleaning=Cleaning(0, 0, 0),
    )
    with waits(group.device) as warned:
        watching = Watching(group.device, warned)
        job = assemble(read_environment({}), specification, data, group, watching, None, StopSignal(), Spending())
        train_until_done(job, 0)
        return watching.measured()


@contextmanager
def waits(device: torch.device) -> Iterator[Sequence[object]]:
    """Collects a warning whenever the program waits for the GPU."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("warn")
        try:
            yield warned
        finally:
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")


def line(shape: Shape, precision: str, device: str, measured: Measured, gigabytes: float) -> dict[str, Any]:
    """What is printed. device: its name. gigabytes: most memory that was in use."""
    counted, peak = measured.counted, PEAKS.get(device) if precision == "bf16" else None
    speed = shape.batch * shape.context * len(counted) / sum(counted)
    operations = flops_per_token(shape.architecture, shape.context)
    median = statistics.median(counted)
    utilisation = {"value": round(speed, 1), "unit": "tokens/s"}
    if peak is not None:
        share = 100 * speed * operations / peak
        utilisation = {"value": round(share, 2), "unit": "% of peak (MFU)", "bar": BAR, "met": share >= BAR}
    last = len(measured.waits) - 1
    return {
        "name": shape.name if precision == "bf16" else f"{shape.name}-{precision}",
        **utilisation,
        "tokensPerSecond": round(speed, 1),
        "teraflopsPerSecond": round(speed * operations / 1e12, 2),
        "peakTeraflops": peak and peak / 1e12,
        "formula": "6 x multiplied weights + 6 x layers x dim x context, a token",
        "device": device,
        "precision": precision,
        "weights": shape.weights,
        "batch": shape.batch,
        "context": shape.context,
        "stepSeconds": {"p50": round(median, 4), "p95": round(float(np.percentile(counted, 95)), 4)},
        "compileSeconds": round(measured.seconds[0] - median, 1) if shape.compile else None,
        "compiledPieces": counters["stats"]["unique_graphs"] if shape.compile else None,  # one; none if it failed
        "waitsPerStep": round((measured.waits[last - 1] - measured.waits[FIRST]) / max(1, last - 1 - FIRST), 2),
        "peakGigabytes": round(gigabytes, 2),
        "loss": [round(measured.losses[0], 3), round(measured.losses[-1], 3)],
        "torch": torch.__version__,
    }


def fused_attention(shape: Shape) -> Iterator[str]:
    """Kernels that the GPU has for this attention; without one it would write down every pair of tokens."""
    head = shape.model["dim"] // shape.model["heads"]
    queries, shared = (
        torch.empty(shape.batch, shape.model[which], shape.context, head, dtype=torch.bfloat16, device="cuda")
        for which in ("heads", "keyValueHeads")
    )
    asked = torch.backends.cuda.SDPAParams(queries, shared, shared, None, 0.0, True, True)
    for name in ("flash", "cudnn", "efficient"):
        if getattr(torch.backends.cuda, f"can_use_{name}_attention")(asked):
            yield name


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.gpu", description="Utilisation of one GPU in training."
    )
    parser.add_argument("--batch", type=int, help="samples of a step")
    parser.add_argument("--context", type=int, help="tokens of a sample")
    parser.add_argument("--precision", choices=("bf16", "fp8"), default="bf16")
    asked = parser.parse_args()
    with joined_group(distributed=False, local_rank=0) as group:
        gpu = group.device.type == "cuda"
        shape = DECODER if gpu else TINY
        shape = replace(shape, batch=asked.batch or shape.batch, context=asked.context or shape.context)
        device = torch.cuda.get_device_name(group.device) if gpu else f"CPU, {os.cpu_count()} cores"
        if not gpu:
            torch.set_num_threads(1)  # two that wait for each other are slower where others use the cores
            print("NO GPU HERE: a tiny model on the CPU, which is NOT the figure of a GPU", file=sys.stderr)
        elif device not in PEAKS:
            print(f"{device}: its peak is not known here (known are {', '.join(PEAKS)}), so no MFU", file=sys.stderr)
        check_precision(asked.precision, group.device)
        measured = train(shape, asked.precision, group)
        used = torch.cuda.max_memory_allocated() / 1e9 if gpu else _resident()
        attention = {"attention": list(fused_attention(shape))} if gpu else {}
        print(json.dumps(line(shape, asked.precision, device, measured, used) | attention), flush=True)


def _resident() -> float:
    """Most memory of this process, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
