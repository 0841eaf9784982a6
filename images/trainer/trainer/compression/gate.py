"""Whether a variant is published: a pure function of what was measured of it and of its parent.

Published only if its metric is within the declared loss, it is at no batch size slower than its parent, and at one it is
faster. Size alone earns nothing: a smaller model that answers later is a worse one to serve.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

NOISE: Final = 0.03
"""Part of the parent's latency within which two medians of interleaved repeats are taken for equal."""


@dataclass(frozen=True)
class Measured:
    """A model measured on held-out samples and on this machine.

    metric: accuracy, or a loss or squared error. latency: median seconds of a forward pass, by batch size.
    size: bytes of the weights' file.
    """

    metric: float
    latency: Mapping[int, float]
    size: int


@dataclass(frozen=True)
class Terms:
    """What is demanded. maximum_loss: by how much, in the metric's own unit, a variant may be worse than its parent."""

    metric: str
    maximum_loss: float
    smaller_is_better: bool

    def lost(self, parent: float, variant: float) -> float:
        """How much worse the variant is; negative if it is better."""
        return variant - parent if self.smaller_is_better else parent - variant


@dataclass(frozen=True)
class Published:
    """speedup: times as fast as the parent, the mean over the batch sizes (geometric)."""

    speedup: float


@dataclass(frozen=True)
class Refused:
    """Why it is not published, fit for a person."""

    reason: str


Verdict = Published | Refused
_Check = Callable[[Measured, Measured, Terms], str | None]


def judge(parent: Measured, variant: Measured, terms: Terms) -> Verdict:
    """The first objection, or how much faster the variant is. Both must have been measured at the same batch sizes."""
    if parent.latency.keys() != variant.latency.keys() or not parent.latency:
        raise ValueError(f"measured at batch sizes {[*parent.latency]} and {[*variant.latency]}")
    for check in _CHECKS:
        objection = check(parent, variant, terms)
        if objection is not None:
            return Refused(objection)
    product = 1.0
    for size in parent.latency:
        product *= parent.latency[size] / variant.latency[size]
    return Published(product ** (1 / len(parent.latency)))


def _metric(parent: Measured, variant: Measured, terms: Terms) -> str | None:
    lost = terms.lost(parent.metric, variant.metric)
    if lost <= terms.maximum_loss:  # NaN is not within anything
        return None
    return (
        f"{terms.metric} {variant.metric:.4g} is {lost:.4g} worse than the parent's {parent.metric:.4g},"
        f" more than maximumLoss {terms.maximum_loss:.4g}"
    )


def _slower(parent: Measured, variant: Measured, _terms: Terms) -> str | None:
    for size, seconds in variant.latency.items():
        if not seconds <= parent.latency[size] * (1 + NOISE):
            return f"slower than the parent at batch size {size}: {_against(seconds, parent.latency[size])}"
    return None


def _faster_nowhere(parent: Measured, variant: Measured, _terms: Terms) -> str | None:
    if any(seconds < parent.latency[size] * (1 - NOISE) for size, seconds in variant.latency.items()):
        return None
    told = "; ".join(
        f"batch size {size}: {_against(seconds, parent.latency[size])}" for size, seconds in variant.latency.items()
    )
    return f"no faster than the parent ({told})"


def _against(seconds: float, parent: float) -> str:
    return f"{seconds * 1e3:.3g} ms against {parent * 1e3:.3g} ms"


_CHECKS: Final[tuple[_Check, ...]] = (_metric, _slower, _faster_nowhere)
