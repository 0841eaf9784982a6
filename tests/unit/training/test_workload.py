"""What the scheduler is told of a TrainingJob, and what holds one back before the scheduler is asked."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import builders as b
from trainyard.api.flavor import FlavorSpec
from trainyard.api.names import GPU
from trainyard.api.reasons import Waiting
from trainyard.api.training_job import TrainingJob
from trainyard.scheduling.snapshot import Topology, Workload
from trainyard.training.observed import Observed
from trainyard.training.workload import inactive, workload

NOW = datetime(2026, 11, 23, tzinfo=UTC)
RACK, ZONE = "topology.trainyard.dev/rack", "topology.kubernetes.io/zone"
ADMISSION = {
    "epoch": 1,
    "queue": "research",
    "flavor": "h200",
    "time": NOW.isoformat(),
    "roles": [{"name": "worker", "prefix": "n", "runs": [{"node": "0", "count": 2}, {"node": "1", "count": 1}]}],
}


def a_job(*modifiers: b.Modifier) -> TrainingJob:
    return TrainingJob.model_validate(b.training_job("a", b.meta(uid="u"), *modifiers))


def seen(*modifiers: b.Modifier, flavors: Mapping[str, FlavorSpec] | None = None) -> Workload:
    found = workload(Observed(a_job(*modifiers), flavors=flavors or {}), NOW)
    assert found is not None
    return found


def ended(kind: str) -> b.Modifier:
    condition = {"type": kind, "status": "True", "reason": "x", "lastTransitionTime": NOW.isoformat()}
    return b.status(phase=kind, conditions=[condition])


def test_a_plain_job_asks_for_nothing_special() -> None:
    found = seen()
    assert (found.flavors, found.throughputs, found.topology, found.duration) == ((), (), None, None)
    assert (found.preemptible, found.preemptions, found.started, found.checkpoint) == (True, 0, None, None)
    assert (found.pods[0].count, found.pods[0].minimum) == (1, 1)


def test_all_that_a_spec_says_of_its_place_is_told() -> None:
    found = seen(
        b.spec(
            flavors=[{"name": "h200", "throughput": 3}, {"name": "l40s", "throughput": 1.5}],
            topology={"level": ZONE, "mode": "required", "sliceSize": 2, "sliceLevel": RACK},
            preemptible=False,
            expectedSeconds=7200,
        )
    )
    assert found.flavors == ("h200", "l40s")
    assert found.throughputs == (("h200", 3.0), ("l40s", 1.5))
    assert found.topology == Topology(ZONE, "required", 2, RACK)
    assert (found.preemptible, found.duration) == (False, 7200)


def test_flavors_without_throughput_are_tried_in_their_order() -> None:
    found = seen(b.spec(flavors=[{"name": "spot"}, {"name": "h200"}]))
    assert (found.flavors, found.throughputs) == (("spot", "h200"), ())


def test_an_elastic_gang_says_how_few_will_do() -> None:
    found = seen(b.spec(workers={"replicas": 8, "minReplicas": 2}))
    assert (found.pods[0].count, found.pods[0].least, found.pods[0].minimum) == (8, 2, 2)


@pytest.mark.parametrize(
    ("first_ran", "since"),
    [
        (None, NOW),
        (NOW + timedelta(minutes=2), NOW + timedelta(minutes=2)),
        (NOW - timedelta(days=1), NOW),  # in an earlier place, before it was preempted or suspended
    ],
)
def test_a_run_counts_from_the_place_that_it_holds(first_ran: datetime | None, since: datetime) -> None:
    ran = {} if first_ran is None else {"startTime": first_ran.isoformat()}
    assert seen(b.status(admission=ADMISSION, **ran)).started == since


def test_one_that_waits_again_has_not_begun() -> None:
    assert seen(b.status(startTime=NOW.isoformat(), preemptions=3)).started is None
    assert seen(b.status(startTime=NOW.isoformat(), preemptions=3)).preemptions == 3


def test_the_last_checkpoint_counts_from_when_it_was_known() -> None:
    checkpoint = {"step": 7, "path": "checkpoints/7"}
    assert seen(b.status(checkpoint=checkpoint)).checkpoint is None
    assert seen(b.status(checkpoint={**checkpoint, "time": NOW.isoformat()})).checkpoint == NOW


@pytest.mark.parametrize(
    ("modifiers", "reason", "words"),
    [
        ([ended("Complete")], Waiting.DEACTIVATED, "ended as Complete"),
        ([ended("Failed"), b.status(admission=ADMISSION)], Waiting.DEACTIVATED, "ended as Failed"),
        ([b.meta(deletionTimestamp=NOW.isoformat())], Waiting.DEACTIVATED, "being deleted"),
        ([b.suspended()], Waiting.SUSPENDED, "spec.suspend is true"),
    ],
)
def test_one_that_asks_for_nothing_says_why(modifiers: list[b.Modifier], reason: Waiting, words: str) -> None:
    job = a_job(*modifiers)
    verdict = inactive(job)
    assert verdict is not None
    assert (verdict.reason, words in verdict.message) == (reason, True)
    assert workload(Observed(job), NOW) is None


def test_one_that_is_being_suspended_still_holds_its_place() -> None:
    assert seen(b.suspended(), b.status(admission=ADMISSION)).admission is not None


def test_a_gate_holds_a_job_and_is_named() -> None:
    gates = b.spec(admissionGates=["example.com/approved", "example.com/nodes"])
    blocked = seen(gates).blocked
    assert blocked is not None
    assert blocked.reason is Waiting.ADMISSION_GATED
    assert "example.com/approved, example.com/nodes" in blocked.message
    assert seen(b.spec(admissionGates=[])).blocked is None
    assert seen(gates, b.status(admission=ADMISSION)).blocked is None


def test_what_can_never_run_is_said_before_anybody_is_asked_to_lift_a_gate() -> None:
    blocked = seen(b.spec(admissionGates=["example.com/approved"]), b.resources(cpu="-1")).blocked
    assert blocked is not None
    assert blocked.reason is Waiting.MISCONFIGURED


WHOLE, SHARED = FlavorSpec(), FlavorSpec(fractional=True)
HALF: dict[str, Any] = {GPU: "500m"}


@pytest.mark.parametrize(
    ("amount", "named", "flavors", "words"),
    [
        ("500m", [], {}, "500m is not a whole number of GPUs, and no Flavor is fractional"),
        ("500m", [], {"h200": WHOLE}, "no Flavor is fractional"),
        ("500m", ["h200"], {"h200": WHOLE, "t4": SHARED}, "Flavor h200 is not fractional"),
        ("500m", ["t4", "h200"], {"h200": WHOLE, "t4": SHARED}, "Flavor h200 is not fractional"),
        ("1500m", ["t4"], {"t4": SHARED}, "whole ones, or a part of a single one"),
    ],
)
def test_a_part_of_a_gpu_that_cannot_be_had_is_refused(
    amount: str, named: list[str], flavors: dict[str, FlavorSpec], words: str
) -> None:
    choices = b.spec(flavors=[{"name": name} for name in named])
    blocked = seen(b.resources(**{GPU: amount}), choices, flavors=flavors).blocked
    assert blocked is not None
    assert blocked.reason is Waiting.MISCONFIGURED
    assert blocked.message.startswith(f"spec.workers.resources.limits[{GPU}]: {amount} ")
    assert words in blocked.message


def test_a_part_of_a_gpu_goes_where_gpus_are_shared() -> None:
    """Also when the job names no flavor: its queue may have both kinds."""
    flavors = {"h200": WHOLE, "t4": SHARED, "a2": SHARED}
    found = seen(b.resources(**HALF), flavors=flavors)
    assert (found.blocked, found.flavors, found.pods[0].requests[GPU]) == (None, ("a2", "t4"), 500)
    found = seen(b.resources(**HALF), b.spec(flavors=[{"name": "t4"}]), flavors=flavors)
    assert (found.blocked, found.flavors) == (None, ("t4",))


def test_a_flavor_that_is_not_there_yet_is_left_to_the_scheduler() -> None:
    found = seen(b.resources(**HALF), b.spec(flavors=[{"name": "t4"}]), flavors={"h200": WHOLE})
    assert (found.blocked, found.flavors) == (None, ("t4",))


def test_whole_gpus_may_run_anywhere() -> None:
    assert seen(flavors={"t4": SHARED}).flavors == ()
