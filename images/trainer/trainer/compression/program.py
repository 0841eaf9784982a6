"""The program that compresses a model, in the place of training or after it: one process, no gang.

Published variants lie under variants/NAME in the folder of the job's result, beside variants/variants.json, which tells of
the refused too. At the top is the model that this job trained; or, of one that was trained before, the fastest variant.
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
from trainer.compression.specification import Asked, Compression, Source
from trainer.compression.trials import Trial, best, described, told, try_all
from trainer.compression.tuning import Tick
from trainer.control import StopSignal
from trainer.durable import write_json
from trainer.environment import Environment
from trainer.errors import ConfigurationError, ExitCode, StopRequested, TrainerError
from trainer.export import Exported, appearing, attempt_folder
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


def run(asked: Compression, source: Source, environment: Environment, stop: StopSignal) -> None:
    """Compress a model that was trained before. Raises NothingPublishedError where no variant earned it, and TrainerError as training does."""
    folder = variants_home(environment)
    reporter = reporter_for(environment, world_size=1)
    try:
        parent = load_parent(source, _device())
        with appearing(environment, folder) as unfinished:
            trials = _try(asked, parent, unfinished / VARIANTS, environment, _Steps(asked, parent, reporter, stop))
            chosen = best(trials)
            reporter.update(phase="exporting", metrics=figures(trials, parent))
            if chosen is not None:
                for name in (MODEL_FILE, CARD_FILE):
                    shutil.copyfile(unfinished / VARIANTS / chosen.asked.name / name, unfinished / name)
        if chosen is None:
            raise NothingPublishedError(trials)
        result = {"path": environment.claim_path(folder), "digest": chosen.digest, VARIANTS: _told(trials, parent)}
        reporter.update(result=result)
        reporter.update(phase="done")
        log.info("done: the fastest is %s, %s", chosen.asked.name, chosen.words())
    finally:
        reporter.close()


def add_variants(
    asked: Compression, exported: Exported, environment: Environment, reporter: Reporter, stop: StopSignal
) -> list[dict[str, Any]]:
    """Compress what this job has exported, into its folder; returns what is told of each variant.

    Where none is published there is a warning: the trained model is a result all the same.
    """
    parent = load_parent(Source(str(exported.folder), exported.digest), _device())
    steps = _Steps(asked, parent, reporter, stop, first=reporter.progress.step)
    with appearing(environment, exported.folder / VARIANTS) as unfinished:
        trials = _try(asked, parent, unfinished, environment, steps)
    if best(trials) is None:
        reporter.update(warning=str(NothingPublishedError(trials)))
    return _told(trials, parent)


def variants_home(environment: Environment) -> Path:
    """The attempt's folder. Raises ConfigurationError without storage."""
    if environment.directory is None:
        raise ConfigurationError("storage", None, "storage with compression: there the variants are kept")
    return attempt_folder(environment)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _try(
    asked: Compression, parent: Parent, folder: Path, environment: Environment, steps: "_Steps"
) -> Sequence[Trial]:
    """Try all, and leave the report beside those that are published."""
    folder.mkdir(exist_ok=True)
    trials = try_all(asked, parent, folder, job=environment.job, begin=steps.begin)
    write_json(folder / REPORT, report(trials, best(trials), parent, asked))
    return trials


def _told(trials: Sequence[Trial], parent: Parent) -> list[dict[str, Any]]:
    return [told(each, parent.metric) for each in trials]


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


class _Steps:
    """Tells how far it is, and stops where that is asked for: nothing is lost but the steps of this run."""

    def __init__(
        self, asked: Compression, parent: Parent, reporter: Reporter, stop: StopSignal, *, first: int = 0
    ) -> None:
        """first: steps that were made before, by training."""
        self._parent, self._reporter, self._stop, self._done = parent, reporter, stop, first
        self._total = first + sum(steps_of(each, parent) for each in asked.variants)

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
