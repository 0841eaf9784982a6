"""What may be chosen about a model or a data set, with its bounds; imports no torch, as the agent judges with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from trainer.errors import ConfigurationError

_LONGEST_LIST = 16


class Kind(Enum):
    """What a parameter may be."""

    WHOLE = "a whole number"
    FRACTION = "a number"
    WHOLES = "a list of whole numbers"


@dataclass(frozen=True)
class Parameter:
    """One thing a user may choose, with its default and its bounds (inclusive)."""

    kind: Kind
    default: Any
    least: float
    most: float

    def expected(self) -> str:
        return f"{self.kind.value} from {self.least:g} to {self.most:g}"

    def accepts(self, value: object) -> bool:
        if self.kind is Kind.WHOLES:
            return (
                isinstance(value, list) and len(value) <= _LONGEST_LIST and all(self._in_bounds(item) for item in value)
            )
        return self._in_bounds(value)

    def _in_bounds(self, value: object) -> bool:
        numbers = (int, float) if self.kind is Kind.FRACTION else (int,)
        return isinstance(value, numbers) and not isinstance(value, bool) and self.least <= value <= self.most


def check_parameters(path: str, owner: str, known: Mapping[str, Parameter], given: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for one that `owner` does not take, or not so. path: of the parameters in the job."""
    for key, value in given.items():
        parameter = known.get(key)
        if parameter is None:
            raise ConfigurationError(path, key, f"a parameter of {owner}", known or ("(it has none)",))
        if not parameter.accepts(value):
            raise ConfigurationError(f"{path}.{key}", value, parameter.expected())


def completed(known: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, and the defaults of the rest."""
    return {key: value.default for key, value in known.items()} | dict(given)
