"""Runs in a pod of the trainer image: writes models that nobody trained to the claim at /storage, and says their digests."""

import json
from pathlib import Path
from typing import Any

import torch
from trainer.export import write_model
from trainer.models import build_model
from trainer.models.catalogue import with_defaults

ROOT = Path("/storage")
CONTEXT = 128
DIGITS = with_defaults("cnn", {}) | {"inputShape": [1, 8, 8], "outputs": 10}
WIDE = DIGITS | {"inputShape": [1, 9, 9]}
TEXT = with_defaults("llama", {"dim": 32, "layers": 2}) | {
    "inputShape": [CONTEXT],
    "outputs": 256,
    "vocabulary": 256,
    "perToken": True,
}


def card(name: str, parameters: dict[str, Any], answer: list[int], labels: list[str] | None) -> dict[str, Any]:
    """As the trainer writes it, for a model that takes what it is built for as it is."""
    return {
        "name": name,
        "architecture": {"model": name, "parameters": parameters},
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, *parameters["inputShape"]]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, *answer]}],
        "preprocessing": None,
        "labels": labels,
    }


def written(path: str, seed: int, described: dict[str, Any], spoilt: str = "") -> str:
    """The digest of a model made from that seed. spoilt: a weight that becomes NaN."""
    torch.manual_seed(seed)
    weights = build_model(described["architecture"]["model"], described["architecture"]["parameters"]).state_dict()
    if spoilt:
        weights[spoilt] = torch.full_like(weights[spoilt], torch.nan)
    (ROOT / path).mkdir(parents=True)
    return write_model(ROOT / path, weights, described)


def main() -> None:
    digits = card("cnn", DIGITS, [10], [str(digit) for digit in range(10)])
    wide = card("cnn", WIDE, [10], None)
    text = card("llama", TEXT, [CONTEXT, 256], None)
    last = list(build_model("cnn", DIGITS).state_dict())[-1]
    made = {
        "digits/v1": written("digits/v1", 1, digits),
        "digits/v2": written("digits/v2", 2, digits),
        "digits/failing": written("digits/failing", 3, digits, last),
        "reviews/2026-11-30": written("reviews/2026-11-30", 4, digits),
        "prices/2026-11-30": written("prices/2026-11-30", 7, digits),
        "prices/wide": written("prices/wide", 8, wide),
        "team/digits/1": written("team/digits/1", 1, digits),
        "team/digits/2": written("team/digits/2", 2, digits),
        "team/segments/1": written("team/segments/1", 9, digits),
        "llama/v1": written("llama/v1", 5, text),
        "language/v1": written("language/v1", 6, text),
    }
    print(json.dumps(made), flush=True)


if __name__ == "__main__":
    main()
