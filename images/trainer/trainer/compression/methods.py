"""From a parent and what is asked for to a variant's module; a row of the table for each method."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from trainer.compression.parent import Parent
from trainer.compression.pruning import pruned
from trainer.compression.rebuilding import CAST, QUANTISED, rebuilt, replace_layers
from trainer.compression.specification import Asked
from trainer.compression.tuning import Tick, Tuning, tune
from trainer.compression.unsuitable import UnsuitableError
from trainer.models import build_model
from trainer.models.catalogue import DERIVED, with_defaults

_FP8_CAPABILITY: Final = (8, 9)


@dataclass(frozen=True)
class Made:
    """A variant in evaluation mode, on the parent's device. scheme: how its weights are held, where not as usual."""

    module: nn.Module
    architecture: Mapping[str, Any]
    scheme: Mapping[str, Any] | None = None


def make(asked: Asked, parent: Parent, tick: Tick) -> Made:
    """The variant. Raises UnsuitableError where model or machine lack what the method needs. tick: called at each step of training."""
    return _METHODS[asked.method](asked, parent, tick)


def steps_of(asked: Asked, parent: Parent) -> int:
    """Steps of training that the variant takes."""
    return Tuning.of(asked.parameters).steps(len(parent.train)) if "epochs" in asked.parameters else 0


def _quantised(asked: Asked, parent: Parent, _tick: Tick) -> Made:
    kind = QUANTISED[asked.method]
    if asked.method == "Float8":
        _require_fp8(parent.held_out.inputs.device)
    names = [
        name
        for name, layer in parent.module.named_modules()
        if type(layer) is nn.Linear and not (layer.in_features % kind.multiple or layer.out_features % kind.multiple)
    ]
    if not names:
        sides = f" whose sides are multiples of {kind.multiple}" if kind.multiple > 1 else ""
        raise UnsuitableError(f"needs a linear layer{sides}; this model has none")
    module = copy.deepcopy(parent.module)
    replace_layers(module, names, kind.of)
    return _stored(module, asked, parent, names)


def _require_fp8(device: torch.device) -> None:
    needs = "needs an NVIDIA GPU of compute capability 8.9 or more (Ada, Hopper, Blackwell)"
    if device.type != "cuda":
        raise UnsuitableError(f"{needs}; this worker has no GPU")
    found = torch.cuda.get_device_capability(device)
    if found < _FP8_CAPABILITY:
        raise UnsuitableError(f"{needs}; {torch.cuda.get_device_name(device)} has {'.'.join(map(str, found))}")


def _halved(asked: Asked, parent: Parent, _tick: Tick) -> Made:
    names = [name for name, layer in parent.module.named_modules() if type(layer) in (nn.Linear, nn.Conv2d)]
    if not names:
        raise UnsuitableError("needs a linear layer or a convolution; this model has none")
    module = rebuilt(copy.deepcopy(parent.module), {"method": asked.method, "layers": names})
    return _stored(module, asked, parent, names)


def _stored(module: nn.Module, asked: Asked, parent: Parent, names: list[str]) -> Made:
    """Raises UnsuitableError where this device cannot compute the model so, as CPUs without FP16 cannot an LSTM."""
    module = module.to(parent.held_out.inputs.device).eval()
    try:
        with torch.inference_mode():
            module(parent.held_out.inputs[:1])
    except RuntimeError as error:
        reason = str(error).partition(". ")[0]
        raise UnsuitableError(f"needs arithmetic that this device does not have: {reason}") from error
    return Made(module, parent.architecture, {"method": asked.method, "layers": names})


def _pruned(asked: Asked, parent: Parent, tick: Tick) -> Made:
    smaller, architecture = pruned(parent.module, parent.architecture, asked.parameters["fraction"])
    tune(smaller, parent, Tuning.of(asked.parameters), tick)
    return Made(smaller, architecture)


def _distilled(asked: Asked, parent: Parent, tick: Tick) -> Made:
    name, own = asked.student["name"], asked.student.get("parameters") or {}
    derived = {key: value for key, value in parent.architecture["parameters"].items() if key in DERIVED}
    parameters = with_defaults(name, own) | derived
    torch.manual_seed(int(parent.card["split"]["seed"]))
    student = build_model(name, parameters).to(parent.held_out.inputs.device)
    _require_like(student, parent, name)
    tune(student, parent, Tuning.of(asked.parameters), tick)
    return Made(student, {"model": name, "parameters": parameters})


def _require_like(student: nn.Module, parent: Parent, name: str) -> None:
    """Raise UnsuitableError unless the student takes what its parent takes, and answers in the same shape."""
    probe = parent.held_out.inputs[:2]
    with torch.no_grad():
        expected = list(parent.module(probe).shape)
        try:
            found = list(student(probe).shape)
        except (RuntimeError, ValueError, IndexError) as error:
            raise UnsuitableError(
                f"needs a student that takes {list(probe.shape)}; {name} does not: {error}"
            ) from error
    if found != expected:
        raise UnsuitableError(f"needs a student that answers {expected} as its parent does; {name} answers {found}")


_METHODS: Final[Mapping[str, Callable[[Asked, Parent, Tick], Made]]] = {
    **dict.fromkeys(QUANTISED, _quantised),
    **dict.fromkeys(CAST, _halved),
    "Pruned": _pruned,
    "Distilled": _distilled,
}
