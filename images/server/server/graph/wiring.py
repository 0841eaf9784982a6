"""The graph as the operator tells it in TRAINYARD_GRAPH. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from server.errors import StartError

VARIABLE = "TRAINYARD_GRAPH"


@dataclass(frozen=True, slots=True)
class Target:
    """A model at an address."""

    url: str
    model: str


@dataclass(frozen=True, slots=True)
class When:
    """What a request must be like: one of header and tensor, and one of the three values."""

    header: str | None = None
    tensor: str | None = None
    equals: str | None = None
    at_least: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Targets that are asked the same; combine: Mean, Vote or Concat of `output`."""

    targets: tuple[Target, ...]
    output: str
    combine: str


@dataclass(frozen=True, slots=True)
class Switch:
    """The first case that fits says who is asked."""

    cases: tuple[tuple[When, Target], ...]
    otherwise: Target | None


@dataclass(frozen=True, slots=True)
class Stage:
    """inputs: name of an input -> STAGE.TENSOR; empty: all that the stage before answered."""

    name: str
    inputs: Mapping[str, str]
    asks: Target | Ensemble | Switch


def parse(text: str) -> tuple[Stage, ...]:
    """The stages in order. Raises StartError."""
    try:
        return tuple(_stage(fields) for fields in orjson.loads(text)["stages"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise StartError(f"{VARIABLE} holds no graph as the operator writes it ({problem}): {text[:200]!r}") from error


def _stage(fields: Mapping[str, Any]) -> Stage:
    asks: Target | Ensemble | Switch
    if (ensemble := fields.get("ensemble")) is not None:
        asks = Ensemble(tuple(map(_target, ensemble["targets"])), ensemble["output"], ensemble["combine"])
    elif (switch := fields.get("switch")) is not None:
        cases = tuple((_when(case["when"]), _target(case["target"])) for case in switch["cases"])
        asks = Switch(cases, None if switch["otherwise"] is None else _target(switch["otherwise"]))
    else:
        asks = _target(fields["target"])
    return Stage(fields["name"], dict(fields["inputs"]), asks)


def _target(fields: Mapping[str, Any]) -> Target:
    return Target(fields["url"], fields["model"])


def _when(fields: Mapping[str, Any]) -> When:
    return When(
        fields.get("header"), fields.get("tensor"), fields.get("equals"), fields.get("atLeast"), fields.get("below")
    )
