"""Nodes and their devices that come, go and change under jobs that run."""

from datetime import UTC, datetime, timedelta

import pytest

from tests import builders as b
from tests.simulation.fake_nodes import Behaviour
from tests.simulation.operator_sim import Simulation
from tests.simulation.oracles import judge, running
from trainyard.api.names import GPU
from trainyard.cluster.resources import EVENTS, INFERENCE_SERVICES, NODES, PODS, Object
from trainyard.workloads.world import World

pytestmark = pytest.mark.looptime


def offers(sim: Simulation, name: str, gpus: int) -> None:
    sim.api.edit(NODES, None, name, lambda obj: obj["status"]["allocatable"].update({GPU: str(gpus)}))


def condition(sim: Simulation, name: str, status: str) -> None:
    """What a monitor says of the node's GPUs."""

    def write(obj: Object) -> None:
        others = [each for each in obj["status"]["conditions"] if each["type"] != "GPUMissing"]
        obj["status"]["conditions"] = [*others, {"type": "GPUMissing", "status": status, "reason": "XID79"}]

    sim.api.edit(NODES, None, name, write)


@pytest.mark.fault(51)
async def test_a_node_that_offers_fewer_gpus_keeps_what_runs_and_the_next_is_told_what_is_missing() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("a", b.gpus(7)))
        await sim.until(sim.is_("Running", "a"), 10)
        alive = running(sim)
        offers(sim, "n0", 7)
        sim.create(b.training_job("b", b.gpus(1)))
        await sim.rest(60)
        assert running(sim) == alive
        assert (sim.phase("a"), sim.phase("b")) == ("Running", "Pending")
        assert "0 nvidia.com/gpu are free" in sim.message("b")
        offers(sim, "n0", 8)
        await sim.until(sim.is_("Running", "b"), 20)
        await judge(sim)


@pytest.mark.fault(52)
async def test_a_device_plugin_that_restarts_stops_nobody() -> None:
    async with Simulation(nodes=2, gpus=4) as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(4)))
        await sim.until(sim.is_("Running", "a"), 10)
        alive = running(sim)
        for name in ("n0", "n1"):
            offers(sim, name, 0)
        await sim.rest(20)
        for name in ("n0", "n1"):
            offers(sim, name, 4)
        await sim.rest(30)
        assert running(sim) == alive
        assert (sim.phase("a"), sim.status("a")["restarts"]) == ("Running", 0)
        await judge(sim)


@pytest.mark.fault(44)
async def test_a_gang_that_loses_several_nodes_at_once_is_placed_anew_once() -> None:
    async with Simulation(nodes=20, gpus=1) as sim:
        sim.create(b.training_job("a", b.workers(8)))
        await sim.until(sim.is_("Running", "a"), 10)
        lost = sim.nodes("a")[2:5]
        for name in lost:
            sim.stop_node(name)
        await sim.until(lambda: sim.status("a")["restarts"] == 1 and sim.phase("a") == "Running", 90)
        await sim.rest(30)
        assert not set(lost) & set(sim.nodes("a"))
        assert (sim.status("a")["restarts"], sim.status("a")["disruptions"]) == (1, 1)
        await judge(sim)


@pytest.mark.fault(46)
async def test_nodes_that_come_back_after_long_are_judged_by_what_is_true_then() -> None:
    async with Simulation(nodes=6, gpus=1) as sim:
        names = [f"j{number}" for number in range(6)]
        sim.create(*(b.training_job(name) for name in names))
        await sim.until(sim.is_("Running", *names), 10)
        place = {name: sim.nodes(name)[0] for name in names}
        for name in names[:4]:
            sim.stop_node(place[name])
        await sim.rest(300)
        for name in names[:4]:
            sim.kubelet.start_node(place[name])
        await sim.rest(30)
        assert [sim.status(name)["restarts"] for name in names] == [0] * 6
        sim.create(b.training_job("more"))
        sim.stop_node(place["j5"])
        await sim.until(lambda: sim.status("j5")["restarts"] == 1, 60)
        assert [sim.status(name)["restarts"] for name in names[:5]] == [0] * 5, "only who is silent now"


@pytest.mark.fault(46)
def test_a_silence_of_days_is_forgotten_with_its_end() -> None:
    now = [datetime(2026, 11, 23, tzinfo=UTC)]
    world = World(now=lambda: now[0])
    names = [f"n{number}" for number in range(6)]
    for name in names:
        world.observe("Node", None, _node(name, ready=True))
    for name in names[:4]:
        world.observe("Node", _node(name, ready=True), _node(name, ready=False))
    now[0] += timedelta(minutes=5)
    assert world.nodes.lost(names, now[0]) == frozenset()
    now[0] += timedelta(days=3)
    for name in names[:4]:
        world.observe("Node", _node(name, ready=False), _node(name, ready=True))
    assert world.nodes.lost(names, now[0]) == frozenset()
    assert world.nodes.next_loss(names, now[0]) is None


