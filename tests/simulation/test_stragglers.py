"""A slow node, with the whole operator: it is named, used last, and forgiven; few words are written about it."""

import statistics
from datetime import timedelta

import pytest

from tests import builders as b
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.cluster.resources import EVENTS, TRAINING_JOBS, Object
from trainyard.metrics.definitions import STRAGGLERS
from trainyard.workloads.keys import Key
from trainyard.workloads.node_health import HALF_LIFE_SECONDS

pytestmark = pytest.mark.looptime
STEP = 0.1
WINDOW = 10


def compared(sim: Simulation, name: str, slow: dict[str, float], number: int) -> Object:
    """What the trainer tells when its workers compared themselves for the so many-th time."""
    pods = sorted(sim.pods(name), key=lambda pod: int(pod["metadata"]["labels"]["trainyard.dev/index"]))
    own = [STEP * slow.get(pod["spec"]["nodeName"], 1.0) + number * 1e-6 for pod in pods]
    return {"p50": statistics.median(own), "slowest": max(own), "slowestRank": own.index(max(own))}


async def train(sim: Simulation, *names: str, seconds: float, slow: dict[str, float] | None = None) -> None:
    """The jobs report every two seconds, and compare their workers every ten. slow: by node, how slow it is."""
    ends = CLOCK.monotonic() + seconds
    number = 0
    while CLOCK.monotonic() < ends:
        told = {name: compared(sim, name, slow or {}, number) for name in names}
        for _ in range(WINDOW // 2):
            for name in names:
                report(sim, name, number, told[name])
            await sim.rest(2)
        number += 1


def report(sim: Simulation, name: str, step: int, step_seconds: Object) -> None:
    """What the endpoint does with it."""
    app, job = sim.process.app, sim.job(name)
    body = {"jobUid": job["metadata"]["uid"], "attempt": job["status"].get("attempt", 1), "phase": "training"}
    body |= {"step": step, "worldSize": len(sim.pods(name)), "stepSeconds": step_seconds}
    app.look_in(Key("TrainingJob", b.NAMESPACE, name), 0 if app.reports.put(body, CLOCK.now()) else 30)


def named(sim: Simulation, name: str) -> list[tuple[str, bool]]:
    """Nodes of the stragglers in a job's status, and whether it lasts."""
    return [(each["node"], each["until"] is None) for each in sim.status(name)["stragglers"]]


def told(sim: Simulation, name: str) -> list[str]:
    return [each for each in sim.events(name) if "Straggler" in each]


@pytest.mark.fault(57)
async def test_a_slow_node_is_named_and_the_next_job_goes_elsewhere() -> None:
    async with Simulation(nodes=5, gpus=8) as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(8)))
        await sim.until(sim.is_("Running", "a"), 20)
        assert sorted(sim.nodes("a")) == ["n0", "n1"]
        await train(sim, "a", seconds=180, slow={"n0": 1.6})
        assert named(sim, "a") == [("n0", True)]
        assert told(sim, "a") == ["StragglerFound"]
        sim.kubelet.finish(b.NAMESPACE, "a-worker-0-1")
        sim.kubelet.finish(b.NAMESPACE, "a-worker-1-1")
        await sim.until(sim.is_("Complete", "a"), 20)
        assert named(sim, "a") == [("n0", False)]
        await sim.restart()
        sim.create(b.training_job("b", b.workers(2), b.gpus(8)))
        await sim.until(sim.is_("Running", "b"), 30)
        assert sorted(sim.nodes("b")) == ["n1", "n2"], "an operator that begins anew knows it too"
        sim.create(b.training_job("c", b.workers(3), b.gpus(8)))
        await sim.until(sim.is_("Running", "c"), 30)
        assert sorted(sim.nodes("c")) == ["n0", "n3", "n4"], "nobody waits for it"


async def test_a_slow_node_is_forgiven_after_some_hours() -> None:
    async with Simulation(nodes=3, gpus=8) as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(8)))
        await sim.until(sim.is_("Running", "a"), 20)
        await train(sim, "a", seconds=180, slow={"n0": 1.6})
        sim.change(TRAINING_JOBS, "a", suspend=True)
        await sim.until(sim.is_("Suspended", "a"), 20)
        assert named(sim, "a") == [("n0", False)]
        await starts_on(sim, "soon", "n1")
        long_ago = CLOCK.now() - timedelta(seconds=2.5 * HALF_LIFE_SECONDS)
        sim.api.edit(
            TRAINING_JOBS,
            b.NAMESPACE,
            "a",
            lambda obj: obj["status"]["stragglers"][0].update(until=long_ago.isoformat()),
        )
        await sim.rest(1)
        await starts_on(sim, "late", "n0")


async def starts_on(sim: Simulation, name: str, node: str) -> None:
    """A job of a whole node that runs for a moment."""
    sim.create(b.training_job(name, b.gpus(8), b.runs(5)))
    await sim.until(sim.is_("Running", name), 30)
    assert sim.nodes(name) == [node]
    await sim.until(sim.is_("Complete", name), 60)


async def test_few_words_are_written_about_it_whatever_happens_to_the_operator() -> None:
    async with Simulation(nodes=8, gpus=8) as sim:
        sim.create(b.training_job("a", b.workers(8), b.gpus(8)))
        await sim.until(sim.is_("Running", "a"), 20)
        for number in range(4):
            await train(sim, "a", seconds=120, slow={"n5": 1.6 + number / 10})
            await sim.restart()
            await sim.rest(5)
        assert named(sim, "a") == [("n5", True)]
        assert told(sim, "a") == ["StragglerFound"]
        assert sum(sim.counted(STRAGGLERS, "queue").values()) == 1
        before = len(sim.writes(EVENTS))
        await train(sim, "a", seconds=120)
        assert named(sim, "a") == [("n5", False)]
        assert told(sim, "a") == ["StragglerFound", "StragglerGone"]
        assert len(sim.writes(EVENTS)) == before + 1
        calm = len(sim.writes(TRAINING_JOBS))
        await train(sim, "a", seconds=300)
        assert len(sim.writes(TRAINING_JOBS)) - calm <= 11, "no more than progress alone"


async def test_noise_and_a_gang_that_is_slow_as_a_whole_name_nobody() -> None:
    async with Simulation(nodes=4, gpus=8) as sim:
        sim.create(b.training_job("a", b.workers(4), b.gpus(8)), b.training_job("alone"))
        await sim.until(sim.is_("Running", "a"), 20)
        for number in range(20):
            await train(sim, "a", seconds=WINDOW, slow={f"n{number % 4}": 3.0})
        await train(sim, "a", seconds=120, slow={f"n{number}": 3.0 for number in range(4)})
        assert named(sim, "a") == []
        assert told(sim, "a") == []
