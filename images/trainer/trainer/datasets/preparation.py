"""From found data to data fit to train on: clean, split, normalise. Pure functions of data and seed.

Every worker does this for itself from the same files and gets the same result, so nothing has to be sent around.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.catalogue import Task
from trainer.datasets.raw import RawData
from trainer.errors import DataError

_REGRESSION_STRATA: Final = 10
_IMAGE_DIMENSIONS: Final = 4


@dataclass(frozen=True)
class Cleaning:
    """How many samples were taken out, and why."""

    missing: int
    duplicates: int
    conflicting: int

    def __str__(self) -> str:
        return f"{self.missing} with missing values, {self.duplicates} duplicates, {self.conflicting} contradicting"


@dataclass(frozen=True)
class Normalisation:
    """Mean and deviation of the training inputs: one each for single-channel images, else one per feature or channel."""

    mean: float | list[float]
    std: float | list[float]

    def as_card(self) -> dict[str, float | list[float]]:
        return {"mean": self.mean, "std": self.std}


@dataclass(frozen=True)
class PreparedData:
    """Raw samples in two parts that share none, and what was learned from the training part alone."""

    train: RawData
    held_out: RawData
    normalisation: Normalisation | None
    """None for text."""
    target_shift: float
    target_scale: float
    cleaning: Cleaning

    @property
    def outputs(self) -> int:
        """Width of the model's output: number of classes or of tokens, or 1."""
        if self.train.task is Task.REGRESSION:
            return 1
        if self.train.task is Task.LANGUAGE and self.train.vocabulary is not None:
            return self.train.vocabulary
        return len(self.train.labels) if self.train.labels else int(self.train.targets.max()) + 1


def prepare(raw: RawData, *, held_out_fraction: float, seed: int) -> PreparedData:
    """Clean, split and measure. Raises DataError when too little is left to train and to judge."""
    # What a language repeats belongs to it.
    data, cleaning = (raw, Cleaning(0, 0, 0)) if raw.task is Task.LANGUAGE else clean(raw)
    train_rows, held_out_rows = split(data, held_out_fraction, seed)
    if not len(train_rows) or not len(held_out_rows):
        raise DataError(f"{len(data)} usable samples cannot be split into training and held-out data ({cleaning})")
    train = data.take(train_rows)
    regression = data.task is Task.REGRESSION
    return PreparedData(
        train=train,
        held_out=data.take(held_out_rows),
        normalisation=measure(train.inputs) if raw.vocabulary is None else None,
        target_shift=float(train.targets.mean(dtype=np.float64)) if regression else 0.0,
        target_scale=_deviation(train.targets) if regression else 1.0,
        cleaning=cleaning,
    )


def clean(raw: RawData) -> tuple[RawData, Cleaning]:
    """Take out what would teach or measure wrongly.

    A sample with a missing or infinite value goes: filling it in would have to be repeated by every client of the
    served model. Of samples with equal inputs the first stays, since copies on both sides of the split would flatter
    the result; when their targets differ, none stays.
    """
    flat = raw.inputs.reshape(len(raw), prod(raw.inputs.shape[1:]))
    whole = np.isfinite(flat).all(axis=1) & np.isfinite(raw.targets.astype(np.float64))
    rows = np.flatnonzero(whole)
    groups: dict[bytes, list[int]] = {}
    for row in rows:
        # Adding 0.0 turns -0.0 into 0.0: equal numbers must have equal bytes.
        groups.setdefault((flat[row] + 0.0).tobytes(), []).append(int(row))
    agreeing = [group for group in groups.values() if len({raw.targets[row].item() for row in group}) == 1]
    kept = np.array(sorted(group[0] for group in agreeing), dtype=np.int64)
    in_agreement = sum(len(group) for group in agreeing)
    cleaning = Cleaning(
        missing=len(raw) - len(rows), duplicates=in_agreement - len(kept), conflicting=len(rows) - in_agreement
    )
    return raw.take(kept), cleaning


def split(data: RawData, held_out_fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows held out; the same for the same data and seed, and each class in both as in the whole.

    A regression's targets are cut into strata of equal size, so that both parts span the same range. Where samples
    belong to groups, whole groups are held out until they are the fraction.
    """
    random = np.random.default_rng(seed)
    if data.groups is not None:
        return _split_groups(data.groups, held_out_fraction, random)
    held_out: list[NDArray[np.int64]] = []
    train: list[NDArray[np.int64]] = []
    for stratum in _strata(data):
        shuffled = random.permutation(stratum)
        count = round(len(stratum) * held_out_fraction)
        if len(stratum) > 1:
            count = min(max(count, 1), len(stratum) - 1)
        held_out.append(shuffled[:count])
        train.append(shuffled[count:])
    return _sorted(train), _sorted(held_out)


def _split_groups(
    groups: NDArray[np.int64], fraction: float, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    numbers, sizes = np.unique(groups, return_counts=True)
    order = random.permutation(len(numbers))
    before = np.cumsum(sizes[order]) - sizes[order]
    chosen = numbers[order[before < fraction * len(groups)]]
    held_out = np.isin(groups, chosen)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def measure(inputs: NDArray[np.float32]) -> Normalisation:
    """Mean and deviation of the inputs; a value that never changes gets deviation 1, so that nothing divides by 0."""
    axes = (0, *range(2, inputs.ndim))
    mean = inputs.mean(axis=axes, dtype=np.float64)
    deviation = inputs.std(axis=axes, dtype=np.float64)
    deviation[deviation == 0] = 1.0
    if inputs.ndim == _IMAGE_DIMENSIONS and len(mean) == 1:
        return Normalisation(float(mean[0]), float(deviation[0]))
    return Normalisation(mean.tolist(), deviation.tolist())


def _strata(data: RawData) -> list[NDArray[np.int64]]:
    if data.task is Task.CLASSIFICATION:
        return [np.flatnonzero(data.targets == value) for value in np.unique(data.targets)]
    order = np.argsort(data.targets, kind="stable")
    return [part for part in np.array_split(order, min(_REGRESSION_STRATA, max(1, len(order) // 2))) if len(part)]


def _sorted(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.sort(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)


def _deviation(targets: NDArray[Any]) -> float:
    return float(targets.std(dtype=np.float64)) or 1.0
