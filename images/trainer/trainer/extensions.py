"""Names that users add to ours through entry points, found without importing anybody's code.

A user's package declares, in its own metadata,

    [project.entry-points."trainyard.models"]
    resnet = "their_package.models:resnet"

and installing it next to the trainer is all there is to do. Reading metadata costs milliseconds and runs nothing
of theirs, so the agent can list the names before it starts torch; a name of ours cannot be replaced by theirs.
"""

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from trainer.errors import ConfigurationError

MODELS: Final = "trainyard.models"
DATASETS: Final = "trainyard.datasets"


def extension_names(group: str) -> frozenset[str]:
    """Names that installed packages add to the group."""
    return frozenset(point.name for point in entry_points(group=group))


def load_extension(group: str, name: str) -> Any:
    """Import what the name stands for. Raises ConfigurationError when it is missing or cannot be imported."""
    found: EntryPoint | None = next(iter(entry_points(group=group, name=name)), None)
    if found is None:
        raise ConfigurationError(group, name, "an installed entry point", extension_names(group))
    try:
        return found.load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(group, name, f"an entry point that can be imported ({error})") from error


def load_target(target: str) -> Any:
    """Import one of ours, written as module:attribute."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
