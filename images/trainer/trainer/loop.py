"""The training loop: one optimizer step after another, and between two of them whatever else has to happen.

All that is not the step itself happens at the boundary between steps, where every worker holds the same model.
"""

import logging
import math
import time
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.checkpoint_state import Position
from trainer.control import StopSignal, agree
from trainer.energy import GpuEnergy, together
from trainer.environment import Environment
from trainer.errors import StopRequested, TrainerError
from trainer.evaluation import Judge, Samples, evaluate
from trainer.group import WorkerGroup
from trainer.losses import Losses, StepLoss
from trainer.optimization import learning_rate
from trainer.pace import Pace
from trainer.parallel.strategy import Batch, Strategy
from trainer.progress import Reporter, timestamp
from trainer.rhythm import Rhythm
from trainer.saving import Saver
from trainer.sharding import Sharding
from trainer.specification import AUTO, Training
from trainer.spending import Spending, Use
from trainer.tensorboard import HELD_OUT, TRAIN, Curves

log = logging.getLogger(__name__)

_SECONDS_OF_THROUGHPUT: Final = 1.0


@dataclass(frozen=True)
class Job:
    """Everything a loop works with."""

    environment: Environment
    training: Training
    group: WorkerGroup
    strategy: Strategy
    judge: Judge
    train: Samples
    held_out: Samples
    sharding: Sharding
    saver: Saver | None
    rhythm: Rhythm | None
    reporter: Reporter | None
    curves: Curves | None
    stop: StopSignal
    spending: Spending
    pace: Pace
    energy: GpuEnergy | None

    @property
    def total_steps(self) -> int:
        return self.training.epochs * self.sharding.steps_per_epoch

    @property
    def checkpoint_steps(self) -> int | None:
        """All workers know that a checkpoint is due whenever so many steps are made; None where only rank 0 knows."""
        asked = self.training.checkpoint_every_steps
        if asked == AUTO:
            # What keepBest compares was evaluated, and that is at the end of an epoch.
            return self.sharding.steps_per_epoch if self.training.keep_best else None
        return asked or self.sharding.steps_per_epoch


@dataclass
class _State:
    """What changes from step to step.

    loss: mean over the samples of step `loss_step`, the newest one that is known. evaluated: step after which the metrics
    were measured.
    """

    step: int
    losses: Losses
    loss: float | None = None
    loss_step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    evaluated: int | None = None
    measured_at: float = field(default_factory=time.monotonic)
    measured_step: int = 0


def train_until_done(job: Job, start_step: int) -> dict[str, float]:
    """Train from the step to the end; returns the metrics of the end. Raises StopRequested when told to stop before."""
    at = _State(start_step, Losses(late=job.group.device.type == "cuda"), measured_step=start_step)
    job.strategy.module.train()
    _report(job, phase="training", step=start_step, total_steps=job.total_steps)
    with job.spending.on(Use.WAITING):
        _boundary(job, at, first=True)
    job.spending.turn_to(Use.PRODUCTIVE)
    while at.step < job.total_steps:
        _step(job, at)
        if at.step == start_step + 1:
            _report(job, first_step_at=timestamp())
        if _meet_after(job, at.step):
            _boundary(job, at, first=False)
    _report(job, phase="evaluating")
    _evaluate(job, at)
    _report(job, metrics=at.metrics)
    return at.metrics


def _meet_after(job: Job, step: int) -> bool:
    """Whether workers meet when so many steps are made: at each, or where they are free, where something has to be done."""
    there = (job.strategy.free_steps, job.sharding.steps_per_epoch, job.checkpoint_steps)
    return step == job.total_steps or any(step % each == 0 for each in there if each)


