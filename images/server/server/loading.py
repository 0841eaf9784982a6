"""From files on a claim to a model that may be served.

The claim is shared storage, so nothing on it is believed: the bytes must have the digest that the operator pinned,
and only safetensors is read, because unpickling a file runs whatever code is in it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn
from trainer.models import load_exported

from server.card import Card, read_card
from server.errors import StartError

WEIGHTS = "model.safetensors"
CARD = "card.json"
PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Loaded:
    """A module in evaluation mode with its card; raw_card is what trainer.models.preprocess expects."""

    module: nn.Module
    card: Card
    raw_card: Any


def load(folder: Path, expected_digest: str | None) -> Loaded:
    """Check and load the model in folder. Raises StartError with what is wrong and what was expected."""
    weights = folder / WEIGHTS
    _require_safetensors(folder, weights)
    card = read_card(folder / CARD)
    actual = digest_of(weights)
    for source, wanted in (("the service", expected_digest), ("the model card", card.digest)):
        if wanted is not None and wanted != actual:
            raise StartError(f"digest mismatch: {weights} is {actual}, but {source} expects {wanted}")
    try:
        module, raw_card = load_exported(folder)
    except Exception as error:
        raise StartError(f"cannot load the model in {folder}: {type(error).__name__}: {error}") from error
    return Loaded(module.eval(), card, raw_card)


def digest_of(path: Path) -> str:
    """Digest of a file as `sha256:<hex>`."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise StartError(f"cannot read {path}: {error.strerror}") from error
    return f"sha256:{digest.hexdigest()}"


def _require_safetensors(folder: Path, weights: Path) -> None:
    if not folder.is_dir():
        raise StartError(f"the model folder {folder} does not exist; is the claim mounted and the path right?")
    if not weights.is_file():
        found = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
        hint = f"; found {', '.join(found)}, but pickled weights run code when read and are refused" if found else ""
        raise StartError(f"no {WEIGHTS} in {folder}{hint}")
    try:
        with safe_open(weights, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise StartError(f"{weights} is not a safetensors file ({error}); pickled weights are refused") from error
