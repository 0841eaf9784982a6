"""What is in a checkpoint: model and optimizer as tensors, the position as JSON.

Tensors lie in safetensors files, of which every worker writes one (see saving.py), and are read through
torch.distributed.checkpoint, by any number of workers that share the model in any way. Not in its default format, whose
`.metadata` is a pickle: reading that would run whatever somebody with access to the claim had put there. The
collective operations inside torch do pickle, but only between the live workers of one job.

Values that are no tensors need no place here: the optimizer's settings come from the specification, the learning
rate, the order of samples and all random numbers from the step (see sharding.py).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from trainer.checkpoint_store import Checkpoint
from trainer.durable import read_json, write_json
from trainer.errors import ConfigurationError, TrainerError
from trainer.parallel.strategy import Strategy
from trainer.retention import Saved
from trainer.sharding import Sharding

STATE_FILE: Final = "state.json"
_MODEL: Final = "model."
_OPTIMIZER: Final = "optimizer."


@dataclass(frozen=True)
class Position:
    """Where training stands, all that is not a tensor.

    loss: of the step. metrics: of the newest evaluation of held-out samples, made after step `evaluated`. at: seconds
    since 1970.
    """

    step: int
    at: float
    loss: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    evaluated: int | None = None


def tensors_of(strategy: Strategy) -> dict[str, Tensor]:
    """All that is saved, by name, as far as it is in this process. The tensors themselves, not copies."""
    module, optimizer = strategy.module, strategy.optimizer
    tensors = {_MODEL + name: value for name, value in module.state_dict().items()}
    for name, parameter in _optimized_here(strategy).items():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{_OPTIMIZER}{name}/{key}"] = value
    return tensors


def load_tensors(folder: Path, strategy: Strategy) -> None:
    """Put what the folder holds into the strategy's module and optimizer; all workers call it together.

    Each worker reads only the part that it holds. Raises ConfigurationError when the folder holds another model.
    """
    # Imported late: it takes as long as torch itself, and a job that starts anew never needs it.
    import torch.distributed.checkpoint as dcp  # noqa: PLC0415

    module = strategy.module
    reader = dcp.HuggingFaceStorageReader(str(folder))
    stored: dict[str, Any] = reader.read_metadata().state_dict_metadata
    wanted = {_MODEL + name: shape for name, shape in strategy.shapes.items()}
    found = {name: entry.size for name, entry in stored.items() if name.startswith(_MODEL)}
    if wanted != found:
        different = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise ConfigurationError("model", different[:5], f"the model of checkpoint {folder}; these differ")
    tensors = {_MODEL + name: torch.empty_like(value) for name, value in module.state_dict().items()}
    tensors |= _optimizer_tensors(_optimized_here(strategy), stored)
    dcp.load(tensors, storage_reader=reader, no_dist=not torch.distributed.is_initialized())
    module.load_state_dict({name: tensors[_MODEL + name] for name in module.state_dict()})
    _restore_optimizer(strategy.optimizer, module, tensors)


def _optimized_here(strategy: Strategy) -> dict[str, nn.Parameter]:
    """The weights that this process's optimizer updates, by name: where there are servers, each server has its own part."""
    mine = {id(parameter) for parameter in _optimized(strategy.optimizer)}
    layout = strategy.layout
    if layout.parallelism.servers:
        from trainer.parallel.server import divided  # noqa: PLC0415 - of no use to other jobs

        parts = divided(list(strategy.module.parameters()), layout.parallelism.servers)
        mine &= {id(parameter) for parameter in parts[layout.rank]} if layout.serves else set()
    return {name: value for name, value in strategy.module.named_parameters() if id(value) in mine}


def _optimizer_tensors(parameters: Mapping[str, nn.Parameter], stored: Mapping[str, Any]) -> dict[str, Tensor]:
    """Places for what is stored of the optimizer's state of these weights, divided as they are."""
    tensors = {}
    for name, entry in stored.items():
        parameter = parameters.get(name.removeprefix(_OPTIMIZER).rpartition("/")[0])
        if not name.startswith(_OPTIMIZER) or parameter is None:
            continue
        alike = entry.size == parameter.shape and entry.size.numel() > 1
        kind = entry.properties.dtype
        tensors[name] = torch.zeros_like(parameter, dtype=kind) if alike else torch.zeros(entry.size, dtype=kind)
    return tensors


def save_position(folder: Path, sharding: Sharding, position: Position) -> None:
    """Write where training stands; rank 0 does."""
    epoch, batch = divmod(position.step, sharding.steps_per_epoch)
    write_json(
        folder / STATE_FILE,
        {
            "step": position.step,
            "epoch": epoch,
            "batchInEpoch": batch,
            "batchSize": sharding.batch_size,
            "samples": sharding.samples,
            "seed": sharding.seed,
            "worldSize": sharding.world_size,
            "loss": position.loss,
            "metrics": {name: value for name, value in position.metrics.items() if math.isfinite(value)},
            "evaluatedStep": position.evaluated,
            "savedAt": datetime.fromtimestamp(position.at, UTC).isoformat(timespec="milliseconds"),
            "torch": torch.__version__,
        },
    )


def read_saved(checkpoint: Checkpoint, metric: str) -> Saved:
    """What the choice of checkpoints that stay goes by; the folder's own time where its state cannot be read."""
    state = read_json(checkpoint.folder / STATE_FILE) or {}
    try:
        at = datetime.fromisoformat(state["savedAt"]).timestamp()
    except (KeyError, TypeError, ValueError):
        at = checkpoint.folder.stat().st_mtime
    metrics, evaluated = state.get("metrics"), state.get("evaluatedStep")
    value = metrics.get(metric) if isinstance(metrics, dict) else None
    known = isinstance(value, int | float) and isinstance(evaluated, int | None)
    return Saved(checkpoint.attempt, checkpoint.step, at, *((value, evaluated) if known else (None, None)))


def load_position(folder: Path, sharding: Sharding) -> int:
    """The step at which the checkpoint stands. Raises ConfigurationError when its steps are cut otherwise than ours."""
    state = read_json(folder / STATE_FILE)
    if state is None:
        raise TrainerError(f"{folder / STATE_FILE} cannot be read")
    if missing := [name for name in ("batchSize", "samples", "seed", "step") if not isinstance(state.get(name), int)]:
        raise TrainerError(f"{folder / STATE_FILE} has no whole number as {', '.join(missing)}")
    for name, ours in (
        ("batchSize", sharding.batch_size),
        ("samples", sharding.samples),
        ("seed", sharding.seed),
    ):
        if state[name] != ours:
            raise ConfigurationError(name, ours, f"{state[name]}, as in checkpoint {folder}")
    return int(state["step"])


def _restore_optimizer(optimizer: torch.optim.Optimizer, module: nn.Module, tensors: dict[str, Tensor]) -> None:
    parameters = dict(module.named_parameters())
    state: dict[int, dict[str, Tensor]] = {}
    order = {id(parameter): index for index, parameter in enumerate(_optimized(optimizer))}
    for name, value in tensors.items():
        if name.startswith(_OPTIMIZER):  # what is here of it; a worker that holds no weights has none
            parameter, _, key = name.removeprefix(_OPTIMIZER).rpartition("/")
            state.setdefault(order[id(parameters[parameter])], {})[key] = value
    # load_state_dict moves each value to the device and type that the optimizer wants it in.
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _optimized(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
