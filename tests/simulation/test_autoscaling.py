"""InferenceServices whose number of replicas follows the demand, with the whole operator on a cluster in memory."""

from typing import Any

import pytest

from tests import builders as b
from tests.simulation.operator_sim import Simulation
from trainyard.api.names import GPU
from trainyard.cluster.resources import INFERENCE_SERVICES

pytestmark = pytest.mark.looptime


def autoscaled(name: str = "s", *modifiers: b.Modifier, **fields: Any) -> b.Object:
    gateway = {"maxConcurrency": 4}
    spec = b.spec(autoscaling={"minReplicas": 0, "maxReplicas": 6, **fields}, gateway=gateway)
    return b.inference_service(name, spec, *modifiers)


def gpus(count: int) -> b.Modifier:
    return b.spec(resources={"limits": {GPU: str(count)}})


async def to_zero(sim: Simulation) -> None:
    await sim.until(lambda: sim.served("s").get("phase") == "Ready", 30)
    sim.run_gateways("s")
    sim.demand = {"requests": 0}
    await sim.until(lambda: sim.served("s")["phase"] == "ScaledToZero" and not sim.names("s"), 120)


async def a_minute_of_rising_demand(sim: Simulation) -> None:
    for second in range(60):
        sim.demand = {"inFlight": 4, "queued": 20 * second, "requests": 40 * second}
        await sim.rest(1)


@pytest.mark.fault(90)
async def test_an_idle_service_gives_its_quota_back_and_the_first_request_brings_it_back() -> None:
    async with Simulation(nodes=1, gpus=2) as sim:
        sim.create(autoscaled("s", gpus(2), scaleToZeroAfterSeconds=20))
        await to_zero(sim)
        assert sim.served("s")["admission"] == []
        assert sim.served("s")["scaling"]["reason"] == "Idle"
        sim.create(b.training_job("a", b.gpus(2), b.runs(30)))
        await sim.until(sim.is_("Running", "a"), 10)  # what it gave back
        await sim.until(sim.is_("Complete", "a"), 60)
        sim.demand = {"held": 1, "requests": 1}
        await sim.until(lambda: sim.served("s")["desiredReplicas"] == 1, 3, step=0.1)
        assert sim.served("s")["scaling"]["reason"] == "FromZero"
        await sim.until(lambda: sim.served("s")["readyReplicas"] == 1, 30)
        assert "ScaledUp" in sim.events("s")
        assert "ScaledDown" in sim.events("s")


async def test_the_number_follows_the_demand_up_to_its_limit_and_says_so() -> None:
    async with Simulation() as sim:
        sim.create(autoscaled("s", minReplicas=1))
        await sim.until(lambda: sim.served("s").get("phase") == "Ready", 30)
        sim.run_gateways("s")
        await a_minute_of_rising_demand(sim)
        status = sim.served("s")
        assert status["desiredReplicas"] == 6
        assert len(sim.names("s")) == 6
        assert "spec.autoscaling.maxReplicas is 6" in status["scaling"]["limits"][0]
        await sim.rest(60)
        learned = sim.served("s")["scaling"]["coldStart"]
        assert [each["name"] for each in learned["stages"]] == ["quota", "scheduling", "image", "load", "gateway"]
        assert learned["starts"] >= 5


async def test_a_steady_service_writes_nothing() -> None:
    async with Simulation() as sim:
        sim.create(autoscaled("s", minReplicas=1))
        await sim.until(lambda: sim.served("s").get("phase") == "Ready", 30)
        sim.run_gateways("s")
        for second in range(420):
            if second == 300:
                before = len(sim.writes(INFERENCE_SERVICES))
            sim.demand = {"inFlight": 2, "requests": second}
            await sim.rest(1)
        assert len(sim.writes(INFERENCE_SERVICES)) == before


@pytest.mark.fault(91)
async def test_a_new_operator_keeps_the_number_until_it_has_heard_the_gateways() -> None:
    async with Simulation() as sim:
        sim.create(autoscaled("s", minReplicas=1))
        await sim.until(lambda: sim.served("s").get("phase") == "Ready", 30)
        sim.run_gateways("s")
        await a_minute_of_rising_demand(sim)
        assert len(sim.names("s")) == 6
        await sim.process.kill()
        await sim.start()
        for second in range(60, 90):
            sim.demand = {"inFlight": 1, "requests": 2400 + second // 10}
            await sim.rest(1)
            assert sim.served("s")["desiredReplicas"] == 6


async def test_replicas_of_a_surge_take_the_place_of_preemptible_training_which_gets_it_back() -> None:
    async with Simulation(nodes=1, gpus=4) as sim:
        sim.create(autoscaled("s", b.priority(5), gpus(1), scaleToZeroAfterSeconds=30))
        await to_zero(sim)
        sim.create(b.training_job("train", b.gpus(4)))
        await sim.until(sim.is_("Running", "train"), 10)
        sim.demand = {"held": 3, "requests": 3}
        await sim.until(lambda: sim.status("train")["phase"] in ("Preempting", "Pending"), 120)
        await sim.until(lambda: sim.served("s")["readyReplicas"] >= 1, 180)
        sim.demand = {"requests": 3}
        await sim.until(lambda: sim.served("s")["phase"] == "ScaledToZero", 400)
        await sim.until(sim.is_("Running", "train"), 60)
        assert sim.status("train")["preemptions"] == 1


async def test_without_autoscaling_the_number_is_that_of_the_spec() -> None:
    async with Simulation() as sim:
        sim.create(autoscaled("s", minReplicas=2))
        await sim.until(lambda: sim.served("s").get("readyReplicas") == 2, 30)
        sim.change(INFERENCE_SERVICES, "s", autoscaling=None, replicas=3)
        await sim.until(lambda: sim.served("s")["readyReplicas"] == 3, 30)
        assert sim.served("s").get("scaling") is None
        assert sim.served("s")["desiredReplicas"] == 3


async def test_a_preemptible_replica_finishes_its_requests_and_makes_way() -> None:
    async with Simulation(nodes=1, gpus=2) as sim:
        sim.create(b.inference_service("s", b.replicas(2), gpus(1), b.spec(preemptible=True)))
        await sim.until(lambda: sim.served("s").get("readyReplicas") == 2, 30)
        sim.run_gateways("s")
        sim.requests_in_flight = {"s-1": 1, "s-2": 1}
        await sim.rest(2)
        sim.create(b.training_job("a", b.gpus(1), b.priority(1)))
        await sim.until(lambda: any(each["release"] == "drain" for each in sim.served("s")["admission"]), 20)
        leaving = next(each for each in sim.served("s")["admission"] if each["release"])
        assert leaving["preemption"]["by"]["name"] == "a"
        await sim.rest(5)
        assert len(sim.names("s")) == 2  # a request is still in flight there
        sim.requests_in_flight = {}
        await sim.until(sim.is_("Running", "a"), 20)
        assert len(sim.names("s")) == 1
        assert "Preempted" in sim.events("s")