def _step(job: Job, at: _State) -> None:
    """One optimizer step on this worker's share of the samples.

    The shares may differ in size, and the gradients of all workers are averaged; so each loss is weighted such that
    the average is that of the step's samples, as if one worker had seen them all. Every worker takes its share in as
    many parts, since some of those that share weights must gather them at the same time.
    """
    job.pace.begin()
    with job.spending.on(Use.DATA_WAIT):
        shard = job.sharding.shard(at.step)
        weight = job.sharding.world_size / shard.total
        job.group.seed(job.sharding.random_seed(at.step))
        parts = min(job.training.accumulate_steps, -(-shard.total // job.sharding.world_size))
        own = shard.rows[:0] if shard.idle else shard.rows
        batches = [
            _batch(job, rows, weight) if len(rows) else _batch(job, shard.rows[:1], 0.0)
            for rows in np.array_split(own, parts)
        ]
    job.pace.compute()
    summed = job.strategy.step(batches, learning_rate(job.training, at.step, job.total_steps))
    job.pace.end()
    at.step += 1
    at.losses.add(at.step, summed, len(own) if job.strategy.knows_loss else 0)


def _batch(job: Job, rows: NDArray[np.int64], weight: float) -> Batch:
    inputs, targets = job.train.take(torch.from_numpy(rows))
    return Batch(inputs, targets, weight)


def _boundary(job: Job, at: _State, *, first: bool) -> None:
    job.strategy.meet()
    saving = job.saver.flags if job.saver else ()
    calls = not first and job.rhythm is not None and job.rhythm.is_due(at.step)
    flags = (job.group.is_first and job.pace.is_due, calls, *saving)
    per_epoch, every = job.sharding.steps_per_epoch, job.checkpoint_steps
    due = not first and (at.step == job.total_steps or (every is not None and at.step % every == 0))
    epoch_ends = not first and at.step % per_epoch == 0
    known = at.losses.newest() if due or epoch_ends else at.losses.at_hand()
    orders = agree(
        job.group, job.stop, job.reporter, step=at.step, loss_sum=known.summed, samples=known.samples, flags=flags
    )
    _learn(at, known, orders.loss)
    stopping = orders.stop and at.step < job.total_steps
    compare, called, *heard = orders.flags
    if (orders.checkpoint or stopping or called) and at.loss_step < at.step:
        _learn_newest(job, at)
    if epoch_ends and at.step < job.total_steps:
        _evaluate(job, at)
        if job.group.is_first:
            log.info(
                "epoch %d of %d, loss %.4f, held out %s", at.step // per_epoch, job.training.epochs, at.loss, at.metrics
            )
    _report_step(job, at)
    if compare:
        _compare(job)
    if job.saver is not None:
        with job.spending.on(Use.SAVING):
            job.saver.hear(*heard)
            if (due or called or orders.checkpoint or stopping) and at.step not in (
                job.saver.begun,
                job.saver.committed,
            ):
                job.saver.begin(Position(at.step, time.time(), at.loss, at.metrics, at.evaluated))
            if orders.checkpoint or stopping or at.step == job.total_steps:
                job.saver.finish()  # somebody waits for it, or there is nothing to do meanwhile
        if job.rhythm is not None:
            job.rhythm.hear(at.step)
    if stopping:
        raise StopRequested(_farewell(job, at))


def _compare(job: Job) -> None:
    """Now and then all workers tell each other what each of them only knows of itself."""
    if slowest := job.pace.compare(job.group):
        _report(job, step_seconds=slowest.as_report())
    joules, measured = job.group.sum(together(job.energy))
    if measured == job.group.world_size:  # a part of the gang would look like all of it
        _report(job, joules=round(joules, 3))


def _learn(at: _State, known: StepLoss, mean: float | None) -> None:
    """Take in the loss of a step, once all workers know its mean. Raises TrainerError for one that is no number."""
    if mean is None:
        return
    at.loss, at.loss_step = mean, known.step
    if not math.isfinite(mean):
        # Before anything is saved: such a model is worth neither a checkpoint nor another hour.
        raise TrainerError(f"training diverged: the loss of step {known.step} is {mean}; is learningRate too high?")


def _learn_newest(job: Job, at: _State) -> None:
    """Wait for the loss of the newest step. All workers call it together."""
    newest = at.losses.newest()
    summed, samples = job.group.sum([newest.summed, newest.samples])
    _learn(at, newest, summed / samples if samples else None)


def _evaluate(job: Job, at: _State) -> None:
    with job.spending.on(Use.EVALUATING):
        at.metrics, at.evaluated = evaluate(job.strategy, job.held_out, job.judge, job.group), at.step
    if job.curves is not None:
        job.curves.add(at.step, HELD_OUT, at.metrics)


def _farewell(job: Job, at: _State) -> str:
    durable = job.saver is not None and job.saver.committed == at.step
    saved = f"checkpoint of step {at.step} is committed" if durable else "nothing saved"
    return f"asked to stop, stopped after step {at.step} of {job.total_steps} with loss {at.loss}: {saved}"


def _report_step(job: Job, at: _State) -> None:
    now = time.monotonic()
    changes: dict[str, float] = {}
    if now - at.measured_at >= _SECONDS_OF_THROUGHPUT:
        samples = (at.step - at.measured_step) * job.sharding.samples / job.sharding.steps_per_epoch
        changes["throughput"] = samples / (now - at.measured_at)
        at.measured_at, at.measured_step = now, at.step
    epoch = at.step // job.sharding.steps_per_epoch
    _report(job, step=at.step, epoch=epoch, loss=at.loss, metrics=at.metrics, **changes)
    if job.curves is not None and at.loss is not None:
        rate = learning_rate(job.training, at.loss_step - 1, job.total_steps)
        drawn = {"loss": at.loss, "learning_rate": rate, "samples_per_second": changes.get("throughput")}
        job.curves.add(at.loss_step, TRAIN, drawn)


def _report(job: Job, **changes: object) -> None:
    if job.reporter is not None:
        job.reporter.update(**changes)
