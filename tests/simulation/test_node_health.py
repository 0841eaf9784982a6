"""Nodes whose hardware is in doubt: who is spared, who moves, what is written, and that people and the breaker have the last word."""

import json
from collections.abc import Callable

import pytest

from tests import builders as b
from tests.simulation.fake_nodes import node as a_node
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.api.names import GPU, NODE_HEALTH, REMEDY_APPROVED, REMEDY_REFUSED
from trainyard.api.node_health import HealthLevel, NodeState
from trainyard.cluster.resources import EVENTS, NODES, PODS, Object
from trainyard.metrics.definitions import NODE_CHANGES, XIDS
from trainyard.nodes.signs import SETTLE_SECONDS
from trainyard.nodes.states import CLEAR_SECONDS, PATIENCE_SECONDS, VALIDATE_SECONDS

pytestmark = pytest.mark.looptime
REBOOT = "ErrorCode:79 gpu:0 Recommended Action=NODE_REBOOT;"


def says(sim: Simulation, name: str, status: str = "True", message: str = REBOOT, kind: str = "GpuXidError") -> None:
    """A monitor's condition, with the time of this moment."""
    time = CLOCK.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    told = {"type": kind, "status": status, "message": message, "lastTransitionTime": time}

    def change(node: Object) -> None:
        others = [each for each in node["status"]["conditions"] if each["type"] != kind]
        node["status"]["conditions"] = [*others, told]

    sim.api.edit(NODES, None, name, change)


def cordon(sim: Simulation, name: str, on: bool, **notes: str) -> None:
    """As a person does."""

    def change(node: Object) -> None:
        node["spec"] = {"unschedulable": True} if on else {}
        node["metadata"].setdefault("annotations", {}).update(notes)

    sim.api.edit(NODES, None, name, change)


def offers(sim: Simulation, name: str, gpus: int) -> None:
    """A device plugin calls some sick, or has gone."""
    sim.api.edit(NODES, None, name, lambda node: node["status"]["allocatable"].update({GPU: str(gpus)}))


def boots(sim: Simulation, name: str, boot: str) -> None:
    sim.api.edit(NODES, None, name, lambda node: node["status"].update(nodeInfo={"bootID": boot}))


def node(sim: Simulation, name: str) -> Object:
    found = sim.api.get(NODES, None, name)
    assert found is not None
    return found


def cordoned(sim: Simulation, name: str) -> bool:
    return bool(node(sim, name)["spec"].get("unschedulable"))


def stands(sim: Simulation, name: str, state: NodeState) -> Callable[[], bool]:
    return lambda: sim.process.app.world.nodes[name].standing.state is state


def record(sim: Simulation, name: str) -> Object:
    found: Object = json.loads(node(sim, name)["metadata"].get("annotations", {}).get(NODE_HEALTH, "{}"))
    return found


def event_of(sim: Simulation, name: str) -> str:
    """What happened, as `trainyard approve` names it."""
    (sign,) = sim.process.app.nodes.signs(name)
    return sign.event


async def running(sim: Simulation, workers: int = 1) -> str:
    """A job that runs, and the node of its last worker."""
    sim.create(b.training_job("a", b.workers(workers), b.gpus(8)))
    await sim.until(sim.is_("Running", "a"), 20)
    return sim.nodes("a")[-1]


@pytest.mark.fault(48)
async def test_a_broken_node_takes_no_new_pods_and_what_runs_there_is_left_alone() -> None:
    async with Simulation(nodes=2) as sim:
        name = await running(sim)
        other = next(each for each in ("n0", "n1") if each != name)
        uids = [pod["metadata"]["uid"] for pod in sim.pods("a")]
        says(sim, other)
        sim.create(b.training_job("b", b.gpus(8)))
        says(sim, name)
        await sim.until(lambda: "NodeQuarantined" in sim.events(name), 10)
        await sim.rest(120)
        assert (sim.phase("b"), [pod["metadata"]["uid"] for pod in sim.pods("a")]) == ("Pending", uids)
        assert "XID 79" in sim.message("b")
        assert sim.writes(NODES) == [], "nothing is written to nodes below the level act"
        assert sim.counted(XIDS, "xid") == {"79": 2.0}


