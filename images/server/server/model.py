"""One forward pass: raw inputs to named outputs.

The same steps, in the same order, as the trainer's offline evaluation: preprocessing from the card, then the module
in evaluation mode. Batching may change the last bits of a logit, because a matrix product picks its summation order
by shape (about 1e-6 relative in FP32); labels are the argmax of the logits, first index on a tie, and are equal.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from trainer.models import preprocess

from server.card import DATATYPES, Card
from server.errors import ModelFailed, StartError
from server.loading import Loaded

Array = NDArray[Any]
_TIMED = 3  # warm-up batches of each size whose time is taken


@dataclass(frozen=True)
class Model:
    """A loaded model on its device. On a CPU several threads may call it."""

    card: Card
    module: nn.Module
    raw_card: Any
    device: torch.device
    warm_seconds: Mapping[int, Sequence[float]] | None = (
        None  # of warm-up batches, by rows, where rows alone tell the time
    )

    def infer(self, rows: Array) -> Mapping[str, Array]:
        """Outputs by name for rows (N, ...) of raw input. Raises ModelFailed."""
        try:
            with torch.inference_mode():
                inputs = torch.from_numpy(rows).to(self.device)
                answer = self.module(preprocess(self.raw_card, inputs))
                values = _as_numpy(answer, self.card.output.datatype)
        except Exception as error:
            raise ModelFailed(f"the model raised {type(error).__name__}: {error}") from error
        if len(values) != len(rows):
            raise ModelFailed(f"the model answered {len(values)} rows for {len(rows)}")
        results = {self.card.output.name: values}
        if self.card.label_output is not None:
            results[self.card.label_output.name] = self._labels(values)
        return results

    def _labels(self, logits: Array) -> Array:
        labels, output = self.card.labels or (), self.card.label_output
        if logits.ndim != 2 or logits.shape[1] != len(labels):  # noqa: PLR2004 - [N, C]
            raise ModelFailed(f"the card has {len(labels)} labels, but the model answers {list(logits.shape)}")
        whole = output is not None and output.datatype == "INT64"
        known = np.array(labels, dtype=np.int64 if whole else np.object_)
        chosen: Array = known[logits.argmax(axis=1)]
        return chosen


def prepare(loaded: Loaded, device: str, threads: int) -> Model:
    """Model on its device, with arithmetic that does not depend on the card's speed-ups.

    Raises StartError where the device is not there or the outputs do not fit the card.
    """
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = False  # offline evaluation is plain FP32, so is serving
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    chosen = _chosen(device)
    try:
        module = loaded.module.to(torch.device(chosen))
    except (RuntimeError, AssertionError) as error:
        raise StartError(f"cannot use device {chosen!r}: {error}") from error
    return Model(loaded.card, module, loaded.raw_card, torch.device(chosen))


def on_gpu(device: str) -> bool:
    """Whether a model that asks for this device is on a GPU."""
    return not _chosen(device).startswith("cpu")


def warm_up(model: Model, max_batch: int) -> dict[int, list[float]] | None:
    """Run the smallest and the largest batch, so that the first caller pays for no lazy initialisation.

    Returns the seconds of those that paid for none themselves, by rows; None where rows have any shape. Raises
    StartError where the model cannot take its own declared input or breaks its declared output.
    """
    card = model.card
    seconds: dict[int, list[float]] = {}
    for rows in sorted({1, max_batch}):
        shape = (rows, *(1 if size == -1 else size for size in card.input.shape[1:]))
        zeros = np.zeros(shape, dtype=DATATYPES[card.input.datatype])
        try:
            outputs = model.infer(zeros)
            seconds[rows] = [_seconds(model, zeros) for _ in range(_TIMED)]
        except ModelFailed as error:
            raise StartError(f"warm-up with an input of shape {list(shape)} failed: {error}") from error
        actual = outputs[card.output.name].shape
        if len(actual) != len(card.output.shape) or any(
            wanted not in (-1, size) for size, wanted in zip(actual, card.output.shape, strict=True)
        ):
            raise StartError(f"the model answers {list(actual)}, but its card declares {list(card.output.shape)}")
    return None if -1 in card.input.shape[1:] else seconds


def _chosen(device: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def _seconds(model: Model, rows: Array) -> float:
    began = time.perf_counter()
    model.infer(rows)
    return time.perf_counter() - began


def _as_numpy(answer: Tensor, datatype: str) -> Array:
    if datatype == "BF16":
        answer = answer.to(torch.bfloat16).float()  # numpy has no such type: float32 of the same value
    values: Array = answer.detach().cpu().numpy()
    return values.astype(DATATYPES[datatype], copy=False)
