"""A data set as it was found; what a user's own data set returns too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.catalogue import BUILT_IN, Task, check_dataset
from trainer.errors import ConfigurationError, DataError
from trainer.extensions import DATASETS, load_extension, load_target
from trainer.parameters import completed


@dataclass(frozen=True)
class RawData:
    """Samples in the units that the source has.

    inputs: (samples, *shape) FP32, (samples, features) for a table, (samples, channels, height, width) for images;
    (samples, context) INT64 tokens for text. targets: (samples,) INT64 class numbers from 0, or FP32 values, or for a
    language (samples, context) the token after each. labels: names of the classes, else None. groups: (samples,) numbers;
    samples of one group are all trained on or all held out. vocabulary: how many tokens there are, for text.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    task: Task
    labels: tuple[int | str, ...] | None = None
    groups: NDArray[np.int64] | None = None
    vocabulary: int | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: NDArray[np.int64]) -> "RawData":
        """The samples of these rows, in this order."""
        groups = None if self.groups is None else self.groups[rows]
        return RawData(self.inputs[rows], self.targets[rows], self.task, self.labels, groups, self.vocabulary)


def load_raw(name: str, parameters: Mapping[str, Any]) -> RawData:
    """Read a data set. Raises ConfigurationError for an unknown name, DataError for data that cannot be read."""
    check_dataset(name, parameters)
    entry = BUILT_IN.get(name)
    if entry is not None:
        data = load_target(entry.target)(completed(entry.parameters, parameters))
    else:
        data = load_extension(DATASETS, name)(dict(parameters))
    if not isinstance(data, RawData):
        raise ConfigurationError("dataset.name", name, f"a factory of RawData (it made {type(data).__name__})")
    if len(data.inputs) != len(data.targets):
        raise DataError(f"data set {name} has {len(data.inputs)} inputs and {len(data.targets)} targets")
    return data
