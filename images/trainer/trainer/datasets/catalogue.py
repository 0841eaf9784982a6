"""Which data sets there are; imports no numpy, so that the agent can refuse an unknown one in milliseconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from trainer.errors import ConfigurationError
from trainer.extensions import DATASETS, extension_names


class Task(Enum):
    """What is learned from a data set."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


@dataclass(frozen=True)
class DatasetEntry:
    """A data set of ours."""

    target: str
    task: Task
    images: bool = False


BUILT_IN: Final[Mapping[str, DatasetEntry]] = {
    "digits": DatasetEntry("trainer.datasets.wheel:digits", Task.CLASSIFICATION, images=True),
    "iris": DatasetEntry("trainer.datasets.wheel:iris", Task.CLASSIFICATION),
    "diabetes": DatasetEntry("trainer.datasets.wheel:diabetes", Task.REGRESSION),
}


def dataset_names() -> frozenset[str]:
    """Every data set that can be asked for by name, ours and those of installed packages."""
    return frozenset(BUILT_IN) | extension_names(DATASETS)


def check_dataset(name: str, parameters: Mapping[str, Any]) -> None:
    """Raise ConfigurationError unless the data set exists and, for ours, was given no parameters (they have none)."""
    if name not in dataset_names():
        raise ConfigurationError("dataset.name", name, "the name of a data set", dataset_names())
    if name in BUILT_IN and parameters:
        raise ConfigurationError("dataset.parameters", sorted(parameters), f"nothing: {name} has no parameters")
