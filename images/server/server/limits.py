"""How much one model may batch and queue: the server's settings, and what TRAINYARD_MODEL_LIMITS changes for a model. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from server.errors import StartError

_VARIABLE = "TRAINYARD_MODEL_LIMITS"
_FIELDS = {"maxBatch": ("max_batch", 1), "maxQueue": ("max_queue", 1), "latencyBudgetMs": ("latency_budget_ms", 0)}


@dataclass(frozen=True)
class Limits:
    """max_batch in rows, max_queue in waiting requests, the latency budget in milliseconds, 0 for no wait."""

    max_batch: int = 64
    max_queue: int = 64
    latency_budget_ms: int = 0

    @property
    def budget_seconds(self) -> float:
        return self.latency_budget_ms / 1000


def parse_limits(text: str, general: Limits) -> Mapping[str, Limits]:
    """Limits by model of {"digits": {"maxBatch": 16}}; what is not named is as in general. Raises StartError."""
    if not text:
        return {}
    try:
        models = json.loads(text)
    except ValueError as error:
        raise StartError(f"{_VARIABLE} is not JSON: {error}") from error
    if not isinstance(models, dict):
        raise StartError(f"{_VARIABLE} is {text!r}; expected an object of models")
    return {name: _changed(general, name, changes) for name, changes in models.items()}


def _changed(general: Limits, model: str, changes: Any) -> Limits:
    if not isinstance(changes, dict):
        raise StartError(f"{_VARIABLE} holds {changes!r} for {model!r}; expected an object")
    values = {}
    for key, value in changes.items():
        if key not in _FIELDS:
            raise StartError(f"{_VARIABLE} names {key!r} for {model!r}; expected one of {', '.join(_FIELDS)}")
        name, least = _FIELDS[key]
        if type(value) is not int or value < least:
            raise StartError(
                f"{_VARIABLE}: {key} of {model!r} is {value!r}; expected a whole number of at least {least}"
            )
        values[name] = value
    return replace(general, **values)