@pytest.mark.fault(48)
async def test_who_approves_cordons_and_the_jobs_move_after_a_checkpoint() -> None:
    async with Simulation(nodes=3) as sim:
        name = await running(sim, workers=2)
        says(sim, name)
        await sim.until(stands(sim, name, NodeState.QUARANTINED), 10)
        cordon(sim, name, True, **{REMEDY_APPROVED: event_of(sim, name)})
        await sim.until(lambda: sim.phase("a") == "Running" and name not in sim.nodes("a"), 90)
        assert "it is taken out of use" in sim.status("a")["lastRestart"]["cause"]
        assert sim.status("a")["disruptions"] == 1
        await sim.until(stands(sim, name, NodeState.VALIDATING), 60)
        says(sim, name, "False")
        await sim.until(stands(sim, name, NodeState.HEALTHY), VALIDATE_SECONDS + 60, step=5)
        assert sim.events(name) == ["NodeQuarantined", "NodeDraining", "NodeDrained", "NodeHealthy"]
        assert cordoned(sim, name), "who cordoned it uncordons it"
        assert sim.writes(NODES) == []


async def test_replicas_leave_an_approved_node_when_others_are_ready() -> None:
    async with Simulation(nodes=3) as sim:
        sim.create(b.inference_service("s", b.replicas(2), b.gpus(8), b.drain(1)))
        await sim.until(lambda: len(sim.nodes("s")) == 2 and all(sim.nodes("s")), 20)
        sim.run_gateways("s")
        await sim.until(lambda: sim.served("s")["readyReplicas"] == 2, 60)
        name = sim.nodes("s")[0]
        says(sim, name)
        await sim.until(stands(sim, name, NodeState.QUARANTINED), 10)
        cordon(sim, name, True, **{REMEDY_APPROVED: event_of(sim, name)})
        least = 2

        def moved() -> bool:
            nonlocal least
            least = min(least, sim.served("s")["readyReplicas"])
            return name not in sim.nodes("s") and len(sim.nodes("s")) == 2

        await sim.until(moved, 120)
        assert least == 2, "a new one answers before the old one goes"
        await sim.until(stands(sim, name, NodeState.VALIDATING), 30)


async def test_who_refuses_keeps_the_node_in_use() -> None:
    async with Simulation(nodes=1) as sim:
        await sim.until(lambda: "n0" in sim.process.app.world.nodes)
        says(sim, "n0")
        await sim.until(stands(sim, "n0", NodeState.QUARANTINED), 10)
        cordon(sim, "n0", False, **{REMEDY_REFUSED: event_of(sim, "n0")})
        await running(sim)
        await sim.restart()
        await sim.rest(60)
        assert stands(sim, "n0", NodeState.HEALTHY)()


@pytest.mark.fault(48, 50)
async def test_at_the_level_act_the_operator_cordons_drains_and_brings_back() -> None:
    async with Simulation(nodes=3, health_level=HealthLevel.ACT) as sim:
        name = await running(sim, workers=2)
        boots(sim, name, "one")
        says(sim, name)
        await sim.until(lambda: record(sim, name).get("state") == "quarantined", 10)
        assert not cordoned(sim, name)
        await sim.restart()
        await sim.until(lambda: cordoned(sim, name), PATIENCE_SECONDS + 15)
        await sim.until(lambda: record(sim, name).get("state") == "validating", 120)
        assert record(sim, name)["remedy"] == "reboot"
        assert name not in sim.nodes("a")
        boots(sim, name, "two")  # and the monitor goes on saying what is over
        await sim.until(lambda: not cordoned(sim, name), VALIDATE_SECONDS + 60, step=5)
        await sim.rest(CLEAR_SECONDS)
        assert not cordoned(sim, name)
        assert sim.events(name).count("NodeQuarantined") == 1
        assert sim.counted(NODE_CHANGES, "state") == {"quarantined": 1, "draining": 1, "validating": 1, "healthy": 1}


