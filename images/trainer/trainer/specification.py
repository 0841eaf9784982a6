"""What the user asked for: TRAINYARD_SPEC parsed and judged, without torch, before anything slow starts.

A wrong field ends the job at once with its name, its value and what would be right. The API server has checked the
shape of the resource already; names and relations it cannot know are checked here.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from trainer.datasets import catalogue as datasets
from trainer.datasets.catalogue import Task, check_dataset
from trainer.errors import ConfigurationError
from trainer.models import catalogue as models
from trainer.models.catalogue import check_model
from trainer.parallel.layout import DATA, Parallelism, check_parallelism, check_workers

OPTIMIZERS: Final = ("adam", "adamw", "gd", "sgd")
SCHEDULES: Final = ("trapezoid", "constant", "linear", "cosine")
PRECISIONS: Final = ("fp32", "bf16", "fp8")
LOSSES: Final[Mapping[str, tuple[Task, ...]]] = {
    "cross-entropy": (Task.CLASSIFICATION, Task.LANGUAGE),
    "mse": (Task.REGRESSION,),
}
AUTO: Final = "auto"
"""Of checkpointEverySteps: as it follows from what is measured."""
_MOST_SEED: Final = 2**63 - 1


@dataclass(frozen=True)
class Choice:
    """A model or a data set by name, with the user's parameters."""

    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Training:
    """How to train.

    batch_size counts samples of one optimizer step over all workers, which divide them; each worker takes its share in
    `accumulate_steps` parts, one after the other. clip_norm: the most that the gradients of all weights together may measure.
    recompute: whether what layers computed is computed again in the backward pass rather than kept. keep_checkpoints,
    keep_best: how many of the newest and of the best by `best_metric` stay, besides one for each `keep_every_hours`.
    """

    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    weight_decay: float | None
    momentum: float
    betas: list[float] | None
    schedule: str
    warmup_steps: int | None
    clip_norm: float | None
    accumulate_steps: int
    precision: str
    seed: int
    loss: str | None
    checkpoint_every_steps: int | Literal["auto"] | None
    async_checkpoints: bool
    keep_checkpoints: int
    keep_best: int
    best_metric: str | None
    keep_every_hours: float | None
    label_smoothing: float | None
    test_fraction: float
    compile: bool
    recompute: bool
    parallelism: Parallelism

    def batch_of(self, samples: int) -> int:
        """Samples of one step out of so many: all of them for gradient descent on the full batch."""
        return samples if self.optimizer == "gd" else self.batch_size


@dataclass(frozen=True)
class Specification:
    """The whole request."""

    model: Choice
    dataset: Choice
    training: Training


@dataclass(frozen=True)
class _Field:
    """How one field of `training` is read: its default, what is accepted, and the words for it."""

    default: Any
    accepts: Callable[[Any], bool]
    expected: str


