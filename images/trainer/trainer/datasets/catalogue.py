"""Which data sets there are; imports no numpy, so that the agent can refuse an unknown one in milliseconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from trainer.errors import ConfigurationError
from trainer.extensions import DATASETS, extension_names, load_target
from trainer.parameters import Kind, Parameter, check_parameters


class Task(Enum):
    """What is learned from a data set."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    LANGUAGE = "language"  # the token after each token


class Content(Enum):
    """What a sample is."""

    TABLE = "tables"
    IMAGE = "images"
    TEXT = "text"


@dataclass(frozen=True)
class DatasetEntry:
    """A data set of ours. What is None is known when it has been read. check: judges parameters in its own way."""

    target: str
    task: Task | None
    content: Content | None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    check: str | None = None


BUILT_IN: Final[Mapping[str, DatasetEntry]] = {
    "digits": DatasetEntry("trainer.datasets.wheel:digits", Task.CLASSIFICATION, Content.IMAGE),
    "iris": DatasetEntry("trainer.datasets.wheel:iris", Task.CLASSIFICATION, Content.TABLE),
    "diabetes": DatasetEntry("trainer.datasets.wheel:diabetes", Task.REGRESSION, Content.TABLE),
    "docs": DatasetEntry(
        "trainer.datasets.text:docs",
        Task.LANGUAGE,
        Content.TEXT,
        {"context": Parameter(Kind.WHOLE, 128, 8, 131_072)},
    ),
    "order": DatasetEntry(
        "trainer.datasets.order:order",
        Task.CLASSIFICATION,
        Content.TEXT,
        {"context": Parameter(Kind.WHOLE, 64, 3, 4096)},
    ),
    "series": DatasetEntry(
        "trainer.datasets.series:series",
        Task.REGRESSION,
        Content.TABLE,
        {"context": Parameter(Kind.WHOLE, 32, 2, 200), "horizon": Parameter(Kind.WHOLE, 12, 1, 100)},
    ),
    "files": DatasetEntry("trainer.datasets.files:load", None, None, check="trainer.datasets.file_parameters:check"),
}


def dataset_names() -> frozenset[str]:
    """Every data set that can be asked for by name, ours and those of installed packages."""
    return frozenset(BUILT_IN) | extension_names(DATASETS)


def check_dataset(name: str, parameters: Mapping[str, Any]) -> None:
    """Raise ConfigurationError unless the data set exists and, for ours, takes these parameters.

    A data set from an entry point judges its own parameters when it is read.
    """
    if name not in dataset_names():
        raise ConfigurationError("dataset.name", name, "the name of a data set", dataset_names())
    entry = BUILT_IN.get(name)
    if entry is None:
        return
    if entry.check is not None:
        load_target(entry.check)(parameters)
    else:
        check_parameters("dataset.parameters", name, entry.parameters, parameters)
