"""Text that only its order tells apart, made for the purpose: the same tokens, and nearly the same neighbours, in each class."""

from collections.abc import Mapping
from itertools import permutations
from typing import Any, Final

import numpy as np

from trainer.datasets.catalogue import Task
from trainer.datasets.raw import RawData

VOCABULARY: Final = 29
"""26 tokens that mean nothing, and three marks."""
_MARKS: Final = "ABC"
_SAMPLES: Final = 6000
_SEED: Final = 21


def order(parameters: Mapping[str, Any]) -> RawData:
    """Six thousand texts of `context` random tokens with three marks among them; the class is the order of the marks.

    How often each token is there says nothing about the class, and who stands next to whom hardly anything: the marks
    are far from each other, as a rule. The same texts everywhere.
    """
    context, random = int(parameters["context"]), np.random.default_rng(_SEED)
    orders = list(permutations(range(len(_MARKS))))
    tokens = random.integers(0, VOCABULARY - len(_MARKS), (_SAMPLES, context))
    places = np.sort(random.permuted(np.tile(np.arange(context), (_SAMPLES, 1)), axis=1)[:, : len(_MARKS)], axis=1)
    classes = np.arange(_SAMPLES) % len(orders)
    marks = VOCABULARY - len(_MARKS) + np.array(orders)[classes]
    np.put_along_axis(tokens, places, marks, axis=1)
    labels = tuple("".join(_MARKS[mark] for mark in one) for one in orders)
    return RawData(tokens, classes, Task.CLASSIFICATION, labels, vocabulary=VOCABULARY)
