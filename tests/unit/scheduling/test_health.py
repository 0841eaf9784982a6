"""Broken nodes take no pods, suspect ones are the last choice, and when most of a flavor is sick the nodes are not to blame."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.unit.scheduling.test_remedies import a_job, a_node, a_snapshot
from trainyard.api.flavor import FlavorSpec
from trainyard.scheduling.health import judge
from trainyard.scheduling.schedule import Follower, schedule
from trainyard.scheduling.snapshot import Admit, NodeView, Snapshot, Wait

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def nodes(count: int, *broken: int) -> list[NodeView]:
    return [replace(a_node(f"n{each}", 8), broken="GPUMissing" if each in broken else "") for each in range(count)]


def where(snapshot: Snapshot) -> str:
    (decision,) = schedule(snapshot, NOW)
    assert isinstance(decision, Admit), decision
    return decision.assignment.nodes["worker"][0]


def why(snapshot: Snapshot) -> str:
    (decision,) = schedule(snapshot, NOW)
    assert isinstance(decision, Wait), decision
    return decision.verdict.message


@pytest.mark.fault(48)
def test_a_broken_node_takes_no_pods_and_the_message_says_why() -> None:
    assert where(a_snapshot(nodes(2, 0), a_job("mine", gpus=8))) == "n1"
    message = why(a_snapshot(nodes(2, 0), a_job("mine", count=2, gpus=8)))
    assert "n0 (GPUMissing): broken, takes no pods until that is over" in message


def test_a_node_on_which_several_workloads_failed_is_the_last_choice() -> None:
    job = a_job("mine", gpus=8)
    assert where(a_snapshot(nodes(2), job)) == "n0"
    assert where(a_snapshot(nodes(2), job, failures={"n0": 1})) == "n0", "one may have failed by itself"
    assert where(a_snapshot(nodes(2), job, failures={"n0": 2})) == "n1"
    assert where(a_snapshot(nodes(1), job, failures={"n0": 2})) == "n0", "better there than not at all"


@pytest.mark.parametrize(
    ("failures", "suspects"),
    [
        ({"n0": 2}, {"n0"}),
        ({"n0": 2, "n1": 2, "n2": 2, "n3": 2}, set()),
        ({"n0": 9, "n1": 2, "n2": 2, "n3": 2}, {"n0"}),
        ({"n0": 5, "n1": 2, "n2": 2, "n3": 2}, set()),
        ({"n0": 4, "n1": 4}, {"n0", "n1"}),
        ({"elsewhere": 9, "n0": 1}, set()),
    ],
)
def test_only_a_node_that_stands_out_is_suspect_for_programs_fail_everywhere(
    failures: dict[str, int], suspects: set[str]
) -> None:
    assert set(judge(nodes(4), FlavorSpec(), failures).suspects) == suspects


@pytest.mark.fault(45)
def test_the_breaker_opens_when_more_than_half_are_sick() -> None:
    assert where(a_snapshot(nodes(5, 0, 1, 2), a_job("mine", gpus=8))) == "n3"
    assert where(a_snapshot(nodes(5, 0, 1, 2), a_job("mine", count=5, gpus=8))) == "n0", "better there than not at all"
    assert "last choice" not in why(a_snapshot(nodes(6, 0, 1, 2), a_job("mine", count=6, gpus=8)))
    message = why(a_snapshot(nodes(5, 0, 1, 2), a_job("mine", count=6, gpus=8)))
    assert "n0 (GPUMissing), n1 (GPUMissing), n2 (GPUMissing): would be the last choice" in message
    assert "3 of 5 nodes are sick: look for a common cause" in message


@pytest.mark.parametrize(
    ("sick", "total", "is_open"), [(1, 1, False), (2, 3, False), (3, 6, False), (3, 5, True), (4, 7, True)]
)
def test_a_few_broken_nodes_are_not_a_common_cause(sick: int, total: int, is_open: bool) -> None:
    assert judge(nodes(total, *range(sick)), FlavorSpec(), {}).breaker_open is is_open


def test_nodes_that_are_not_ready_count_as_sick_and_another_flavor_does_not_count() -> None:
    fleet = [*nodes(4, 0), *(a_node(f"other{each}", 8, "l40s") for each in range(9))]
    fleet[1:3] = [replace(each, ready=False) for each in fleet[1:3]]
    health = judge(fleet, FlavorSpec.model_validate({"nodeSelector": {"flavor": "h200"}}), {})
    assert (health.sick, health.nodes, health.breaker_open) == (3, 4, True)


@pytest.mark.fault(50)
def test_whoever_waits_is_asked_again_when_a_node_is_well() -> None:
    follower, job = Follower(), a_job("mine", gpus=8)
    (decision,) = follower.decide(a_snapshot(nodes(1, 0), job), NOW)
    assert isinstance(decision, Wait)
    (decision,) = follower.decide(a_snapshot(nodes(1), job), NOW)
    assert isinstance(decision, Admit)


def test_whoever_waits_is_asked_again_when_failures_open_the_breaker() -> None:
    follower, job = Follower(), a_job("mine", count=5, gpus=8)
    (decision,) = follower.decide(a_snapshot(nodes(5, 0, 1), job), NOW)
    assert isinstance(decision, Wait)
    (decision,) = follower.decide(a_snapshot(nodes(5, 0, 1), job, failures={"n2": 2}), NOW)
    assert isinstance(decision, Admit)
