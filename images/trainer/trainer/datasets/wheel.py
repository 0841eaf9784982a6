"""Three real data sets, read from the files that scikit-learn's wheel carries.

scikit-learn is found but not imported: sklearn.datasets pulls in scipy and takes longer than the training here. The
files are the ones its own loaders read.
"""

import gzip
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.catalogue import Task
from trainer.datasets.raw import RawData
from trainer.errors import DataError

_IMAGE_SIDE: Final = 8


def digits(_parameters: Mapping[str, Any]) -> RawData:
    """1,797 handwritten digits as images of 8 by 8 pixels, each 0 to 16."""
    table = _table("digits.csv.gz", delimiter=",")
    images = table[:, :-1].reshape(-1, 1, _IMAGE_SIDE, _IMAGE_SIDE)
    return RawData(images, table[:, -1].astype(np.int64), Task.CLASSIFICATION, tuple(range(10)))


def iris(_parameters: Mapping[str, Any]) -> RawData:
    """150 flowers of three species by four lengths in cm."""
    table = _table("iris.csv", delimiter=",", skip=1)
    return RawData(
        table[:, :-1], table[:, -1].astype(np.int64), Task.CLASSIFICATION, ("setosa", "versicolor", "virginica")
    )


def diabetes(_parameters: Mapping[str, Any]) -> RawData:
    """442 patients by ten measurements in their own units; the target is the disease's progression after a year."""
    inputs = _table("diabetes_data_raw.csv.gz")
    targets = _table("diabetes_target.csv.gz")
    return RawData(inputs, targets.reshape(-1), Task.REGRESSION)


def _table(name: str, delimiter: str | None = None, skip: int = 0) -> NDArray[np.float32]:
    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"{name} comes with scikit-learn, which is not installed")
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / name
    try:
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return np.loadtxt(text.decode().splitlines(), dtype=np.float32, delimiter=delimiter, skiprows=skip)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
