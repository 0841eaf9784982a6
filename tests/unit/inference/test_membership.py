"""Who gets traffic, when a drain is over, and which model is served."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gateway.members import parse_membership
from hypothesis import given
from hypothesis import strategies as st

from tests import builders as b
from trainyard.api.autoscaling import ColdStart, Scaling
from trainyard.api.inference_service import InferenceService
from trainyard.inference.board import BadSync, GatewayBoard, parse_sync
from trainyard.inference.membership import drained, in_use, membership
from trainyard.inference.observed import GatewayReport, Observed
from trainyard.inference.plan import plan_inference_service
from trainyard.inference.workload import workloads
from trainyard.workloads.pod_state import PodState

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def a_service(*serials: int, release: str = "", **fields: Any) -> InferenceService:
    admission = [
        {
            "serial": each,
            "node": "n0",
            "flavor": "f",
            "digest": b.DIGEST,
            "admittedAt": NOW.isoformat(),
            "release": release,
            "drainStartedAt": NOW.isoformat() if release == "drain" else None,
        }
        for each in serials
    ]
    return InferenceService.model_validate(
        b.inference_service("s", b.meta(uid="u"), b.status(admission=admission, nextSerial=9), b.spec(**fields))
    )


def a_pod(serial: int, address: str = "10.0.0.1", phase: str = "Running", **fields: Any) -> PodState:
    given: dict[str, Any] = {"node": "n0", "created": NOW, "ready": True, "address": address, **fields}
    return PodState(f"s-{serial}", f"u{serial}", "replica", serial, 0, phase=phase, **given)


@given(st.permutations([1, 2, 3, 4]))
def test_equal_lists_have_equal_generations_in_every_process(order: list[int]) -> None:
    service = a_service(1, 2, 3, 4)
    found = membership(service, [a_pod(each) for each in order])
    assert found == membership(service, [a_pod(each) for each in (1, 2, 3, 4)])
    assert 0 < found.generation < 2**53
    assert found.generation != membership(service, [a_pod(1)]).generation


def test_members_have_an_address_and_are_not_lost() -> None:
    pods = [a_pod(1), a_pod(2, address=""), a_pod(3, phase="Failed"), a_pod(4, deleting_since=NOW)]
    found = membership(a_service(1, 2, 3, 4, 5), pods)
    assert [(each["name"], each["state"]) for each in found.members] == [("s-1", "active"), ("s-4", "drain")]
    assert membership(a_service(1, release="now"), pods).members == ()
    assert membership(a_service(1, release="drain"), pods).members[0]["state"] == "drain"


def test_gateways_are_told_how_long_a_start_takes() -> None:
    service, pods = a_service(1), [a_pod(1)]
    scaling = Scaling(desired=1, cold_start=ColdStart(starts=3, p50_seconds=20, p90_seconds=41.2))
    learned = service.model_copy(update={"status": service.status.model_copy(update={"scaling": scaling})})
    before, after = membership(service, pods), membership(learned, pods)
    assert (before.body()["startSeconds"], after.body()["startSeconds"]) == (0, 42)
    assert before.generation == after.generation, "a drain waits for no gateway because of it"
    assert parse_membership(after.body()).start_seconds == 42


@pytest.mark.parametrize(
    ("report", "after", "over"),
    [
        (None, 1, False),
        (GatewayReport(NOW, -1, {}), 1, False),  # follows another list
        (GatewayReport(NOW, 0, {"s-1": 1}), 1, False),
        (GatewayReport(NOW, 0, {"s-1": 0}), 1, True),
        (GatewayReport(NOW, 0, {}), 1, True),
        (GatewayReport(NOW, 0, {}), 20, False),  # too old to be believed
        (None, 61, True),
    ],
)
def test_a_drain_is_over_when_every_gateway_says_so_or_time_is_up(
    report: GatewayReport | None, after: float, over: bool
) -> None:
    service, pod = a_service(1, release="drain"), a_pod(1)
    wanted = membership(service, [pod])
    if report is not None and report.generation == 0:
        report = GatewayReport(report.received, wanted.generation, report.in_use)
    gateway = PodState("g", "g", "gateway", 0, 0, "n0", "Running", True, NOW)
    reports = {"g": report} if report else {}
    now = NOW + timedelta(seconds=after)
    assert drained(service.status.admission[0], pod, wanted, [gateway], reports, now, 60) is over


def test_without_gateways_nothing_is_in_flight() -> None:
    service, pod = a_service(1, release="drain"), a_pod(1)
    assert drained(service.status.admission[0], pod, membership(service, [pod]), [], {}, NOW, 60)
    assert not drained(a_service(1).status.admission[0], pod, membership(service, [pod]), [], {}, NOW, 60)


def test_the_board_keeps_the_newest_report_of_each_gateway() -> None:
    board = GatewayBoard()
    body = {"namespace": "team", "service": "s", "serviceUid": "u", "pod": "g", "generation": 1}
    assert board.put(parse_sync(body), NOW)
    assert not board.put(parse_sync({**body, "members": {"s-1": {"inUse": 3}}}), NOW)
    assert board.put(parse_sync({**body, "generation": 2, "members": {"s-1": {"inUse": 3}}}), NOW)
    assert in_use("s-1", board.of("u")) == 3
    board.keep_only("u", set())
    assert board.of("u") == {}
    board.forget("u")
    with pytest.raises(BadSync, match="generation"):
        parse_sync({**body, "generation": "new"})


def test_a_service_that_is_being_deleted_wants_nothing() -> None:
    service = InferenceService.model_validate(
        b.inference_service("s", b.meta(uid="u", deletionTimestamp="2026-11-23T00:00:00Z"))
    )
    assert plan_inference_service(Observed(service), NOW).create == ()
    assert list(workloads(Observed(service), NOW)) == []


def test_resources_that_make_no_sense_block_the_replicas() -> None:
    (found,) = workloads(Observed(a_service(resources={"limits": {"cpu": "fast"}})), NOW)
    assert found.blocked is not None
    assert "spec.resources" in found.blocked.message
