"""The training loop: one optimizer step after another, and between two of them whatever else has to happen.

All that is not the step itself happens at the boundary between steps, where every worker holds the same model.
"""

import logging
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from trainer.checkpoint_state import save_position, save_tensors
from trainer.checkpoint_store import CheckpointStore
from trainer.control import Orders, StopSignal, agree
from trainer.datasets.catalogue import Task
from trainer.environment import Environment
from trainer.errors import StopRequested, TrainerError
from trainer.evaluation import Samples, evaluate
from trainer.group import WorkerGroup
from trainer.optimization import Loss, learning_rate
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
    module: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Loss
    task: Task
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
    parallel = job.group.parallel(job.module)
    job.module.train()
    _report(job, phase="training", step=start_step, total_steps=job.total_steps)
    while True:
        _boundary(job, at, first=at.step == start_step)
        if at.step == job.total_steps:
            break
        _step(job, parallel, at)
        if at.step == start_step + 1:
            _report(job, first_step_at=timestamp())
    _report(job, phase="evaluating")
    at.metrics = evaluate(job.module, job.held_out, job.task, job.loss, job.group)
    _report(job, metrics=at.metrics)
    return at.metrics


def _step(job: Job, parallel: nn.Module, at: _Position) -> None:
    """One optimizer step on this worker's share of the samples.

    The shares may differ in size, and the gradients of all workers are averaged; so each loss is weighted such that
    the average is that of the step's samples, as if one worker had seen them all.
    """
    shard = job.sharding.shard(at.step)
    weight = 0.0 if shard.idle else job.group.world_size / shard.total
    rate = learning_rate(job.training, at.step, job.total_steps)
    for parameters in job.optimizer.param_groups:
        parameters["lr"] = rate
    job.group.seed(job.sharding.random_seed(at.step))
    job.optimizer.zero_grad(set_to_none=True)
    parts = np.array_split(shard.rows, min(job.training.accumulate_steps, len(shard.rows)))
    summed = [_backward(job, parallel, rows, weight, last=rows is parts[-1]) for rows in parts]
    if job.training.clip_norm is not None:
        nn.utils.clip_grad_norm_(job.module.parameters(), job.training.clip_norm)
    job.optimizer.step()
    at.loss_sum, at.samples = (0.0, 0) if shard.idle else (sum(map(float, summed)), len(shard.rows))
    at.step += 1


def _backward(job: Job, parallel: nn.Module, rows: NDArray[np.int64], weight: float, *, last: bool) -> torch.Tensor:
    """Add the gradients of some samples, with those of the other workers only at the end; returns their summed loss."""
    chosen = torch.from_numpy(rows)
    alone = parallel.no_sync() if isinstance(parallel, DistributedDataParallel) and not last else nullcontext()
    with alone:
        with torch.autocast(job.group.device.type, torch.bfloat16, enabled=job.training.precision == "bf16"):
            outputs = parallel(job.train.inputs[chosen])
        summed = job.loss.summed(outputs, job.train.targets[chosen])
        (summed * weight).backward()
    return summed.detach()


def _boundary(job: Job, at: _Position, *, first: bool) -> None:
    orders = agree(job.group, job.stop, job.reporter, step=at.step, loss_sum=at.loss_sum, samples=at.samples)
    at.loss = at.loss if orders.loss is None else orders.loss
    if at.loss is not None and not math.isfinite(at.loss):
        # Before anything is saved: such a model is worth neither a checkpoint nor another hour.
        raise TrainerError(f"training diverged: the loss of step {at.step} is {at.loss}; is learningRate too high?")
    per_epoch = job.sharding.steps_per_epoch
    if not first and at.step % per_epoch == 0 and at.step < job.total_steps:
        at.metrics = evaluate(job.module, job.held_out, job.task, job.loss, job.group)
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
        save_tensors(store.folder(step), job.module, job.optimizer)
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
