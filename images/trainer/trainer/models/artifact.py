"""An exported model: a folder with model.safetensors and card.json, read without running anything found in it.

Safetensors holds tensors and no code; the architecture comes from our registry by name. The digest in the card is
compared before the weights are read, so that a half-written or altered file never answers a request.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from trainer.compression.rebuilding import rebuilt
from trainer.models.building import build_model

MODEL_FILE: Final = "model.safetensors"
CARD_FILE: Final = "card.json"
_MOST_CARD_BYTES: Final = 1 << 20


class ArtifactError(Exception):
    """The folder does not hold a model that can be trusted; says why."""


def digest_of(file: Path) -> str:
    """Digest of a file's content as "sha256:<hex>"."""
    with file.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def load_card(folder: Path) -> dict[str, Any]:
    """Read card.json. Raises ArtifactError when it is missing, too large, no JSON object or lacks what is needed."""
    file = folder / CARD_FILE
    try:
        if file.stat().st_size > _MOST_CARD_BYTES:
            raise ArtifactError(f"{file} is larger than {_MOST_CARD_BYTES} bytes")
        card = json.loads(file.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ArtifactError(f"{file} is no JSON: {error}") from error
    if not isinstance(card, dict) or not {"architecture", "digest", "inputs", "outputs"} <= card.keys():
        raise ArtifactError(f"{file} lacks architecture, digest, inputs or outputs")
    return card


def load_exported(folder: Path | str, expected_digest: str | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """Load an exported model for evaluation, on the CPU.

    Returns the module and its card. Raises ArtifactError when a file is missing, when the weights do not have the
    card's digest or the one expected by the caller, or when they do not fit the architecture.
    """
    place = Path(folder)
    card = load_card(place)
    file = place / MODEL_FILE
    if not file.is_file():
        there = ", ".join(sorted(path.name for path in place.iterdir())) or "nothing"
        raise ArtifactError(f"{place} has no {MODEL_FILE}, only that format is loaded; there is: {there}")
    found = digest_of(file)
    for wanted, source in ((card["digest"], f"{CARD_FILE} says"), (expected_digest, "the caller expects")):
        if wanted is not None and wanted != found:
            raise ArtifactError(f"{file} has digest {found}, {source} {wanted}")
    architecture = card["architecture"]
    module = build_model(architecture["model"], architecture.get("parameters") or {})
    try:
        if card.get("compression"):
            module = rebuilt(module, card["compression"])
        module.load_state_dict(load_file(file))
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise ArtifactError(f"{file} does not fit model {architecture['model']}: {error}") from error
    return module.eval(), card