def _node(name: str, *, ready: bool) -> Object:
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    return {"metadata": {"name": name}, "spec": {}, "status": {"allocatable": {}, "conditions": conditions}}


@pytest.mark.fault(48, 50)
async def test_a_node_whose_gpu_is_gone_takes_nothing_until_its_monitor_takes_that_back() -> None:
    async with Simulation(nodes=1, gpus=2) as sim:
        sim.create(b.training_job("a"))
        await sim.until(sim.is_("Running", "a"), 10)
        condition(sim, "n0", "True")
        sim.create(b.training_job("b"))
        await sim.rest(60)
        assert (sim.phase("a"), sim.phase("b")) == ("Running", "Pending")
        assert "GPUMissing" in sim.message("b")
        condition(sim, "n0", "False")
        await sim.until(sim.is_("Running", "b"), 900, step=1)
        await judge(sim)


@pytest.mark.fault(47)
async def test_a_fault_of_the_program_on_a_gpu_restarts_it_and_the_node_stays_in_use() -> None:
    async with Simulation(nodes=1, gpus=1) as sim:
        sim.create(b.training_job("a"))
        await sim.until(sim.is_("Running", "a"), 10)
        words = "CUDA error: an illegal memory access was encountered (Xid 31)"
        sim.kubelet.finish("team", "a-worker-0-1", 1, words)
        await sim.until(lambda: sim.status("a")["restarts"] == 1 and sim.phase("a") == "Running", 60)
        assert sim.nodes("a") == ["n0"]
        assert sim.status("a")["lastFailure"]["class"]
        await judge(sim)


@pytest.mark.fault(66)
async def test_an_image_that_cannot_be_pulled_is_told_at_once_and_gives_its_place_back_in_time() -> None:
    async with Simulation(nodes=1, gpus=1) as sim:
        sim.kubelet.behave = lambda _pod: Behaviour(start=1e6)
        sim.create(b.training_job("a", b.spec(startDeadlineSeconds=60)))
        await sim.until(lambda: sim.nodes("a") == ["n0"], 10)
        pod = sim.names("a")[0]
        sim.api.edit(PODS, "team", pod, _cannot_pull)
        await sim.until(lambda: "ImagePullBackOff" in str(sim.status("a")["conditions"]), 30)
        assert "registry.example.com/none" in sim.message("a", "Ready")
        await sim.until(lambda: sim.status("a")["attempt"] == 2, 90)


def _cannot_pull(pod: Object) -> None:
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "registry.example.com/none"'}
    pod["status"]["containerStatuses"] = [{"name": "trainer", "restartCount": 0, "state": {"waiting": waiting}}]


@pytest.mark.fault(67)
async def test_a_volume_that_is_not_bound_is_told_in_the_schedulers_words() -> None:
    words = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims"
    async with Simulation(nodes=1, gpus=1) as sim:
        sim.binder.paused = True
        sim.create(b.training_job("a", b.storage()))
        await sim.until(lambda: sim.names("a"), 10)
        refused = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}]
        sim.api.edit(PODS, "team", sim.names("a")[0], lambda obj: obj["status"].update(conditions=refused))
        await sim.until(lambda: words in str(sim.status("a")["conditions"]) or _told(sim, words), 35)


@pytest.mark.fault(85)
async def test_a_replica_that_crashes_after_it_was_ready_is_told_and_the_good_one_serves_on() -> None:
    async with Simulation() as sim:
        sim.create(b.inference_service("s", b.replicas(2)))
        await sim.until(lambda: sim.served("s").get("phase") == "Ready", 30)
        sim.api.edit(PODS, "team", "s-1", _crashes)
        await sim.until(lambda: sim.served("s")["phase"] == "Degraded", 30)
        assert (sim.served("s")["readyReplicas"], sim.served("s")["conditions"][1]["status"]) == (1, "False")
        assert "CrashLoopBackOff" in str(sim.served("s")["conditions"])
        sim.change(INFERENCE_SERVICES, "s", replicas=1)
        await sim.until(lambda: sim.names("s") == ["s-2"], 60)
        await sim.until(lambda: sim.served("s")["phase"] == "Ready", 30)
        await judge(sim)


def _told(sim: Simulation, words: str) -> bool:
    return any(words in each["message"] for each in sim.api.all(EVENTS))


def _crashes(pod: Object) -> None:
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}
    pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    pod["status"]["containerStatuses"] = [
        {"name": "server", "ready": False, "restartCount": 7, "state": {"waiting": waiting}}
    ]
