"""What of a change of a status is put on record."""

from typing import Any

import pytest

from trainyard.api.audit import Action
from trainyard.workloads.audited import decided
from trainyard.workloads.keys import Key

JOB, SERVICE = Key("TrainingJob", "team", "a"), Key("InferenceService", "team", "s")
ASKED = {"by": {"kind": "TrainingJob", "namespace": "team", "name": "b"}, "deadline": "2026-11-30T10:00:00Z"}


def placed(*nodes: tuple[str, int], role: str = "worker", **status: Any) -> dict[str, Any]:
    runs = [{"node": node, "count": count} for node, count in nodes]
    return {
        "admission": {"flavor": "h200", "epoch": 1, "roles": [{"name": role, "prefix": "n", "runs": runs}]},
        **status,
    }


@pytest.mark.parametrize(
    ("before", "after", "action"),
    [
        ({}, placed(("1", 2)), Action.ADMITTED),
        (placed(("1", 2)), placed(("2", 2)), Action.PLACE_CHANGED),
        (placed(("1", 2), ("2", 1)), placed(("1", 2), ("3", 1)), Action.PLACE_CHANGED),
        (placed(("1", 2), ("2", 1)), placed(("1", 1), ("2", 2)), Action.PLACE_CHANGED),
        (placed(("1", 2)), placed(("1", 3)), Action.PLACE_CHANGED),
        (placed(("1", 2)), {}, Action.PLACE_GIVEN_BACK),
        (placed(("1", 2), preemption=ASKED), {}, Action.PREEMPTED),
        (placed(("1", 2)), None, Action.PLACE_GIVEN_BACK),
        (placed(("1", 2), preemption=ASKED), None, Action.PLACE_GIVEN_BACK),
        (placed(("1", 2)), placed(("1", 2), phase="Complete"), Action.PLACE_GIVEN_BACK),
    ],
)
def test_each_change_of_a_place_is_on_record(before: Any, after: Any, action: Action) -> None:
    assert [each.action for each in decided(JOB, before, after)] == [action]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, None),
        (placed(("1", 1), ("2", 1)), placed(("1", 1), ("2", 1), phase="Running")),
        (placed(("1", 1), ("1", 1)), placed(("1", 2))),
        (placed(("1", 2), phase="Complete"), None),
    ],
)
def test_what_leaves_the_place_as_it_is_is_not(before: Any, after: Any) -> None:
    assert list(decided(JOB, before, after)) == []


def test_a_move_names_the_nodes_that_are_left_and_those_that_are_taken() -> None:
    (moved,) = decided(JOB, placed(("1", 2), ("2", 1), ("3", 1)), placed(("1", 2), ("4", 1), ("3", 1)))
    facts = {name: moved.facts[name] for name in ("pods", "podsBefore", "nodesLeft", "nodesTaken", "nodesLeftInAll")}
    assert facts == {"pods": 4, "podsBefore": 4, "nodesLeft": ["n2"], "nodesTaken": ["n4"], "nodesLeftInAll": 1}


def test_a_replica_that_moves_is_on_record_by_itself() -> None:
    was, now = ({"admission": [{"serial": 1, "flavor": "h200", "node": node}]} for node in ("n1", "n2"))
    (moved,) = decided(SERVICE, was, now)
    assert (moved.action, moved.about) == (Action.PLACE_CHANGED, "InferenceService team/s replica 1")
    assert (moved.facts["nodesLeft"], moved.facts["nodesTaken"]) == (["n1"], ["n2"])