def _whole(least: int, most: int = 2**31 - 1) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(accepts: Callable[[float], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and accepts(value)


def _optional(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or accepts(value)


def _is_betas(value: Any) -> bool:
    in_bounds = _number(lambda number: 0 <= number < 1)
    return isinstance(value, list) and len(value) == 2 and all(map(in_bounds, value))  # noqa: PLR2004


_TRAINING: Final[Mapping[str, _Field]] = {
    "epochs": _Field(5, _whole(1), "a whole number of at least 1"),
    "batchSize": _Field(64, _whole(1), "a whole number of at least 1, the samples of a step over all workers"),
    "optimizer": _Field("adamw", lambda value: value in OPTIMIZERS, "the name of an optimizer"),
    "learningRate": _Field(0.001, _number(lambda value: 0 < value < float("inf")), "a number above 0"),
    "weightDecay": _Field(None, _optional(_number(lambda value: 0 <= value < float("inf"))), "a number of at least 0"),
    "momentum": _Field(0.9, _number(lambda value: 0 <= value < 1), "a number from 0 to below 1"),
    "betas": _Field(None, _optional(_is_betas), "two numbers from 0 to below 1"),
    "schedule": _Field("trapezoid", lambda value: value in SCHEDULES, "the name of a schedule"),
    "warmupSteps": _Field(None, _optional(_whole(0)), "a whole number of at least 0"),
    "clipNorm": _Field(None, _optional(_number(lambda value: 0 < value < float("inf"))), "a number above 0"),
    "accumulateSteps": _Field(1, _whole(1, 4096), "a whole number from 1 to 4096"),
    "precision": _Field("fp32", lambda value: value in PRECISIONS, "the name of a precision"),
    "seed": _Field(0, _whole(0, _MOST_SEED), "a whole number of at least 0"),
    "loss": _Field(None, lambda value: value is None or value in LOSSES, "the name of a loss"),
    "checkpointEverySteps": _Field(
        None, lambda value: value in (None, AUTO) or _whole(1)(value), f"a whole number of at least 1, or {AUTO}"
    ),
    "asyncCheckpoints": _Field(True, lambda value: isinstance(value, bool), "true or false"),
    "keepCheckpoints": _Field(3, _whole(1), "a whole number of at least 1"),
    "keepBest": _Field(0, _whole(0), "a whole number of at least 0"),
    "bestMetric": _Field(None, _optional(lambda value: isinstance(value, str) and value != ""), "a metric's name"),
    "keepEveryHours": _Field(None, _optional(_number(lambda value: 0 < value < float("inf"))), "a number above 0"),
    "labelSmoothing": _Field(None, _optional(_number(lambda value: 0 <= value < 1)), "a number from 0 to below 1"),
    "testFraction": _Field(0.2, _number(lambda value: 0 < value < 1), "a number between 0 and 1"),
    "compile": _Field(False, lambda value: isinstance(value, bool), "true or false"),
    "recompute": _Field(False, lambda value: isinstance(value, bool), "true or false"),
}
_PARALLELISM: Final[Mapping[str, _Field]] = {
    "data": _Field("replicated", lambda value: value in DATA, "how weights are held"),
    "tensor": _Field(1, _whole(1, 1024), "a whole number of at least 1"),
    "pipeline": _Field(1, _whole(1, 1024), "a whole number of at least 1"),
    "microbatches": _Field(4, _whole(1, 4096), "a whole number of at least 1"),
    "servers": _Field(0, _whole(0, 1024), "a whole number of at least 0"),
    "staleness": _Field(0, _whole(0, 1024), "a whole number of at least 0"),
}
_AVAILABLE: Final[Mapping[str, tuple[str, ...]]] = {
    "optimizer": OPTIMIZERS,
    "loss": tuple(LOSSES),
    "schedule": SCHEDULES,
    "precision": PRECISIONS,
    "data": DATA,
}


def parse_specification(text: str, *, workers: int | None = None) -> Specification:
    """Parse and judge TRAINYARD_SPEC. Raises ConfigurationError with the field's path as the user wrote it.

    workers: number of worker processes where it is known, since a step must have a sample for each.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ConfigurationError("TRAINYARD_SPEC", text[:80], f"a JSON object ({error})") from error
    if not isinstance(document, dict):
        raise ConfigurationError("TRAINYARD_SPEC", text[:80], "a JSON object")
    specification = Specification(
        model=_choice(document, "model"), dataset=_choice(document, "dataset"), training=_training(document)
    )
    check_model(specification.model.name, specification.model.parameters)
    check_dataset(specification.dataset.name, specification.dataset.parameters)
    _check_together(specification, workers)
    return specification


def loss_for(training: Training, task: Task) -> str:
    """The loss asked for, or the usual one of the task. Raises ConfigurationError when it does not suit the task."""
    usual = next(name for name, tasks in LOSSES.items() if task in tasks)
    if training.loss is not None and task not in LOSSES[training.loss]:
        raise ConfigurationError("training.loss", training.loss, f"a loss for {task.value}", (usual,))
    return training.loss or usual


def _choice(document: Mapping[str, Any], field: str) -> Choice:
    value = document.get(field)
    known = models.model_names() if field == "model" else datasets.dataset_names()
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ConfigurationError(field, value, "an object with a name", known)
    parameters = value.get("parameters")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise ConfigurationError(f"{field}.parameters", parameters, "an object")
    return Choice(value["name"], parameters)


def _training(document: Mapping[str, Any]) -> Training:
    given = _object(document, "training", "training")
    parallelism = _fields(_PARALLELISM, _object(given, "parallelism", "training.parallelism"), "training.parallelism")
    values = _fields(_TRAINING, {name: given[name] for name in given if name != "parallelism"}, "training")
    return Training(**values, parallelism=Parallelism(**parallelism))


def _object(document: Mapping[str, Any], name: str, path: str) -> Mapping[str, Any]:
    """An object in the document; one that is absent is empty."""
    given = document.get(name)
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ConfigurationError(path, given, "an object")
    return given


def _fields(known: Mapping[str, _Field], given: Mapping[str, Any], path: str) -> dict[str, Any]:
    for name in given:
        if name not in known:
            raise ConfigurationError(f"{path}.{name}", given[name], f"a field of {path}", known)
    return {_snake(name): _value(field, given.get(name), f"{path}.{name}") for name, field in known.items()}


def _value(field: _Field, value: Any, path: str) -> Any:
    if value is None:  # absent, or null as the API server writes an unset optional field
        return field.default
    try:
        accepted = field.accepts(value)
    except TypeError:  # an unhashable value where a name is expected
        accepted = False
    if not accepted:
        raise ConfigurationError(path, value, field.expected, _AVAILABLE.get(path.rpartition(".")[2], ()))
    return value


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _check_together(specification: Specification, workers: int | None) -> None:
    model = models.BUILT_IN.get(specification.model.name)
    dataset = datasets.BUILT_IN.get(specification.dataset.name)
    training = specification.training
    if model and dataset and dataset.content and dataset.task and not model.suits(dataset.content, dataset.task):
        raise ConfigurationError(
            "model.name",
            specification.model.name,
            f"a model for {dataset.content.value} and {dataset.task.value}, as {specification.dataset.name} has",
            [name for name, entry in models.BUILT_IN.items() if entry.suits(dataset.content, dataset.task)],
        )
    if dataset and dataset.task:
        loss_for(training, dataset.task)
        if training.label_smoothing and dataset.task is Task.REGRESSION:
            raise ConfigurationError("training.labelSmoothing", training.label_smoothing, "0 for a regression")
    name = specification.model.name
    sizes = models.with_defaults(name, specification.model.parameters)
    # A model of a user's is asked when it is built.
    check_parallelism(training.parallelism, model=name, splits=model is None or model.splits, sizes=sizes)
    if training.precision == "fp8" and training.parallelism.tensor > 1:
        raise ConfigurationError("training.parallelism.tensor", training.parallelism.tensor, "1 with precision fp8")
    if workers:
        batch = None if training.optimizer == "gd" else training.batch_size
        check_workers(training.parallelism, workers, batch_size=batch)
