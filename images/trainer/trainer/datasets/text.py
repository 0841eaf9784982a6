"""Text to learn a language from, as bytes: 256 tokens, no vocabulary to keep, and a loss that is comparable everywhere."""

import importlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.catalogue import Task
from trainer.datasets.raw import RawData
from trainer.errors import DataError

VOCABULARY: Final = 256
_SOURCE: Final = "pydoc_data.topics"


def docs(parameters: Mapping[str, Any]) -> RawData:
    """Python's own help texts, half a megabyte of English about a programming language.

    Read from the module that `help()` reads. A topic is wholly trained on or wholly held out.
    """
    try:
        topics: Mapping[str, str] = importlib.import_module(_SOURCE).topics
    except ImportError as error:
        raise DataError(f"{_SOURCE} comes with Python, which lacks it here: {error}") from error
    return windows((topics[name].encode() for name in sorted(topics)), int(parameters["context"]))


def windows(documents: Iterable[bytes], context: int) -> RawData:
    """Documents cut into samples of `context` tokens, each with the token after it as its target.

    What is left at the end of a document, less than a sample, is left out: a sample shorter than the others would have
    to be padded, and the model would learn the padding. Raises DataError when no document is long enough.
    """
    inputs: list[NDArray[np.int64]] = []
    targets: list[NDArray[np.int64]] = []
    groups: list[int] = []
    for number, document in enumerate(documents):
        tokens = np.frombuffer(document, dtype=np.uint8).astype(np.int64)
        count = max(0, len(tokens) - 1) // context
        inputs.extend(tokens[: count * context].reshape(count, context))
        targets.extend(tokens[1 : count * context + 1].reshape(count, context))
        groups.extend([number] * count)
    if not inputs:
        raise DataError(f"no document has more than context={context} bytes")
    return RawData(np.stack(inputs), np.stack(targets), Task.LANGUAGE, groups=np.array(groups), vocabulary=VOCABULARY)
