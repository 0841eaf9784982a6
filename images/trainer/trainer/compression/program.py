"""The program that compresses a model, in the place of training: one process, no gang.

Its result is a folder like that of a training: the fastest published variant at the top, so that whoever serves the job
serves that, and every published one under variants/NAME beside variants/variants.json, which tells of the refused too.
"""

import logging
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

from trainer.compression.gate import Published
from trainer.compression.methods import steps_of
from trainer.compression.parent import Parent, load_parent
from trainer.compression.specification import Asked, Compression, parse_compression
from trainer.compression.trials import Trial, best, described, try_all
from trainer.compression.tuning import Tick
from trainer.control import StopSignal
from trainer.durable import write_json
from trainer.environment import Environment
from trainer.errors import ConfigurationError, ExitCode, StopRequested, TrainerError
from trainer.export import appearing
from trainer.models.artifact import CARD_FILE, MODEL_FILE
from trainer.progress import Reporter, reporter_for

log = logging.getLogger("trainer")

VARIANTS: Final = "variants"
REPORT: Final = "variants.json"
_MOST_REASON: Final = 200


class NothingPublishedError(TrainerError):
    """Every variant was refused: the parent stays the best model there is, and another start would measure the same."""

    exit_code = ExitCode.CONFIGURATION

    def __init__(self, trials: Sequence[Trial]) -> None:
        told = "; ".join(f"{each.asked.name}: {each.words()[:_MOST_REASON]}" for each in trials)
        super().__init__(f"compression.variants: no variant is published. {told}")


def run(environment: Environment, stop: StopSignal) -> None:
    """Compress, measure, publish. Raises NothingPublishedError where no variant earned it, and TrainerError as training does."""
    asked = parse_compression(environment.specification, workers=environment.workers())
    if environment.directory is None:
        raise ConfigurationError("storage", None, "storage with compression: there the variants are kept")
    reporter = reporter_for(environment, world_size=1)
    try:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        parent = load_parent(asked, device)
        _compress(asked, parent, environment, reporter, stop)
    finally:
        reporter.close()


def _compress(
    asked: Compression, parent: Parent, environment: Environment, reporter: Reporter, stop: StopSignal
) -> None:
    steps = _Steps(reporter, stop, parent, total=sum(steps_of(each, parent) for each in asked.variants))
    with appearing(environment) as (unfinished, folder):
        variants = unfinished / VARIANTS
        variants.mkdir()
        trials = try_all(asked, parent, variants, job=environment.job, begin=steps.begin)
        chosen = best(trials)
        reporter.update(phase="exporting", metrics=figures(trials, parent))
        write_json(variants / REPORT, report(trials, chosen, parent, asked))
        if chosen is not None:
            for name in (MODEL_FILE, CARD_FILE):
                shutil.copyfile(variants / chosen.asked.name / name, unfinished / name)
    if chosen is None:
        raise NothingPublishedError(trials)
    reporter.update(result=_result(trials, chosen, environment, folder))
    reporter.update(phase="done")
    log.info("done: the fastest is %s, %s", chosen.asked.name, chosen.words())


def figures(trials: Sequence[Trial], parent: Parent) -> dict[str, float]:
    """The summary for the job's status: of the best variant and of its parent."""
    chosen = best(trials)
    published = sum(isinstance(each.verdict, Published) for each in trials)
    told = {"published": float(published), "refused": float(len(trials) - published)}
    if chosen is None or chosen.measured is None or chosen.parent is None:
        return told
    return told | {
        parent.metric: chosen.measured.metric,
        f"{parent.metric}OfParent": chosen.parent.metric,
        "speedup": chosen.speedup,
        "sizeOfParent": chosen.measured.size / chosen.parent.size,
    }


def report(trials: Sequence[Trial], chosen: Trial | None, parent: Parent, asked: Compression) -> dict[str, Any]:
    """variants.json: every variant with its figures and why it is or is not published."""
    first = next((each.parent for each in trials if each.parent is not None), None)
    device = parent.held_out.inputs.device
    return {
        "parent": {"digest": parent.card["digest"], **(described(first) if first else {})},
        "metric": parent.metric,
        "maximumLoss": asked.maximum_loss,
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads",
        "best": chosen.asked.name if chosen else None,
        "variants": [each.as_json() for each in trials],
    }


def _result(trials: Sequence[Trial], chosen: Trial, environment: Environment, folder: Path) -> dict[str, Any]:
    published = [
        {"name": each.asked.name, "method": each.asked.method, "digest": each.digest, "speedup": round(each.speedup, 3)}
        for each in trials
        if each.digest
    ]
    return {"path": environment.claim_path(folder), "digest": chosen.digest, "variants": published}


class _Steps:
    """Tells how far it is, and stops where that is asked for: nothing is lost but the steps of this run."""

    def __init__(self, reporter: Reporter, stop: StopSignal, parent: Parent, *, total: int) -> None:
        self._reporter, self._stop, self._done, self._total = reporter, stop, 0, total
        self._parent = parent

    def begin(self, asked: Asked) -> Tick:
        """Before a variant. Raises StopRequested."""
        self._check()
        self._reporter.update(
            phase="training" if steps_of(asked, self._parent) else "evaluating", total_steps=self._total
        )
        last = self._done + steps_of(asked, self._parent)

        def tick(loss: float) -> None:
            self._done += 1
            self._reporter.update(step=self._done, loss=loss if math.isfinite(loss) else None)
            if self._done == last:
                self._reporter.update(phase="evaluating")  # what follows makes no steps, and is no hang
            self._check()

        return tick

    def _check(self) -> None:
        if self._stop.received:
            raise StopRequested("asked to stop; the variants are tried anew from the start")
