"""From what was asked for to the strategy of this process; the only place that knows all of them."""

from functools import partial

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.utils.checkpoint import checkpoint

from trainer.errors import ConfigurationError
from trainer.objective import BringsLoss, Objective
from trainer.optimization import Loss, build_optimizer
from trainer.parallel.layout import Layout
from trainer.parallel.strategy import Strategy
from trainer.parallel.together import Together, blocks_of, mesh_of, replicate, shard
from trainer.precision import COMPUTED_IN, FP8, multiply_in_8_bits
from trainer.specification import Training


def build_strategy(training: Training, layout: Layout, module: nn.Module, loss: Loss, device: torch.device) -> Strategy:
    """Divide the module as the layout says, in place, and make its optimizer. All processes call it together.

    module: whole, on the device, equal in all processes. Raises ConfigurationError for a model that cannot be divided so.
    """
    shapes = {name: value.shape for name, value in module.state_dict().items()}
    asked = layout.parallelism
    if training.precision == FP8:
        multiply_in_8_bits(module)
    if asked.splits and not (hasattr(module, "tensor_plan") and hasattr(module, "keep_stage")):
        raise ConfigurationError("training.parallelism", asked, "a model with tensor_plan and keep_stage")
    if training.recompute:
        _recompute(module)
    mesh = None
    if layout.world_size > 1 and (asked.splits or asked.data == "sharded"):
        if isinstance(module, BringsLoss):
            raise ConfigurationError(
                "training.parallelism.data", asked.data, "replicated, as the model has its own loss"
            )
        mesh = mesh_of(layout, device)
        if asked.pipeline > 1:
            module.keep_stage(mesh["pipeline"].get_local_rank(), asked.pipeline)
        shard(module, layout, mesh)
    strategy = _strategy(training, layout, module, loss, device, shapes, mesh)
    strategy.clip_norm, strategy.precision = training.clip_norm, COMPUTED_IN[training.precision]
    return strategy


def _strategy(
    training: Training,
    layout: Layout,
    module: nn.Module,
    loss: Loss,
    device: torch.device,
    shapes: dict[str, torch.Size],
    mesh: DeviceMesh | None,
) -> Strategy:
    """mesh: of a module that is divided."""
    optimizer = build_optimizer(training, module.parameters())
    if mesh is not None and layout.parallelism.pipeline > 1:
        from trainer.parallel.pipelined import Pipelined  # noqa: PLC0415 - takes a second to import

        return Pipelined(layout, module, optimizer, shapes, loss, mesh, device)
    objective = Objective(module, loss)
    if layout.parallelism.servers:
        from trainer.parallel.server import Served  # noqa: PLC0415 - of no use to other jobs

        return Served(layout, module, optimizer, shapes, _compiled(objective, training), device)
    parallel = replicate(objective, layout, device)
    return Together(layout, module, optimizer, shapes, _compiled(parallel, training), device)


def _compiled(objective: nn.Module, training: Training) -> nn.Module:
    """The objective compiled, which takes a minute or so at the first step."""
    if not training.compile:
        return objective
    # Where there is no compiler for the device, the model runs as it is, slower, and says so.
    torch._dynamo.config.suppress_errors = True  # noqa: SLF001 - it has no public name
    # For the size of the samples alone: code for any size is slower, and an epoch's last step would bring it about.
    compiled: nn.Module = torch.compile(objective, dynamic=False)
    return compiled


def _recompute(module: nn.Module) -> None:
    """Let each layer keep its inputs only. Raises ConfigurationError for a model that does not say what its layers are."""
    blocks = blocks_of(module)
    if not blocks:
        raise ConfigurationError("training.recompute", True, "a model with layers, or false", ("llama", "transformer"))
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