@pytest.mark.fault(15)
async def test_foreign_annotations_survive_what_is_written() -> None:
    async with Simulation(nodes=4, health_level=HealthLevel.ACT) as sim:
        cordon(sim, "n1", False, **{"example.org/mine": "kept"})
        says(sim, "n1")
        await sim.until(lambda: record(sim, "n1").get("state") == "validating", 120)
        assert node(sim, "n1")["metadata"]["annotations"]["example.org/mine"] == "kept"


@pytest.mark.fault(54)
@pytest.mark.parametrize("restarts", [False, True])
async def test_a_persons_uncordon_wins_and_the_same_event_does_not_cordon_again(restarts: bool) -> None:
    async with Simulation(nodes=4, health_level=HealthLevel.ACT) as sim:
        says(sim, "n1")
        await sim.until(lambda: cordoned(sim, "n1"), 60)
        cordon(sim, "n1", False)
        await sim.until(stands(sim, "n1", NodeState.HEALTHY), 10)
        if restarts:
            await sim.restart()
        await sim.rest(300)
        assert not cordoned(sim, "n1")
        says(sim, "n1")  # once more
        await sim.until(lambda: cordoned(sim, "n1"), 60)


@pytest.mark.fault(45)
async def test_so_many_at_once_open_the_breaker_and_nobody_is_cordoned() -> None:
    async with Simulation(nodes=10, health_level=HealthLevel.ACT) as sim:
        for each in range(3):
            says(sim, f"n{each}")
        await sim.until(lambda: any("BreakerOpen" in sim.events(f"n{each}") for each in range(3)), 60)
        await sim.rest(120)
        assert not any(cordoned(sim, f"n{each}") for each in range(10))
        for each in range(2):  # what is over while the breaker is open is not acted on later
            says(sim, f"n{each}", "False")
        await sim.until(lambda: cordoned(sim, "n2"), 3600, step=15)
        assert not any(cordoned(sim, f"n{each}") for each in range(2))


async def test_a_new_leader_finds_the_breaker_open_before_it_looks_at_the_first_node() -> None:
    async with Simulation(nodes=10, health_level=HealthLevel.ACT) as sim:
        for each in range(3):
            says(sim, f"n{each}")
        await sim.until(lambda: any("BreakerOpen" in sim.events(f"n{each}") for each in range(3)), 60)
        await sim.rest(PATIENCE_SECONDS + 5)
        await sim.restart()
        await sim.rest(120)
        assert not any(cordoned(sim, f"n{each}") for each in range(10))


async def test_nodes_without_gpus_do_not_hide_that_most_with_gpus_are_sick() -> None:
    async with Simulation(nodes=4, health_level=HealthLevel.ACT) as sim:
        for each in range(20):
            made = a_node(f"cpu{each}")
            del made["status"]["allocatable"][GPU]
            sim.api.put(NODES, made)
        for each in range(3):
            says(sim, f"n{each}")
        says(sim, "cpu0", kind="KernelDeadlock", message="")
        await sim.until(lambda: cordoned(sim, "cpu0"), 120)
        assert not any(cordoned(sim, f"n{each}") for each in range(4))
        said = [event["message"] for event in sim.api.all(EVENTS) if event["reason"] == "BreakerOpen"]
        assert ["3 of 4 nodes with GPUs" in each for each in said] == [True]


