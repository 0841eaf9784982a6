"""The operator dies after any write, and the cluster ends as if it had not: nothing twice, nothing orphaned."""

import pytest

from tests import builders as b
from tests.simulation.operator_sim import Simulation
from trainyard.cluster.resources import (
    CLAIMS,
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    SERVICES,
    TRAINING_JOBS,
)

pytestmark = pytest.mark.looptime


async def job_journey(sim: Simulation) -> None:
    """A gang trains, loses a worker, is suspended, goes on, and completes; a smaller one fails and is deleted by its time to live."""
    sim.create(b.training_job("a", b.workers(2), b.gpus(2), b.own_claim()))
    await sim.until(sim.is_("Running", "a"), 120)
    sim.kubelet.finish("team", sim.names("a")[1], 1, "boom")
    await sim.until(lambda: sim.status("a")["restarts"] == 1 and sim.phase("a") == "Running", 120)
    sim.change(TRAINING_JOBS, "a", suspend=True)
    await sim.until(sim.is_("Suspended", "a"), 120)
    sim.change(TRAINING_JOBS, "a", suspend=False)
    await sim.until(sim.is_("Running", "a"), 120)
    for name in sim.names("a"):
        sim.kubelet.finish("team", name)
    await sim.until(sim.is_("Complete", "a"), 120)
    sim.create(b.training_job("f", b.runs(1, code=64), b.ttl(20)))
    await sim.until(lambda: sim.api.get(TRAINING_JOBS, "team", "f") is None, 240)
    await sim.rest(30)


async def service_journey(sim: Simulation) -> None:
    """A service comes up, grows, gets another model, and shrinks."""
    sim.create(b.inference_service("s", b.replicas(1), b.drain(5)))
    await sim.until(lambda: sim.served("s")["phase"] == "Ready", 120)
    sim.change(INFERENCE_SERVICES, "s", replicas=3)
    await sim.until(lambda: sim.served("s")["readyReplicas"] == 3, 120)
    sim.change(INFERENCE_SERVICES, "s", model={"claimName": "models", "path": "new", "digest": "sha256:" + "b" * 64})
    await sim.until(
        lambda: [each["digest"][7] for each in sim.served("s")["admission"]] == ["b"] * 3 and len(sim.names("s")) == 3,
        180,
    )
    sim.change(INFERENCE_SERVICES, "s", replicas=2)
    await sim.until(lambda: len(sim.names("s")) == 2 and len(sim.served("s")["admission"]) == 2, 120)
    await sim.until(lambda: sim.served("s")["phase"] == "Ready", 120)
    await sim.rest(10)


async def preemption_journey(sim: Simulation) -> None:
    """A gang takes the place of another, an elastic job shrinks for it, and both go on when it ends."""
    sim.create(b.training_job("gang", b.workers(2), b.gpus(4), b.priority(-1)), b.training_job("wide", b.elastic(4, 8)))
    await sim.until(sim.is_("Running", "gang", "wide"), 120)
    sim.create(b.training_job("new", b.gpus(6), b.priority(1)))
    await sim.until(sim.is_("Running", "new", "wide"), 240)
    sim.create(b.training_job("more", b.gpus(4), b.priority(1)))
    await sim.until(sim.is_("Running", "more", "wide"), 240)
    for name in ("new-worker-0-1", "more-worker-0-1"):
        sim.kubelet.finish("team", name)
    await sim.until(sim.is_("Complete", "new", "more"), 120)
    await sim.until(sim.is_("Running", "gang", "wide"), 240)
    await sim.rest(30)


def end_state(sim: Simulation) -> object:
    """What must not depend on crashes: which objects there are, and what the statuses say."""
    objects = {
        str(kind): sorted((each["metadata"]["namespace"], each["metadata"]["name"]) for each in sim.api.all(kind))
        for kind in (TRAINING_JOBS, INFERENCE_SERVICES, SERVICES, CLAIMS, DEPLOYMENTS, POD_DISRUPTION_BUDGETS)
    }
    jobs = [
        {key: sim.status(each["metadata"]["name"])[key] for key in ("phase", "restarts", "disruptions", "attempt")}
        for each in sim.api.all(TRAINING_JOBS)
    ]
    services = [
        {key: sim.served(each["metadata"]["name"])[key] for key in ("phase", "replicas", "readyReplicas", "gateways")}
        for each in sim.api.all(INFERENCE_SERVICES)
    ]
    alive = sorted(
        (pod["metadata"]["labels"]["trainyard.dev/role"], pod["status"]["phase"])
        for pod in sim.api.all(PODS)
        if pod["status"]["phase"] not in ("Succeeded", "Failed")
    )
    return objects, jobs, services, alive


JOURNEYS = {"job": job_journey, "service": service_journey, "preemption": preemption_journey}


async def crash_free(journey: str) -> tuple[object, int]:
    async with Simulation() as sim:
        await JOURNEYS[journey](sim)
        return end_state(sim), len(sim.writes())


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in (1, 2, 3))])
@pytest.mark.parametrize("journey", JOURNEYS)
async def test_a_crash_after_any_write_changes_nothing_in_the_end(journey: str, part: int) -> None:
    """Split into parts only so that a failure is found soon."""
    expected, count = await crash_free(journey)
    assert count > 15
    for number in range(1 + part, count + 1, 4):
        async with Simulation() as sim:
            fault = sim.api.faults.crash_after_write(number)
            await JOURNEYS[journey](sim)
            assert fault.hits == len(sim.processes) - 1, f"write {number} of {count} was never made"
            assert end_state(sim) == expected, f"after a crash at write {number}"


@pytest.mark.parametrize("journey", JOURNEYS)
async def test_a_crash_after_every_third_write_changes_nothing_in_the_end(journey: str) -> None:
    expected, count = await crash_free(journey)
    async with Simulation() as sim:
        for number in range(3, count, 3):
            sim.api.faults.crash_after_write(number)
        await JOURNEYS[journey](sim)
        assert len(sim.processes) > 8
        assert end_state(sim) == expected


async def test_a_restart_kills_no_running_pod() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(2)), b.inference_service("s", b.replicas(2)))
        await sim.until(lambda: sim.phase("a") == "Running" and sim.served("s")["phase"] == "Ready", 30)
        before = sorted(pod["metadata"]["uid"] for pod in sim.api.all(PODS))
        await sim.restart()
        await sim.rest(60)
        await sim.process.stop()
        await sim.start()
        await sim.rest(60)
        assert sorted(pod["metadata"]["uid"] for pod in sim.api.all(PODS)) == before
        assert (sim.phase("a"), sim.served("s")["phase"]) == ("Running", "Ready")
