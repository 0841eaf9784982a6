"""From what was asked for, and the data, to the parts that a training loop works with."""

from typing import Final

import numpy as np
import torch

from trainer.checkpoint_store import CheckpointStore
from trainer.control import StopSignal
from trainer.datasets.catalogue import Task
from trainer.datasets.preparation import PreparedData
from trainer.datasets.raw import RawData
from trainer.energy import open_together
from trainer.environment import Environment
from trainer.errors import ConfigurationError
from trainer.evaluation import Judge, Samples
from trainer.export import architecture_of
from trainer.group import WorkerGroup
from trainer.loop import Job
from trainer.models import build_model, preprocess
from trainer.optimization import Loss, label_smoothing
from trainer.pace import Pace
from trainer.parallel.building import build_strategy
from trainer.parallel.layout import Layout
from trainer.parallel.strategy import Strategy
from trainer.progress import Reporter
from trainer.retention import Retention, is_smaller_better
from trainer.rhythm import Rhythm
from trainer.saving import Saver, keeping
from trainer.sharding import Sharding
from trainer.specification import AUTO, Specification, Training, loss_for
from trainer.spending import Spending
from trainer.tensorboard import Curves

_SECONDS_AN_HOUR: Final = 3600.0
_MOST_OF_MEMORY: Final = 0.2
"""Share of a GPU's free memory that the samples to train on, or those held out, may take."""


def assemble(
    environment: Environment,
    specification: Specification,
    data: PreparedData,
    group: WorkerGroup,
    reporter: Reporter | None,
    curves: Curves | None,
    stop: StopSignal,
    spending: Spending,
) -> Job:
    """The job as this worker sees it; all workers call it together. Raises ConfigurationError for what does not fit."""
    training = specification.training
    torch.manual_seed(training.seed % 2**63)  # every worker starts from the same weights
    architecture = architecture_of(specification, data)
    module = build_model(architecture["model"], architecture["parameters"]).to(group.device)
    task = data.train.task
    loss = Loss(loss_for(training, task), label_smoothing(training, task), data.target_scale)
    layout = Layout(training.parallelism, group.rank, group.world_size)
    strategy = build_strategy(training, layout, module, loss, group.device)
    # Of text no more at once than in training, as it is the logits of all tokens that fill the memory.
    at_once = -(-training.batch_size // (layout.data_size * training.accumulate_steps))
    judge = Judge(task, loss, at_once) if task is Task.LANGUAGE else Judge(task, loss)
    sharding = Sharding(
        len(data.train), training.batch_of(len(data.train)), training.seed, layout.data_rank, layout.data_size
    )
    saver = _saver(environment, training, group, strategy, judge, sharding, reporter)
    return Job(
        environment=environment,
        training=training,
        group=group,
        strategy=strategy,
        judge=judge,
        train=_samples(data.train, data, group),
        held_out=_samples(data.held_out, data, group),
        sharding=sharding,
        saver=saver,
        rhythm=_rhythm(environment, training, group, saver, reporter),
        reporter=reporter,
        curves=curves,
        stop=stop,
        spending=spending,
        pace=Pace(strategy, group.device, compiled=training.compile),
        energy=open_together(group),
    )


def _saver(
    environment: Environment,
    training: Training,
    group: WorkerGroup,
    strategy: Strategy,
    judge: Judge,
    sharding: Sharding,
    reporter: Reporter | None,
) -> Saver | None:
    """What saves; None without storage. Raises ConfigurationError when there is no metric of the name to go by."""
    metrics = judge.names(strategy.module)
    metric = training.best_metric or metrics[0]
    if metric not in metrics:
        raise ConfigurationError("training.bestMetric", metric, "a metric of the held-out samples", metrics)
    if environment.directory is None:
        return None
    hours = training.keep_every_hours
    retention = Retention(
        newest=training.keep_checkpoints,
        best=training.keep_best,
        smaller_is_better=is_smaller_better(metric),
        every_seconds=hours * _SECONDS_AN_HOUR if hours else None,
    )
    return Saver(
        CheckpointStore(environment.directory, environment.attempt),
        group,
        strategy,
        sharding,
        reporter,
        keep=keeping(retention, metric),
        claim_path=environment.claim_path,
        asynchronous=training.async_checkpoints,
    )


def _rhythm(
    environment: Environment, training: Training, group: WorkerGroup, saver: Saver | None, reporter: Reporter | None
) -> Rhythm | None:
    if saver is None or training.checkpoint_every_steps != AUTO or not group.is_first:
        return None
    return Rhythm(saver, environment.interruption_seconds, reporter)


def _samples(part: RawData, data: PreparedData, group: WorkerGroup) -> Samples:
    """On the device, unless they would take too much of what it has left for training."""
    inputs, targets = torch.from_numpy(np.ascontiguousarray(part.inputs)), torch.from_numpy(part.targets)
    place = group.device
    if place.type == "cuda" and inputs.nbytes + targets.nbytes > _MOST_OF_MEMORY * torch.cuda.mem_get_info(place)[0]:
        place = torch.device("cpu")
    card = {"preprocessing": data.normalisation.as_card() if data.normalisation else None}
    return Samples(preprocess(card, inputs.to(place)), targets.to(place), group.device)
