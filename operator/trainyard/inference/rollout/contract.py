"""What callers rely on: names, datatypes and shapes of a model's inputs and outputs, and what a changed model breaks of it.

Gateways read it from one replica of each model (`GET /v2/models/NAME`) and report it; the operator opens no connection to replicas.
A size that was fixed may become any (-1), and an output may be added: who called the old model need not change for these.
"""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from trainyard.api.meta import Model

MOST_TENSORS = 64
ANY = -1


class Tensor(Model):
    """A named tensor; -1 in shape stands for any size."""

    name: str = Field(max_length=256)
    datatype: str = Field(max_length=32)
    shape: tuple[Annotated[int, Field(ge=ANY)], ...] = Field(max_length=16)

    def words(self) -> str:
        return f"{self.datatype} {list(self.shape)}"


class Contract(Model):
    """What a model takes and gives."""

    platform: str = Field(default="", max_length=64)
    inputs: tuple[Tensor, ...] = Field(max_length=MOST_TENSORS)
    outputs: tuple[Tensor, ...] = Field(max_length=MOST_TENSORS)


def differences(old: Contract, new: Contract) -> tuple[str, ...]:
    """What breaks callers of the old model, each as `where: old -> new`; empty where nothing does."""
    return tuple(_differences(old, new))


def _differences(old: Contract, new: Contract) -> Iterator[str]:
    if old.platform != new.platform:
        yield f"platform: {old.platform or 'none'} -> {new.platform or 'none'}"
    yield from _of_tensors("inputs", old.inputs, new.inputs)
    yield from _of_tensors("outputs", old.outputs, new.outputs)
    known = {each.name for each in old.inputs}
    for each in new.inputs:  # every input is required
        if each.name not in known:
            yield f"inputs[{each.name}]: none -> {each.words()}"


def _of_tensors(side: str, old: tuple[Tensor, ...], new: tuple[Tensor, ...]) -> Iterator[str]:
    now = {each.name: each for each in new}
    for was in old:
        where, found = f"{side}[{was.name}]", now.get(was.name)
        if found is None:
            yield f"{where}: {was.words()} -> none"
            continue
        if was.datatype != found.datatype:
            yield f"{where}.datatype: {was.datatype} -> {found.datatype}"
        if not _fits(was.shape, found.shape):
            yield f"{where}.shape: {list(was.shape)} -> {list(found.shape)}"


def _fits(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    return len(old) == len(new) and all(size in (was, ANY) for was, size in zip(old, new, strict=True))
