"""What the new model gets at each step of a rollout, and how many replicas it needs for that. Pure."""

from dataclasses import dataclass
from math import ceil

from trainyard.api.rollout import Rollout, RolloutStatus

GOING: frozenset[str] = frozenset({"Progressing", "Paused"})
_ALL = 100


@dataclass(frozen=True, slots=True)
class Stage:
    """In percent: a share of the requests, and copies of the old model's inferences."""

    weight: int
    shadow: int = 0

    @property
    def load(self) -> float:
        """Share of all requests that the new model answers."""
        return self.weight + self.shadow * (_ALL - self.weight) / _ALL

    def words(self, path: str) -> str:
        requests = f"{self.weight} % of the requests go to {path}" if self.weight else ""
        copies = f"{self.shadow} % of the old model's inferences are copied to {path}" if self.shadow else ""
        return ", and ".join(filter(None, (requests, copies)))


def stages(spec: Rollout, strategy: str) -> tuple[Stage, ...]:
    """The steps; with copies, the first has nothing but these."""
    weights = sorted(spec.steps) if strategy == "Canary" else [_ALL]
    if spec.shadow is None:
        return tuple(Stage(weight) for weight in weights)
    percent = spec.shadow.percent
    # Where the old model gets nothing there is nothing to copy.
    return (Stage(0, percent), *(Stage(weight, percent if weight < _ALL else 0) for weight in weights))


def canaries(status: RolloutStatus | None, spec: Rollout, target: int) -> int:
    """Replicas that the new model should have beside the stable ones, none of which goes for them."""
    if status is None or status.phase not in GOING:
        return 0
    steps = stages(spec, status.strategy)
    return max(1, ceil(target * steps[min(status.step, len(steps) - 1)].load / _ALL))