async def test_who_refuses_while_jobs_leave_keeps_the_node_in_use() -> None:
    async with Simulation(nodes=3, health_level=HealthLevel.ACT) as sim:
        says(sim, "n1")
        says(sim, "n1", kind="GPUMissing", message="")
        await sim.until(lambda: cordoned(sim, "n1"), 60)
        events = " ".join(each.event for each in sim.process.app.nodes.signs("n1"))
        sim.api.edit(NODES, None, "n1", lambda node: node["metadata"]["annotations"].update({REMEDY_REFUSED: events}))
        await sim.until(lambda: stands(sim, "n1", NodeState.HEALTHY)() and not cordoned(sim, "n1"), 30)
        await sim.rest(120)
        assert not cordoned(sim, "n1")


@pytest.mark.parametrize("planned", [True, False])
async def test_a_job_that_leaves_a_node_that_will_be_gone_says_nothing_of_the_node(planned: bool) -> None:
    async with Simulation(nodes=3) as sim:
        name = await running(sim, workers=2)
        if planned:
            taints = [{"key": "cloud.google.com/impending-node-termination", "effect": "NoSchedule"}]
            sim.api.edit(NODES, None, name, lambda node: node["spec"].update(taints=taints))
        else:
            sim.stop_node(name)
        await sim.until(lambda: sim.phase("a") == "Running" and name not in sim.nodes("a"), 300)
        lemon = sim.process.app.lemons.of(name, CLOCK.now())
        assert (lemon.failures if lemon else 0.0) == pytest.approx(0.0 if planned else 1.0, abs=0.01)


@pytest.mark.fault(52)
async def test_a_device_plugin_that_restarts_changes_nothing() -> None:
    async with Simulation(nodes=2) as sim:
        name = await running(sim)
        uids = [pod["metadata"]["uid"] for pod in sim.pods("a")]
        for each in ("n0", "n1"):
            offers(sim, each, 0)
        await sim.rest(20)
        for each in ("n0", "n1"):
            offers(sim, each, 8)
        await sim.rest(SETTLE_SECONDS)
        assert [pod["metadata"]["uid"] for pod in sim.pods("a")] == uids
        assert (sim.events(name), sim.writes(NODES)) == ([], [])
        sim.create(b.training_job("b", b.gpus(8)))
        await sim.until(sim.is_("Running", "b"), 20)


@pytest.mark.fault(51)
async def test_a_lost_gpu_leaves_the_job_alone_and_new_ones_go_elsewhere() -> None:
    async with Simulation(nodes=2) as sim:
        sim.create(b.training_job("a", b.gpus(4)))
        await sim.until(sim.is_("Running", "a"), 20)
        (name,) = sim.nodes("a")
        uids = [pod["metadata"]["uid"] for pod in sim.pods("a")]
        offers(sim, name, 7)
        await sim.until(stands(sim, name, NodeState.SUSPECT), SETTLE_SECONDS + 10)
        sim.create(b.training_job("b", b.gpus(2)))
        await sim.until(sim.is_("Running", "b"), 20)
        assert sim.nodes("b") != [name]
        assert [pod["metadata"]["uid"] for pod in sim.pods("a")] == uids
        assert "NodeSuspect" in sim.events(name)
        offers(sim, name, 8)
        await sim.until(stands(sim, name, NodeState.HEALTHY), CLEAR_SECONDS + 30, step=5)


@pytest.mark.fault(47)
async def test_an_xid_of_a_program_leaves_the_node_in_use() -> None:
    async with Simulation(nodes=1) as sim:
        says(sim, "n0", message="NVRM: Xid (PCI:0000:0a:00): 31, pid=7", kind="XIDErrors")
        await running(sim)
        assert stands(sim, "n0", NodeState.HEALTHY)()
        assert sim.counted(XIDS, "class") == {"application": 1.0}


async def test_when_nothing_changes_nothing_is_written() -> None:
    async with Simulation(nodes=4, health_level=HealthLevel.ACT) as sim:
        says(sim, "n1")
        await sim.until(lambda: record(sim, "n1").get("state") == "validating", 120)
        before = len(sim.writes(NODES, EVENTS, PODS))
        await sim.rest(900)
        assert len(sim.writes(NODES, EVENTS, PODS)) == before
