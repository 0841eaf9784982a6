"""From a name and parameters to a module; the only place that knows where a model's code is."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from trainer.errors import ConfigurationError
from trainer.extensions import MODELS, load_extension, load_target
from trainer.models.catalogue import BUILT_IN, DERIVED, check_model, with_defaults


def build_model(name: str, parameters: Mapping[str, Any]) -> nn.Module:
    """Build an untrained model.

    parameters: the user's, and inputShape (without the samples), outputs, outputShift and outputScale, as a card has
    them under architecture. A user's factory gets all of them as one mapping. Raises ConfigurationError.
    """
    chosen = {key: value for key, value in parameters.items() if key not in DERIVED}
    check_model(name, chosen)
    complete = with_defaults(name, parameters)
    entry = BUILT_IN.get(name)
    factory = load_target(entry.target) if entry else load_extension(MODELS, name)
    try:
        module = factory(complete)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            "model.parameters", dict(parameters), f"what {name} can be built from ({error})"
        ) from error
    if not isinstance(module, nn.Module):
        raise ConfigurationError("model.name", name, f"a factory of torch.nn.Module (it made {type(module).__name__})")
    return module
