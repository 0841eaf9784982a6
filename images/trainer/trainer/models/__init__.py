"""Model architectures, and the one way to build, describe and load them: used by the trainer and by the model server.

Nothing of training is imported here. Names resolve on first use, because the agent asks this package which models
there are before anything has paid for importing torch.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from trainer.models.artifact import ArtifactError, digest_of, load_exported
    from trainer.models.building import build_model
    from trainer.models.preprocessing import preprocess

_HOMES: Final = {
    "ArtifactError": "artifact",
    "build_model": "building",
    "digest_of": "artifact",
    "load_exported": "artifact",
    "preprocess": "preprocessing",
}

__all__ = ["ArtifactError", "build_model", "digest_of", "load_exported", "preprocess"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
