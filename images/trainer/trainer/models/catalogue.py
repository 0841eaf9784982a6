"""Which models there are and what may be asked of them; imports no torch, so that the agent can refuse in milliseconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from trainer.datasets.catalogue import Content, Task
from trainer.errors import ConfigurationError
from trainer.extensions import MODELS, extension_names
from trainer.parameters import Kind, Parameter, check_parameters, completed

# What the data set decides rather than the user; stored beside the user's own in the card.
DERIVED: Final = ("inputShape", "outputs", "outputShift", "outputScale", "vocabulary", "perToken")
_NUMBERS: Final = frozenset({Content.TABLE, Content.IMAGE})
_IMAGES: Final = frozenset({Content.IMAGE})
_TEXT: Final = frozenset({Content.TEXT})


@dataclass(frozen=True)
class ModelEntry:
    """A model of ours. reads: what its samples may be. learns: of them what. generates: makes samples instead of judging them."""

    target: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    reads: frozenset[Content] = _NUMBERS
    learns: frozenset[Task] = frozenset(Task)
    generates: bool = False
    splits: bool = False
    """Whether its layers can be cut for tensor and pipeline parallelism."""

    def suits(self, content: Content, task: Task) -> bool:
        """Whether it reads such samples, and learns this of them."""
        return content in self.reads and task in self.learns


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
        reads=_IMAGES,
    ),
    "resnet": ModelEntry(
        "trainer.models.residual:resnet",
        {
            "width": Parameter(Kind.WHOLE, 16, 1, 1024),
            "blocks": Parameter(Kind.WHOLES, [2, 2, 2], 1, 64),
        },
        reads=_IMAGES,
    ),
    "gan": ModelEntry(
        "trainer.models.adversarial:gan",
        {
            "latent": Parameter(Kind.WHOLE, 32, 1, 4096),
            "hidden": Parameter(Kind.WHOLE, 256, 1, 16_384),
        },
        reads=_IMAGES,
        generates=True,
    ),
    "lstm": ModelEntry("trainer.models.sequences:lstm", _RECURRENT, reads=frozenset(Content)),
    "gru": ModelEntry("trainer.models.sequences:gru", _RECURRENT, reads=frozenset(Content)),
    "transformer": ModelEntry(
        "trainer.models.sequences:transformer",
        {
            "dim": Parameter(Kind.WHOLE, 64, 1, 16_384),
            "heads": Parameter(Kind.WHOLE, 4, 1, 256),
            "layers": Parameter(Kind.WHOLE, 2, 1, 128),
            "dropout": Parameter(Kind.FRACTION, 0.1, 0.0, 0.9),
        },
        reads=frozenset(Content),
    ),
    # The defaults make a million weights; dim 4096, layers 32, heads 32, keyValueHeads 8, hidden 14336 make seven billion.
    "llama": ModelEntry(
        "trainer.models.llama:llama",
        {
            "dim": Parameter(Kind.WHOLE, 128, 8, 16_384),
            "layers": Parameter(Kind.WHOLE, 4, 1, 256),
            "heads": Parameter(Kind.WHOLE, 4, 1, 256),
            "keyValueHeads": Parameter(Kind.WHOLE, 2, 1, 256),
            "hidden": Parameter(Kind.WHOLE, 352, 8, 131_072),
            "theta": Parameter(Kind.FRACTION, 10_000.0, 10.0, 1e8),
        },
        reads=_TEXT,
        learns=frozenset({Task.LANGUAGE}),
        splits=True,
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
    check_parameters("model.parameters", name, entry.parameters, parameters)


def with_defaults(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters completed with the defaults of today, so that a card still builds the same model tomorrow."""
    entry = BUILT_IN.get(name)
    return completed(entry.parameters if entry else {}, parameters)
