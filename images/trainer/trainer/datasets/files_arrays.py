"""Arrays from NumPy's own files: .npz with `inputs` and `targets`, or inputs.npy beside targets.npy.

Nothing is ever unpickled: an array of objects is refused.
"""

import io
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.catalogue import Task
from trainer.datasets.file_parameters import FileParameters, Fill
from trainer.datasets.files_cleaning import clip_outliers, fill_missing, usable
from trainer.datasets.files_columns import MOST_VALUES, Categories, Column, Numbers, encode_target, say_how_many_stay
from trainer.datasets.files_source import MOST_BYTES, Content, has_suffix
from trainer.datasets.raw import RawData
from trainer.errors import ConfigurationError, DataError

_TABLE: Final = 2
_IMAGES: Final = 4
_ARRAYS: Final = ("inputs", "targets")
_UNREADABLE: Final = (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, NotImplementedError)


@dataclass(frozen=True)
class _Part:
    """The arrays of one file."""

    file: str
    inputs: NDArray[Any]
    targets: NDArray[Any]


def read(wanted: FileParameters, contents: Iterable[Content]) -> RawData:
    """The samples of all files, one file after the other. Raises DataError with the file and the reason."""
    parts: list[_Part] = []
    lone: dict[str, NDArray[Any]] = {}
    values = 0
    for content in contents:
        if has_suffix(content.name, {".npy"}):
            lone[content.name] = _array(content.data, content.name)
            continue
        part = _of_archive(content)
        _check_alike(part, parts[0] if parts else part)
        values += part.inputs.size
        if values > MOST_VALUES:
            raise DataError(f"{content.name}: with the files before it more than {MOST_VALUES} input values")
        parts.append(part)
    if lone:
        parts = [_of_pair(lone, parts)]
    return _raw(
        np.concatenate([part.inputs for part in parts]), np.concatenate([part.targets for part in parts]), wanted
    )


def _of_pair(lone: dict[str, NDArray[Any]], others: list[_Part]) -> _Part:
    if others or set(lone) != {f"{name}.npy" for name in _ARRAYS}:
        names = ", ".join([*lone, *(part.file for part in others)])
        raise DataError(f"{names}: expected inputs.npy and targets.npy, or files of .npz alone")
    return _checked("inputs.npy", lone["inputs.npy"], lone["targets.npy"])


def _of_archive(content: Content) -> _Part:
    try:
        with zipfile.ZipFile(io.BytesIO(content.data)) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            missing = [name for name in _ARRAYS if f"{name}.npy" not in sizes]
            if missing:
                names = ", ".join(name.removesuffix(".npy") for name in sizes)
                raise DataError(f"{content.name}: has no array {missing[0]}; there is: {names}")
            if sum(sizes[f"{name}.npy"] for name in _ARRAYS) > MOST_BYTES:
                raise DataError(f"{content.name}: unpacks to more than {MOST_BYTES} bytes, the most in memory")
            inputs, targets = (_array(archive.read(f"{name}.npy"), content.name) for name in _ARRAYS)
    except (*_UNREADABLE, RuntimeError) as error:  # RuntimeError: the archive is encrypted
        raise DataError(f"{content.name}: cannot be read as npz: {error}") from error
    return _checked(content.name, inputs, targets)


def _array(data: bytes, file: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except _UNREADABLE as error:
        raise DataError(f"{file}: cannot be read as an array of numbers: {error}") from error
    return array


def _checked(file: str, inputs: NDArray[Any], targets: NDArray[Any]) -> _Part:
    if inputs.dtype.kind not in "biuf":
        raise DataError(f"{file}: inputs are {inputs.dtype}, expected numbers")
    if inputs.ndim not in {_TABLE, _IMAGES}:
        shapes = "(samples, features) or (samples, channels, height, width)"
        raise DataError(f"{file}: inputs have the shape {inputs.shape}, expected {shapes}")
    if targets.dtype.kind not in "biufU" or targets.shape != inputs.shape[:1]:
        raise DataError(
            f"{file}: targets are {targets.dtype} of shape {targets.shape}, expected numbers or text of shape "
            f"{inputs.shape[:1]}"
        )
    if inputs.size > MOST_VALUES:
        raise DataError(f"{file}: {inputs.size} input values are more than {MOST_VALUES}, the most in memory")
    return _Part(file, inputs, targets)


def _check_alike(part: _Part, first: _Part) -> None:
    shape, wanted = part.inputs.shape[1:], first.inputs.shape[1:]
    if shape != wanted:
        raise DataError(f"{part.file}: its samples have the shape {shape}, those of {first.file} have {wanted}")
    if (part.targets.dtype.kind == "U") != (first.targets.dtype.kind == "U"):
        raise DataError(f"{part.file}: its targets are {part.targets.dtype}, unlike those of {first.file}")


def _raw(inputs: NDArray[Any], targets: NDArray[Any], wanted: FileParameters) -> RawData:
    target = _target(targets, wanted.task)
    if inputs.ndim == _IMAGES:
        _check_nothing_to_clean(inputs.shape, wanted)
        with np.errstate(over="ignore"):  # what FP32 cannot hold becomes infinite, and its sample goes
            values = inputs.astype(np.float32)
        kept = target.present & np.isfinite(values).all(axis=(1, 2, 3))
        say_how_many_stay(kept)
        values = values[kept]
    else:
        numbers = usable(inputs)
        kept = target.present
        if wanted.fill_missing is Fill.DROP:
            kept = kept & ~np.isnan(numbers).any(axis=1)
        say_how_many_stay(kept)
        values = _cleaned(numbers[kept], wanted).astype(np.float32)
    encoded, labels = encode_target(target.take(kept), wanted.task)
    return RawData(values, encoded, wanted.task, labels)


def _check_nothing_to_clean(shape: tuple[int, ...], wanted: FileParameters) -> None:
    expected = f"nothing: the inputs are images of shape {shape[1:]}, and this is for tables"
    if wanted.fill_missing is not Fill.DROP:
        raise ConfigurationError("dataset.parameters.fillMissing", wanted.fill_missing.value, expected)
    if wanted.clip is not None:
        raise ConfigurationError("dataset.parameters.outliers", {"clip": wanted.clip}, expected)


def _cleaned(values: NDArray[np.float64], wanted: FileParameters) -> NDArray[np.float64]:
    empty = np.flatnonzero(np.isnan(values).all(axis=0))
    if len(empty):
        raise DataError(f"inputs[:, {empty[0]}]: has no usable value: leave the column out")
    if wanted.clip is not None:
        values = clip_outliers(values, wanted.clip)
    return fill_missing(values, wanted.fill_missing)


def _target(targets: NDArray[Any], task: Task) -> Column:
    if targets.dtype.kind == "U" or (task is Task.CLASSIFICATION and targets.dtype.kind in "biu"):
        values, codes = np.unique(targets, return_inverse=True)
        names = tuple(str(value) if targets.dtype.kind == "U" else int(value) for value in values)
        return Categories("targets", codes.reshape(-1), names)
    return Numbers("targets", usable(targets))
