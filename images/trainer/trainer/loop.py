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

from trainer.checkpoint_state import save_position, save_tensors
from trainer.checkpoint_store import CheckpointStore
from trainer.control import Orders, StopSignal, agree
from trainer.environment import Environment
from trainer.errors import StopRequested, TrainerError
from trainer.evaluation import Judge, Samples, evaluate
from trainer.group import WorkerGroup
from trainer.optimization import learning_rate
from trainer.parallel.strategy import Batch, Strategy
from trainer.progress import Reporter, timestamp
from trainer.sharding import Sharding
from trainer.specification import Training

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
    store: CheckpointStore | None
    reporter: Reporter | None
    stop: StopSignal

    @property
    def total_steps(self) -> int:
        return self.training.epochs * self.sharding.steps_per_epoch


@dataclass
class _Position:
    """What changes from step to step."""

    step: int
    loss_sum: float = 0.0
    samples: int = 0
    loss: float | None = None
    saved_step: int = -1
    metrics: dict[str, float] = field(default_factory=dict)
    measured_at: float = field(default_factory=time.monotonic)
    measured_step: int = 0


def train_until_done(job: Job, start_step: int) -> dict[str, float]:
    """Train from the step to the end; returns the metrics of the end. Raises StopRequested when told to stop before."""
    at = _Position(start_step, saved_step=start_step, measured_step=start_step)
    job.strategy.module.train()
    _report(job, phase="training", step=start_step, total_steps=job.total_steps)
    while True:
        if at.step == start_step or _meet_after(job, at.step):
            _boundary(job, at, first=at.step == start_step)
        if at.step == job.total_steps:
            break
        _step(job, at)
        if at.step == start_step + 1:
            _report(job, first_step_at=timestamp())
    _report(job, phase="evaluating")
    at.metrics = evaluate(job.strategy, job.held_out, job.judge, job.group)
    _report(job, metrics=at.metrics)
    return at.metrics


def _meet_after(job: Job, step: int) -> bool:
    """Whether workers meet when so many steps are made: at each, or where they are free, where something has to be done."""
    every = job.training.checkpoint_every_steps or job.sharding.steps_per_epoch
    there = (job.strategy.free_steps, job.sharding.steps_per_epoch, every)
    return step == job.total_steps or any(step % each == 0 for each in there)


def _step(job: Job, at: _Position) -> None:
    """One optimizer step on this worker's share of the samples.

    The shares may differ in size, and the gradients of all workers are averaged; so each loss is weighted such that
    the average is that of the step's samples, as if one worker had seen them all. Every worker takes its share in as
    many parts, since some of those that share weights must gather them at the same time.
    """
    shard = job.sharding.shard(at.step)
    weight = job.sharding.world_size / shard.total
    job.group.seed(job.sharding.random_seed(at.step))
    parts = min(job.training.accumulate_steps, -(-shard.total // job.sharding.world_size))
    own = shard.rows[:0] if shard.idle else shard.rows
    batches = [
        _batch(job, rows, weight) if len(rows) else _batch(job, shard.rows[:1], 0.0)
        for rows in np.array_split(own, parts)
    ]
    at.loss_sum = job.strategy.step(batches, learning_rate(job.training, at.step, job.total_steps))
    at.samples = len(own) if job.strategy.knows_loss else 0
    at.step += 1


def _batch(job: Job, rows: NDArray[np.int64], weight: float) -> Batch:
    chosen = torch.from_numpy(rows)
    return Batch(job.train.inputs[chosen], job.train.targets[chosen], weight)


def _boundary(job: Job, at: _Position, *, first: bool) -> None:
    job.strategy.meet()
    orders = agree(job.group, job.stop, job.reporter, step=at.step, loss_sum=at.loss_sum, samples=at.samples)
    at.loss = at.loss if orders.loss is None else orders.loss
    if at.loss is not None and not math.isfinite(at.loss):
        # Before anything is saved: such a model is worth neither a checkpoint nor another hour.
        raise TrainerError(f"training diverged: the loss of step {at.step} is {at.loss}; is learningRate too high?")
    per_epoch = job.sharding.steps_per_epoch
    if not first and at.step % per_epoch == 0 and at.step < job.total_steps:
        at.metrics = evaluate(job.strategy, job.held_out, job.judge, job.group)
        if job.group.is_first:
            log.info(
                "epoch %d of %d, loss %.4f, held out %s", at.step // per_epoch, job.training.epochs, at.loss, at.metrics
            )
    _report_step(job, at)
    every = job.training.checkpoint_every_steps or per_epoch
    due = not first and (at.step % every == 0 or at.step == job.total_steps)
    stopping = orders.stop and at.step < job.total_steps
    if (due or orders.checkpoint or stopping) and at.saved_step != at.step:
        _save(job, at)
    if stopping:
        raise StopRequested(_farewell(job, at, orders))


def _save(job: Job, at: _Position) -> None:
    """Write and commit a checkpoint. Storage that fails costs the checkpoint, not the training."""
    if job.store is None:
        return
    store, step = job.store, at.step
    _report(job, phase="checkpointing")
    began = time.monotonic()
    try:
        job.group.on_first(lambda: str(store.begin(step)))
        save_tensors(store.folder(step), job.strategy.module, job.strategy.optimizer)
        job.group.on_first(lambda: _commit(job, store, at))
    except OSError as error:
        log.warning("no checkpoint of step %d: %s", step, error)
        _report(job, phase="training", warning=f"checkpoint of step {step} failed: {error}")
        return
    at.saved_step = step
    if job.group.is_first:
        log.info("checkpoint of step %d committed after %.2f s", step, time.monotonic() - began)
    path = job.environment.claim_path(store.folder(step))
    _report(job, phase="training", checkpoint={"step": step, "path": path})


def _commit(job: Job, store: CheckpointStore, at: _Position) -> str:
    save_position(store.folder(at.step), job.sharding, at.step, at.loss)
    folder = store.commit(at.step).folder
    store.prune(job.training.keep_checkpoints)
    return str(folder)


def _farewell(job: Job, at: _Position, orders: Orders) -> str:
    saved = (
        f"checkpoint of step {at.saved_step} is committed"
        if at.saved_step == at.step and job.store
        else "nothing saved"
    )
    return f"asked to stop, stopped after step {at.step} of {job.total_steps} with loss {orders.loss}: {saved}"


def _report_step(job: Job, at: _Position) -> None:
    now = time.monotonic()
    changes: dict[str, float] = {}
    if now - at.measured_at >= _SECONDS_OF_THROUGHPUT:
        samples = (at.step - at.measured_step) * job.sharding.samples / job.sharding.steps_per_epoch
        changes["throughput"] = samples / (now - at.measured_at)
        at.measured_at, at.measured_step = now, at.step
    epoch = at.step // job.sharding.steps_per_epoch
    _report(job, step=at.step, epoch=epoch, loss=at.loss, metrics=at.metrics, **changes)


def _report(job: Job, **changes: object) -> None:
    if job.reporter is not None:
        job.reporter.update(**changes)
