"""Tries what was asked for, one variant after the other: made, stored, loaded again as the server will, measured, judged."""

import logging
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from trainer.compression.gate import Measured, Published, Refused, Verdict, judge
from trainer.compression.measuring import Quality, latencies, quality
from trainer.compression.methods import Made, make
from trainer.compression.parent import Parent
from trainer.compression.specification import Asked, Compression
from trainer.compression.tuning import Tick
from trainer.compression.unsuitable import UnsuitableError
from trainer.export import write_model
from trainer.models import load_exported

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """What came of one variant; nothing was measured of one that could not be made. digest: of a published one's weights."""

    asked: Asked
    verdict: Verdict
    measured: Measured | None = None
    parent: Measured | None = None
    sqnr: float | None = None
    digest: str = ""

    @property
    def speedup(self) -> float:
        """Times as fast as the parent; 0 of one that is refused."""
        return self.verdict.speedup if isinstance(self.verdict, Published) else 0.0

    def words(self) -> str:
        return self.verdict.reason if isinstance(self.verdict, Refused) else f"{self.verdict.speedup:.2f} times as fast"

    def as_json(self) -> dict[str, Any]:
        """An entry of variants.json."""
        entry: dict[str, Any] = {
            "name": self.asked.name,
            "method": self.asked.method,
            "parameters": {**self.asked.parameters, **({"student": self.asked.student} if self.asked.student else {})},
            "verdict": "Published" if isinstance(self.verdict, Published) else "Refused",
            "reason": self.words(),
        }
        if self.measured is not None and self.parent is not None:
            entry |= described(self.measured) | {
                "parentLatencySeconds": _by_size(self.parent.latency),
                "sqnrDecibels": self.sqnr if self.sqnr is not None and math.isfinite(self.sqnr) else None,
            }
        return entry | ({"digest": self.digest} if self.digest else {})


def told(trial: Trial, metric: str) -> dict[str, Any]:
    """A variant as the operator is told of it. metric: name of what it was judged by."""
    entry: dict[str, Any] = {
        "name": trial.asked.name,
        "method": trial.asked.method,
        "verdict": "Published" if trial.digest else "Refused",
        "reason": trial.words(),
    }
    if (measured := trial.measured) is not None and (parent := trial.parent) is not None:
        entry |= {
            "sizeBytes": measured.size,
            "latencies": [
                {"batchSize": size, "seconds": _short(seconds), "parentSeconds": _short(parent.latency[size])}
                for size, seconds in measured.latency.items()
            ],
        }
        if math.isfinite(measured.metric):
            entry["metrics"] = {metric: measured.metric}
    return entry | ({"digest": trial.digest, "speedup": round(trial.speedup, 3)} if trial.digest else {})


def _short(number: float) -> float:
    """Four digits: the last message of a pod is short."""
    return float(f"{number:.4g}")


def described(measured: Measured) -> dict[str, Any]:
    """Figures as variants.json has them."""
    return {
        "sizeBytes": measured.size,
        "metric": measured.metric,
        "latencySeconds": _by_size(measured.latency),
    }


def _by_size(latency: Mapping[int, float]) -> dict[str, float]:
    return {str(size): seconds for size, seconds in latency.items()}


def try_all(
    asked: Compression, parent: Parent, folder: Path, *, job: str, begin: Callable[[Asked], Tick]
) -> Sequence[Trial]:
    """Try each variant; those that are published stay in a folder of their name. begin: called before each, for its steps' tick."""
    metric = quality(parent.module, parent).metric
    trials = []
    for each in asked.variants:
        trial = _try(each, asked, parent, metric, folder / each.name, job, begin(each))
        log.info("%s: %s", each.name, trial.words())
        trials.append(trial)
    return trials


def best(trials: Sequence[Trial]) -> Trial | None:
    """The fastest that is published."""
    return max(
        (each for each in trials if isinstance(each.verdict, Published)), key=lambda each: each.speedup, default=None
    )


def _try(asked: Asked, terms: Compression, parent: Parent, metric: float, folder: Path, job: str, tick: Tick) -> Trial:
    try:
        made = make(asked, parent, tick)
    except UnsuitableError as error:
        return Trial(asked, Refused(str(error)))
    folder.mkdir(parents=True)
    card = _card(asked, made, parent, job)
    weights = {name: value.detach().cpu().contiguous() for name, value in made.module.state_dict().items()}
    digest = write_model(folder, weights, card)
    module, _ = load_exported(folder)
    module.to(parent.held_out.inputs.device)
    found = quality(module, parent)
    own, its = latencies(parent, module, terms.batch_sizes)
    before = Measured(metric, own, bytes_of(parent.module))
    after = Measured(found.metric, its, bytes_of(module))
    verdict = judge(before, after, parent.terms(terms.maximum_loss))
    if isinstance(verdict, Refused):
        shutil.rmtree(folder)
        return Trial(asked, verdict, after, before, found.sqnr)
    write_model(folder, weights, card | {"metrics": _metrics(parent, found)})
    return Trial(asked, verdict, after, before, found.sqnr, digest)


def bytes_of(module: nn.Module) -> int:
    """Of all weights together, as they are stored."""
    return sum(value.nbytes for value in module.state_dict().values())


def _metrics(parent: Parent, found: Quality) -> dict[str, float]:
    return {parent.metric: found.metric}


def _card(asked: Asked, made: Made, parent: Parent, job: str) -> dict[str, Any]:
    """The parent's, but for what differs; metrics come when they are measured."""
    card = {name: value for name, value in parent.card.items() if name not in ("digest", "metrics")}
    card |= {"architecture": dict(made.architecture), "createdBy": job, "metrics": {}}
    card["variant"] = {"name": asked.name, "method": asked.method, "parent": parent.card["digest"]}
    return card | ({"compression": dict(made.scheme)} if made.scheme else {})
