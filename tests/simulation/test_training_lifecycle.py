"""Suspending, resuming and deleting a job in every phase of its life, and the order in which an attempt follows another."""

from collections.abc import Callable

import pytest

from tests import builders as b
from tests.simulation.fake_nodes import Behaviour, annotated
from tests.simulation.operator_sim import Simulation, condition_of
from trainyard.cluster.resources import CLAIMS, PODS, SERVICES, TRAINING_JOBS, Object

pytestmark = pytest.mark.looptime

GANG = (b.workers(2), b.gpus(4), b.spec(restart={"maxRestarts": 1, "inPlace": False}))
"""All of the cluster."""
WAITING = ["Pending", "Nominated"]
HELD = ["Admitted", "Running", "Restarting", "Preempting", "Suspending"]
"""Phases in which there are pods."""
OVER = ["Complete", "Failed"]


def behaving(*, start: float = 1.0, stop: float = 0.5) -> Callable[[Object], Behaviour]:
    """Pods that begin and end so slowly."""

    def behave(pod: Object) -> Behaviour:
        asked = annotated(pod)
        return Behaviour(start=start, run=asked.run, exit_code=asked.exit_code, message=asked.message, stop=stop)

    return behave


async def reach(sim: Simulation, phase: str) -> None:
    """Job `a`, with a claim of its own, in that phase; Nominated is Pending while others make way."""
    ends = {"Complete": (b.runs(5),), "Failed": (b.runs(5, code=64),), "Suspended": (b.suspended(),)}
    sim.kubelet.behave = behaving(start=60 if phase == "Admitted" else 1, stop=20)
    if phase in WAITING:
        sim.create(b.training_job("first", *GANG))
        await sim.until(sim.is_("Running", "first"), 10)
    first = b.priority(5 if phase == "Nominated" else 0)
    sim.create(b.training_job("a", *GANG, first, b.own_claim(reclaim="Delete"), *ends.get(phase, ())))
    if phase in ("Restarting", "Preempting", "Suspending"):
        await sim.until(sim.is_("Running", "a"), 10)
    if phase == "Restarting":
        sim.kubelet.finish("team", "a-worker-1-1", 1, "boom")
    elif phase == "Preempting":
        sim.create(b.training_job("urgent", *GANG, b.priority(6)))
    elif phase == "Suspending":
        sim.change(TRAINING_JOBS, "a", suspend=True)
    await sim.until(sim.is_("Pending" if phase == "Nominated" else phase, "a"), 60, step=0.05)
    if phase == "Nominated":
        await sim.until(lambda: sim.status("a")["nomination"], 10)
    if phase == "Admitted":
        await sim.until(lambda: len(sim.names("a")) == 2, 10)


async def leave_room(sim: Simulation) -> None:
    """Delete those beside job `a`."""
    for name in ("first", "urgent"):
        if sim.api.get(TRAINING_JOBS, "team", name):
            await sim.delete(TRAINING_JOBS, name)


@pytest.mark.fault(75)
@pytest.mark.parametrize("phase", [*WAITING, *HELD])
async def test_a_job_is_suspended_in_any_phase_and_goes_on(phase: str) -> None:
    async with Simulation(nodes=2, gpus=4) as sim:
        await reach(sim, phase)
        sim.change(TRAINING_JOBS, "a", suspend=True)
        await sim.until(sim.is_("Suspended", "a"), 60)
        assert sim.names("a") == []
        status = sim.status("a")
        assert (status["admission"], status["nomination"], status["preemption"]) == (None, None, None)
        assert condition_of(status, "Suspended")["status"] == "True"
        assert condition_of(status, "Ready")["status"] == condition_of(status, "Admitted")["status"] == "False"
        await leave_room(sim)
        sim.create(b.training_job("other", *GANG, b.runs(5)))
        await sim.until(sim.is_("Complete", "other"), 120)
        sim.change(TRAINING_JOBS, "a", suspend=False)
        await sim.until(sim.is_("Running", "a"), 120)
        suspended = condition_of(sim.status("a"), "Suspended")
        assert (suspended["status"], suspended["reason"]) == ("False", "Resumed")
        assert len(sim.names("a")) == 2


@pytest.mark.parametrize("phase", OVER)
async def test_a_job_that_is_over_is_not_suspended_any_more(phase: str) -> None:
    async with Simulation(nodes=2, gpus=4) as sim:
        await reach(sim, phase)
        sim.change(TRAINING_JOBS, "a", suspend=True)
        await sim.rest(30)
        assert sim.phase("a") == phase
        sim.change(TRAINING_JOBS, "a", suspend=False)
        await sim.rest(30)
        assert (sim.phase("a"), sim.names("a")) == (phase, [])


@pytest.mark.fault(32)
@pytest.mark.parametrize("phase", [*WAITING, *HELD, "Suspended", *OVER])
async def test_a_job_deleted_in_any_phase_leaves_nothing_and_its_place_is_free(phase: str) -> None:
    async with Simulation(nodes=2, gpus=4) as sim:
        await reach(sim, phase)
        await sim.delete(TRAINING_JOBS, "a")
        await leave_room(sim)
        sim.create(b.training_job("other", *GANG))
        await sim.until(sim.is_("Running", "other"), 120)
        await sim.rest(30)
        assert sim.api.get(TRAINING_JOBS, "team", "a") is None
        assert sim.names("a", alive=False) == []
        assert (sim.api.get(SERVICES, "team", "a-workers"), sim.api.get(CLAIMS, "team", "a")) == (None, None)


