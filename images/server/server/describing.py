"""What the server and its models say of themselves, the same in REST and gRPC. Pure."""

from collections.abc import Sequence
from typing import Any

from server import VERSION
from server.state import Serving

NAME = "trainyard-server"
_ALWAYS = ("binary_tensor_data", "classification", "parameters", "statistics")
_REPOSITORY = ("model_repository", "model_repository(unload_dependents)")


def server_metadata(*, repository: bool) -> dict[str, Any]:
    """repository: whether models can be loaded and unloaded."""
    return {"name": NAME, "version": VERSION, "extensions": [*_ALWAYS, *(_REPOSITORY if repository else ())]}


def model_metadata(serving: Serving, versions: Sequence[str]) -> dict[str, Any]:
    card = serving.model.card
    return {
        "name": serving.name,
        "versions": list(versions),
        "platform": "pytorch",
        "inputs": [card.input.as_json()],
        "outputs": [spec.as_json() for spec in card.outputs],
        "parameters": {"digest": card.digest},
    }
