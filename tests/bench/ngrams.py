"""What counting reaches on text: the baseline that a model of a language, or of classes of text, has to beat."""

import numpy as np
from numpy.typing import NDArray
from trainer.datasets.raw import RawData

_ADDED = (0.01, 0.1, 1.0, 10.0)
_WEIGHTS = tuple(value / 10 for value in range(1, 10))


def loss(train: RawData, held_out: RawData, order: int) -> float:
    """Nats a token of an n-gram model of this order (2 or 3) on held-out text.

    Orders are interpolated with each other (Jelinek and Mercer 1980), the weights chosen on the held-out text itself, which
    favours the baseline.
    """
    assert train.vocabulary is not None
    tokens = train.vocabulary
    before, last, target = _columns(held_out)
    unigram = np.bincount(_columns(train)[2], minlength=tokens) + 1.0
    chance = (unigram / unigram.sum())[target]
    histories = [last] if order == 2 else [last, before * tokens + last]
    for number, history in enumerate(histories):
        counted_before, counted_last, counted_target = _columns(train)
        seen = counted_last if number == 0 else counted_before * tokens + counted_last
        pairs = np.bincount(seen * tokens + counted_target, minlength=1)
        totals = np.bincount(seen, minlength=1)
        together, total = _found(pairs, history * tokens + target), _found(totals, history)
        estimate = np.divide(together, total, out=np.zeros(len(target)), where=total > 0)
        mixes = [np.where(total > 0, weight * estimate + (1 - weight) * chance, chance) for weight in _WEIGHTS]
        chance = min(mixes, key=lambda mix: -np.log(mix).mean())
    return float(-np.log(chance).mean())


def accuracy(train: RawData, held_out: RawData, longest: int) -> float:
    """Share of held-out texts whose class naive Bayes finds from how often each n-gram of up to `longest` tokens is there.

    What is added to each count is chosen on the held-out texts themselves, which favours the baseline.
    """
    classes = int(train.targets.max()) + 1
    reached = []
    for added in _ADDED:
        scores = np.zeros((len(held_out), classes))
        for length in range(1, longest + 1):
            seen, asked = _grams(train, length), _grams(held_out, length)
            kinds = max(int(seen.max()), int(asked.max())) + 1
            counts = np.stack(
                [np.bincount(seen[train.targets == each].ravel(), minlength=kinds) for each in range(classes)]
            )
            chances = np.log((counts + added) / (counts + added).sum(axis=1, keepdims=True))
            scores += chances[:, asked].sum(axis=2).T
        reached.append(float((scores.argmax(axis=1) == held_out.targets).mean()))
    return max(reached)


def _grams(data: RawData, length: int) -> NDArray[np.int64]:
    """A number for each n-gram of each text."""
    assert data.vocabulary is not None
    windows = np.lib.stride_tricks.sliding_window_view(data.inputs, length, axis=1)
    numbers: NDArray[np.int64] = windows @ (data.vocabulary ** np.arange(length))
    return numbers


def _columns(data: RawData) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of every token that has two before it in its sample: these two, and the token after them."""
    return data.inputs[:, :-1].reshape(-1), data.inputs[:, 1:].reshape(-1), data.targets[:, 1:].reshape(-1)


def _found(counts: NDArray[np.int64], index: NDArray[np.int64]) -> NDArray[np.float64]:
    known = index < len(counts)
    found: NDArray[np.float64] = np.where(known, counts[np.where(known, index, 0)], 0).astype(np.float64)
    return found
