"""From what was asked for, and the data, to the parts that a training loop works with."""

from typing import Final

import numpy as np
import torch

from trainer.checkpoint_store import CheckpointStore
from trainer.control import StopSignal
from trainer.datasets.catalogue import Task
from trainer.datasets.preparation import PreparedData
from trainer.datasets.raw import RawData
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
from trainer.saving import Saver, keeping
from trainer.sharding import Sharding
from trainer.specification import Specification, Training, loss_for
from trainer.spending import Spending

_SECONDS_AN_HOUR: Final = 3600.0


def assemble(
    environment: Environment,
    specification: Specification,
    data: PreparedData,
    group: WorkerGroup,
    reporter: Reporter | None,
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
    judge = Judge(task, loss, training.batch_size) if task is Task.LANGUAGE else Judge(task, loss)
    sharding = Sharding(
        len(data.train), training.batch_of(len(data.train)), training.seed, layout.data_rank, layout.data_size
    )
    return Job(
        environment=environment,
        training=training,
        group=group,
        strategy=strategy,
        judge=judge,
        train=_samples(data.train, data, group),
        held_out=_samples(data.held_out, data, group),
        sharding=sharding,
        saver=_saver(environment, training, group, strategy, judge, sharding, reporter),
        reporter=reporter,
        stop=stop,
        spending=spending,
        pace=Pace(strategy, group.device, compiled=training.compile),
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


def _samples(part: RawData, data: PreparedData, group: WorkerGroup) -> Samples:
    inputs = torch.from_numpy(np.ascontiguousarray(part.inputs)).to(group.device)
    card = {"preprocessing": data.normalisation.as_card() if data.normalisation else None}
    return Samples(preprocess(card, inputs), torch.from_numpy(part.targets).to(group.device))
