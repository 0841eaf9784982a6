"""What a controller wants done: a value, made by a pure function, applied by `applier`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainyard.api.forecast import StartEstimate

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delete:
    """A child to delete; the uid keeps us from hitting a successor of the same name, where it is known."""

    name: str
    uid: str
    grace_seconds: int | None = None
    """None leaves it to the pod; 0 does not wait for its node, which is for lost nodes only."""
    kind: str = "Pod"


@dataclass(frozen=True, slots=True)
class Note:
    """An event to post on the object."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Status first, then deletes and creates: a decision is durable before it acts."""

    status: Mapping[str, Any] | None = None
    """Fields of `status` that change, camelCase; None for no change."""
    urgent: bool = True
    """False lets the write wait its turn: nothing but a number or a message for readers has changed."""
    takes_turn: bool = False
    """True lets even an urgent write, and its notes, wait until it fits into the rate of all: many may have to be told the same at once."""
    create: tuple[Object, ...] = ()
    delete: tuple[Delete, ...] = ()
    delete_self: bool = False
    notes: tuple[Note, ...] = ()
    again: float | None = None
    """Seconds after which to look again even if nothing happens."""


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Top-level fields of `new` that differ from `old`: the merge patch that leads from one to the other."""
    return {name: value for name, value in new.items() if old.get(name) != value}


def still_good(told: StartEstimate | None, found: StartEstimate | None) -> bool:
    """Whether an estimate need not be told anew: it moves all the time, and is told with other news until the likely time is over."""
    if told is None or found is None:
        return told is found
    return found.earliest < told.likely


def sooner(*times: float | None) -> float | None:
    """The earliest of the times that are given."""
    return min((each for each in times if each is not None), default=None)
