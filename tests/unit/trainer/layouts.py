"""A small language model, and the ways in which the workers of a job may share its training."""

from typing import Any

import numpy as np
import pytest
from trainer.datasets.raw import RawData, load_raw

LAYOUTS: dict[str, tuple[int, dict[str, Any]]] = {
    "single": (1, {}),
    "ddp": (2, {}),
    "fsdp2": (2, {"data": "sharded"}),
    "tp": (2, {"tensor": 2}),
    "pp": (2, {"pipeline": 2}),
    "ps": (3, {"servers": 1}),
}
"""Workers and what spec.training.parallelism says."""

_MODEL = {"dim": 16, "layers": 2, "heads": 4, "keyValueHeads": 2, "hidden": 32}
_DOCUMENTS = 150


def few_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jobs started from here on read a few samples only, taken from all over the data set."""

    def few(name: str, parameters: dict[str, Any]) -> RawData:
        raw = load_raw(name, parameters)
        return raw.take(np.unique(np.linspace(0, len(raw) - 1, _DOCUMENTS).astype(int)))

    monkeypatch.setattr("trainer.train.load_raw", few)


def language_job(parallelism: dict[str, Any], **training: Any) -> dict[str, Any]:
    """A job that trains the model."""
    asked = {"epochs": 1, "batchSize": 12, "learningRate": 0.003, "parallelism": parallelism, **training}
    model, dataset = {"name": "llama", "parameters": _MODEL}, {"name": "docs", "parameters": {"context": 8}}
    return {"model": model, "dataset": dataset, "training": asked}
