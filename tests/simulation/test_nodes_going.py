"""Nodes that say that they will be gone soon: a gang's part moves, after a checkpoint, before they go."""

from functools import partial

import pytest

from tests import builders as b
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.cluster.resources import FLAVORS, NODES, PODS, Object

pytestmark = pytest.mark.looptime
SPOT = "cloud.google.com/impending-node-termination"


def taint(sim: Simulation, name: str, key: str) -> None:
    taints = [{"key": key, "effect": "NoSchedule"}]
    sim.api.edit(NODES, None, name, lambda obj: obj["spec"].update(taints=taints))


def shuts_down(node: Object) -> None:
    node["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "node is shutting down"}
    ]


@pytest.mark.fault(61)
async def test_the_part_on_a_node_that_will_be_gone_moves_and_the_others_stay() -> None:
    async with Simulation(nodes=4, gpus=4) as sim:
        sim.create(b.training_job("a", b.workers(3), b.gpus(4)))
        await sim.until(sim.is_("Running", "a"), 10)
        nodes, uids = sim.nodes("a"), [pod["metadata"]["uid"] for pod in sim.pods("a")]
        at = CLOCK.monotonic()
        taint(sim, nodes[1], SPOT)
        # In order, with time for a checkpoint: nobody takes the pod away under its program.
        await sim.until(lambda: sim.pods("a")[1]["metadata"].get("deletionTimestamp"), 5, step=0.01)
        assert sim.pods("a")[1]["metadata"]["deletionGracePeriodSeconds"] >= 30
        await sim.until(lambda: sim.status("a")["restarts"] == 1 and sim.phase("a") == "Running", 30)
        assert CLOCK.monotonic() - at < 10
        assert [pod["metadata"]["uid"] in uids for pod in sim.pods("a")] == [True, False, True]
        assert (sim.status("a")["attempt"], sim.status("a")["disruptions"]) == (1, 1)
        assert nodes[1] not in sim.nodes("a")
        assert f"node {nodes[1]}" in sim.status("a")["lastRestart"]["cause"]
        assert SPOT in sim.status("a")["lastRestart"]["cause"]


async def test_a_gang_whose_first_pod_is_there_moves_as_a_whole_and_keeps_the_rest_of_its_place() -> None:
    async with Simulation(nodes=4, gpus=4) as sim:
        sim.create(b.training_job("a", b.workers(3), b.gpus(4)))
        await sim.until(sim.is_("Running", "a"), 10)
        nodes = sim.nodes("a")
        taint(sim, nodes[0], "karpenter.sh/disrupted")
        await sim.until(lambda: sim.status("a")["attempt"] == 2 and sim.phase("a") == "Running", 60)
        assert nodes[0] not in sim.nodes("a")
        assert sim.nodes("a")[1:] == nodes[1:]
        assert sim.status("a")["disruptions"] == 1


@pytest.mark.fault(61)
async def test_a_node_that_shuts_down_in_order_is_left_before_it_is_silent() -> None:
    async with Simulation(nodes=3, gpus=4) as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(4)))
        await sim.until(sim.is_("Running", "a"), 10)
        node, at = sim.nodes("a")[1], CLOCK.monotonic()
        sim.api.edit(NODES, None, node, shuts_down)
        await sim.until(lambda: sim.status("a")["restarts"] == 1 and sim.phase("a") == "Running", 30)
        assert CLOCK.monotonic() - at < 8
        assert node not in sim.nodes("a")
        assert "node is shutting down" in sim.status("a")["lastRestart"]["cause"]


async def test_a_gang_that_finds_no_other_node_waits_and_starts_when_there_is_one() -> None:
    async with Simulation(nodes=2, gpus=4) as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(4)))
        await sim.until(sim.is_("Running", "a"), 10)
        node = sim.nodes("a")[1]
        taint(sim, node, "ToBeDeletedByClusterAutoscaler")
        await sim.until(sim.is_("Pending", "a"), 60)
        assert sim.pods("a") == []
        taint(sim, node, "sim/nothing")
        sim.api.edit(NODES, None, node, lambda obj: obj["spec"].update(taints=[]))
        await sim.until(sim.is_("Running", "a"), 60)


async def test_pods_that_tolerate_everything_do_not_go_back_to_a_node_that_will_be_gone() -> None:
    async with Simulation(nodes=3, gpus=4) as sim:
        sim.change(FLAVORS, "h200", None, tolerations=[{"operator": "Exists"}])
        sim.create(b.training_job("a", b.workers(2), b.gpus(4)))
        await sim.until(sim.is_("Running", "a"), 10)
        node = sim.nodes("a")[1]
        taint(sim, node, SPOT)
        await sim.until(lambda: sim.status("a")["restarts"] == 1 and sim.phase("a") == "Running", 30)
        await sim.rest(30)
        assert node not in sim.nodes("a")
        assert sim.status("a")["restarts"] == 1


@pytest.mark.fault(54, 61)
async def test_a_drained_node_is_left_without_waiting_for_a_pod_that_cannot_be_bound() -> None:
    async with Simulation(nodes=3, gpus=4) as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(4)))
        await sim.until(sim.is_("Running", "a"), 10)
        node, at = sim.nodes("a")[1], CLOCK.monotonic()
        sim.api.edit(NODES, None, node, lambda obj: obj["spec"].update(unschedulable=True))
        await sim.rest(20)
        assert sim.status("a")["restarts"] == 0, "a cordon alone takes nobody away"
        at = CLOCK.monotonic()
        await sim.delete(PODS, "a-worker-1-1")
        await sim.until(lambda: sim.status("a")["restarts"] == 1 and sim.phase("a") == "Running", 60)
        assert CLOCK.monotonic() - at < 10
        assert node not in sim.nodes("a")
        assert sim.status("a")["attempt"] == 1


def is_left(sim: Simulation, node: str) -> bool:
    return node not in [*sim.nodes("s"), *sim.nodes("t")]


async def test_services_whose_node_is_scaled_down_hold_nothing_against_it_when_it_comes_back() -> None:
    async with Simulation(nodes=2, gpus=4) as sim:
        for name in ("s", "t"):
            sim.create(b.inference_service(name, b.replicas(1), b.gpus(1)))
            sim.run_gateways(name)
        await sim.until(lambda: all(sim.served(name)["readyReplicas"] == 1 for name in ("s", "t")), 60)
        world = sim.process.app.world
        for node in {*sim.nodes("s"), *sim.nodes("t")}:
            there = sim.api.get(NODES, None, node)
            assert there is not None
            sim.api.remove(NODES, None, node)
            await sim.until(partial(is_left, sim, node), 60)
            sim.api.put(NODES, there)
        avoided = [each for name in ("s", "t") for each in sim.served(name)["avoid"]]
        assert avoided
        assert world.snapshot(()).failures == {}


async def test_a_taint_that_says_nothing_of_an_end_disturbs_nobody() -> None:
    async with Simulation(nodes=3, gpus=4) as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(4)))
        await sim.until(sim.is_("Running", "a"), 10)
        taint(sim, sim.nodes("a")[1], "nvidia.com/gpu")
        await sim.rest(60)
        assert sim.status("a")["restarts"] == 0
