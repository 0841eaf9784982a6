"""Which models there are and what may be asked of them; imports no torch, so that the agent can refuse in milliseconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from trainer.errors import ConfigurationError
from trainer.extensions import MODELS, extension_names

# What the data set decides rather than the user; stored beside the user's own in the card.
DERIVED: Final = ("inputShape", "outputs", "outputShift", "outputScale")


class Kind(Enum):
    """What a parameter may be."""

    WHOLE = "a whole number"
    FRACTION = "a number"
    WHOLES = "a list of whole numbers"


@dataclass(frozen=True)
class Parameter:
    """One thing a user may choose about a model, with its default and its bounds (inclusive)."""

    kind: Kind
    default: Any
    least: float
    most: float

    def expected(self) -> str:
        return f"{self.kind.value} from {self.least:g} to {self.most:g}"

    def accepts(self, value: object) -> bool:
        if self.kind is Kind.WHOLES:
            return isinstance(value, list) and len(value) <= 16 and all(self._in_bounds(item) for item in value)  # noqa: PLR2004
        return self._in_bounds(value)

    def _in_bounds(self, value: object) -> bool:
        numbers = (int, float) if self.kind is Kind.FRACTION else (int,)
        return isinstance(value, numbers) and not isinstance(value, bool) and self.least <= value <= self.most


@dataclass(frozen=True)
class ModelEntry:
    """A model of ours."""

    target: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    wants_images: bool = False


_RECURRENT: Final = {
    "hidden": Parameter(Kind.WHOLE, 64, 1, 8192),
    "layers": Parameter(Kind.WHOLE, 1, 1, 16),
    "dropout": Parameter(Kind.FRACTION, 0.1, 0.0, 0.9),
}
BUILT_IN: Final[Mapping[str, ModelEntry]] = {
    "linear": ModelEntry("trainer.models.networks:linear"),
    "mlp": ModelEntry(
        "trainer.models.networks:mlp",
        {
            "hidden": Parameter(Kind.WHOLES, [128, 64], 1, 65_536),
            "dropout": Parameter(Kind.FRACTION, 0.1, 0.0, 0.9),
        },
    ),
    "cnn": ModelEntry(
        "trainer.models.networks:cnn",
        {
            "width": Parameter(Kind.WHOLE, 32, 1, 1024),
            "dropout": Parameter(Kind.FRACTION, 0.4, 0.0, 0.9),
        },
        wants_images=True,
    ),
    "lstm": ModelEntry("trainer.models.sequences:lstm", _RECURRENT),
    "gru": ModelEntry("trainer.models.sequences:gru", _RECURRENT),
    "transformer": ModelEntry(
        "trainer.models.sequences:transformer",
        {
            "dim": Parameter(Kind.WHOLE, 64, 1, 16_384),
            "heads": Parameter(Kind.WHOLE, 4, 1, 256),
            "layers": Parameter(Kind.WHOLE, 2, 1, 128),
            "dropout": Parameter(Kind.FRACTION, 0.1, 0.0, 0.9),
        },
    ),
}


def model_names() -> frozenset[str]:
    """Every model that can be asked for by name, ours and those of installed packages."""
    return frozenset(BUILT_IN) | extension_names(MODELS)


def check_model(name: str, parameters: Mapping[str, Any]) -> None:
    """Raise ConfigurationError unless the model exists and, for ours, takes these parameters.

    A model from an entry point judges its own parameters when it is built.
    """
    if name not in model_names():
        raise ConfigurationError("model.name", name, "the name of a model", model_names())
    entry = BUILT_IN.get(name)
    if entry is None:
        return
    for key, value in parameters.items():
        parameter = entry.parameters.get(key)
        if parameter is None:
            raise ConfigurationError(
                "model.parameters", key, f"a parameter of {name}", entry.parameters or ("(it has none)",)
            )
        if not parameter.accepts(value):
            raise ConfigurationError(f"model.parameters.{key}", value, parameter.expected())


def with_defaults(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters completed with the defaults of today, so that a card still builds the same model tomorrow."""
    entry = BUILT_IN.get(name)
    defaults = {key: value.default for key, value in entry.parameters.items()} if entry else {}
    return defaults | dict(parameters)
