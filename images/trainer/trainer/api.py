"""Three calls with which a user's own training script gets more from Trainyard; none is needed, none can fail training.

All three may be called in every worker; only rank 0 talks to the operator, in the others they do nothing (and
checkpoint_requested is False there: where saving is a collective operation, broadcast rank 0's answer).
"""

import atexit
import functools
import logging
import os
from pathlib import Path
from typing import Any

from trainer import environment as env
from trainer.checkpoint_store import commit_folder
from trainer.errors import TrainerError
from trainer.progress import Reporter, reporter_for, timestamp
from trainer.stacks import register
from trainer.tensorboard import HELD_OUT, TRAIN, Curves, curves_for

log = logging.getLogger(__name__)


def report(
    *,
    step: int,
    loss: float | None = None,
    total_steps: int | None = None,
    epoch: int | None = None,
    metrics: dict[str, float] | None = None,
    throughput: float | None = None,
    phase: str = "training",
    spent: dict[str, float] | None = None,
    step_seconds: dict[str, float] | None = None,
) -> None:
    """Say how far training is. Cheap enough for every step: sending happens elsewhere, every few seconds.

    step: optimizer steps done. loss: of that step. total_steps: gives the job a progress in percent and an ETA.
    metrics: values by name. throughput: samples per second. phase: what is done now, e.g. evaluating. spent: seconds
    since the start by use: loading, productive, dataWait, saving, evaluating. step_seconds: p50, slowest and slowestRank
    of the workers' own parts of a step.
    """
    reporter = _reporter()
    if reporter is None:
        return
    given = {"loss": loss, "total_steps": total_steps, "epoch": epoch, "metrics": metrics, "throughput": throughput}
    given |= {"spent": spent, "step_seconds": step_seconds}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if reporter.progress.phase != phase:
        changes["phase"] = phase
    if reporter.progress.first_step_at is None:
        changes["first_step_at"] = timestamp()
    reporter.update(step=step, **changes)
    if (curves := _curves(reporter)) is not None:
        curves.add(step, TRAIN, {"loss": loss, "samples_per_second": throughput})
        curves.add(step, HELD_OUT, metrics or {})


def checkpoint_requested() -> bool:
    """Whether the operator asked for a checkpoint since the last call, for example because it needs the nodes soon."""
    reporter = _reporter()
    return reporter.take_checkpoint_request() if reporter else False


def checkpoint_saved(path: str | os.PathLike[str], step: int) -> bool:
    """Say that a checkpoint of this step was saved; call it in rank 0 when all workers have written their parts.

    A folder below $TRAINYARD_DIR is committed as our own checkpoints are: a manifest of its files, then a marker,
    unless a newer attempt of the job owns the storage by now. Returns whether it was committed; anything else (a
    single file, another place) is only reported, and gives False.
    """
    reporter = _reporter()
    if reporter is None:
        return False
    settings = env.read_environment()
    place = Path(path).resolve()
    committed = False
    directory = settings.directory.resolve() if settings.directory else None
    if directory and place.is_dir() and place.is_relative_to(directory):
        try:
            commit_folder(place, directory, settings.attempt, step)
            committed = True
        except (OSError, TrainerError) as error:
            log.warning("checkpoint %s is not committed: %s", place, error)
            failures = reporter.progress.checkpoint_failures + 1
            reporter.update(
                warning=f"checkpoint of step {step} is not committed: {error}", checkpoint_failures=failures
            )
            return False
    reporter.update(checkpoint={"step": step, "path": settings.claim_path(Path(path).absolute())})
    return committed


@functools.cache
def _reporter() -> Reporter | None:
    """The one reporter of this process; None in workers that do not report, and where the environment is broken."""
    try:
        settings = env.read_environment()
    except TrainerError as error:
        log.warning("no progress is reported: %s", error)
        return None
    register(settings)
    if settings.rank != 0:
        return None
    reporter = reporter_for(settings, world_size=settings.workers() or 1)
    atexit.register(reporter.close)
    return reporter


@functools.cache
def _curves(reporter: Reporter) -> Curves | None:
    """What TensorBoard draws; None without storage."""
    curves = curves_for(env.read_environment(), reporter)
    if curves is not None:
        atexit.register(curves.close)
    return curves
