"""Conditions: one statement each, whose transition time moves only when the statement changes."""

from collections.abc import Sequence
from datetime import datetime

from trainyard.api.meta import Condition
from trainyard.api.reasons import ConditionType


def find(conditions: Sequence[Condition], kind: ConditionType) -> Condition | None:
    """The condition of that type."""
    return next((each for each in conditions if each.type == kind), None)


def holds(conditions: Sequence[Condition], kind: ConditionType) -> bool:
    """Whether the statement is made and true."""
    found = find(conditions, kind)
    return found is not None and found.status == "True"


def says(conditions: Sequence[Condition], kind: ConditionType, reason: str) -> bool:
    """Whether the statement is made for that reason."""
    found = find(conditions, kind)
    return found is not None and found.reason == reason


def state(
    conditions: Sequence[Condition],
    kind: ConditionType,
    value: bool,
    reason: str,
    message: str,
    *,
    now: datetime,
    generation: int,
) -> tuple[Condition, ...]:
    """`conditions` with one statement set. Order and the others stay as they are."""
    status = "True" if value else "False"
    old = find(conditions, kind)
    since = old.last_transition_time if old and old.status == status else now
    new = Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=since,
        observed_generation=generation,
    )
    if old is None:
        return (*conditions, new)
    return tuple(new if each.type == kind else each for each in conditions)
