"""Evidence that may be looked at as often as one likes: e-processes on streams of yes and no.

For a stream whose answers are yes with probability p, the ratio of a Beta mixture to the likelihood of p is a martingale that begins
at 1, so the chance that it ever reaches 1/a is at most a, whenever one looks (Ville). The product over two streams is one too, however
the traffic was split between them; its least value over a hypothesis is evidence against the whole hypothesis. Only counts are needed.

Source: Ramdas, Grünwald, Vovk and Shafer, Game-theoretic statistics and safe anytime-valid inference, Statistical Science 2023.
"""

from dataclasses import dataclass
from math import inf, lgamma, log, log1p

_PRIOR = 0.5  # of yes and of no: the mixture that loses least for rates near 0
_WHOLE_PRIOR = 2 * lgamma(_PRIOR) - lgamma(2 * _PRIOR)
_HALVINGS = 40


@dataclass(frozen=True, slots=True)
class Stream:
    """`yes` of `seen` answers."""

    yes: int
    seen: int

    @property
    def rate(self) -> float:
        return self.yes / self.seen if self.seen else 0.0


def log_above(new: Stream, old: Stream, margin: float) -> float:
    """Natural logarithm of the evidence against: the rate of `new` is at most that of `old` plus `margin`. 0 where there is none."""
    if not new.seen or not old.seen or new.rate <= old.rate + margin:
        return 0.0
    return max(0.0, _least(new, old, margin))


def log_below(new: Stream, old: Stream, margin: float) -> float:
    """The same against: the rate of `new` is at least that of `old` plus `margin`."""
    if not new.seen or not old.seen or new.rate >= old.rate + margin:
        return 0.0
    return max(0.0, _least(new, old, margin))


def log_against(one: Stream, rate: float) -> float:
    """The same for a single stream against: its rate is `rate`, or on the other side of it than what was seen."""
    return max(0.0, _mixture(one) - _likelihood(one, rate)) if one.seen else 0.0


def divergence(rate: float, other: float) -> float:
    """Evidence that one more answer brings on the average against `other`, which lies between 0 and 1, while `rate` is true."""
    yes = rate * log(rate / other) if rate > 0.0 else 0.0
    return yes + ((1.0 - rate) * log((1.0 - rate) / (1.0 - other)) if rate < 1.0 else 0.0)


def _least(new: Stream, old: Stream, margin: float) -> float:
    """The evidence against the pair of rates (p + margin, p) that explains both streams best: convex in p, so halved towards."""
    low, high = sorted((min(max(old.rate, 0.0), 1.0 - margin), min(max(new.rate - margin, 0.0), 1.0 - margin)))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _slope(new, middle + margin) + _slope(old, middle) > 0:
            high = middle
        else:
            low = middle
    best = (low + high) / 2
    return _mixture(new) + _mixture(old) - _likelihood(new, best + margin) - _likelihood(old, best)


def _slope(one: Stream, rate: float) -> float:
    """Derivative of the negative log likelihood."""
    no = one.seen - one.yes
    return (no / (1.0 - rate) if no else 0.0) - (one.yes / rate if one.yes else 0.0) if 0.0 < rate < 1.0 else 0.0


def _mixture(one: Stream) -> float:
    return lgamma(one.yes + _PRIOR) + lgamma(one.seen - one.yes + _PRIOR) - lgamma(one.seen + 2 * _PRIOR) - _WHOLE_PRIOR


def _likelihood(one: Stream, rate: float) -> float:
    no = one.seen - one.yes
    if (one.yes and rate <= 0.0) or (no and rate >= 1.0):
        return -inf
    return (one.yes * log(rate) if one.yes else 0.0) + (no * log1p(-rate) if no else 0.0)
