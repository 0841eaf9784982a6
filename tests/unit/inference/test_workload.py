"""What the scheduler is told of the replicas of an InferenceService."""

from collections.abc import Mapping
from datetime import UTC, datetime

from tests import builders as b
from trainyard.api.flavor import FlavorSpec
from trainyard.api.inference_service import InferenceService
from trainyard.api.names import GPU
from trainyard.api.reasons import Waiting
from trainyard.inference.observed import Observed
from trainyard.inference.workload import workloads
from trainyard.scheduling.snapshot import Workload

NOW = datetime(2026, 11, 23, tzinfo=UTC)
PLACE = {"serial": 1, "node": "n0", "flavor": "h200", "digest": b.DIGEST, "admittedAt": NOW.isoformat()}


def seen(*modifiers: b.Modifier, flavors: Mapping[str, FlavorSpec] | None = None) -> list[Workload]:
    service = InferenceService.model_validate(b.inference_service("s", b.meta(uid="u"), *modifiers))
    return list(workloads(Observed(service, flavors=flavors or {}), NOW))


def test_replicas_make_way_for_nobody_unless_they_may() -> None:
    assert [each.preemptible for each in seen()] == [False]
    assert [each.preemptible for each in seen(b.spec(preemptible=True))] == [True]


def test_every_replica_accepts_the_flavors_of_its_service() -> None:
    flavors = [{"name": "l40s", "throughput": 40}, {"name": "h200", "throughput": 90}]
    found = seen(b.replicas(2), b.spec(flavors=flavors))
    assert [each.flavors for each in found] == [("l40s", "h200")] * 2
    assert [each.throughputs for each in found] == [(("l40s", 40.0), ("h200", 90.0))] * 2


def test_a_replica_runs_since_it_was_admitted() -> None:
    held, wanted = seen(b.replicas(2), b.status(admission=[PLACE], nextSerial=2))
    assert (held.key.slot, held.started, wanted.key.slot, wanted.started) == (1, NOW, 2, None)


def test_a_part_of_a_gpu_needs_a_fractional_flavor() -> None:
    half = b.spec(resources={"limits": {GPU: "250m"}})
    (refused,) = seen(half, flavors={"h200": FlavorSpec()})
    assert refused.blocked is not None
    assert refused.blocked.reason is Waiting.MISCONFIGURED
    assert refused.blocked.message.startswith(f"spec.resources.limits[{GPU}]: 250m is not a whole number of GPUs")
    (accepted,) = seen(half, flavors={"h200": FlavorSpec(), "t4": FlavorSpec(fractional=True)})
    assert (accepted.blocked, accepted.flavors, accepted.pods[0].requests[GPU]) == (None, ("t4",), 250)
