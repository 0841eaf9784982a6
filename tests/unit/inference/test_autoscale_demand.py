"""What gateways say together, and what a start is made of."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests import builders as b
from trainyard.api.inference_service import InferenceService
from trainyard.inference.autoscale.autoscaler import Autoscaler
from trainyard.inference.autoscale.demand import Meter
from trainyard.inference.autoscale.starts import STAGES, Starts
from trainyard.inference.observed import GatewayReport, Observed
from trainyard.workloads.pod_state import PodState

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)


def service(status: Mapping[str, Any] | None = None, **autoscaling: Any) -> InferenceService:
    spec = b.spec(autoscaling={"maxReplicas": 5, **autoscaling})
    return InferenceService.model_validate(b.inference_service("s", b.meta(uid="u"), spec, b.status(**(status or {}))))


def report(age: float = 0.0, **fields: Any) -> GatewayReport:
    return GatewayReport(NOW - timedelta(seconds=age), 1, {}, **fields)


def a_gateway(name: str) -> PodState:
    return PodState(name, name, "gateway", 0, 0, "n0", "Running", True, NOW)


def test_gateways_add_up_and_one_that_is_not_heard_is_missed() -> None:
    pods = (a_gateway("a"), a_gateway("b"))
    both = {"a": report(held=1, queued=2, in_flight=3), "b": report(queued=1, in_flight=4)}
    sample, complete = Meter().sample(Observed(service(), gateway_pods=pods, reports=both), NOW, 1.0)
    assert sample is not None
    assert (sample.held, sample.queued, sample.in_flight, complete) == (1, 3, 7, True)
    old = {**both, "b": report(60.0)}
    assert Meter().sample(Observed(service(), gateway_pods=pods, reports=old), NOW, 1.0)[1] is False
    assert Meter().sample(Observed(service(), gateway_pods=pods), NOW, 1.0) == (None, False)


def test_requests_are_counted_over_restarts_of_a_gateway() -> None:
    meter, pods = Meter(), (a_gateway("a"),)
    seen = []
    for count in (100, 130, 5, 8):  # it began anew before 5
        sample, _ = meter.sample(
            Observed(service(), gateway_pods=pods, reports={"a": report(requests=count)}), NOW, 1.0
        )
        seen.append(sample.requests if sample else None)
    assert seen == [0, 30, 35, 38]


def test_a_start_is_split_into_its_stages() -> None:
    place = {"serial": 1, "node": "n0", "flavor": "h200", "admittedAt": (NOW + timedelta(seconds=5)).isoformat()}
    starts, told = Starts(), list[tuple[str, float]]()

    def look(seconds: float, status: Mapping[str, Any], **more: Any) -> None:
        found = Observed(service({"model": None, **status}, minReplicas=1), **more)
        starts.look(found, NOW + timedelta(seconds=seconds), lambda stage, took: told.append((stage, took)))

    look(0, {})
    placed = {"admission": [place], "nextSerial": 2}
    times: dict[str, Any] = {"scheduled": NOW + timedelta(seconds=6), "started": NOW + timedelta(seconds=10)}
    pod = PodState("s-1", "u1", "replica", 1, 0, "n0", "Running", True, NOW, **times)
    look(30, placed, pods=(pod,))
    assert told == []  # no gateway sends it anything yet
    look(31, placed, pods=(pod,), reports={"a": report(up=frozenset({"s-1"}))})
    assert dict(told) == dict(zip(STAGES, (5.0, 1.0, 4.0, 20.0, 1.0), strict=True))
    assert starts.horizon() == 26.0  # without the wait for quota


def test_a_service_without_autoscaling_is_not_remembered() -> None:
    plain = InferenceService.model_validate(b.inference_service("s", b.meta(uid="u")))
    autoscaler = Autoscaler(lambda: 1.0)
    assert autoscaler.look(Observed(service()), NOW) is not None
    assert autoscaler.look(Observed(plain), NOW) is None
    assert autoscaler._services == {}


def test_the_first_decision_keeps_the_number_of_the_spec_within_its_limits() -> None:
    found = Autoscaler(lambda: 1.0).look(Observed(service(minReplicas=2)), NOW)
    assert found is not None
    assert (found.desired, found.reason) == (2, "NoData")
