"""From logits to the next token of each sequence.

Each sequence draws from a generator of its own, so what it gets does not depend on whom it is computed with - except
that the last bits of logits do, as of any matrix product: once in about a million draws another token may come out.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

MOST_LOGPROBS = 20


@dataclass(frozen=True)
class Sampling:
    """temperature: 0 takes the likeliest. top_p: least share of the probability that stays. top_k: tokens that stay.

    A top_k of 0 keeps all. logprobs: alternatives to tell with each token, None for no logprobs at all.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    logprobs: int | None = None

    def for_choice(self, number: int) -> "Sampling":
        """Of one of several answers to a prompt: with a seed they differ, but each is the same every time."""
        return self if self.seed is None else replace(self, seed=self.seed + number)


@dataclass(frozen=True)
class Chosen:
    """A token, and where asked for its logprob and the likeliest tokens with theirs (of the unchanged model)."""

    token: int
    logprob: float | None = None
    alternatives: tuple[tuple[int, float], ...] = ()


def choose(logits: Tensor, how: list[Sampling], draws: list[float]) -> list[Chosen | None]:
    """Next token of each row, None for a row that holds NaN or infinity.

    logits: (rows, vocabulary) FP32 on any device. draws: a number of [0, 1) for each row.
    """
    sound = logits.isfinite().all(dim=1).tolist()
    tokens = _tokens(logits, how, draws).tolist()
    told = _logprobs(logits, how)
    chosen: list[Chosen | None] = []
    for row, (token, sampling) in enumerate(zip(tokens, how, strict=True)):
        if not sound[row]:
            chosen.append(None)
        elif told is None or sampling.logprobs is None:
            chosen.append(Chosen(token))
        else:
            top = told[row].topk(min(sampling.logprobs, logits.shape[1]))
            pairs = tuple(zip(top.indices.tolist(), top.values.tolist(), strict=True))
            chosen.append(Chosen(token, float(told[row, token]), pairs))
    return chosen


def _tokens(logits: Tensor, how: list[Sampling], draws: list[float]) -> Tensor:
    """(rows,) tokens."""
    greedy = logits.argmax(dim=1)
    if all(each.temperature == 0 for each in how):
        return greedy
    device = logits.device
    temperatures = torch.tensor([each.temperature or 1.0 for each in how], device=device)
    scaled = logits.nan_to_num(0.0, 0.0, 0.0) / temperatures[:, None]
    if any(each.top_k or each.top_p < 1 for each in how):
        scaled = scaled.masked_fill(~_kept(scaled, how), -torch.inf)
    # In double precision and in the order of the vocabulary, so that rounding hardly ever moves a boundary over a draw.
    sums = scaled.double().softmax(dim=1).cumsum(dim=1)
    wanted = torch.tensor(draws, dtype=torch.float64, device=device)[:, None] * sums[:, -1:]
    drawn = torch.searchsorted(sums, wanted, right=True).squeeze(1).clamp(max=logits.shape[1] - 1)
    sampled = torch.tensor([each.temperature > 0 for each in how], device=device)
    return torch.where(sampled, drawn, greedy)


def _kept(scaled: Tensor, how: list[Sampling]) -> Tensor:
    """(rows, vocabulary) whether a token stays: among the top_k, and among the likeliest that make top_p together."""
    values, order = scaled.sort(dim=1, descending=True, stable=True)
    places = torch.arange(scaled.shape[1], device=scaled.device)
    most = torch.tensor([each.top_k or scaled.shape[1] for each in how], device=scaled.device)
    inside = places < most[:, None]
    chances = values.masked_fill(~inside, -torch.inf).softmax(dim=1)
    before = chances.cumsum(dim=1) - chances
    least = torch.tensor([each.top_p for each in how], device=scaled.device)
    inside &= (before < least[:, None]) | (places == 0)
    return torch.zeros_like(inside).scatter(1, order, inside)


def _logprobs(logits: Tensor, how: list[Sampling]) -> Tensor | None:
    if all(each.logprobs is None for each in how):
        return None
    return logits.log_softmax(dim=1).cpu()
