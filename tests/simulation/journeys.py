"""Lives of jobs and services that a fault may strike anywhere. Without a fault, each ends in the same state every time."""

from tests import builders as b
from tests.simulation.operator_sim import Simulation
from tests.simulation.oracles import end_state
from trainyard.cluster.resources import INFERENCE_SERVICES, PODS, TRAINING_JOBS


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


async def deletion_journey(sim: Simulation) -> None:
    """A gang and a service are deleted while they run, another gang while it waits; a worker is taken away by hand."""
    sim.create(b.training_job("a", b.workers(2), b.gpus(4), b.own_claim(reclaim="Delete")), b.inference_service("s"))
    await sim.until(lambda: sim.phase("a") == "Running" and sim.served("s").get("phase") == "Ready", 120)
    sim.create(b.training_job("waits", b.gpus(8)))
    await sim.until(sim.is_("Pending", "waits"), 120)
    await sim.delete(PODS, "a-worker-1-1")
    await sim.until(lambda: sim.status("a")["restarts"] == 1 and sim.phase("a") == "Running", 120)
    await sim.delete(TRAINING_JOBS, "waits")
    await sim.delete(TRAINING_JOBS, "a")
    await sim.delete(INFERENCE_SERVICES, "s")
    sim.create(b.training_job("next", b.workers(2), b.gpus(8)))
    await sim.until(sim.is_("Running", "next"), 120)
    await sim.rest(10)


async def rollout_journey(sim: Simulation) -> None:
    """A service rolls blue and green to another model, and is changed back."""
    sim.create(b.inference_service("s", b.replicas(2), b.drain(5), b.spec(rollout={"strategy": "BlueGreen"})))
    await sim.until(lambda: sim.served("s").get("phase") == "Ready", 120)
    sim.run_gateways("s")
    sim.change(INFERENCE_SERVICES, "s", model={"claimName": "models", "path": "new", "digest": "sha256:" + "b" * 64})
    await sim.until(lambda: (sim.served("s").get("rollout") or {}).get("phase") == "Progressing", 120)
    sim.change(INFERENCE_SERVICES, "s", model={"claimName": "models", "path": "digits", "digest": b.DIGEST})
    await sim.until(lambda: len(sim.names("s")) == 2 and sim.served("s")["readyReplicas"] == 2, 240)
    await sim.until(lambda: len(sim.served("s")["admission"]) == 2, 240)
    await sim.rest(10)


JOURNEYS = {
    "job": job_journey,
    "service": service_journey,
    "preemption": preemption_journey,
    "deletion": deletion_journey,
    "rollout": rollout_journey,
}


async def undisturbed(journey: str) -> tuple[object, int]:
    """How it ends, and after how many writes."""
    async with Simulation() as sim:
        await JOURNEYS[journey](sim)
        return end_state(sim), len(sim.writes())
