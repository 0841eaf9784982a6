"""Missing values and outliers in columns of numbers. Pure functions of (samples, columns) FP64; NaN is missing.

What is learned here (means, medians, deviations) comes from all samples, before they are split.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.file_parameters import Fill

_LARGEST: Final = float(np.finfo(np.float32).max)
_CENTRES: Final[dict[Fill, Callable[..., Any]]] = {Fill.MEAN: np.nanmean, Fill.MEDIAN: np.nanmedian}


def usable(values: NDArray[Any]) -> NDArray[np.float64]:
    """The values as FP64, with NaN for what FP32 cannot hold as a finite number."""
    numbers = values.astype(np.float64)
    numbers[~(np.abs(numbers) <= _LARGEST)] = np.nan
    return numbers


def clip_outliers(values: NDArray[np.float64], deviations: float) -> NDArray[np.float64]:
    """Bring each number to within so many median absolute deviations of its column's median.

    A column of which more than half has one value has deviation 0 and stays as it is. Every column needs a number.
    Source: Leys et al., Detecting outliers, Journal of Experimental Social Psychology 49, 2013 (without its factor of
    1.4826, which a normal distribution would ask for).
    """
    median = np.nanmedian(values, axis=0)
    reach = deviations * np.nanmedian(np.abs(values - median), axis=0)
    reach[reach == 0] = np.inf
    clipped: NDArray[np.float64] = np.clip(values, median - reach, median + reach)
    return clipped


def fill_missing(values: NDArray[np.float64], how: Fill) -> NDArray[np.float64]:
    """Put the mean or the median of its column in place of each missing number. Every column needs a number."""
    if how is Fill.DROP:
        return values
    return np.where(np.isnan(values), _CENTRES[how](values, axis=0), values)
