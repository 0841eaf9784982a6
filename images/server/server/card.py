"""The model card as this server needs it: a checked, frozen view of card.json.

The trainer writes the card; the server does not trust it, because the claim it lies on may be written by others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from server.errors import StartError

DATATYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BF16": "float32",
}
"""Datatypes of the protocol that a tensor may have, with the numpy type that holds them here."""


@dataclass(frozen=True)
class TensorSpec:
    """A named tensor; -1 in shape stands for any size, and shape[0] is always the batch."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True)
class Card:
    """What the exported model takes, gives and is."""

    name: str
    digest: str
    input: TensorSpec
    output: TensorSpec
    labels: tuple[int | str, ...] | None

    @property
    def label_output(self) -> TensorSpec | None:
        """The extra output of a classifier with labels: one label for each row."""
        if self.labels is None:
            return None
        whole = all(isinstance(label, int) for label in self.labels)
        return TensorSpec("label", "INT64" if whole else "BYTES", (-1,))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        label = self.label_output
        return (self.output,) if label is None else (self.output, label)


def read_card(path: Path) -> Card:
    """Card from a card.json. Raises StartError naming the field that is wrong."""
    return parse_card(card_fields(path))


def card_fields(path: Path) -> dict[str, Any]:
    """All that a card.json holds, also what only the trainer's code reads. Raises StartError."""
    try:
        fields = orjson.loads(path.read_bytes())
    except OSError as error:
        raise StartError(f"cannot read the model card {path}: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise StartError(f"the model card {path} is not valid JSON: {error}") from error
    if not isinstance(fields, dict):
        raise StartError(f"the model card {path} holds {type(fields).__name__}; expected an object")
    return fields


def parse_card(fields: Mapping[str, Any]) -> Card:
    """Card from decoded JSON. Raises StartError naming the field that is wrong."""
    return Card(
        name=_text(fields, "name"),
        digest=_text(fields, "digest"),
        input=_single(fields, "inputs"),
        output=_single(fields, "outputs"),
        labels=_labels(fields.get("labels")),
    )


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not value:
        raise StartError(f"the model card's {key!r} is {value!r}; expected a non-empty string")
    return value


def _single(fields: Mapping[str, Any], key: str) -> TensorSpec:
    tensors = fields.get(key)
    if not isinstance(tensors, list) or len(tensors) != 1 or not isinstance(tensors[0], dict):
        raise StartError(f"the model card's {key!r} must be a list of exactly one tensor, got {tensors!r}")
    name, datatype = _text(tensors[0], "name"), _text(tensors[0], "datatype")
    shape = tensors[0].get("shape")
    if datatype not in DATATYPES:
        raise StartError(f"the model card's {key}[0].datatype is {datatype!r}; expected one of {', '.join(DATATYPES)}")
    if not isinstance(shape, list) or not shape or not all(type(size) is int and size >= -1 for size in shape):
        raise StartError(f"the model card's {key}[0].shape is {shape!r}; expected whole numbers, -1 for any size")
    if shape[0] != -1:
        raise StartError(f"the model card's {key}[0].shape is {shape!r}; expected -1 first, for the batch")
    return TensorSpec(name, datatype, tuple(shape))


def _labels(value: object) -> tuple[int | str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(type(label) in (int, str) for label in value):
        raise StartError("the model card's 'labels' must be null or a list of strings or whole numbers")
    if all(type(label) is int for label in value):
        return tuple(value)
    return tuple(str(label) for label in value)
