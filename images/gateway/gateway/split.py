"""How traffic is shared between the stable revision and its canary, and what is written to `run.map` for it. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from gateway.answers import Tolerance
from gateway.sections import SHARE

SPLIT_KNOBS = ("weight", "shadow", "header", "value")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_VALUE = re.compile(r"[A-Za-z0-9._-]{1,128}")


class InvalidSplit(ValueError):  # noqa: N818 - reads as the sentence it starts
    """A split that must not be acted on; the message names the field."""


@dataclass(frozen=True)
class Split:
    """weight and shadow in basis points: of requests that go to the canary, and of the others, those that it gets a copy of.

    tolerance is how far apart numbers of both answers to a copied request may be.

    A request whose header has the value goes to the canary, with another value to the stable revision.
    """

    weight: int = 0
    shadow: int = 0
    header: str = ""
    value: str = ""
    tolerance: Tolerance = field(default_factory=Tolerance)

    def knobs(self) -> Mapping[str, str]:
        """Entries of `run.map`."""
        numbers = {"weight": self.weight, "shadow": self.shadow}
        knobs = {name: str(number) for name, number in numbers.items() if number}
        return knobs | ({"header": self.header, "value": self.value} if self.header else {})

    def as_json(self) -> dict[str, Any]:
        header = {"name": self.header, "value": self.value} if self.header else None
        tolerance = {"relative": self.tolerance.relative, "absolute": self.tolerance.absolute}
        return {"weight": self.weight, "header": header, "shadow": self.shadow, "tolerance": tolerance}


def parse_split(value: object) -> Split:
    """Split of {"weight", "header": {"name", "value"} | null, "shadow", "tolerance"}; none is all to stable. Raises InvalidSplit."""
    if value is None:
        return Split()
    if not isinstance(value, dict):
        raise InvalidSplit(f"split is {value!r}; expected an object")
    header = value.get("header")
    name, wanted = "", ""
    if header is not None:
        if not isinstance(header, dict):
            raise InvalidSplit(f"split.header is {header!r}; expected an object or null")
        name, wanted = _word(header, "name", _HEADER), _word(header, "value", _VALUE)
    return Split(_share(value, "weight"), _share(value, "shadow"), name, wanted, _tolerance(value.get("tolerance")))


def _tolerance(value: object) -> Tolerance:
    if value is None:
        return Tolerance()
    if not isinstance(value, dict):
        raise InvalidSplit(f"split.tolerance is {value!r}; expected an object or null")
    found = {key: value.get(key) for key in ("relative", "absolute")}
    for key, number in found.items():
        if type(number) not in (int, float) or not 0 <= float(str(number)) < inf:
            raise InvalidSplit(f"split.tolerance.{key} is {number!r}; expected a number from 0")
    return Tolerance(**{key: float(str(number)) for key, number in found.items()})


def _share(fields: Mapping[str, Any], key: str) -> int:
    share = fields.get(key, 0)
    if type(share) is not int or not 0 <= share <= SHARE:
        raise InvalidSplit(f"split.{key} is {share!r}; expected a whole number, 0 to {SHARE}")
    return share


def _word(fields: Mapping[str, Any], key: str, form: re.Pattern[str]) -> str:
    word = fields.get(key)
    if not isinstance(word, str) or not form.fullmatch(word):
        raise InvalidSplit(f"split.header.{key} is {word!r}; expected it to match {form.pattern}")
    return word
