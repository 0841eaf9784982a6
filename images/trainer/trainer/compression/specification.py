"""What is asked for under `compression` in TRAINYARD_SPEC, parsed and judged without torch, before anything slow starts."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from trainer.errors import ConfigurationError
from trainer.models.catalogue import BUILT_IN, check_model
from trainer.parameters import Kind, Parameter, check_parameters, completed

_TUNING: Final = {
    "epochs": Parameter(Kind.WHOLE, 5, 0, 10_000),
    "learningRate": Parameter(Kind.FRACTION, 0.001, 1e-8, 10.0),
    "batchSize": Parameter(Kind.WHOLE, 64, 1, 65_536),
    "temperature": Parameter(Kind.FRACTION, 4.0, 0.1, 100.0),
    "softWeight": Parameter(Kind.FRACTION, 0.7, 0.0, 1.0),
}
METHODS: Final[Mapping[str, Mapping[str, Parameter]]] = {
    "Int8Dynamic": {},
    "Int8Weights": {},
    "Float8": {},
    "BFloat16": {},
    "Float16": {},
    "Pruned": {"fraction": Parameter(Kind.FRACTION, 0.5, 0.01, 0.99), **_TUNING},
    "Distilled": {**_TUNING, "epochs": Parameter(Kind.WHOLE, 20, 1, 10_000)},
}
"""The methods, and what may be chosen about each. A student's own parameters are checked by its model."""
MAX_VARIANTS: Final = 16
_MOST_SIZES: Final = 8
_MOST_SIZE: Final = 65_536
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


@dataclass(frozen=True)
class Asked:
    """One variant that is to be tried. student: parameters of the smaller model, for Distilled."""

    name: str
    method: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    student: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A trained model. path: its folder as this pod sees it. digest: of its weights; None checks the card's only."""

    path: str
    digest: str | None = None


@dataclass(frozen=True)
class Compression:
    """Which model, the greatest loss of its metric, the batch sizes that are measured, and the variants.

    parent: None for the one that this job trains.
    """

    parent: Source | None
    maximum_loss: float
    batch_sizes: tuple[int, ...]
    variants: tuple[Asked, ...]


def parse_compression(text: str, *, workers: int | None = None) -> Compression | None:
    """What TRAINYARD_SPEC asks to be compressed; None if nothing is. Raises ConfigurationError with the field's path as the user wrote it."""
    try:
        document = json.loads(text)
    except ValueError:
        return None  # said by whoever reads the rest
    if not isinstance(document, dict) or "compression" not in document:
        return None
    given = document["compression"]
    if not isinstance(given, dict):
        raise ConfigurationError("compression", given, "an object")
    if workers is not None and workers > 1:
        raise ConfigurationError("workers.replicas", workers, "1 process with compression")
    parent = _parent(document, given)
    loss = given.get("maximumLoss")
    if isinstance(loss, bool) or not isinstance(loss, (int, float)) or not 0 <= loss < float("inf"):
        raise ConfigurationError("compression.maximumLoss", loss, "a number of at least 0")
    sizes = given.get("batchSizes") or [1, 32]
    if (
        not isinstance(sizes, list)
        or len(sizes) > _MOST_SIZES
        or not all(type(size) is int and 1 <= size <= _MOST_SIZE for size in sizes)
    ):
        expected = f"at most {_MOST_SIZES} whole numbers from 1 to {_MOST_SIZE}"
        raise ConfigurationError("compression.batchSizes", sizes, expected)
    return Compression(parent, float(loss), tuple(sorted(set(sizes))), _variants(given))


def _parent(document: Mapping[str, Any], given: Mapping[str, Any]) -> Source | None:
    """The model that was trained before; None if this job trains it."""
    parent, model = given.get("parent"), document.get("model")
    if model is None:
        if not isinstance(parent, dict) or not isinstance(parent.get("path"), str):
            raise ConfigurationError("compression.parent", parent, "an object with a path, as this job trains no model")
        return Source(parent["path"], parent.get("digest"))
    if parent is not None:
        raise ConfigurationError("compression.parent", parent, "none beside a model that this job trains")
    name = model.get("name") if isinstance(model, dict) else None
    entry = BUILT_IN.get(name) if isinstance(name, str) else None
    if entry is not None and entry.generates:
        answering = [each for each, one in BUILT_IN.items() if not one.generates]
        raise ConfigurationError("model.name", name, "a model that answers, with compression", answering)
    return None


def _variants(given: Mapping[str, Any]) -> tuple[Asked, ...]:
    listed = given.get("variants")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_VARIANTS:
        raise ConfigurationError("compression.variants", listed, f"a list of 1 to {MAX_VARIANTS} variants")
    variants = tuple(_variant(each, f"compression.variants[{index}]") for index, each in enumerate(listed))
    names = [each.name for each in variants]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError("compression.variants", name, "a name that no other variant has")
    return variants


def _variant(given: object, path: str) -> Asked:
    if not isinstance(given, dict) or not isinstance(given.get("name"), str) or not given["name"]:
        raise ConfigurationError(path, given, "an object with a name and a method")
    name, method = given["name"], given.get("method")
    if not _NAME.fullmatch(name):  # it is the name of a folder
        expected = "lower case letters, digits and dashes, at most 40, a letter or digit at both ends"
        raise ConfigurationError(f"{path}.name", name, expected)
    if not isinstance(method, str) or method not in METHODS:
        raise ConfigurationError(f"{path}.method", method, "the name of a method", METHODS)
    parameters = given.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise ConfigurationError(f"{path}.parameters", parameters, "an object")
    own = dict(parameters)
    student = own.pop("student", {}) if method == "Distilled" else {}
    if method == "Distilled":
        _check_student(student, f"{path}.parameters.student")
    check_parameters(f"{path}.parameters", method, METHODS[method], own)
    return Asked(name, method, completed(METHODS[method], own), student)


def _check_student(student: object, path: str) -> None:
    if not isinstance(student, dict) or not isinstance(student.get("name"), str):
        raise ConfigurationError(path, student, "the smaller model: an object with a name and parameters")
    if not isinstance(student.get("parameters") or {}, dict):
        raise ConfigurationError(f"{path}.parameters", student["parameters"], "an object")
    check_model(student["name"], student.get("parameters") or {})
