"""What is in a checkpoint: model and optimizer as tensors, the position as JSON.

Tensors go through torch.distributed.checkpoint in its safetensors format rather than in its default one, whose
`.metadata` is a pickle: reading that would run whatever somebody with access to the claim had put there. Every
worker writes a share of the (equal) tensors into a file of its own; any number of workers can read them. The
collective operations inside torch do pickle, but only between the live workers of one job.

Values that are no tensors need no place here: the optimizer's settings come from the specification, the learning
rate, the order of samples and all random numbers from the step (see sharding.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from trainer.durable import read_json, write_json
from trainer.errors import ConfigurationError, TrainerError
from trainer.sharding import Sharding

STATE_FILE: Final = "state.json"
_MODEL: Final = "model."
_OPTIMIZER: Final = "optimizer."


def save_tensors(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write this worker's share into the folder; all workers call it together. Raises OSError in all of them."""
    # Imported late: it takes as long as torch itself, and a job without storage never needs it.
    import torch.distributed.checkpoint as dcp  # noqa: PLC0415
    from torch.distributed.checkpoint.api import CheckpointException  # noqa: PLC0415

    writer = dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        dcp.save(_tensors(module, optimizer), storage_writer=writer, no_dist=not torch.distributed.is_initialized())
    except CheckpointException as error:
        raise OSError(f"saving into {folder} failed: {error}") from error


def load_tensors(
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, shapes: Mapping[str, torch.Size]
) -> None:
    """Put what the folder holds into module and optimizer; all workers call it together.

    shapes: of every tensor of the whole model, of which the module may hold a part. Each worker reads its own part only.
    Raises ConfigurationError when the folder holds another model than this one.
    """
    import torch.distributed.checkpoint as dcp  # noqa: PLC0415

    reader = dcp.HuggingFaceStorageReader(str(folder))
    stored: dict[str, Any] = reader.read_metadata().state_dict_metadata
    wanted = {_MODEL + name: shape for name, shape in shapes.items()}
    found = {name: entry.size for name, entry in stored.items() if name.startswith(_MODEL)}
    if wanted != found:
        different = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise ConfigurationError("model", different[:5], f"the model of checkpoint {folder}; these differ")
    tensors = {_MODEL + name: torch.empty_like(value) for name, value in module.state_dict().items()}
    tensors |= _optimizer_tensors(optimizer, module, stored)
    dcp.load(tensors, storage_reader=reader, no_dist=not torch.distributed.is_initialized())
    module.load_state_dict({name: tensors[_MODEL + name] for name in module.state_dict()})
    _restore_optimizer(optimizer, module, tensors)


def _optimizer_tensors(
    optimizer: torch.optim.Optimizer, module: nn.Module, stored: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Places for what is stored of the optimizer's state of the weights that are here, divided as these are."""
    mine = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    parameters = {name: value for name, value in module.named_parameters() if id(value) in mine}
    tensors = {}
    for name, entry in stored.items():
        parameter = parameters.get(name.removeprefix(_OPTIMIZER).rpartition("/")[0])
        if not name.startswith(_OPTIMIZER) or parameter is None:
            continue
        alike = entry.size == parameter.shape and entry.size.numel() > 1
        kind = entry.properties.dtype
        tensors[name] = torch.zeros_like(parameter, dtype=kind) if alike else torch.zeros(entry.size, dtype=kind)
    return tensors


def save_position(folder: Path, sharding: Sharding, step: int, loss: float | None) -> None:
    """Write where training stands; rank 0 does."""
    epoch, batch = divmod(step, sharding.steps_per_epoch)
    write_json(
        folder / STATE_FILE,
        {
            "step": step,
            "epoch": epoch,
            "batchInEpoch": batch,
            "batchSize": sharding.batch_size,
            "samples": sharding.samples,
            "seed": sharding.seed,
            "worldSize": sharding.world_size,
            "loss": loss,
            "torch": torch.__version__,
        },
    )


def load_position(folder: Path, sharding: Sharding) -> int:
    """The step at which the checkpoint stands. Raises ConfigurationError when its steps are cut otherwise than ours."""
    state = read_json(folder / STATE_FILE)
    if state is None:
        raise TrainerError(f"{folder / STATE_FILE} cannot be read")
    for name, ours in (
        ("batchSize", sharding.batch_size),
        ("samples", sharding.samples),
        ("seed", sharding.seed),
    ):
        if state[name] != ours:
            raise ConfigurationError(name, ours, f"{state[name]}, as in checkpoint {folder}")
    return int(state["step"])


def _tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {_MODEL + name: value.contiguous() for name, value in module.state_dict().items()}
    for name, parameter in module.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{_OPTIMIZER}{name}/{key}"] = value.contiguous()
    return tensors


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
