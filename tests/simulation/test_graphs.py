"""Services whose model is a graph, with the whole operator on a cluster in memory."""

from typing import Any

import pytest

from tests import builders as b
from tests.simulation.operator_sim import Simulation, condition_of
from trainyard.cluster.resources import INFERENCE_SERVICES

pytestmark = pytest.mark.looptime


def graph(name: str, *services: str) -> Any:
    stages = [{"name": f"stage-{service}", "target": {"service": service}} for service in services]
    cpu = {"requests": {"cpu": "500m"}}
    return b.inference_service(name, b.spec(model={"graph": {"stages": stages}}, resources=cpu))


def told(sim: Simulation, name: str) -> str:
    return str(condition_of(sim.served(name), "Ready")["message"])


async def ready(sim: Simulation, name: str) -> None:
    await sim.until(lambda: sim.served(name)["phase"] == "Ready", 60)


async def test_a_graph_waits_for_its_services_and_starts_on_a_node_without_free_gpus() -> None:
    async with Simulation(nodes=1, gpus=1) as sim:
        sim.create(graph("g", "s"))
        await sim.until(lambda: sim.served("g")["reason"] == "ModelNotReady", 10)
        assert told(sim, "g") == "spec.model.graph: stage 'stage-s' names InferenceService 's', which does not exist"
        assert sim.names("g") == []
        sim.create(b.inference_service("s"))  # takes the only GPU
        await ready(sim, "s")
        await ready(sim, "g")
        assert sim.names("g") == ["g-1"]
        assert sim.served("g")["gpus"] == 0


async def test_a_changed_graph_gets_new_routers_and_a_circle_is_told_where_it_closes() -> None:
    async with Simulation() as sim:
        for name in ("s", "t"):
            sim.create(b.inference_service(name))
        sim.create(graph("g", "s"))
        sim.create(graph("h", "g"))
        await ready(sim, "h")
        sim.run_gateways("g")
        sim.change(INFERENCE_SERVICES, "g", model=graph("g", "t")["spec"]["model"])
        await sim.until(lambda: sim.names("g") == ["g-2"], 120)
        sim.change(INFERENCE_SERVICES, "g", model=graph("g", "h")["spec"]["model"])
        await sim.until(lambda: "leads back here: g -> h -> g" in told(sim, "g"), 30)
        await sim.until(lambda: "leads back here: h -> g -> h" in told(sim, "h"), 30)


async def test_a_service_that_goes_and_comes_back_is_told_without_a_new_router() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s"))
        sim.create(graph("g", "s"))
        await ready(sim, "g")
        await sim.delete(INFERENCE_SERVICES, "s")
        await sim.until(lambda: "which does not exist" in told(sim, "g"), 30)
        assert sim.names("g") == ["g-1"]
        sim.create(b.inference_service("s"))
        await ready(sim, "g")
        assert sim.names("g") == ["g-1"]
