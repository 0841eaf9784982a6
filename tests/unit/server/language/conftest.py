"""Tiny language models, untrained but not uniform."""

from typing import Any

import pytest
import torch
from torch import nn
from trainer.models import build_model

CONTEXT = 96
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {
        "model": "llama",
        "parameters": {"dim": 32, "layers": 2, "heads": 4, "keyValueHeads": 2, "hidden": 48},
    },
    "llama-one-head": {
        "model": "llama",
        "parameters": {"dim": 32, "layers": 3, "heads": 4, "keyValueHeads": 1, "hidden": 48, "theta": 500.0},
    },
    "llama-no-groups": {
        "model": "llama",
        "parameters": {"dim": 32, "layers": 1, "heads": 2, "keyValueHeads": 2, "hidden": 48},
    },
    "transformer": {"model": "transformer", "parameters": {"dim": 32, "heads": 4, "layers": 2}},
}


def architecture(name: str, *, per_token: bool = True) -> dict[str, Any]:
    """Of a card, for bytes."""
    known = ARCHITECTURES[name]
    derived = {
        "inputShape": [CONTEXT],
        "outputs": 256 if per_token else 3,
        "vocabulary": 256,
        "perToken": per_token,
    }
    return {"model": known["model"], "parameters": known["parameters"] | derived}


def made(name: str, *, per_token: bool = True, seed: int = 3) -> tuple[nn.Module, dict[str, Any]]:
    """A module whose weights are large enough for its answers to depend on all that it read, and its card."""
    torch.manual_seed(seed)
    described = architecture(name, per_token=per_token)
    module = build_model(described["model"], described["parameters"]).eval()
    with torch.no_grad():
        for weight in module.parameters():
            if weight.dim() > 1:
                weight.mul_(4.0)
    return module, {"architecture": described}


@pytest.fixture(name="made", scope="session")
def made_fixture() -> Any:
    return made