@pytest.mark.fault(75)
async def test_a_suspension_that_is_lifted_while_pods_still_end_is_no_failure() -> None:
    async with Simulation(nodes=2, gpus=4) as sim:
        await reach(sim, "Suspending")
        sim.change(TRAINING_JOBS, "a", suspend=False)
        await sim.until(sim.is_("Running", "a"), 120)
        status = sim.status("a")
        assert (status["attempt"], len(sim.names("a"))) == (2, 2)
        assert status["lastFailure"] is None
        assert "somebody else" not in str(status["lastRestart"])


async def test_what_is_born_suspended_is_seen_in_its_conditions_and_makes_no_pod() -> None:
    async with Simulation(nodes=2, gpus=4) as sim:
        sim.create(b.training_job("a", *GANG, b.suspended(), b.own_claim()))
        await sim.until(sim.is_("Suspended", "a"), 10)
        await sim.rest(60)
        found = {each["type"]: each["status"] for each in sim.status("a")["conditions"]}
        assert found == {"Suspended": "True", "Admitted": "False", "Ready": "False"}
        assert sim.writes(PODS) == []


async def test_who_waits_for_whom_at_the_start_does_so_after_a_suspension_too() -> None:
    async with Simulation(nodes=2, gpus=4) as sim:
        made = b.training_job("a", b.workers(2), b.role("prepare", seconds=10))
        made["spec"]["workers"]["dependsOn"] = [{"role": "prepare", "status": "Complete"}]
        sim.create(made)
        await sim.until(sim.is_("Running", "a"), 40)
        sim.change(TRAINING_JOBS, "a", suspend=True)
        await sim.until(sim.is_("Suspended", "a"), 30)
        sim.change(TRAINING_JOBS, "a", suspend=False)
        await sim.until(lambda: sim.names("a"), 10)
        await sim.rest(5)
        assert sim.names("a") == ["a-prepare-0-2"]
        await sim.until(sim.is_("Running", "a"), 40)


async def test_no_pod_of_the_next_attempt_is_made_before_all_of_the_last_are_gone() -> None:
    async with Simulation(nodes=2, gpus=8) as sim:
        slow = behaving(stop=25)
        sim.kubelet.behave = lambda pod: slow(pod) if "worker-0" in pod["metadata"]["name"] else annotated(pod)
        sim.create(b.training_job("a", b.workers(3), b.spec(restart={"inPlace": False})))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.kubelet.finish("team", "a-worker-2-1", 1, "boom")
        seen: list[set[str]] = []
        end = sim.api.clock.monotonic() + 60
        while sim.api.clock.monotonic() < end:
            seen.append({name.rsplit("-", 1)[1] for name in sim.names("a")})
            await sim.rest(0.25)
        assert {"1"} in seen
        assert {"2"} in seen
        assert {"1", "2"} not in seen
        assert sim.phase("a") == "Running"


@pytest.mark.parametrize("allowed", [0, 1, 3])
async def test_so_many_restarts_as_are_allowed_and_then_the_job_has_failed(allowed: int) -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.runs(2, code=3), b.spec(restart={"maxRestarts": allowed, "inPlace": False})))
        await sim.until(sim.is_("Failed", "a"), 120)
        status = sim.status("a")
        assert (status["restarts"], status["attempt"], status["reason"]) == (
            allowed,
            allowed + 1,
            "RestartLimitExceeded",
        )
        assert len(sim.names("a", alive=False)) == allowed + 1
        assert f"{allowed} restarts were allowed and used" in sim.message("a", "Failed")


@pytest.mark.parametrize(("policy", "left"), [("Running", ["a-worker-1-1"]), ("All", [])])
async def test_a_job_has_failed_before_what_is_left_of_it_is_cleaned_up(policy: str, left: list[str]) -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(3), b.max_restarts(0), b.spec(cleanPodPolicy=policy)))
        await sim.until(sim.is_("Running", "a"), 10)
        before = len(sim.writes(TRAINING_JOBS, PODS))
        sim.kubelet.finish("team", "a-worker-1-1", 3, "boom")
        await sim.until(lambda: sim.names("a") == [] and sim.phase("a") == "Failed", 30)
        await sim.rest(5)
        done = [(each.verb, each.body) for each in sim.writes(TRAINING_JOBS, PODS)[before:]]
        verbs = [verb for verb, _ in done]
        assert verbs[: verbs.index("delete")] == ["patch_status"]
        assert done[0][1]["status"]["phase"] == "Failed"
        assert sim.names("a", alive=False) == left
        assert sim.status("a")["restarts"] == 0


async def test_a_manifest_that_is_applied_again_makes_no_write() -> None:
    async with Simulation() as sim:
        sim.create(
            b.training_job("a", b.workers(2)), b.training_job("waits", b.gpus(99)), b.training_job("c", b.runs(1))
        )
        await sim.until(lambda: sim.is_("Running", "a")() and sim.is_("Complete", "c")(), 20)
        await sim.rest(60)
        before = len(sim.writes())
        note = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
        for name in ("a", "waits", "c"):
            sim.api.edit(TRAINING_JOBS, "team", name, lambda obj: obj["metadata"].update(annotations=note))
        await sim.rest(60)
        assert sim.writes()[before:] == []


@pytest.mark.parametrize("phase", [*WAITING, *HELD, "Suspended", *OVER])
async def test_a_change_of_the_spec_is_acknowledged_by_its_generation_in_any_phase(phase: str) -> None:
    async with Simulation(nodes=2, gpus=4) as sim:
        await reach(sim, phase)
        sim.change(TRAINING_JOBS, "a", ttlSecondsAfterFinished=10_000)
        generation = sim.job("a")["metadata"]["generation"]
        await sim.until(lambda: sim.status("a")["observedGeneration"] == generation, 10)
