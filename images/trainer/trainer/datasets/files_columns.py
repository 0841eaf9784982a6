"""From columns with names to inputs and targets: which rows stay, and how numbers and text become FP32."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.catalogue import Task
from trainer.datasets.file_parameters import FileParameters, Fill
from trainer.datasets.files_cleaning import clip_outliers, fill_missing
from trainer.datasets.raw import RawData
from trainer.errors import DataError

MOST_CATEGORIES: Final = 100
MOST_CLASSES: Final = 1000
MOST_VALUES: Final = 2**31
_LEAST_ROWS: Final = 2

log = logging.getLogger("trainer")


@dataclass(frozen=True)
class Numbers:
    """A column of numbers. values: (rows,) FP64, NaN where one is missing."""

    name: str
    values: NDArray[np.float64]

    @property
    def present(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.values)

    def take(self, rows: NDArray[np.bool_]) -> "Numbers":
        return Numbers(self.name, self.values[rows])


@dataclass(frozen=True)
class Categories:
    """A column of which each value is one of a few. codes: (rows,) INT64 places in `values`, -1 where one is missing."""

    name: str
    codes: NDArray[np.int64]
    values: tuple[int | str, ...]

    @property
    def present(self) -> NDArray[np.bool_]:
        return self.codes >= 0

    def take(self, rows: NDArray[np.bool_]) -> "Categories":
        return Categories(self.name, self.codes[rows], self.values)

    def in_order(self) -> "Categories":
        """The same with sorted values, of which every one occurs. Nothing may be missing."""
        used, codes = np.unique(self.codes, return_inverse=True)
        values = [self.values[code] for code in used]
        order = sorted(range(len(values)), key=lambda place: values[place])
        ranks = np.empty(len(values), dtype=np.int64)
        ranks[order] = np.arange(len(values))
        return Categories(self.name, ranks[codes.reshape(-1)], tuple(values[place] for place in order))


Column = Numbers | Categories


def assemble(features: Sequence[Column], target: Column, wanted: FileParameters) -> RawData:
    """Inputs from the features in their order and targets from the target.

    A row goes when its target, one of its texts or, unless they are filled in, one of its numbers is missing. Text
    becomes one input of 0 or 1 for each value, in sorted order. Raises DataError that names the column which cannot
    be used.
    """
    if not target.present.any():
        raise DataError(f"column {target.name}: has no usable value, so there is nothing to learn")
    for column in features:
        if not column.present.any():
            raise DataError(f"column {column.name}: has no usable value: leave it out of features")
    kept = target.present.copy()
    for column in features:
        if isinstance(column, Categories) or wanted.fill_missing is Fill.DROP:
            kept &= column.present
    say_how_many_stay(kept)
    inputs = encode([column.take(kept) for column in features], wanted)
    targets, labels = encode_target(target.take(kept), wanted.task)
    return RawData(inputs, targets, wanted.task, labels)


def say_how_many_stay(kept: NDArray[np.bool_]) -> None:
    """Log how many rows are left out. Raises DataError when too few are left to learn from."""
    count = int(kept.sum())
    if count < _LEAST_ROWS:
        raise DataError(f"of {len(kept)} rows {count} have all their values, at least {_LEAST_ROWS} must")
    if count < len(kept):
        log.info("%d of %d rows with missing values are left out", len(kept) - count, len(kept))


def encode(features: Sequence[Column], wanted: FileParameters) -> NDArray[np.float32]:
    """(rows, inputs) FP32. Raises DataError that names the column which cannot be used."""
    columns = [column.in_order() if isinstance(column, Categories) else column for column in features]
    widths = [_width(column) for column in columns]
    rows = len(columns[0].present)
    if rows * sum(widths) > MOST_VALUES:
        raise DataError(f"{rows} rows of {sum(widths)} inputs are more than {MOST_VALUES} values, the most in memory")
    inputs = np.empty((rows, sum(widths)), dtype=np.float32)
    start = 0
    for column, width in zip(columns, widths, strict=True):
        inputs[:, start : start + width] = (
            _one_hot(column) if isinstance(column, Categories) else _cleaned(column, wanted)
        )
        start += width
    return inputs


def encode_target(target: Column, task: Task) -> tuple[NDArray[Any], tuple[int | str, ...] | None]:
    """Targets and the names of classes. Raises DataError for a target that does not suit the task."""
    if task is Task.REGRESSION:
        if isinstance(target, Categories):
            raise DataError(f"column {target.name}: is text: a regression learns numbers")
        _check_varies(target.name, target.values)
        return target.values.astype(np.float32), None
    if isinstance(target, Numbers):
        target = _whole_numbers(target)
    classes = target.in_order()
    if len(classes.values) > MOST_CLASSES:
        raise DataError(
            f"column {target.name}: has {len(classes.values)} classes, more than {MOST_CLASSES}: "
            "for numbers to predict ask for task regression"
        )
    _check_varies(target.name, classes.codes)
    return classes.codes, classes.values


def _width(column: Column) -> int:
    """How many inputs the column becomes."""
    if isinstance(column, Numbers):
        return 1
    if len(column.values) > MOST_CATEGORIES:
        raise DataError(
            f"column {column.name}: text with {len(column.values)} different values, more than {MOST_CATEGORIES}: "
            "leave it out of features"
        )
    return len(column.values)


def _one_hot(column: Categories) -> NDArray[np.bool_]:
    _check_varies(column.name, column.codes)
    found: NDArray[np.bool_] = column.codes[:, np.newaxis] == np.arange(len(column.values))
    return found


def _cleaned(column: Numbers, wanted: FileParameters) -> NDArray[np.float64]:
    values = column.values.reshape(-1, 1)
    if not column.present.any():  # the rows that had a value are left out for another column's sake
        raise DataError(f"column {column.name}: has no usable value in the rows that stay: leave it out of features")
    if wanted.clip is not None:
        values = clip_outliers(values, wanted.clip)
    values = fill_missing(values, wanted.fill_missing)
    _check_varies(column.name, values)
    return values


def _whole_numbers(column: Numbers) -> Categories:
    values, codes = np.unique(column.values, return_inverse=True)
    fractions = values[values != np.floor(values)]
    if len(fractions):
        raise DataError(
            f"column {column.name}: holds {float(fractions[0])}, which is no class: "
            "for numbers to predict ask for task regression"
        )
    return Categories(column.name, codes.reshape(-1), tuple(int(value) for value in values))


def _check_varies(name: str, values: NDArray[Any]) -> None:
    if values.min() == values.max():
        raise DataError(f"column {name}: has the same value in every row, so nothing can be learned from it")
